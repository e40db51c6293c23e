"""The commands of `discover`: what they store, and what they say when something is wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from editvec.registry.sharing.exchange import import_library
from tests.support.directions import labels_by_number
from tests.support.folder_runs import rows


@pytest.fixture
def write_csv(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "labels.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_the_command_tells_and_stores(
    run_editvec: Callable[..., int], library: Library, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("discover", "ganspace", "tiny/pc", "--count", 2, "--samples", 50, "--probes", 2)

    assert run_editvec(*words, "--rows", "0:4", "--roi", "mouth", "--tag", "found") == 0
    shown = capsys.readouterr().out
    assert run_editvec(*words, "--rows", "0:4", "--roi", "mouth", "--json") == 0
    said = json.loads(capsys.readouterr().out)

    assert shown.splitlines()[0] == "tiny/pc-1@1"
    assert "direction 1 of ganspace" in shown
    assert "4 of 8 rows" in shown
    assert [one["name"] for one in said] == ["pc-1", "pc-2"]
    assert said[0]["settings"]["method"] == "ganspace"
    assert library.get_vector("tiny/pc-2@1").roi_labels == ("mouth",)
    assert library.get_vector("tiny/pc-2@1").tags == ("found",)


def test_the_command_takes_labels_of_a_file(
    run_editvec: Callable[..., int],
    write_csv: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write_csv(labels_by_number(["1", "0"] * 10))

    assert run_editvec("discover", "interfacegan", "pink", "--labels", path, "--probes", 2) == 0

    shown = capsys.readouterr().out
    assert "pink: 7 with, 7 without, by labels.csv" in shown
    assert "right of 6 held out" in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("mean tiny/a --attribute grinning", "the classifier knows smiling, eyes_open; got"),
        (
            "interfacegan tiny/a --attribute smiling --conditional x",
            "knows smiling, eyes_open; got 'x'",
        ),
        ("sefa tiny/a --attribute grinning", "the classifier knows smiling, eyes_open; got"),
        ("mean tiny/a --attribute smiling --samples 20", "of 20 samples 0 lack it"),
        ("mean tiny/a", "attribute: mean needs one, or a file of labels"),
        ("sefa tiny/a --rows 4:12", "rows: expected rows inside 0:8, got 4:12"),
        ("sefa tiny/a --rows 5:5", "rows: expected rows inside 0:8, got 5:5"),
        ("sefa tiny/a --count 99 --samples 20", "count: there are 8 directions, got 99"),
        ("ganspace tiny/a --roi nose", "class tiny@1 has no part 'nose'; its parts are"),
        ("ganspace tiny/a --samples 2 --count 2", "count: there are 1 directions, got 2"),
        ("ganspace nobody/a", "no class 'nobody'"),
        ("ganspace tiny/a@best", "a new vector takes a version or none after '@'"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    run_editvec: Callable[..., int], capsys: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    assert run_editvec("discover", *words.split()) == 1

    told = capsys.readouterr().err
    assert message in told
    assert told.startswith("editvec: error: ")
    assert told.count("\n") == 1


def test_without_scikit_learn_the_command_tells_the_way_to_it(
    run_editvec: Callable[..., int],
    write_csv: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn.svm", None)
    path = write_csv(labels_by_number(["1", "0"] * 10))

    assert run_editvec("discover", "interfacegan", "pink", "--labels", path) == 1
    assert "pip install 'editvec[discover]'" in capsys.readouterr().err


def test_a_found_vector_edits_samples_and_moves_to_another_library(
    run_editvec: Callable[..., int], library: Library, tmp_path: Path, empty_home: Path
) -> None:
    words = ("discover", "ganspace", "tiny/pc", "--count", 1, "--samples", 50, "--probes", 2)
    assert run_editvec(*words, "--roi", "mouth") == 0

    made = tmp_path / "made"
    assert run_editvec("batch", "generate", made, "--count", 2, "--edit", "pc=1") == 0
    assert run_editvec("registry", "export", tmp_path / "pc.zip", "pc") == 0
    home = tmp_path / "other"
    shutil.copytree(empty_home, home)
    with Library.open(RegistryConfig.for_home(home)) as other:
        folder = library.materialise_bundle(library.get_class("tiny"))
        other.add_bundle(folder)
        import_library(other, tmp_path / "pc.zip")
        here, there = library.get_vector("tiny/pc"), other.get_vector("tiny/pc")

    edited = [row for row in rows(made) if row["recipe"] == "pc+1.00"]
    assert len(edited) == 2
    assert there.settings == here.settings
    assert there.delta_digest == here.delta_digest
    assert {one.name for one in there.metrics} == {one.name for one in here.metrics}


@pytest.mark.parametrize("words", ["4", "a:b", "-1:3"])
def test_rows_that_are_no_rows_are_a_wrong_command_line(
    run_editvec: Callable[..., int], capsys: pytest.CaptureFixture[str], words: str
) -> None:
    assert run_editvec("discover", "sefa", "tiny/a", f"--rows={words}") == 2
    assert "expected FIRST:LAST, such as 4:9" in capsys.readouterr().err
