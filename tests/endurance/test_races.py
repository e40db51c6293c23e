"""Holders, ends and processes that come at once: one of them wins, and nothing is twice."""

import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, update

from editvec.batch.chunks.images import ChunkProcessor
from editvec.batch.errors import LeaseLostError
from editvec.batch.execution.local import run_locally
from editvec.batch.reports.audit import audit
from editvec.batch.runs.inputs import sampled_inputs
from editvec.batch.runs.leases import Leases
from editvec.batch.runs.models import Chunk
from editvec.batch.runs.owner import Owner
from editvec.batch.runs.planning import open_run
from editvec.batch.runs.store import Runs
from editvec.engine.editor import Editor
from editvec.registry.library.library import Library
from editvec.registry.tables.database import now, transaction
from tests.batch.runs.test_store import ME, plan, planned, results
from tests.support.folder_runs import do, request, rows
from tests.support.places import ROOT

MakePictures = Callable[..., Path]


def race(*runners: Callable[[], object]) -> None:
    """Does all of it at the same time."""
    barrier = threading.Barrier(len(runners))

    def begin(runner: Callable[[], object]) -> None:
        barrier.wait()
        runner()

    threads = [threading.Thread(target=begin, args=(runner,)) for runner in runners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(
    "inputs", [pytest.param(200, id="200"), pytest.param(12_500, id="50k", marks=pytest.mark.slow)]
)
def test_whoever_finishes_the_last_chunk_learns_that_the_run_is_over(
    database: Engine, tmp_path: Path, inputs: int
) -> None:
    runs, leases = Runs(database), Leases(database)
    wanted = plan(tmp_path, recipes=4, chunk_size=64)
    run = runs.create(wanted, sampled_inputs(inputs, 0))
    held = []
    while (lease := leases.claim(run.id, ME)) is not None:
        held.append(lease)
    for lease in held[:-2]:
        leases.finish(lease, results(lease, recipes=4), {})
    assert runs.final_state(run.id) is None
    seen = []

    def finish(number: int) -> None:
        leases.finish(held[number], results(held[number], recipes=4), {})
        seen.append(runs.final_state(run.id))

    race(lambda: finish(-1), lambda: finish(-2))

    assert "completed" in seen
    assert set(seen) <= {None, "completed"}
    assert runs.counts(run.id).done == runs.counts(run.id).total == 4 * inputs


def test_the_last_two_chunks_may_end_at_once_again_and_again(
    database: Engine, tmp_path: Path
) -> None:
    for number in range(15):
        run = planned(database, tmp_path / str(number), inputs=2, chunk_size=1)
        runs, leases = Runs(database), Leases(database)
        held = [leases.claim(run.id, ME) for _ in range(2)]
        closed = []

        def finish(number: int) -> None:
            lease = held[number]  # noqa: B023 (called in this turn of the loop)
            assert lease is not None
            leases.finish(lease, results(lease), {})  # noqa: B023
            if (state := runs.final_state(run.id)) is not None:  # noqa: B023
                closed.append(runs.close(run.id, state).state)  # noqa: B023

        race(lambda: finish(0), lambda: finish(1))

        assert closed
        assert set(closed) == {"completed"}
        assert runs.get(run.id).is_finished


CLAIMING = """
import sys
from pathlib import Path
from editvec.batch.runs.leases import Leases
from editvec.batch.runs.owner import Owner
from editvec.registry.tables.database import open_engine
from tests.batch.runs.test_store import results

leases, owner = Leases(open_engine(sys.argv[1])), Owner.current()
sys.stdin.readline()
while (lease := leases.claim(sys.argv[2], owner)) is not None:
    leases.heartbeat(lease, results(lease, recipes=2)[::2])
    leases.finish(lease, results(lease, recipes=2)[1::2], {lease.first_input: "d" * 64})
"""


@pytest.mark.slow
def test_eight_processes_record_twenty_thousand_items_without_a_lock_error(
    database: Engine, tmp_path: Path
) -> None:
    run = Runs(database).create(plan(tmp_path, chunk_size=16), sampled_inputs(10_000, 0))
    url = database.url.render_as_string(hide_password=False)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIMING, url, run.id],
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(8)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=300)[1] for process in processes]

    assert said == [""] * 8
    assert [process.returncode for process in processes] == [0] * 8
    assert Runs(database).counts(run.id).done == 20_000
    assert Runs(database).final_state(run.id) == "completed"
    claimed = Runs(database).chunk_states(run.id)
    assert claimed == {"done": 625}


# --- two holders of one chunk ---


def test_a_holder_whose_lease_ended_while_it_worked_writes_nothing_more(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source, out = make_pictures(12), tmp_path / "out"
    wanted = request(source, out, "smile=0:1:2", chunk_size=12)
    opened = open_run(library, wanted)
    stands, goes_on = threading.Event(), threading.Event()
    told: list[BaseException] = []

    def stand_still(_count: int) -> None:
        stands.set()
        assert goes_on.wait(60)

    def work_slowly() -> None:
        model = library.get_class("tiny")
        editor = Editor.open(library.materialise_bundle(model))
        run = Runs(library.engine).get(opened.run.id)
        with ChunkProcessor(library, editor, run, mini_batch=4, on_items=stand_still) as processor:
            lease = Leases(library.engine).claim(run.id, Owner.current())
            assert lease is not None
            try:
                processor.process(lease)
            except LeaseLostError as exc:
                told.append(exc)

    slow = threading.Thread(target=work_slowly)
    slow.start()
    assert stands.wait(60)
    with transaction(library.engine) as session:
        past = now() - timedelta(seconds=1)
        session.execute(update(Chunk).values(lease_expires_at=past))
    run = do(library, wanted)
    made = {path: path.read_bytes() for path in out.rglob("*.png")}
    listed = rows(out)
    goes_on.set()
    slow.join()

    assert len(told) == 1
    assert Runs(library.engine).counts(run.id).done == 24
    assert {path: path.read_bytes() for path in out.rglob("*.png")} == made
    assert rows(out) == listed
    assert audit(library, run).problems == []


DYING = """
import os, sys
from pathlib import Path
from editvec.batch.runs.leases import Leases
from editvec.batch.runs.owner import Owner
from editvec.registry.tables.database import open_engine

leases = Leases(open_engine(sys.argv[1]))
while (lease := leases.claim(sys.argv[2], Owner.current())) is not None:
    pass
os.kill(os.getpid(), 9)
"""


def test_a_run_whose_last_lease_went_with_its_holder_ends(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    opened = open_run(library, request(make_pictures(4), tmp_path / "out", "smile=1", chunk_size=2))
    url = library.engine.url.render_as_string(hide_password=False)
    subprocess.run([sys.executable, "-c", DYING, url, opened.run.id], cwd=ROOT, check=False)
    assert Runs(library.engine).chunk_states(opened.run.id) == {"leased": 2}

    run = run_locally(library, opened.run)

    assert run.state == "completed"
    assert audit(library, run).problems == []
