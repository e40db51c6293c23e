"""How a run is cut changes who computes what and when, and nothing about what comes out."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Engine, select
from torch import Tensor

from editvec.batch.chunks.images import ChunkProcessor
from editvec.batch.editing.reading import Decoded
from editvec.batch.errors import BatchError, LeaseLostError
from editvec.batch.recipes.settings import Output
from editvec.batch.reports.audit import audit
from editvec.batch.reports.completion import complete
from editvec.batch.runs.inputs import sampled_inputs
from editvec.batch.runs.leases import Lease, Leases
from editvec.batch.runs.models import Chunk
from editvec.batch.runs.owner import Owner
from editvec.batch.runs.planning import open_run
from editvec.batch.runs.store import Runs
from editvec.engine.editor import Editor
from editvec.registry.library.library import Library
from editvec.registry.tables.database import reading
from tests.batch.runs.test_pace import plan
from tests.support.folder_runs import do, request, rows

MakePictures = Callable[..., Path]
ME = Owner.current()


def stretches(engine: Engine, run_id: str) -> list[tuple[int, int, str]]:
    """First input, number of inputs and state of every chunk, in the order of their positions."""
    with reading(engine) as session:
        query = select(Chunk).where(Chunk.run_id == run_id).order_by(Chunk.position)
        return [(one.first_input, one.input_count, one.state) for one in session.scalars(query)]


def slow_processor(library: Library, run_id: str) -> ChunkProcessor:
    """Processes inputs one by one, in 10 s each by its clock."""
    run = Runs(library.engine).get(run_id)
    model = library.get_class(run.plan.class_address)
    editor = Editor.open(library.materialise_bundle(model))
    seconds = 0.0
    made = ChunkProcessor(library, editor, run, mini_batch=1, clock=lambda: seconds)
    images_of = made.maker.images_of

    def slow_images_of(inputs: Sequence[Decoded]) -> Tensor:
        nonlocal seconds
        seconds += 10.0
        return images_of(inputs)

    made.maker.images_of = slow_images_of  # type: ignore[method-assign]
    return made


def work_through(library: Library, run_id: str) -> list[Lease]:
    """Does a run slowly, and returns the leases as they ended."""
    leases, ended = Leases(library.engine), []
    with slow_processor(library, run_id) as at_work:
        while (lease := leases.claim(run_id, ME)) is not None:
            ended.append(at_work.process(lease))
    run = Runs(library.engine).get(run_id)
    state = Runs(library.engine).final_state(run_id)
    assert state == "completed"
    assert audit(library, complete(library, run, state)).problems == []
    return ended


def test_what_would_take_too_long_is_left_to_others(
    library: Library,
    make_pictures: MakePictures,
    tmp_path: Path,
) -> None:
    run = open_run(library, request(make_pictures(20), tmp_path / "out", "smile=0:1:2")).run
    assert stretches(library.engine, run.id) == [(0, 20, "pending")]

    ended = work_through(library, run.id)

    found = stretches(library.engine, run.id)
    assert [(lease.first_input, lease.input_count) for lease in ended] == [
        (first, inputs) for first, inputs, _ in found
    ]
    assert found == [
        (0, 4, "done"),
        (4, 4, "done"),
        (8, 4, "done"),
        (12, 4, "done"),
        (16, 4, "done"),
    ]
    assert len(rows(tmp_path / "out")) == 40


@pytest.mark.parametrize("settings", [{"chunk_size": 20}, {"output": Output.WEBDATASET}])
def test_a_size_that_was_chosen_is_kept(
    library: Library,
    make_pictures: MakePictures,
    tmp_path: Path,
    settings: dict[str, object],
) -> None:
    wanted = request(make_pictures(20), tmp_path / "out", "smile=1", **settings)
    run = open_run(library, wanted).run

    work_through(library, run.id)

    assert stretches(library.engine, run.id) == [(0, 20, "done")]


def test_the_rest_is_announced_at_once(
    library: Library,
    make_pictures: MakePictures,
    tmp_path: Path,
) -> None:
    run = open_run(library, request(make_pictures(20), tmp_path / "out", "smile=1")).run
    leases, waiting = Leases(library.engine), []
    lease = leases.claim(run.id, ME)
    assert lease is not None

    with slow_processor(library, run.id) as at_work:
        at_work.on_cut = lambda: waiting.append(leases.pending_chunks(run.id))
        at_work.process(lease)

    assert [len(some) for some in waiting] == [4]


def test_no_content_key_depends_on_how_a_run_is_cut(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source, found = make_pictures(5), []
    for number, (chunk_size, mini_batch) in enumerate([(1, 16), (3, 2), (64, 1), (0, 4)]):
        out = tmp_path / str(number)
        wanted = request(source, out, "smile=0:1:2", "frown=0.5", chunk_size=chunk_size)
        do(library, wanted, mini_batch=mini_batch)
        found.append({(row["source"], row["recipe"]): row["content_key"] for row in rows(out)})

    assert len(set(found[0].values())) == 10
    assert found[1:] == found[:1] * 3


# --- the lease, on SQLite and on PostgreSQL ---


def test_a_shorter_lease_leaves_the_rest_as_chunks_that_anybody_may_take(
    database: Engine, tmp_path: Path
) -> None:
    runs, leases = Runs(database), Leases(database)
    run = runs.create(plan(kind="generate", chunk_size=10), sampled_inputs(12, 0))
    lease = leases.claim(run.id, ME)
    assert lease is not None

    shorter = leases.cut(lease, first_input=3, size=4)

    assert (shorter.token, shorter.input_count) == (lease.token, 3)
    assert stretches(database, run.id) == [
        (0, 3, "leased"),
        (10, 2, "pending"),
        (3, 4, "pending"),
        (7, 3, "pending"),
    ]
    leases.finish(shorter, [], {})
    assert [leases.claim(run.id, ME) is not None for _ in range(4)] == [True, True, True, False]


def test_a_lease_that_was_lost_cuts_nothing(database: Engine, tmp_path: Path) -> None:
    runs, leases = Runs(database), Leases(database, lease_seconds=-1)
    run = runs.create(plan(kind="generate", chunk_size=10), sampled_inputs(10, 0))
    lease = leases.claim(run.id, ME)
    assert lease is not None
    leases.reap(run.id)

    with pytest.raises(LeaseLostError):
        leases.cut(lease, first_input=3, size=4)

    assert stretches(database, run.id) == [(0, 10, "pending")]


def test_a_run_that_is_cancelled_as_it_is_cut_accounts_for_every_item(
    database: Engine, tmp_path: Path
) -> None:
    runs, leases = Runs(database), Leases(database)
    run = runs.create(plan(kind="generate", chunk_size=10), sampled_inputs(10, 0))
    lease = leases.claim(run.id, ME)
    assert lease is not None
    runs.request_cancel(run.id)

    leases.give_back(leases.cut(lease, first_input=3, size=4))

    assert runs.final_state(run.id) == "cancelled"
    counts = runs.counts(run.id)
    assert (counts.cancelled, counts.total) == (10, 10)


def test_eight_who_cut_at_once_give_every_input_to_one_chunk(
    database: Engine, tmp_path: Path
) -> None:
    runs, leases = Runs(database), Leases(database)
    run = runs.create(plan(kind="generate", chunk_size=8), sampled_inputs(64, 0))
    held = [leases.claim(run.id, ME) for _ in range(8)]
    ready, errors = threading.Barrier(8), []

    def cut(lease: Lease | None) -> None:
        assert lease is not None
        ready.wait()
        try:
            leases.cut(lease, first_input=lease.first_input + 2, size=2)
        except BatchError as exc:
            errors.append(exc)

    threads = [threading.Thread(target=cut, args=(lease,)) for lease in held]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    found = stretches(database, run.id)
    assert sorted(p for first, n, _ in found for p in range(first, first + n)) == list(range(64))
    assert len(found) == 8 * 4
