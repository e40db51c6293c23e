"""The command `registry compose`."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.registry_fixtures import Failure, Run, random_delta


@pytest.fixture
def faces(filled: Run, tmp_path: Path) -> Run:
    """The library of `filled` with a third vector: smile, look and frown."""
    np.save(tmp_path / "frown.npy", random_delta(0) + random_delta(5))
    filled("registry", "add", tmp_path / "frown.npy", "--roi", "mouth")
    return filled


def test_dry_run_prints_the_report_only(faces: Run) -> None:
    arguments = ("compose", "mix", "--term", "smile=1", "--term", "frown=-1", "--dry-run")

    text = faces("registry", *arguments)
    report = json.loads(faces("registry", *arguments, "--json"))

    assert "conflict: avatars/smile@1 and avatars/frown@1 oppose each other" in text
    assert text.endswith("nothing stored (dry run)")
    assert [term["address"] for term in report["terms"]] == ["avatars/smile@1", "avatars/frown@1"]
    assert report["pairs"][0]["shared_labels"] == ["mouth"]
    assert report["terms"][0]["fit"] == "unknown"
    assert len(report["conflicts"]) == 1
    with pytest.raises(Failure, match="no vector 'mix'"):
        faces("registry", "show", "mix")


def test_what_the_sum_shall_not_do_is_projected_out(faces: Run) -> None:
    text = faces(
        "registry", "compose", "calm",
        "--term", "smile=1", "--term", "smile[4:6]=0.8", "--without", "look", "--without",
        "frown[2:5]",
    )  # fmt: skip

    assert "WITHOUT" in text
    assert text.endswith("avatars/calm@1")
    terms = json.loads(faces("registry", "show", "calm", "--json"))["terms"]
    assert [(term["address"], term["role"]) for term in terms] == [
        ("avatars/smile@1", "sum"),
        ("avatars/smile@1", "sum"),
        ("avatars/look@1", "condition"),
        ("avatars/frown@1", "condition"),
    ]
    assert terms[3]["row_mask"] == [False, False, True, True, True, False]


def test_json_tells_the_record_and_the_report(faces: Run) -> None:
    arguments = ("compose", "mix", "--term", "smile=1", "--term", "look=0.5", "--json")

    first = json.loads(faces("registry", *arguments))
    second = json.loads(faces("registry", *arguments))

    assert (first["address"], first["is_new"]) == ("avatars/mix@1", True)
    assert (second["address"], second["is_new"]) == ("avatars/mix@1", False)
    assert first["report"]["norm"] > 0
    assert first["report"]["conflicts"] == []


def test_composition_that_is_there_is_named(faces: Run) -> None:
    faces("registry", "compose", "mix", "--term", "smile=2")

    again = faces("registry", "compose", "mix", "--term", "smile=2")

    assert again.endswith("avatars/mix@1 (the library held it already)")


def test_next_version_is_composed_of_the_one_before(faces: Run) -> None:
    assert faces("registry", "compose", "smile", "--term", "smile=2").endswith("avatars/smile@2")
    with pytest.raises(Failure, match="cannot be made of itself"):
        faces("registry", "compose", "smile@1", "--term", "smile=2")


def test_region_of_the_report_is_the_one_that_is_asked_for(faces: Run) -> None:
    arguments = ("compose", "mix", "--term", "smile=1", "--term", "look=1", "--roi", "eye")

    assert "roi eye" in faces("registry", *arguments, "--dry-run")
    assert json.loads(faces("registry", *arguments, "--json"))["roi_labels"] == ["eye"]
    with pytest.raises(Failure, match="no part 'ear'"):
        faces("registry", *arguments[:-1], "ear", "--dry-run")


def test_class_of_a_term_stands_in_for_the_option(faces: Run, make_bundle: object) -> None:
    faces("model", "add", make_bundle("cars", name="car"))  # type: ignore[operator]

    stored = faces("registry", "compose", "mix", "--term", "avatars/smile=1", "--term", "look=1")

    assert stored.endswith("avatars/mix@1")
    with pytest.raises(Failure, match="name one of avatars, car"):
        faces("registry", "compose", "mix", "--term", "smile=1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--without", "look=1"), "expected NAME or NAME\\[FIRST:LAST\\], without a scale"),
        (("--without", "look[4:9]"), "expected rows inside 0:6, got 4:9"),
        (("--without", "lok"), "did you mean look"),
        (("--without", "smile"), "nothing of them is left without the conditions"),
        (("--term", "smile[9:4]=1"), "expected rows inside 0:6"),
        (("--term", "smile=1e12"), "is beyond 1e\\+09"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_stored(
    faces: Run, arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(Failure, match=message) as caught:
        faces("registry", "compose", "mix", "--term", "smile=1", *arguments)

    assert str(caught.value).strip().count("\n") == 0
    assert "mix" not in faces("registry", "list")
