"""The page about masks is true: every block is run in order, as a reader would."""

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

PAGE = ROOT / "docs" / "masks.md"


def _require_true(folder: Path, monkeypatch: pytest.MonkeyPatch, *, with_learning: bool) -> None:
    shell = Shell(like_a_checkout(folder / "work", monkeypatch), dict(os.environ))
    blocks = [one for one in blocks_of(PAGE) if with_learning or one.needs != "more"]
    found = failures(blocks, shell, {})
    shell.close()
    require_none(found)


def test_what_the_page_shows_of_masks_is_what_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _require_true(tmp_path, monkeypatch, with_learning=False)


@pytest.mark.slow
def test_all_that_the_page_shows_is_what_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _require_true(tmp_path, monkeypatch, with_learning=True)
