"""The truth about work: the same contract on SQLite and on PostgreSQL."""

import dataclasses
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from editvec.batch.errors import LeaseLostError, RunConflictError, RunNotFoundError
from editvec.batch.recipes.recipe import Edit, PinnedVector, Recipe
from editvec.batch.recipes.settings import RunSettings
from editvec.batch.runs.entities import RunRecord
from editvec.batch.runs.inputs import sampled_inputs
from editvec.batch.runs.leases import ItemResult, Lease, Leases
from editvec.batch.runs.owner import Owner
from editvec.batch.runs.plan import RunPlan, build_request
from editvec.batch.runs.retry import retry
from editvec.batch.runs.store import Runs
from editvec.registry.tables.database import now

ME = Owner.current()
ELSEWHERE = Owner("another host", 1, "1")


def plan(out: Path, *, recipes: int = 2, chunk_size: int = 4) -> RunPlan:
    vector = PinnedVector(
        address="avatars/smile@1", attribute="smile", delta_digest="0" * 64, roi_labels=()
    )
    settings = RunSettings(chunk_size=chunk_size, count=10)
    return RunPlan(
        kind="generate",
        class_address="avatars@1",
        generator_digest="1" * 64,
        bundle_digest="2" * 64,
        input_folder=None,
        output_folder=out,
        request=build_request("avatars", [], None, settings),
        recipes=tuple(
            Recipe(name=f"r{i}", edits=(Edit(vector=vector, scale=float(i)),))
            for i in range(recipes)
        ),
        settings=settings,
    )


def planned(
    database: Engine, out: Path, *, inputs: int = 10, recipes: int = 2, chunk_size: int = 4
) -> RunRecord:
    wanted = plan(out, recipes=recipes, chunk_size=chunk_size)
    return Runs(database).create(wanted, sampled_inputs(inputs, 0))


def results(lease: Lease, recipes: int = 2, state: str = "done") -> list[ItemResult]:
    positions = range(lease.first_input, lease.first_input + lease.input_count)
    return [
        ItemResult(position=p, recipe_position=r, state=state)
        for p in positions
        for r in range(recipes)
    ]


