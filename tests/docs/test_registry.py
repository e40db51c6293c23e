"""The page about the library is true: every block is run in order, as a reader would."""

import dataclasses
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.console_blocks import (
    LANGUAGES,
    ROOT,
    Block,
    Command,
    Shell,
    blocks_of,
    commands_of,
    failures,
    like_a_checkout,
    require_none,
)
from tests.support.console_blocks import matches as matches_page

PAGE = ROOT / "docs" / "registry.md"
SERVICES = ("postgresql", "s3")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the shipped class, like a checkout; python blocks run there too."""
    return like_a_checkout(tmp_path / "work", monkeypatch)


@pytest.fixture
def shell(folder: Path) -> Iterator[Shell]:
    shell = Shell(folder, dict(os.environ))
    yield shell
    shell.close()


def _blocks(needs: str, replaced: Mapping[str, str]) -> list[Block]:
    """The blocks that need that service, with real addresses in the place of the page's."""
    blocks = []
    for block in blocks_of(PAGE):
        if block.needs == needs:
            text = "\n".join(block.lines)
            for shown, real in replaced.items():
                text = text.replace(shown, real)
            blocks.append(dataclasses.replace(block, lines=tuple(text.split("\n"))))
    return blocks


def test_every_block_is_of_a_language_that_is_run() -> None:
    blocks = blocks_of(PAGE)

    assert {block.language for block in blocks} <= set(LANGUAGES)
    assert {block.needs for block in blocks} == {"", *SERVICES}


@pytest.mark.slow
def test_what_the_page_shows_is_what_happens(shell: Shell) -> None:
    require_none(failures(_blocks("", {}), shell, {}))


@pytest.mark.services
def test_what_the_page_shows_of_postgresql_is_what_happens(
    shell: Shell, postgresql_url: str
) -> None:
    blocks = _blocks("postgresql", {"postgresql+psycopg://ada@db.example/editvec": postgresql_url})

    require_none(failures(blocks, shell, {}))


def test_what_the_page_shows_of_s3_is_what_happens(
    s3_server: str, s3_bucket: str, folder: Path
) -> None:
    blocks = _blocks("s3", {"http://s3.example:9000": s3_server, "s3://our-vectors": s3_bucket})
    shell = Shell(folder, dict(os.environ))

    require_none(failures(blocks, shell, {}))

    shell.close()


# --- the runner itself ---


def _block(*lines: str, language: str = "console") -> Block:
    return Block(language, "", lines, 1)


def test_commands_are_told_from_their_output() -> None:
    block = _block("$ one \\", "    --two", "out", "", "more", "$ three")

    assert commands_of(block) == [
        Command("one \\\n    --two", "out\n\nmore", 2),
        Command("three", "", 7),
    ]


@pytest.mark.parametrize(
    ("expected", "got", "equal"),
    [
        ("a\nb", "a  \nb\n", True),
        ("a ... c\n...\ne", "a b\nb c\nd\ne", True),
        ("a", "a\nb", False),
        ("", "a", False),
        ("a.c", "abc", False),
        ("a  b\nc", "a b\nc", True),
        ("a b", "a\nb", False),
        ("on 2026-03-02 10:15", "on 2031-12-24 00:00", True),
        ("on 2026-03-02", "on Monday", False),
    ],
)
def test_dots_stand_for_anything(expected: str, got: str, equal: bool) -> None:
    assert matches_page(expected, got) is equal


@pytest.mark.parametrize(
    "block",
    [
        _block("$ echo yes", "no"),
        _block("$ echo yes"),
        _block("$ exec 3<&0; false"),
        _block("$ echo error: no", "error: no"),
        _block(">>> 1 + 1", "3", language="python"),
    ],
)
def test_difference_from_the_page_is_found(shell: Shell, block: Block) -> None:
    assert len(failures([block], shell, {})) == 1


def test_variables_and_folders_last(shell: Shell) -> None:
    block = _block("$ export WORD=kept; mkdir x; cd x", "$ echo $WORD; basename $PWD", "kept", "x")

    assert failures([block], shell, {}) == []
