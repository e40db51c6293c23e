"""Runs in this process that are stopped, raced or robbed of their folder, and what is left."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from editvec.batch.errors import DiskFullError, PlanError, RunConflictError
from editvec.batch.execution.local import Progress, run_locally
from editvec.batch.recipes.settings import Space
from editvec.batch.reports.audit import audit
from editvec.batch.runs.entities import RunRecord
from editvec.batch.runs.planning import open_run
from editvec.batch.runs.store import Runs
from editvec.registry.config import RegistryConfig
from editvec.registry.entities.vectors import NewVector
from editvec.registry.library.library import Library
from editvec.registry.tables.schema import upgrade
from tests.support.folder_runs import do, request, rows

MakePictures = Callable[..., Path]


def test_a_full_disk_pauses_the_run_and_room_resumes_it(
    library: Library, make_pictures: MakePictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    wanted = request(make_pictures(6), out, "smile=1", chunk_size=2)
    opened = open_run(library, wanted)
    real_write, room = os.write, [6_000]

    def write(descriptor: int, data: bytes) -> int:
        room[0] -= len(data)
        if room[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real_write(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(DiskFullError, match="no space left"):
            run_locally(library, opened.run)
    paused = Runs(library.engine).get(opened.run.id)
    assert paused.state == "paused"
    assert "no space left" in str(paused.reason)
    assert Runs(library.engine).chunk_states(paused.id).get("leased") is None

    finished = do(library, wanted)

    assert finished.state == "completed"
    assert audit(library, finished).problems == []


def test_a_process_that_ends_while_it_writes_the_manifests_leaves_a_run_that_can_be_finished(
    library: Library, make_pictures: MakePictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import editvec.batch.reports.completion

    out = tmp_path / "out"
    wanted = request(make_pictures(2), out, "smile=1")

    def interrupted(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(editvec.batch.reports.completion, "write_report", interrupted)
        with pytest.raises(KeyboardInterrupt):
            do(library, wanted)
    assert not Runs(library.engine).latest()[0].is_finished

    run = do(library, wanted)

    assert run.state == "completed"
    assert (out / "report.html").exists()
    assert audit(library, run).problems == []


def test_two_commands_at_once_share_one_run(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    wanted = request(make_pictures(12), tmp_path / "out", "smile=1", chunk_size=1)
    opened = open_run(library, wanted)
    ended: list[RunRecord] = []
    threads = [
        threading.Thread(target=lambda: ended.append(run_locally(library, opened.run)))
        for _ in range(2)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [run.state for run in ended] == ["completed", "completed"]
    assert ended[0] == ended[1]
    assert audit(library, ended[0]).problems == []


def test_an_output_folder_that_cannot_be_made_is_named(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(PlanError, match=r"output folder: cannot make .*Not a directory"):
        open_run(library, request(make_pictures(1), tmp_path / "file/out", "smile=1"))


@pytest.mark.parametrize("space", ["W", "W+"])
def test_embedding_stops_where_its_target_is_reached(
    library: Library, make_pictures: MakePictures, tmp_path: Path, space: str
) -> None:
    out = tmp_path / "out"

    do(library, request(make_pictures(2), out, "smile=1", embed="target:1", space=Space(space)))

    steps = [row["metrics"]["reconstruction"]["num_steps"] for row in rows(out)]
    assert all(count < 5 for count in steps)


def test_a_cancelled_run_begins_no_further_mini_batch(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    opened = open_run(library, request(make_pictures(12), out, "smile=1", chunk_size=8))
    runs = Runs(library.engine)

    def on_progress(progress: Progress) -> None:
        runs.request_cancel(opened.run.id)

    run = run_locally(library, opened.run, mini_batch=2, on_progress=on_progress)

    counts = runs.counts(run.id)
    assert run.state == "cancelled"
    assert counts.finished == counts.total == 12
    assert 1 <= counts.done <= 8
    assert len(rows(out)) == counts.done
    assert audit(library, run).problems == []
    with pytest.raises(RunConflictError, match="which was cancelled"):
        open_run(library, request(tmp_path / "in", out, "smile=1", chunk_size=8))


def test_a_run_whose_output_folder_was_removed_begins_anew(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    import shutil

    wanted = request(make_pictures(2), tmp_path / "out", "smile=1")
    first = do(library, wanted)
    shutil.rmtree(tmp_path / "out")

    second = do(library, wanted)

    assert second.id != first.id
    assert len(rows(tmp_path / "out")) == 2


def test_names_that_are_no_text_come_out_readable(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source = make_pictures(names=("new\nline.png", "😀.png", "x" * 251 + ".png"))
    odd = Path(os.fsdecode(os.fsencode(source) + b"/caf\xe9.png"))
    (source / "😀.png").rename(odd)

    run = do(library, request(source, tmp_path / "out", "smile=1"))

    assert run.state == "completed"
    names = [Path(row["file_name"]).name for row in rows(tmp_path / "out")]
    assert "caf%E9.png" in names
    assert "new%0Aline.png" in names
    assert audit(library, run).problems == []


@pytest.mark.services
def test_a_run_is_the_same_on_postgresql(
    tiny_bundle: Path, make_pictures: MakePictures, tmp_path: Path, postgresql_url: str
) -> None:
    config = RegistryConfig(
        home=tmp_path / "home", database_url=postgresql_url, blob_url=str(tmp_path / "blobs")
    )
    upgrade(config)
    source, out = make_pictures(5), tmp_path / "out"
    (source / "bad.png").write_bytes(b"no picture")
    with Library.open(config) as library:
        model = library.add_bundle(tiny_bundle)
        delta = np.ones((model.num_ws, model.w_dim), np.float32)
        library.add_vector(NewVector(class_name="tiny", name="smile", roi_labels=("mouth",)), delta)

        run = do(library, request(source, out, "smile=0:1:2", embed="steps:1", chunk_size=2))

        assert run.state == "completed_with_failures"
        assert Runs(library.engine).counts(run.id).done == 10
        assert audit(library, run).problems == []


def test_an_audit_names_what_is_missing_and_what_is_too_much(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run = do(library, request(make_pictures(2), out, "smile=1"))
    (out / "images/smile+1.00/0.png").unlink()
    (out / "masks/smile+1.00/extra.png").write_bytes(b"x")
    (out / "metadata.jsonl").write_text("")

    problems = audit(library, run).problems

    assert problems == [
        "missing: images/smile+1.00/0.png",
        "not recorded: masks/smile+1.00/extra.png",
        "not in metadata.jsonl: images/smile+1.00/0.png",
        "not in metadata.jsonl: images/smile+1.00/1.png",
    ]
