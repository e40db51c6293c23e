"""Leases chunk by chunk: what is cut off, what expired, and what is known of a holder."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from editvec.batch.errors import LeaseLostError
from editvec.batch.recipes.recipe import Recipe
from editvec.batch.recipes.settings import RunSettings
from editvec.batch.runs import leases as leases_module
from editvec.batch.runs.entities import RunRecord
from editvec.batch.runs.inputs import sampled_inputs
from editvec.batch.runs.leases import ItemResult, Leases
from editvec.batch.runs.models import Chunk
from editvec.batch.runs.owner import Owner
from editvec.batch.runs.plan import RunPlan, build_request
from editvec.batch.runs.store import Runs
from editvec.registry.tables.database import now, reading

ELSEWHERE = Owner("another host", 1, "1")
INPUTS = 10


@pytest.fixture
def run(database: Engine, tmp_path: Path) -> RunRecord:
    settings = RunSettings(chunk_size=INPUTS, count=INPUTS)
    plan = RunPlan(
        kind="generate",
        class_address="avatars@1",
        generator_digest="1" * 64,
        bundle_digest="2" * 64,
        input_folder=None,
        output_folder=tmp_path / "out",
        request=build_request("avatars", [], None, settings),
        recipes=(Recipe(name="a", edits=()),),
        settings=settings,
    )
    return Runs(database).create(plan, sampled_inputs(INPUTS, 0))


def chunks(database: Engine) -> list[Chunk]:
    with reading(database) as session:
        return list(session.scalars(select(Chunk).order_by(Chunk.position)))


@pytest.mark.parametrize(
    ("first", "size", "rest"),
    [
        (4, 3, [(4, 3), (7, 3)]),
        (4, 4, [(4, 4), (8, 2)]),
        (1, 9, [(1, 9)]),
        (9, 5, [(9, 1)]),
    ],
)
def test_what_a_lease_leaves_becomes_chunks_behind_the_others(
    database: Engine, run: RunRecord, first: int, size: int, rest: list[tuple[int, int]]
) -> None:
    leases = Leases(database)
    lease = leases.claim(run.id, ELSEWHERE)
    assert lease is not None

    shorter = leases.cut(lease, first_input=first, size=size)

    assert (shorter.first_input, shorter.input_count, shorter.token) == (0, first, lease.token)
    mine, *others = chunks(database)
    assert (mine.state, mine.first_input, mine.input_count) == ("leased", 0, first)
    assert [(one.first_input, one.input_count) for one in others] == rest
    assert [(one.position, one.state, one.attempts) for one in others] == [
        (1 + place, "pending", 0) for place in range(len(rest))
    ]
    again = leases.claim(run.id, ELSEWHERE)
    assert again is not None
    assert (again.first_input, again.input_count) == rest[0]


def test_a_holder_is_known_while_it_holds(database: Engine, run: RunRecord) -> None:
    leases = Leases(database, lease_seconds=100)
    before = now()
    lease = leases.claim(run.id, ELSEWHERE, device="cuda:1")
    assert lease is not None

    (held,) = chunks(database)
    assert held.worker == "another:1 cuda:1"
    assert (held.owner_host, held.owner_pid, held.owner_started) == ("another host", 1, "1")
    assert held.lease_expires_at is not None
    assert timedelta(seconds=100) <= held.lease_expires_at - before < timedelta(seconds=160)
    leases.give_back(lease)
    (free,) = chunks(database)
    assert (free.state, free.owner_host, free.lease_token, free.lease_expires_at) == (
        "pending", None, None, None,
    )  # fmt: skip
    for act in (leases.heartbeat, leases.give_back):
        with pytest.raises(LeaseLostError, match=f"chunk 0 of run {run.id[:8]}: the lease was"):
            act(lease)


def test_a_chunk_that_is_named_is_taken_or_none(database: Engine, run: RunRecord) -> None:
    leases = Leases(database)
    (chunk,) = chunks(database)

    assert leases.claim(run.id, ELSEWHERE, chunk_id=chunk.id + 1) is None
    assert leases.claim("another run", ELSEWHERE) is None
    assert leases.claim(run.id, ELSEWHERE, chunk_id=chunk.id) is not None
    assert leases.claim(run.id, ELSEWHERE) is None


@pytest.mark.parametrize(("seconds", "pending"), [(-1.0, 1), (100.0, 0)])
def test_only_leases_that_expired_are_ended(
    database: Engine, run: RunRecord, seconds: float, pending: int
) -> None:
    leases = Leases(database, lease_seconds=seconds)
    assert leases.claim(run.id, ELSEWHERE) is not None

    assert leases.reap("another run").total == 0
    reaped = leases.reap(run.id)

    assert (reaped.pending, reaped.total) == (pending, pending)
    (chunk,) = chunks(database)
    assert leases.attempts(run.id) == ({chunk.id: 1} if pending else {})


def test_a_heartbeat_prolongs_a_lease_and_notes_that_something_was_finished(
    database: Engine, run: RunRecord
) -> None:
    lease = Leases(database, lease_seconds=1).claim(run.id, ELSEWHERE)
    assert lease is not None
    longer = Leases(database, lease_seconds=1000)

    longer.heartbeat(lease)
    (chunk,) = chunks(database)
    assert chunk.processing_began_at is not None
    assert chunk.lease_expires_at is not None
    assert chunk.lease_expires_at - now() > timedelta(seconds=900)
    longer.heartbeat(lease, [ItemResult(position=3, recipe_position=0, state="done")])
    longer.heartbeat(lease, [ItemResult(position=3, recipe_position=0, state="failed")])

    (chunk,) = chunks(database)
    assert chunk.processing_began_at is None
    # what is recorded stays as it was
    items = Runs(database).items(run.id, states=["done", "failed"])
    assert [(item.input.position, item.state) for item in items] == [(3, "done")]


def test_messages_are_noted_however_many_there_are(
    database: Engine, run: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases = Leases(database)
    lease = leases.claim(run.id, ELSEWHERE)
    assert lease is not None
    leases.cut(lease, first_input=1, size=2)
    waiting = leases.pending_chunks(run.id)
    assert len(waiting) == 5
    monkeypatch.setattr(leases_module, "_IDS_AT_A_TIME", 2)

    leases.mark_published(waiting)

    assert leases.pending_chunks(run.id) == []
    assert leases.pending_chunks(run.id, not_published_since=now()) == waiting
    assert leases.pending_chunks(run.id, not_published_since=now() - timedelta(hours=1)) == []