def dead_process() -> Owner:
    """An owner on this host that has ended."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
    owner = Owner(ME.host, process.pid, started)
    assert not owner.is_gone()
    process.communicate(b"\n")
    return owner


def test_a_plan_comes_back_as_it_was_stored(database: Engine, tmp_path: Path) -> None:
    run = planned(database, tmp_path / "out")

    assert run.state == "planned"
    assert run.plan == plan(tmp_path / "out")
    assert run.item_count == 20
    assert [one.seed for one in Runs(database).inputs(run.id, 8, 4)] == [0, 0]
    assert Runs(database).latest_in(tmp_path / "out") == run
    assert Runs(database).get(run.id[:6]) == run


def test_an_unknown_run_is_said_to_be_unknown(database: Engine) -> None:
    for name in ("abc", ""):
        with pytest.raises(RunNotFoundError, match="no run has the id or output folder"):
            Runs(database).get(name)


def test_a_run_is_found_by_its_output_folder(
    database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = planned(database, tmp_path / "out")
    monkeypatch.chdir(tmp_path)

    assert Runs(database).get("out") == run
    assert Runs(database).get(f"{tmp_path}/link/../out/") == run


def test_one_output_folder_takes_one_active_run(database: Engine, tmp_path: Path) -> None:
    planned(database, tmp_path / "out")

    with pytest.raises(RunConflictError):
        planned(database, tmp_path / "out")


def test_chunks_are_claimed_once_and_the_run_completes(database: Engine, tmp_path: Path) -> None:
    run, runs, leases = planned(database, tmp_path), Runs(database), Leases(database)

    while (lease := leases.claim(run.id, ME)) is not None:
        assert runs.final_state(run.id) is None
        leases.finish(lease, results(lease), {lease.first_input: "d" * 64})

    assert runs.final_state(run.id) == "completed"
    closed = runs.close(run.id, "completed")
    assert (closed.state, closed.is_finished) == ("completed", True)
    assert runs.counts(run.id).done == 20
    assert runs.inputs(run.id, 0, 1)[0].digest == "d" * 64
    assert len(list(runs.items(run.id, states=["done"]))) == 20


def test_eight_threads_claim_every_chunk_exactly_once(database: Engine, tmp_path: Path) -> None:
    run = planned(database, tmp_path, inputs=120, recipes=1, chunk_size=1)
    claimed: list[int] = []

    def work() -> None:
        leases = Leases(database)
        while (lease := leases.claim(run.id, ME)) is not None:
            claimed.append(lease.first_input)
            leases.finish(lease, results(lease, 1), {})

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(claimed) == list(range(120))
    assert Runs(database).counts(run.id).done == 120


def test_a_stale_token_writes_nothing(database: Engine, tmp_path: Path) -> None:
    run, leases = planned(database, tmp_path), Leases(database, lease_seconds=-1)
    stale = leases.claim(run.id, ME)
    assert stale is not None
    assert leases.reap().pending == 1
    fresh = Leases(database).claim(run.id, ME)
    assert fresh is not None

    for late in (leases.heartbeat, leases.give_back):
        with pytest.raises(LeaseLostError):
            late(stale, results(stale))
    with pytest.raises(LeaseLostError):
        leases.finish(stale, results(stale), {})

    assert Runs(database).counts(run.id).finished == 0
    leases.finish(fresh, results(fresh), {})
    assert Runs(database).counts(run.id).done == 8


def test_a_dead_owner_on_this_host_is_seen_before_its_lease_expires(
    database: Engine, tmp_path: Path
) -> None:
    run, leases = planned(database, tmp_path), Leases(database)
    assert leases.claim(run.id, dead_process()) is not None
    assert leases.claim(run.id, ELSEWHERE) is not None
    assert leases.claim(run.id, ME) is not None

    reaped = leases.reap(run.id)

    assert reaped == (1, 0, 0)
    assert Runs(database).chunk_states(run.id) == {"pending": 1, "leased": 2}


class _MeanwhileLeases(Leases):
    """Something happens to the chunk after `reap` has seen it expired, before it is ended."""

    meanwhile: Callable[[], object]

    def _end_lost(self, chunk_id: int, token: str | None) -> str | None:
        self.meanwhile()
        return super()._end_lost(chunk_id, token)


@pytest.mark.parametrize("event", ["heartbeat", "finish", "give back", "claim"])
def test_a_holder_who_is_heard_of_while_leases_are_reaped_keeps_its_own(
    database: Engine, tmp_path: Path, event: str
) -> None:
    run = planned(database, tmp_path, inputs=4)
    expired, leases = Leases(database, lease_seconds=-1), Leases(database)
    lease = expired.claim(run.id, ME)
    assert lease is not None
    reaper, renewed = _MeanwhileLeases(database), []
    state = {"finish": "done", "give back": "pending"}.get(event, "leased")

    def claim_again() -> None:
        leases.give_back(lease)
        renewed.append(leases.claim(run.id, ELSEWHERE))

    reaper.meanwhile = {
        "heartbeat": lambda: leases.heartbeat(lease),
        "finish": lambda: leases.finish(lease, results(lease), {}),
        "give back": lambda: leases.give_back(lease),
        "claim": claim_again,
    }[event]

    assert reaper.reap(run.id) == (0, 0, 0)

    assert Runs(database).chunk_states(run.id) == {state: 1}
    assert leases.attempts(run.id) == {}
    if state == "leased":
        holder = renewed[0] if renewed else lease
        leases.finish(holder, results(holder), {})
    elif state == "pending":
        assert leases.claim(run.id, ME) is not None


def test_a_lease_that_stays_lost_while_others_are_reaped_is_ended_once(
    database: Engine, tmp_path: Path
) -> None:
    run = planned(database, tmp_path, inputs=4)
    expired = Leases(database, lease_seconds=-1)
    lease = expired.claim(run.id, ME)
    assert lease is not None
    reaper, others = _MeanwhileLeases(database), []
    reaper.meanwhile = lambda: others.append(expired.reap(run.id))

    assert reaper.reap(run.id) == (0, 0, 0)

    assert others == [(1, 0, 0)]
    assert list(expired.attempts(run.id).values()) == [1]
    with pytest.raises(LeaseLostError):
        expired.heartbeat(lease)


def test_a_process_with_the_same_pid_but_another_start_is_another_process() -> None:
    assert dataclasses.replace(ME, started="1").is_gone()
    assert not ME.is_gone()


def test_a_chunk_that_kills_its_worker_is_split_until_one_input_is_guilty(
    database: Engine, tmp_path: Path
) -> None:
    run = planned(database, tmp_path, inputs=5, chunk_size=5)
    runs, leases = Runs(database), Leases(database, lease_seconds=-1)
    poison = 3

    for _ in range(100):
        lease = leases.claim(run.id, ME)
        if lease is None:
            break
        if lease.first_input <= poison < lease.first_input + lease.input_count:
            leases.reap()
        else:
            Leases(database).heartbeat(lease)
            leases.finish(lease, results(lease), {})

    assert runs.final_state(run.id) == "completed_with_failures"
    counts = runs.counts(run.id)
    assert (counts.done, counts.quarantined, counts.finished) == (8, 2, counts.total)
    (guilty, _) = runs.items(run.id, states=["quarantined"])
    assert guilty.input.position == poison
    assert guilty.reason == "the worker died 3 times on this input"


def test_a_death_after_a_finished_item_does_not_count(database: Engine, tmp_path: Path) -> None:
    run, leases = planned(database, tmp_path, inputs=4), Leases(database, lease_seconds=-1)

    for position in range(4):
        lease = leases.claim(run.id, ME)
        assert lease is not None
        leases.heartbeat(lease, [ItemResult(position=position, recipe_position=0, state="done")])
        leases.reap()

    assert Runs(database).chunk_states(run.id) == {"pending": 1}


def test_an_orderly_give_back_keeps_items_and_counts_no_attempt(
    database: Engine, tmp_path: Path
) -> None:
    run, runs, leases = planned(database, tmp_path, inputs=4), Runs(database), Leases(database)

    for _ in range(5):
        lease = leases.claim(run.id, ME)
        assert lease is not None
        leases.give_back(lease)
    lease = leases.claim(run.id, ME)
    assert lease is not None
    leases.give_back(lease, results(lease)[:3])

    assert runs.chunk_states(run.id) == {"pending": 1}
    assert runs.decided_items(run.id, 0, 4) == {(0, 0), (0, 1), (1, 0)}


def test_cancelling_stops_claims_and_accounts_for_every_item(
    database: Engine, tmp_path: Path
) -> None:
    run, runs, leases = planned(database, tmp_path), Runs(database), Leases(database)
    done = leases.claim(run.id, ME)
    held = leases.claim(run.id, ME)
    assert done is not None
    assert held is not None
    leases.finish(done, results(done), {})

    assert runs.request_cancel(run.id)

    assert leases.claim(run.id, ME) is None
    assert runs.final_state(run.id) is None, "a chunk is still held"
    leases.give_back(held, results(held)[:1])
    assert runs.final_state(run.id) == "cancelled"
    runs.close(run.id, "cancelled")
    counts = runs.counts(run.id)
    assert (counts.done, counts.cancelled, counts.finished) == (9, 11, counts.total)
    assert not runs.request_cancel(run.id)


def test_a_paused_run_hands_out_nothing_until_it_is_resumed(
    database: Engine, tmp_path: Path
) -> None:
    run, runs, leases = planned(database, tmp_path), Runs(database), Leases(database)

    runs.pause(run.id, "disk full")

    assert leases.claim(run.id, ME) is None
    assert runs.get(run.id).reason == "disk full"
    runs.unpause(run.id)
    assert leases.claim(run.id, ME) is not None


def test_an_abandoned_run_frees_its_folder(database: Engine, tmp_path: Path) -> None:
    run, runs, leases = planned(database, tmp_path), Runs(database), Leases(database)
    lease = leases.claim(run.id, ME)
    assert lease is not None
    with pytest.raises(RunConflictError, match="is writing to it"):
        runs.abandon(run.id, "gone")
    leases.finish(lease, results(lease), {})

    runs.abandon(run.id, "gone")

    counts = runs.counts(run.id)
    assert (counts.cancelled, counts.total) == (20, 20)
    planned(database, tmp_path)


def test_pending_chunks_are_published_again_only_after_a_while(
    database: Engine, tmp_path: Path
) -> None:
    run, leases = planned(database, tmp_path), Leases(database)
    waiting = leases.pending_chunks(run.id, not_published_since=now())

    leases.mark_published(waiting[:2])

    soon = leases.pending_chunks(run.id, not_published_since=now() - timedelta(seconds=60))
    later = leases.pending_chunks(run.id, not_published_since=now() + timedelta(seconds=60))
    assert (soon, later) == (waiting[2:], waiting)


def test_a_retry_opens_inputs_that_were_decided_before_their_chunk_was_split(
    database: Engine, tmp_path: Path
) -> None:
    run = planned(database, tmp_path, inputs=3, recipes=1, chunk_size=3)
    runs, leases = Runs(database), Leases(database, lease_seconds=-1)
    lease = leases.claim(run.id, ME)
    assert lease is not None
    leases.heartbeat(lease, [ItemResult(position=0, recipe_position=0, state="failed", reason="x")])
    while (lease := leases.claim(run.id, ME)) is not None or leases.reap().total:
        if lease is not None and lease.input_count == 1:
            Leases(database).heartbeat(lease)
            leases.finish(lease, results(lease, recipes=1), {})
    state = runs.final_state(run.id)
    assert state == "completed_with_failures"
    closed = runs.close(run.id, state)
    assert runs.chunk_states(run.id) == {"split": 1, "done": 2}

    assert retry(database, closed) == (1, 0)

    again = leases.claim(run.id, ME)
    assert again is not None
    assert (again.first_input, again.input_count) == (0, 1)
    Leases(database).heartbeat(again)
    leases.finish(again, results(again, recipes=1), {})
    assert runs.final_state(run.id) == "completed"
    assert runs.counts(run.id).done == 3
