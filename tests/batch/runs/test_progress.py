"""What is told of a run while it goes on, from as few rows as that takes."""

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from editvec.batch.recipes.recipe import SOURCE_RECIPE, Recipe
from editvec.batch.recipes.settings import RunSettings
from editvec.batch.runs import progress
from editvec.batch.runs.entities import RunRecord
from editvec.batch.runs.inputs import count_images, sampled_inputs
from editvec.batch.runs.leases import ItemResult, Leases
from editvec.batch.runs.models import Chunk, RunItem
from editvec.batch.runs.owner import Owner
from editvec.batch.runs.plan import RunPlan, build_request
from editvec.batch.runs.progress import MAX_REASONS, OTHER_REASONS, run_status
from editvec.batch.runs.store import Runs
from editvec.registry.tables.database import now, reading, transaction


def _planned(engine: Engine, out: Path, *, inputs: int, chunk_size: int) -> RunRecord:
    settings = RunSettings(chunk_size=chunk_size, count=inputs)
    plan = RunPlan(
        kind="generate",
        class_address="avatars@1",
        generator_digest="1" * 64,
        bundle_digest="2" * 64,
        input_folder=None,
        output_folder=out,
        request=build_request("avatars", [], None, settings),
        recipes=(Recipe(name=SOURCE_RECIPE, edits=()),),
        settings=settings,
    )
    return Runs(engine).create(plan, sampled_inputs(inputs, 0))


def _finish_chunk(engine: Engine, run: RunRecord, **values: Any) -> None:
    """Decides every input of the next chunk; `reason` is called with what is the input's own."""
    leases = Leases(engine)
    lease = leases.claim(run.id, Owner.current())
    assert lease is not None
    reason: Callable[[int], str] | None = values.pop("reason", None)
    items = [
        ItemResult(position=position, recipe_position=0, **values)
        for position in range(lease.first_input, lease.first_input + lease.input_count)
    ]
    if reason is not None:
        items = [dataclasses.replace(item, reason=reason(item.position)) for item in items]
    leases.finish(lease, items, {})


def test_the_rate_counts_what_was_decided_in_the_last_minute(
    database: Engine, tmp_path: Path
) -> None:
    run = _planned(database, tmp_path, inputs=12, chunk_size=4)
    _finish_chunk(database, run, state="done")
    with transaction(database) as session:  # as if that was an hour ago
        before = now() - timedelta(hours=1)
        session.execute(update(RunItem).values(finished_at=before))
        session.execute(update(Chunk).where(Chunk.state == "done").values(finished_at=before))
    assert run_status(database, run.id).rate == 0.0

    _finish_chunk(database, run, state="failed", reason=lambda position: "bad")
    lease = Leases(database).claim(run.id, Owner.current())
    assert lease is not None
    half = [ItemResult(position=position, recipe_position=0, state="done") for position in (8, 9)]
    Leases(database).heartbeat(lease, half)

    rate = run_status(database, run.id).rate
    with reading(database) as session:
        recent = session.scalars(
            select(RunItem.finished_at).where(RunItem.finished_at > now() - timedelta(minutes=1))
        ).all()
    assert len(recent) == 6
    seconds = (now() - min(recent)).total_seconds()
    assert 6 / max(seconds, 1.0) == pytest.approx(rate, rel=0.2)


@pytest.mark.parametrize(("seconds", "rate"), [(0.25, 4.0), (1.0, 4.0), (8.0, 0.5), (59.0, 4 / 59)])
def test_the_rate_is_that_since_the_start_and_of_one_second_at_least(
    database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, rate: float
) -> None:
    run = _planned(database, tmp_path, inputs=8, chunk_size=4)
    _finish_chunk(database, run, state="done")
    started = Runs(database).get(run.id).started_at
    assert started is not None
    monkeypatch.setattr(progress, "now", lambda: started + timedelta(seconds=seconds))

    assert run_status(database, run.id).rate == pytest.approx(rate)


def test_workers_are_told_with_what_they_did_and_hold(database: Engine, tmp_path: Path) -> None:
    run = _planned(database, tmp_path, inputs=10, chunk_size=4)
    _finish_chunk(database, run, state="done")
    _finish_chunk(database, run, state="done")
    owner = Owner("elsewhere", 7, "1")
    lease = Leases(database).claim(run.id, owner, device="cuda:0")
    assert lease is not None

    status = run_status(database, run.id)

    held, mine = sorted(status.workers, key=lambda row: row[1])
    assert held[:4] == ("elsewhere:7 cuda:0", 0, 0, 2)
    assert mine[:4] == (Owner.current().name, 2, 8, None)
    assert held[4] is not None
    assert 0 <= held[4] < 60  # since it was heard of
    assert mine[4] is None


def test_reasons_that_name_their_inputs_are_counted_as_one(
    database: Engine, tmp_path: Path
) -> None:
    run = _planned(database, tmp_path, inputs=9, chunk_size=4)
    name = sampled_inputs(9, 0)
    for _ in range(2):
        _finish_chunk(
            database,
            run,
            state="failed",
            reason=lambda position: f"in/{name[position].source}: cut after {position} bytes",
        )
    _finish_chunk(database, run, state="rejected", reason=lambda position: "leakage 0.5 over 0.02")

    rows = [(row.items, row.state, row.reason) for row in run_status(database, run.id).reasons]

    assert rows == [(8, "failed", "cut after # bytes"), (1, "rejected", "leakage # over #")]


def test_different_reasons_are_bounded(database: Engine, tmp_path: Path) -> None:
    count = MAX_REASONS + 50
    run = _planned(database, tmp_path, inputs=count, chunk_size=50)
    letters = str.maketrans("0123456789", "abcdefghij")
    for _ in range(count // 50):
        _finish_chunk(
            database, run, state="failed", reason=lambda position: str(position).translate(letters)
        )

    reasons = run_status(database, run.id).reasons

    assert reasons[0] == ("failed", OTHER_REASONS, 50)
    assert all(row.items == 1 for row in reasons[1:])


def test_more_chunks_are_published_than_a_statement_has_parameters(
    database: Engine, tmp_path: Path
) -> None:
    run = _planned(database, tmp_path, inputs=3, chunk_size=1)
    leases = Leases(database)
    (first, *_) = leases.pending_chunks(run.id)

    leases.mark_published(range(first, first + 70_000))

    assert leases.pending_chunks(run.id) == []


def test_images_are_counted_as_they_are_planned(tmp_path: Path) -> None:
    for name in ("a.png", "b/c.jpg", "b/d/e.webp", "b/notes.txt", ".hidden/x.png", ".y.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "b/loop").symlink_to(tmp_path)

    assert count_images(tmp_path) == 3
    assert count_images(tmp_path / "gone") == 0
