"""The commands as they are typed: exit status, one clear line, JSON."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Editvec = Callable[..., int]
MakePictures = Callable[..., Path]


def test_a_run_ends_with_0_and_tells_where_to_look(
    run_editvec: Editvec,
    make_pictures: MakePictures,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, out = make_pictures(2), tmp_path / "out"

    assert run_editvec("batch", "run", source, out, "--edit", "smile=1") == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("completed: 2 items, 2 done")
    assert lines[1] == f"report {out / 'report.html'}"
    assert run_editvec("batch", "run", source, out, "--edit", "smile=1") == 0
    assert "nothing to do for run" in capsys.readouterr().err


def test_failed_items_make_the_exit_status_3_every_time(
    run_editvec: Editvec, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source, out = make_pictures(2), tmp_path / "out"
    (source / "bad.png").write_bytes(b"no picture")

    assert run_editvec("batch", "run", source, out, "--edit", "smile=1") == 3
    assert run_editvec("batch", "run", source, out, "--edit", "smile=1") == 3


def test_what_runs_say_about_themselves_is_json(
    run_editvec: Editvec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("batch", "generate", tmp_path / "out", "--class", "tiny", "--count", "2", "--json")

    assert run_editvec(*words, "--edit", "smile=1") == 0
    made: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert made["counts"]["done"] == 4
    assert made["recipes"] == ["source", "smile+1.00"]

    assert run_editvec("batch", "list", "--json") == 0
    assert json.loads(capsys.readouterr().out) == [made]
    assert run_editvec("batch", "status", made["run_id"][:8], "--json") == 0
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert {**shown, **made, "chunks": {"done": 1}} == shown
    assert run_editvec("batch", "audit", made["run_id"], "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "run_id": made["run_id"],
        "items": 4,
        "problems": [],
    }
    assert run_editvec("batch", "cancel", made["run_id"]) == 0
    assert "is over already: completed" in capsys.readouterr().out


def test_the_list_says_what_its_columns_are(
    run_editvec: Editvec,
    make_pictures: MakePictures,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_editvec("batch", "list") == 0
    assert capsys.readouterr().out == ""
    assert run_editvec("batch", "run", make_pictures(2), tmp_path / "out", "--edit", "smile=1") == 0
    capsys.readouterr()

    assert run_editvec("batch", "list") == 0

    header, row = capsys.readouterr().out.splitlines()
    names = ["RUN", "PLANNED", "(UTC)", "KIND", "STATE", "ITEMS", "OUTPUT", "FOLDER"]
    assert header.split() == names
    assert row.split()[-4:] == ["batch", "completed", "2/2", str(tmp_path / "out")]


def test_a_full_disk_says_that_the_run_is_paused_and_how_it_goes_on(
    run_editvec: Editvec,
    make_pictures: MakePictures,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def write(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    words = ("batch", "run", make_pictures(2), tmp_path / "out", "--edit", "smile=1")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        assert run_editvec(*words) == 1

    told = capsys.readouterr().err
    assert "is paused; with room again, the same command continues it" in told
    assert "error: output folder: no space left for" in told
    assert run_editvec(*words) == 0


def test_an_audit_that_finds_something_ends_with_1(
    run_editvec: Editvec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    run_editvec("batch", "generate", out, "--count", "1", "--json")
    run_id = json.loads(capsys.readouterr().out)["run_id"]
    next(out.glob("images/source/*.png")).unlink()

    assert run_editvec("batch", "audit", run_id) == 1
    assert "missing: images/source/seed-0-000000.png" in capsys.readouterr().out


def test_a_run_is_planned_cancelled_and_then_over(
    run_editvec: Editvec,
    make_pictures: MakePictures,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, out = make_pictures(2), tmp_path / "out"
    monkeypatch.setenv("EDITVEC_BROKER_URL", "redis://127.0.0.1:1/0")
    words = ("batch", "run", source, out, "--edit", "smile=1")
    assert run_editvec(*words, "--workers", "celery") == 1
    assert "does not answer" in capsys.readouterr().err
    run_editvec("batch", "list", "--json")
    (run,) = json.loads(capsys.readouterr().out)
    assert run["state"] == "planned"

    assert run_editvec("batch", "cancel", run["run_id"]) == 0

    assert "cancelled: 2 items, 2 cancelled" in capsys.readouterr().out
    assert run_editvec(*words) == 1
    assert "which was cancelled" in capsys.readouterr().err


def test_a_planned_run_can_be_resumed_by_its_id(
    run_editvec: Editvec,
    make_pictures: MakePictures,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EDITVEC_BROKER_URL", "redis://127.0.0.1:1/0")
    words = ("batch", "run", make_pictures(2), tmp_path / "out", "--edit", "smile=1")
    run_editvec(*words, "--workers", "celery")
    run_editvec("batch", "list", "--json")
    run_id = json.loads(capsys.readouterr().out)[0]["run_id"]

    assert run_editvec("batch", "resume", run_id[:8]) == 0

    assert "completed: 2 items, 2 done" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "status", "complaint"),
    [
        (["IN", "OUT", "--edit", "smile=big"], 1, "a number as the scale, got 'big'"),
        (["IN", "OUT", "--edit", "smile=nan"], 1, "got 'nan'"),
        (["IN", "OUT", "--edit", "sneer=1"], 1, "sneer"),
        (["IN", "OUT", "--edit", "smile=1", "--class", "cars"], 1, "cars"),
        (["IN", "IN/out", "--edit", "smile=1"], 1, "inside the input folder"),
        (["nowhere", "OUT", "--edit", "smile=1"], 1, "does not exist"),
        (["IN", "OUT", "--edit", "smile=1", "--embed", "magic"], 1, "embed: expected encoder"),
        (["IN", "OUT", "--edit", "smile=1", "--device", "warp"], 1, "device"),
        (["IN", "OUT", "--edit", "smile=1", "--mode", "optimize"], 2, "needs --masks"),
        (["IN", "OUT", "--edit", "smile=1", "--masks", "IN"], 2, "needs --masks"),
        (["IN", "OUT", "--edit", "smile=1", "--chunk-size", "0"], 2, "--chunk-size"),
        (["IN"], 2, "OUT"),
    ],
)
def test_what_is_wrong_is_told_in_one_line_and_writes_nothing(
    run_editvec: Editvec,
    make_pictures: MakePictures,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    status: int,
    complaint: str,
) -> None:
    make_pictures(1, folder="IN")
    monkeypatch.chdir(tmp_path)

    assert run_editvec("batch", "run", *words) == status

    errors = capsys.readouterr().err
    assert complaint in errors
    assert "Traceback" not in errors
    assert status == 2 or len(errors.strip().splitlines()) == 1
    assert not (tmp_path / "OUT/images").exists()
    assert not (tmp_path / "IN/out").exists()


def test_a_mask_folder_drives_mode_optimize(
    run_editvec: Editvec, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source = make_pictures(1)
    masks = tmp_path / "masks"
    masks.mkdir()
    Image.fromarray(np.full((32, 32), 4, np.uint8)).save(masks / "0.png")
    words = ("--mode", "optimize", "--masks", masks, "--roi", "mouth", "--optimize-steps", "1")

    assert run_editvec("batch", "run", source, tmp_path / "out", *words) == 0
    assert (tmp_path / "out/images/optimize/0.png").exists()


def test_an_unmigrated_database_is_named(
    run_editvec: Editvec,
    make_pictures: MakePictures,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("EDITVEC_DATABASE_URL", f"sqlite:///{tmp_path}/other.db")

    assert run_editvec("batch", "run", make_pictures(1), tmp_path / "out", "--edit", "a=1") == 1
    assert "editvec db upgrade" in capsys.readouterr().err


def test_resuming_a_finished_run_says_that_there_is_nothing_to_do(
    run_editvec: Editvec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    run_editvec("batch", "generate", out, "--count", "1", "--json")
    run_id = json.loads(capsys.readouterr().out)["run_id"]
    made = {path: path.stat().st_mtime_ns for path in out.rglob("*")}

    assert run_editvec("batch", "resume", run_id) == 0

    printed = capsys.readouterr()
    assert printed.err.startswith(f"nothing to do for run {run_id[:8]} of ")
    assert "1 done" in printed.out
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == made
