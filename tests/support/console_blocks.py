"""Runs the blocks of a page: what a reader types is typed, what a reader sees is compared."""

import doctest
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.places import ROOT

FILES = ("yaml", "csv")
LANGUAGES = ("console", "python", "text", *FILES)
_FENCE = re.compile(r"^```(.*)$")
_INSTANT = re.compile(r"20\d\d-\d\d-\d\d(?: \d\d:\d\d)?")
_END = "end-of-command-7d1f"


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: console (`$ ` lines and their output), python (`>>> ` lines), text, or a file.
        needs: the word after the language: a service that the block needs; "" = none; of a file,
            its name.
        lines: between the fences.
        line: where it begins in the page.
    """

    language: str
    needs: str
    lines: tuple[str, ...]
    line: int


@dataclass(frozen=True)
class Command:
    """What is typed, and the output that the page shows; `...` stands for anything."""

    words: str
    expected: str
    line: int


def blocks_of(page: Path) -> list[Block]:
    """Every fenced block of a page, in order."""
    blocks: list[Block] = []
    info, begun, lines = "", 0, []
    for number, line in enumerate(page.read_text().splitlines(), start=1):
        fence = _FENCE.match(line)
        if fence is None:
            lines.append(line)
        elif not begun:
            info, begun, lines = fence[1].strip(), number, []
        else:
            language, _, needs = info.partition(" ")
            blocks.append(Block(language, needs, tuple(lines), begun))
            begun = 0
    assert not begun, f"{page.name}:{begun}: the block does not end"
    return blocks


def commands_of(block: Block) -> list[Command]:
    """The commands of a console block; a line that ends in a backslash goes on."""
    commands: list[Command] = []
    words: list[str] = []
    output: list[str] = []
    begun, is_typing = 0, False
    for number, line in enumerate(block.lines, start=block.line + 1):
        if line.startswith("$ "):
            if words:
                commands.append(Command("\n".join(words), "\n".join(output), begun))
            words, output, begun = [line[2:]], [], number
            is_typing = line.endswith("\\")
        elif is_typing:
            words.append(line)
            is_typing = line.endswith("\\")
        else:
            assert words, f"line {number}: output without a command: {line}"
            output.append(line.rstrip())
    assert words, f"line {block.line}: a console block without a command"
    return [*commands, Command("\n".join(words), "\n".join(output), begun)]


def matches(expected: str, got: str) -> bool:
    """True for equal texts: `...` stands for anything, and days and blanks are all alike."""
    pattern = ".*?".join(re.escape(part) for part in _plain(expected).split("..."))
    return re.fullmatch(pattern, _plain(got), re.DOTALL) is not None


def _plain(text: str) -> str:
    lines = [" ".join(line.split()) for line in text.strip().splitlines()]
    return _INSTANT.sub("(then)", "\n".join(lines))


class Shell:
    """One bash for a whole page, so that `export` and `cd` last."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._bash = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            cwd=folder,
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def type(self, words: str) -> tuple[str, int]:
        """Types a command; returns what it printed, and its status."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.write(f'{{\n{words}\n}} </dev/null\necho "{_END} $?"\n')
        self._bash.stdin.flush()
        output: list[str] = []
        for line in self._bash.stdout:
            if (at := line.find(_END)) >= 0:
                output.append(line[:at])
                return "".join(output), int(line[at:].split()[1])
            output.append(line)
        raise AssertionError(f"bash ended in: {words}")

    def close(self) -> None:
        """Ends the shell."""
        self._bash.communicate()


def like_a_checkout(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes a folder with the shipped class, where both shells and python blocks run."""
    folder.mkdir()
    (folder / "avatars").symlink_to(ROOT / "avatars")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("EDITVEC_HOME", str(folder / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("USER", "ada")
    monkeypatch.setenv("LOGNAME", "ada")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    return folder


def require_none(found: list[str]) -> None:
    """Fails with what differs from a page."""
    if found:
        pytest.fail("\n\n".join(found), pytrace=False)


def failures(blocks: list[Block], shell: Shell, names: dict[str, Any]) -> list[str]:
    """Runs blocks in order, and writes files; what differs from the page, with its line.

    `text` is only shown.
    """
    found: list[str] = []
    for block in blocks:
        if block.language == "console":
            for command in commands_of(block):
                got, status = shell.type(command.words)
                told = "error:" in command.expected
                if not matches(command.expected, got) or (status != 0) != told:
                    found.append(
                        f"line {command.line}: $ {command.words}\n"
                        f"--- the page\n{command.expected}\n--- status {status}\n{got}"
                    )
        elif block.language == "python":
            found.extend(_python_failures(block, names))
        elif block.language in FILES:
            text = "\n".join(block.lines)
            _, status = shell.type(f"cat > {block.needs} <<'{_END}-file'\n{text}\n{_END}-file")
            assert status == 0, f"line {block.line}: cannot be written"
        else:
            assert block.language == "text", f"line {block.line}: a block that nobody runs"
    return found


def _python_failures(block: Block, names: dict[str, Any]) -> list[str]:
    text = "\n".join(block.lines) + "\n"
    test = doctest.DocTestParser().get_doctest(text, names, "the page", "page", block.line)
    assert test.examples, f"line {block.line}: a python block without an example"
    told: list[str] = []
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    runner = doctest.DocTestRunner(verbose=False, optionflags=flags)
    runner.run(test, out=told.append, clear_globs=False)
    names.update(test.globs)
    return ["".join(told)] if told else []
