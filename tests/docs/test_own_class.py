"""The page about classes of one's own is true: every block is run in order."""

import os
from pathlib import Path

import pytest

from tests.support.console_blocks import (
    ROOT,
    Shell,
    blocks_of,
    failures,
    like_a_checkout,
    require_none,
)

PAGE = ROOT / "docs" / "own-class.md"


def _require_true(folder: Path, monkeypatch: pytest.MonkeyPatch, *, with_trainings: bool) -> None:
    work = like_a_checkout(folder / "work", monkeypatch)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    shell = Shell(work, dict(os.environ))
    blocks = [one for one in blocks_of(PAGE) if with_trainings or one.needs != "more"]
    found = failures(blocks, shell, {})
    shell.close()
    require_none(found)


def test_every_block_is_run_and_every_picture_is_there() -> None:
    assert {(block.language, block.needs) for block in blocks_of(PAGE)} == {
        ("console", ""),
        ("console", "more"),
    }
    pictures = [line.split("](")[1].rstrip(")") for line in PAGE.read_text().splitlines()
                if line.startswith("![")]  # fmt: skip
    assert len(pictures) >= 3
    assert [one for one in pictures if not (PAGE.parent / one).is_file()] == []


def test_what_the_page_shows_before_any_training_is_what_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _require_true(tmp_path, monkeypatch, with_trainings=False)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_of_the_way_to_edited_photographs_is_what_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _require_true(tmp_path, monkeypatch, with_trainings=True)
