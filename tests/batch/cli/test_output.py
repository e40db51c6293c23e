"""What commands print beside their results: one line each, whatever names are in them."""

from pathlib import Path

import pytest

import editvec.cli
from editvec.batch.cli.output import note, renew_line
from editvec.printing import printable_streams
from editvec.registry.labels.label import MAX_GROUPS
from tests.support.places import ROOT


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\x0b", "\x85", "\u2028", "\t"])
def test_names_cannot_end_the_line_of_a_note(end: str, capsys: pytest.CaptureFixture[str]) -> None:
    with printable_streams():
        note(f"skipped a{end}done: all is well.png: too small")
        renew_line(f"a{end}b")

    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert len(told.splitlines()) == 2
    assert told.startswith("skipped a\\")
    assert "\t" not in told


def test_names_cannot_end_the_lines_of_the_doctor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "a\nok       database  all is well"

    editvec.cli.main(["--home", str(home), "doctor"])

    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.startswith("ok       database")]) <= 1
    assert any(r"a\nok       database  all is well" in line for line in lines)
    assert all(line.split()[0] in ("ok", "lacking", "problem") for line in lines)


def test_limits_of_the_docs_are_those_of_the_program() -> None:
    masks = (ROOT / "docs" / "masks.md").read_text()
    assert f"at most {MAX_GROUPS:,} groups" in masks
