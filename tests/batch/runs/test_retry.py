"""Retrying what failed, and only that."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from editvec.batch.reports.audit import audit
from editvec.batch.runs.entities import RunRecord
from editvec.batch.runs.store import Runs
from editvec.registry.library.library import Library

MakePictures = Callable[..., Path]
Editvec = Callable[..., int]


def _only_run(library: Library) -> RunRecord:
    (run,) = Runs(library.engine).latest()
    return run


def test_retry_makes_again_what_failed_and_nothing_else(
    run_editvec: Editvec, make_pictures: MakePictures, tmp_path: Path, library: Library
) -> None:
    source, out = make_pictures(6), tmp_path / "out"
    good = (source / "3.png").read_bytes()
    (source / "3.png").write_bytes(b"no picture")
    words = ("batch", "run", source, out, "--edit", "smile=0:1:2", "--chunk-size", "4")
    assert run_editvec(*words) == 3
    run = _only_run(library)
    made_before = {path: path.stat().st_mtime_ns for path in out.glob("images/*/*.png")}
    (source / "3.png").write_bytes(good)

    assert run_editvec("batch", "retry", run.id[:8]) == 0

    run = _only_run(library)
    assert run.state == "completed"
    assert Runs(library.engine).counts(run.id).done == 12
    assert audit(library, run).problems == []
    assert {path: path.stat().st_mtime_ns for path in made_before} == made_before
    rows = [json.loads(line) for line in (out / "metadata.jsonl").read_text().splitlines()]
    assert len(rows) == 12
    assert (out / "failed.jsonl").read_text() == ""


def test_what_fails_again_stays_failed_with_its_reason(
    run_editvec: Editvec, make_pictures: MakePictures, tmp_path: Path, library: Library
) -> None:
    source, out = make_pictures(2), tmp_path / "out"
    (source / "bad.png").write_bytes(b"no picture")
    run_editvec("batch", "run", source, out, "--edit", "smile=1")
    run = _only_run(library)

    assert run_editvec("batch", "retry", run.id) == 3

    counts = Runs(library.engine).counts(run.id)
    assert (counts.done, counts.failed, counts.finished) == (2, 1, counts.total)
    assert audit(library, _only_run(library)).problems == []


def test_a_run_without_failures_has_nothing_to_retry(
    run_editvec: Editvec,
    make_pictures: MakePictures,
    tmp_path: Path,
    library: Library,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_editvec("batch", "run", make_pictures(1), tmp_path / "out", "--edit", "smile=1")
    run = _only_run(library)
    capsys.readouterr()

    assert run_editvec("batch", "retry", run.id) == 0

    shown = capsys.readouterr()
    assert "0 inputs are made again" in shown.err
    assert "completed: 1 items" in shown.out


@pytest.mark.parametrize("state", ["running", "cancelled"])
def test_an_open_or_cancelled_run_is_not_retried(
    state: str,
    run_editvec: Editvec,
    make_pictures: MakePictures,
    tmp_path: Path,
    library: Library,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_editvec("batch", "run", make_pictures(1), tmp_path / "out", "--edit", "smile=1")
    run = _only_run(library)
    _set_state(library, run.id, state)

    assert run_editvec("batch", "retry", run.id) == 1

    assert state in capsys.readouterr().err
    assert Runs(library.engine).get(run.id).state == state


def test_a_retry_while_a_later_run_is_active_in_the_folder_is_refused(
    run_editvec: Editvec,
    make_pictures: MakePictures,
    tmp_path: Path,
    library: Library,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, out = make_pictures(1), tmp_path / "out"
    (source / "bad.png").write_bytes(b"no picture")
    run_editvec("batch", "run", source, out, "--edit", "smile=1")
    first = _only_run(library)
    Runs(library.engine).create(first.plan, Runs(library.engine).inputs(first.id, 0, 1))

    assert run_editvec("batch", "retry", first.id) == 1

    assert "a later run is active" in capsys.readouterr().err
    assert Runs(library.engine).counts(first.id).failed == 1


def test_status_tells_workers_and_reasons(
    run_editvec: Editvec,
    make_pictures: MakePictures,
    tmp_path: Path,
    library: Library,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = make_pictures(3)
    for number in range(2):
        (source / f"bad{number}.png").write_bytes(b"no picture")
    run_editvec("batch", "run", source, tmp_path / "out", "--edit", "smile=1", "--chunk-size", "2")
    run = _only_run(library)
    capsys.readouterr()

    assert run_editvec("batch", "status", run.id, "--json") == 0
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert shown["workers"] == [
        {
            "name": f"{os.uname().nodename}:{os.getpid()} cpu",
            "chunks_done": 3,
            "inputs_done": 5,
            "chunk": None,
            "silent_seconds": None,
        }
    ]
    (reason,) = shown["reasons"]
    assert (reason["state"], reason["items"]) == ("failed", 2)
    assert shown["seconds_left"] is None

    assert run_editvec("batch", "status", run.id, "--watch") == 0
    text = capsys.readouterr().out
    assert "completed_with_failures: 5 items, 3 done, 2 failed" in text
    assert reason["reason"] in text


def test_detach_without_workers_is_refused(
    run_editvec: Editvec, make_pictures: MakePictures, tmp_path: Path
) -> None:
    words = ("batch", "run", make_pictures(1), tmp_path / "out", "--edit", "smile=1", "--detach")

    assert run_editvec(*words) == 2
    assert not (tmp_path / "out").exists()


def _set_state(library: Library, run_id: str, state: str) -> None:
    from sqlalchemy import update

    from editvec.batch.runs.models import Run
    from editvec.registry.tables.database import transaction

    with transaction(library.engine) as session:
        session.execute(update(Run).where(Run.id == run_id).values(state=state))


def test_a_run_that_failed_as_a_whole_is_retried_some_inputs_at_a_time(
    run_editvec: Editvec,
    make_pictures: MakePictures,
    tmp_path: Path,
    library: Library,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import editvec.batch.runs.retry

    source, out = make_pictures(5), tmp_path / "out"
    good = {path: path.read_bytes() for path in source.iterdir()}
    for path in good:
        path.write_bytes(b"no picture")
    assert run_editvec("batch", "run", source, out, "--edit", "smile=1", "--chunk-size", "2") == 3
    for path, data in good.items():
        path.write_bytes(data)
    monkeypatch.setattr(editvec.batch.runs.retry, "_POSITIONS_AT_A_TIME", 2)

    retried = editvec.batch.runs.retry.retry(library.engine, _only_run(library))

    assert retried == (5, 5)
    assert run_editvec("batch", "resume", _only_run(library).id) == 0
    assert Runs(library.engine).counts(_only_run(library).id).done == 5
