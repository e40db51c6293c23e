"""What an audit says of an image folder that somebody meddled with."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from editvec.batch.reports.audit import audit
from editvec.batch.runs.entities import RunRecord
from editvec.registry.library.library import Library
from tests.support.folder_runs import do, request

MakePictures = Callable[..., Path]


@pytest.fixture
def run(library: Library, make_pictures: MakePictures, tmp_path: Path) -> RunRecord:
    names = ("a.png", "b/c.png", "b/d/e.png")
    return do(library, request(make_pictures(names=names), tmp_path / "out", "smile=1"))


def test_missing_and_foreign_files_are_named_at_any_depth(library: Library, run: RunRecord) -> None:
    images = run.plan.output_folder / "images"
    assert audit(library, run).problems == []
    (images / "smile+1.00/b/d/e.png").unlink()
    (images / "new/deep").mkdir(parents=True)
    (images / "new/deep/x.png").write_bytes(b"")
    Path(os.fsdecode(os.fsencode(images) + b"/\xff.png")).write_bytes(b"")

    assert audit(library, run).problems == [
        "missing: images/smile+1.00/b/d/e.png",
        "not recorded: images/new/deep/x.png",
        "not recorded: images/\\xff.png",
    ]


def test_the_manifest_is_compared_row_by_row(library: Library, run: RunRecord) -> None:
    path = run.plan.output_folder / "metadata.jsonl"
    first, second, _ = path.read_text().splitlines(keepends=True)
    path.write_text(first + first + second.replace('"content_key": "', '"content_key": "x'))

    assert audit(library, run).problems == [
        "metadata.jsonl lists 1 images twice",
        "not in metadata.jsonl: images/smile+1.00/b/d/e.png",
        "of another content key in metadata.jsonl: images/smile+1.00/b/c.png",
    ]


@pytest.mark.parametrize("line", ["{}\n", "[]\n", '{"file_name": 1, "content_key": ""}\n', "{\n"])
def test_a_manifest_that_is_none_is_told_in_one_line(
    library: Library, run: RunRecord, line: str
) -> None:
    (run.plan.output_folder / "metadata.jsonl").write_text(line)

    (problem,) = audit(library, run).problems

    assert problem.startswith("metadata.jsonl cannot be read: ")
    assert "\n" not in problem


def test_many_problems_of_a_kind_are_counted(library: Library, run: RunRecord) -> None:
    folder = run.plan.output_folder / "masks/other"
    folder.mkdir()
    for number in range(25):
        (folder / f"{number:02}.png").write_bytes(b"")

    problems = audit(library, run).problems

    assert len(problems) == 21
    assert problems[-1] == "not recorded: 5 more"


def test_an_audit_of_images_does_not_load_torch() -> None:
    code = "import sys, editvec.batch.reports.audit; sys.exit('torch' in sys.modules)"

    subprocess.run([sys.executable, "-c", code], check=True)
