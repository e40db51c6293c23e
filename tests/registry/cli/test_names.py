"""The commands that name and judge vectors, and those that tell of it."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import editvec.cli
from tests.support.registry_fixtures import Failure, Run, random_delta


@pytest.fixture
def versions(filled: Run, tmp_path: Path) -> Run:
    """A second version of `smile`."""
    np.save(tmp_path / "smile.npy", random_delta(5))
    filled("registry", "add", tmp_path / "smile.npy", "--roi", "mouth", "--reason", "less leakage")
    return filled


def test_alias_moves_between_versions(versions: Run) -> None:
    assert versions("registry", "alias", "smile@1", "stable") == (
        "avatars/smile@stable is avatars/smile@1"
    )
    moved = versions("registry", "alias", "smile", "stable", "--reason", "reviewed", "--json")
    assert json.loads(moved)["aliases"] == ["stable"]
    assert "avatars/smile@2" in versions("registry", "show", "smile@stable")

    assert versions("registry", "unalias", "smile", "stable") == (
        "avatars/smile@stable is gone; it was avatars/smile@2"
    )
    with pytest.raises(Failure, match="no alias 'stable'; it has none yet"):
        versions("registry", "show", "smile@stable")


def test_retired_version_is_passed_over_until_it_is_restored(versions: Run) -> None:
    retire = ("registry", "retire", "smile@2", "look@1", "--reason", "leaks into the hair")
    assert versions(*retire) == "avatars/smile@2 is retired\navatars/look@1 is retired"

    assert "avatars/smile@1" in versions("registry", "show", "smile")
    shown = versions("registry", "show", "smile@2")
    assert re.search(r"^retired +\d{4}-.* UTC by \S+: leaks into the hair$", shown, re.MULTILINE)

    assert versions("registry", "restore", "smile@2") == "avatars/smile@2 is active"
    assert "retired" not in versions("registry", "show", "smile")
    restored = json.loads(versions("registry", "restore", "look@1", "--json"))
    assert [vector["retired_at"] for vector in restored] == [None]


def test_compositions_that_use_a_version_are_named(
    versions: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    versions("registry", "compose", "mix", "--term", "smile@1=1")

    shown = versions("registry", "show", "smile@1")
    assert re.search(r"^used by +avatars/mix@1$", shown, re.MULTILINE)
    record = json.loads(versions("registry", "show", "smile@1", "--json"))
    assert record["used_by"] == ["avatars/mix@1"]
    home = ["--home", str(tmp_path / "home")]
    assert editvec.cli.main([*home, "registry", "retire", "smile@1", "--reason", "leaks"]) == 0
    assert capsys.readouterr().err == "avatars/smile@1 stays a part of avatars/mix@1\n"


def test_tags_are_added_and_removed(versions: Run) -> None:
    assert versions("registry", "tag", "look", "--add", "eyes", "--add", "blue") == (
        "avatars/look@1: blue, eyes, gaze"
    )
    removed = versions("registry", "tag", "look", "--remove", "gaze", "--remove", "blue", "--json")
    assert json.loads(removed)["tags"] == ["eyes"]
    assert versions("registry", "tag", "look", "--remove", "eyes") == "avatars/look@1: no tags"


def test_history_is_a_table_with_words(versions: Run) -> None:
    versions("registry", "alias", "smile@1", "stable")
    versions("registry", "alias", "smile@2", "stable", "--reason", "reviewed")
    versions("registry", "tag", "smile", "--add", "mood")

    lines = versions("registry", "history", "smile").splitlines()

    assert re.split(r"\s{2,}", lines[0]) == [
        "WHEN (UTC)", "WHO", "WHAT", "SUBJECT", "DETAILS", "WHY",
    ]  # fmt: skip
    assert len(lines) == 6
    assert re.search(r"add +avatars/smile@2 +less leakage$", lines[2])
    assert re.search(r"set alias +avatars/smile +stable: none -> 1$", lines[3])
    assert re.search(r"set alias +avatars/smile +stable: 1 -> 2 +reviewed$", lines[4])
    assert re.search(r"tag +avatars/smile@2 +\+mood$", lines[5])


def test_history_is_json_and_limited(versions: Run) -> None:
    entries = json.loads(versions("registry", "history", "--limit", "2", "--json"))

    assert [entry["subject"] for entry in entries] == ["avatars/look@1", "avatars/smile@2"]
    assert [entry["action"] for entry in entries] == ["add", "add"]
    assert json.loads(versions("registry", "history", "look@1", "--json"))[0] == entries[0]
    assert len(json.loads(versions("registry", "history", "avatars", "--json"))) == 4


def test_history_of_an_empty_library_is_empty(run: Run) -> None:
    assert run("registry", "history") == ""
    assert run("registry", "history", "--json") == "[]"


def test_show_tells_who_added_the_vector_and_why(versions: Run) -> None:
    versions("registry", "alias", "smile@2", "stable")

    shown = versions("registry", "show", "smile")

    assert re.search(r"^aliases +stable$", shown, re.MULTILINE)
    assert re.search(r"^created +\d{4}-.* UTC by \S+: less leakage$", shown, re.MULTILINE)
    record = json.loads(versions("registry", "show", "smile", "--json"))
    assert record["aliases"] == ["stable"]
    assert [entry["reason"] for entry in record["history"]] == ["less leakage"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("alias", "smlie", "stable"), "did you mean smile"),
        (("alias", "smile@9", "stable"), "no version 9; the latest is 2"),
        (("alias", "smile", "latest"), "alias: 'latest' is built in"),
        (("alias", "smile", "2"), "alias: expected a letter first, got '2'"),
        (("unalias", "smile", "stable"), "no alias 'stable'; it has none yet"),
        (("unalias", "smile@1", "stable"), "a name without a version, such as avatars/smile"),
        (("retire", "smile", "--reason", "x"), "expected a version, such as avatars/smile@1"),
        (("retire", "smile@1", "--reason", " "), "retire: expected a reason"),
        (("retire", "smile@1", "smile@9", "--reason", "x"), "no version 9"),
        (("restore", "smile"), "restore: expected a version"),
        (("tag", "smile", "--add", "a b"), "tag: expected a letter or digit"),
        (("tag", "smile", "--add", "a", "--remove", "a"), "cannot be added and removed at once"),
        (("history", "smlie"), "did you mean smile"),
        (("history", "smile@9"), "no version 9"),
        (("compose", "x@stable", "--term", "smile=1"), "takes a version or none after '@'"),
        (("compose", "x", "--term", "smile@stabel=1"), "no alias 'stabel'"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_changes_nothing(
    versions: Run, arguments: tuple[str, ...], message: str
) -> None:
    before = versions("registry", "history", "--json")

    with pytest.raises(Failure, match=message) as caught:
        versions("registry", *arguments)

    assert str(caught.value).startswith("1: editvec: error: ")
    assert str(caught.value).strip().count("\n") == 0
    assert versions("registry", "history", "--json") == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("alias", "smile"),
        ("retire", "smile@1"),
        ("restore",),
        ("tag", "smile"),
        ("history", "--limit", "0"),
    ],
)
def test_wrong_usage_is_status_two(run: Run, arguments: tuple[str, ...]) -> None:
    with pytest.raises(Failure, match="2: "):
        run("registry", *arguments)
