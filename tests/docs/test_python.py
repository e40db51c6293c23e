"""The page about Python is true: what a reader types is typed, what a reader sees is compared."""

import os
from pathlib import Path

import pytest

from tests.support.console_blocks import ROOT, Shell, blocks_of, failures, require_none

PAGE = ROOT / "docs" / "python.md"


def test_every_block_is_run() -> None:
    assert {block.language for block in blocks_of(PAGE)} == {"python"}


@pytest.mark.slow
def test_what_the_page_shows_is_what_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shell = Shell(tmp_path, dict(os.environ))

    require_none(failures(blocks_of(PAGE), shell, {}))

    shell.close()
