"""What takes longer than its message's limit: the process is killed, the input alone pays."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from editvec.batch.recipes.settings import broker_url
from editvec.batch.reports.audit import audit
from editvec.batch.runs.leases import Leases
from editvec.batch.runs.owner import Owner
from editvec.batch.runs.pace import SHORTEST_LIMIT_SECONDS
from editvec.batch.runs.planning import open_run
from editvec.batch.runs.store import Runs
from editvec.batch.workers.app import create_app
from editvec.batch.workers.tasks import WorkerState, publish_waiting
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from tests.support.folder_runs import request, rows
from tests.support.worker_processes import ROOT, start, worker

MakePictures = Callable[..., Path]
# A worker that loads everything before its limits count, and meets an input that never ends.
IMPATIENT = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
import editvec.batch.runs.pace, editvec.batch.recipes.settings
editvec.batch.runs.pace.LONGEST_LIMIT_SECONDS = 8
editvec.batch.recipes.settings.REAP_SECONDS = 1.0
import editvec.batch.reports.completion, editvec.batch.chunks.images, editvec.cli
decode = editvec.batch.chunks.images.decode
def decode_for_ever(plan, planned, **options):
    if planned.source == "2.png":
        time.sleep(3600)
    return decode(plan, planned, **options)
editvec.batch.chunks.images.decode = decode_for_ever
sys.exit(editvec.cli.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_an_input_that_never_ends_is_quarantined_alone(
    home: Path, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source, out = make_pictures(4), tmp_path / "out"
    words = ("batch", "run", source, out, "--edit", "smile=1", "--workers", "celery")
    planned = start(home, *words, "--detach", program=IMPATIENT)
    run_id, errors = planned.communicate(timeout=120)
    assert planned.returncode == 0, errors

    with worker(home, program=IMPATIENT):
        watching = start(home, "batch", "status", run_id.strip(), "--watch")
        watching.communicate(timeout=300)

    log = (home / "worker.log").read_text()
    with Library.open(RegistryConfig.for_home(home)) as library:
        run = Runs(library.engine).get(run_id.strip())
        counts = Runs(library.engine).counts(run.id)
        assert (run.state, counts.done, counts.quarantined) == ("completed_with_failures", 3, 1), (
            log
        )
        (row,) = Runs(library.engine).items(run.id, states=["quarantined"])
        assert row.input.source == "2.png"
        assert row.reason == "the worker died 3 times on this input"
        assert audit(library, run).problems == []
    assert [row["source"] for row in rows(out)] == ["0.png", "1.png", "3.png"]
    assert log.count("a chunk took longer than its limit") == 6, "three for all, three for one"


def headers_of(home: Path) -> list[dict[str, Any]]:
    """What the messages in the folder say of themselves."""
    folder = home / "broker/messages"
    return [json.loads(path.read_text())["headers"] for path in sorted(folder.glob("*.msg"))]


def test_a_message_carries_the_limit_of_its_chunk(
    home: Path, library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    app, leases = create_app(broker_url(home)), Leases(library.engine, lease_seconds=-1)
    wanted = request(make_pictures(2), tmp_path / "out", "smile=1", chunk_size=1)
    run = open_run(library, wanted).run
    leases.claim(run.id, Owner.current())
    leases.reap(run.id)

    publish_waiting(app, library, run)

    limits = [headers["timelimit"] for headers in headers_of(home)]
    assert limits == [[2 * SHORTEST_LIMIT_SECONDS, None], [SHORTEST_LIMIT_SECONDS, None]]


def test_a_chunk_that_needs_half_of_its_limit_is_given_back_and_announced(
    home: Path, library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    wanted = request(make_pictures(3), tmp_path / "out", "smile=1", chunk_size=3)
    run = open_run(library, wanted).run
    (chunk,) = Leases(library.engine).pending_chunks(run.id)
    state, announced = WorkerState(RegistryConfig.for_home(home), device="cpu"), []
    state.publish = lambda run: announced.append(run.id)

    state.process_chunk(run.id, chunk, limit_seconds=0)

    assert announced == [run.id]
    assert Runs(library.engine).chunk_states(run.id) == {"pending": 1}
    state.process_chunk(run.id, chunk, limit_seconds=600)
    assert Runs(library.engine).get(run.id).state == "completed"


def test_who_leaves_slow_work_to_workers_is_told_of_their_limit(
    run_editvec: Callable[..., int],
    make_pictures: MakePictures,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, options = make_pictures(1), ("--mode", "refine", "--refine-steps", "10000")
    detached = (*options, "--workers", "celery", "--detach")

    assert run_editvec("batch", "run", source, tmp_path / "a", "--edit", "smile=1", *detached) == 0
    assert capsys.readouterr().err == ""
    sweep = ("--edit", "smile=0:1:9")
    assert run_editvec("batch", "run", source, tmp_path / "b", *sweep, *detached) == 0
    assert "one input may take longer than 25 min on a CPU" in capsys.readouterr().err
