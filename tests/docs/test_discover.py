"""The page about directions tells of every command, and shows what is found."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import editvec.cli
from editvec.batch.cli.discover import discover
from editvec.batch.discovery.request import Method
from tests.support.console_blocks import ROOT, blocks_of

PAGE = ROOT / "docs" / "discover.md"
_LOGIT = re.compile(r"(?P<name>[a-z_]+) (?P<change>[+-][\d.]+)")


def shown() -> dict[str, str]:
    """What the page shows of every command that it types."""
    texts = ["\n".join(block.lines) for block in blocks_of(PAGE) if block.language == "text"]
    typed = [text.partition("\n") for text in texts if text.startswith("$ ")]
    return {command.removeprefix("$ editvec "): output for command, _, output in typed}


def test_every_method_is_shown_and_every_option_is_one() -> None:
    text = PAGE.read_text(encoding="utf-8")
    commands = {words.split()[1] for words in shown() if words.startswith("discover")}
    known = {name for command in discover.commands.values() for name in _options(command)}

    assert commands == set(Method) == set(discover.commands)
    assert known >= set(re.findall(r"`(--[a-z-]+)`", text))
    assert "](docs/discover.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


def _options(command: Any) -> list[str]:
    return [name for parameter in command.params for name in parameter.opts]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["interfacegan", "ganspace"])
def test_what_is_shown_first_of_a_method_is_what_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str
) -> None:
    home = ("--home", str(tmp_path / "home"))
    assert editvec.cli.main([*home, "model", "add", str(ROOT / "avatars" / "bundle")]) == 0
    command, output = next(one for one in shown().items() if one[0].split()[1] == method)
    capsys.readouterr()

    assert editvec.cli.main([*home, *command.split(), "--device", "cpu", "--json"]) == 0

    (found,) = json.loads(capsys.readouterr().out)
    metrics = {one["name"]: one["value"] for one in found["metrics"]}
    told = {one["name"]: float(one["change"]) for one in _LOGIT.finditer(output.split("logits")[1])}
    assert len(told) == 5
    for name, change in told.items():
        assert metrics[f"logit_change.{name}"] == pytest.approx(change, rel=0.02, abs=0.02), name
    step = re.search(r"scale 1 +([\d.]+) in W", output)
    assert step is not None
    assert found["settings"]["step"] == pytest.approx(float(step[1]), rel=0.01)
