"""The options --format and --write as they are typed, here and on a worker."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import editvec.cli
from editvec.batch.reports.audit import audit
from editvec.batch.runs.store import Runs
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from tests.support.folder_runs import rows
from tests.support.worker_processes import start, worker

MakePictures = Callable[..., Path]


@pytest.mark.parametrize("output", ["imagefolder", "coco", "webdataset"])
def test_run_json_records_format_and_output(
    home: Path, make_pictures: MakePictures, tmp_path: Path, output: str
) -> None:
    words = ["--home", str(home), "batch", "run", str(make_pictures(2)), str(tmp_path / "out")]

    status = editvec.cli.main([*words, "--edit", "smile=1", "--format", "webp", "--write", output])

    assert status == 0
    settings = json.loads((tmp_path / "out/run.json").read_text())["settings"]
    assert (settings["image_format"], settings["output"]) == ("webp:90", output)
    assert all(row["file_name"].endswith(".webp") for row in rows(tmp_path / "out"))


@pytest.mark.parametrize("command", ["run", "generate"])
def test_the_help_tells_what_a_lossy_format_costs(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert editvec.cli.main(["batch", command, "--help"]) == 0

    words = " ".join(capsys.readouterr().out.split())
    assert "pixels that no edit may touch then differ from the input" in words


def test_an_unknown_format_is_told_in_one_line_before_anything_is_written(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--home", str(home), "batch", "generate", str(tmp_path / "out"), "--count", "1"]

    assert editvec.cli.main([*words, "--format", "gif"]) == 1

    errors = capsys.readouterr().err
    assert len(errors.splitlines()) == 1
    assert "format: expected png, jpeg[:Q], webp[:Q] or webp:lossless" in errors
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_worker_packs_shards(home: Path, make_pictures: MakePictures, tmp_path: Path) -> None:
    source, out = make_pictures(6), tmp_path / "out"
    words = ("batch", "run", source, out, "--edit", "smile=0:1:2", "--chunk-size", "2")
    options = ("--format", "jpeg", "--write", "webdataset", "--workers", "celery")

    with worker(home):
        process = start(home, *words, *options)
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors + (home / "worker.log").read_text()

    assert [shard["samples"] for shard in rows(out, "shards.jsonl")] == [4, 4, 4]
    with Library.open(RegistryConfig.for_home(home)) as library:
        (run,) = Runs(library.engine).latest()
        assert audit(library, run).problems == []
