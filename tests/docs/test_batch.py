"""The page about runs is true: every block is run in order, as a reader would."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.console_blocks import (
    FILES,
    LANGUAGES,
    ROOT,
    Shell,
    blocks_of,
    failures,
    like_a_checkout,
    require_none,
)

PAGE = ROOT / "docs" / "batch.md"
pytestmark = [
    # of pycocotools itself, with numpy 2
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    # a page need not close what it reads a line of
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
]


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """A shell in a folder like a checkout, without servers and without a network."""
    folder = like_a_checkout(tmp_path / "work", monkeypatch)
    for name in ("EDITVEC_DATABASE_URL", "EDITVEC_BLOB_URL", "EDITVEC_BROKER_URL"):
        monkeypatch.delenv(name, raising=False)
    import datasets  # here, because it takes a second

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    shell = Shell(folder, dict(os.environ))
    yield shell
    shell.close()


def require_true(needs: set[str], shell: Shell) -> None:
    blocks = [block for block in blocks_of(PAGE) if block.needs in needs or block.language in FILES]
    require_none(failures(blocks, shell, {}))


def test_every_block_is_of_a_language_that_is_run() -> None:
    blocks = blocks_of(PAGE)

    assert {block.language for block in blocks} <= set(LANGUAGES) - {"text"}
    assert {block.needs for block in blocks if block.language not in FILES} == {"", "more"}


def test_what_the_page_shows_first_is_what_happens(shell: Shell) -> None:
    require_true({""}, shell)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_what_the_page_shows_is_what_happens(shell: Shell) -> None:
    require_true({"", "more"}, shell)
