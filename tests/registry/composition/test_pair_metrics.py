"""What vectors keep of a measurement with each other, and what compositions tell of it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from editvec.batch.evaluation import intervals
from editvec.registry.cli.compose_text import composition_text
from editvec.registry.cli.vector_text import vector_text
from editvec.registry.composition.pair_metrics import (
    FEWEST_IMAGES,
    Kept,
    Together,
    all_together,
    measured_together,
    metrics_of_pair,
)
from editvec.registry.composition.report import CompositionReport
from editvec.registry.config import RegistryConfig
from editvec.registry.entities.metrics import NewMetric
from editvec.registry.entities.vectors import EditingVector, NewTerm
from editvec.registry.library.library import Library
from editvec.registry.sharing.exchange import export_library, import_library
from tests.support.registry_fixtures import new_vector, random_delta

MOVED = {"mouth": 0.9, "eye": 0.6, "skin": 0.1}


@pytest.fixture
def pair(sqlite_library: Library) -> tuple[EditingVector, EditingVector]:
    """A smile of mouth and teeth, and a look of the eye."""
    smile = sqlite_library.add_vector(new_vector("smile"), random_delta(0))
    look = sqlite_library.add_vector(new_vector("look", roi_labels=("eye",)), random_delta(1))
    return smile, look


def together(partner: EditingVector, kept: float | None = 0.75, **changes: object) -> Together:
    success = None if kept is None else Kept(value=kept, count=40, against="smiling")
    values: dict[str, object] = {
        "partner": partner.address,
        "scale": 1.0,
        "partner_scale": 0.5,
        "probe_set": "samples, seed 0",
        "success": success,
        "change": Kept(value=0.6, count=64, interval=(0.5, 0.7)),
        "overlap": 0.25,
        "moved": MOVED,
    }
    return Together(**{**values, **changes})  # type: ignore[arg-type]


def store(library: Library, vector: EditingVector, partner: EditingVector, one: Together) -> None:
    library.add_metrics(vector.address, metrics_of_pair(one, partner, {"seed": 0}))


def report(
    library: Library,
    first: str = "smile",
    second: str = "look",
    scales: tuple[float, float] = (1.0, 1.0),
) -> CompositionReport:
    terms = [
        NewTerm(address=address, scale=scale)
        for address, scale in zip((first, second), scales, strict=True)
    ]
    return library.plan_composition(terms).report


def test_a_measurement_is_found_again_as_it_was(
    sqlite_library: Library, pair: tuple[EditingVector, EditingVector]
) -> None:
    smile, look = pair
    store(sqlite_library, smile, look, together(look))

    held = sqlite_library.get_vector("smile")

    assert measured_together(held, look) == together(look)
    assert all_together(held) == [together(look)]
    assert measured_together(look, held) is None
    assert {one.name for one in held.metrics} == {"kept_success.look-1", "kept_change.look-1"}


def test_a_measurement_at_the_scales_of_the_terms_comes_before_a_newer_one(
    sqlite_library: Library, pair: tuple[EditingVector, EditingVector]
) -> None:
    smile, look = pair
    good = together(look, 0.97, partner_scale=1.0 + 1e-9)
    backwards = together(look, 0.1, scale=-1.0, partner_scale=1.0, moved={"skin": 0.9})
    store(sqlite_library, smile, look, good)
    store(sqlite_library, smile, look, backwards)

    told = report(sqlite_library)

    assert told.pairs[0].first_beside == good
    assert told.conflicts == ()
    held = sqlite_library.get_vector("smile")
    assert measured_together(held, look, scales=(-1.0, 1.0)) == backwards
    assert all_together(held) == [backwards]


def test_a_measurement_at_other_scales_is_shown_and_is_no_conflict(
    sqlite_library: Library, pair: tuple[EditingVector, EditingVector]
) -> None:
    smile, look = pair
    store(sqlite_library, smile, look, together(look, 0.1, moved={"skin": 0.9}))

    told = report(sqlite_library)

    assert told.conflicts == ()
    assert "1, 0.5       64  10 % (smiling)" in composition_text(told)


@pytest.mark.parametrize("count", [1, 7])
def test_few_images_neither_replace_more_nor_make_a_conflict(
    sqlite_library: Library, pair: tuple[EditingVector, EditingVector], count: int
) -> None:
    smile, look = pair
    few = together(
        look, None, partner_scale=1.0, change=Kept(value=0.1, count=count), moved={"skin": 0.9}
    )
    store(sqlite_library, smile, look, few)
    assert report(sqlite_library).pairs[0].first_beside == few
    assert report(sqlite_library).conflicts == ()

    good = together(look, 0.97, partner_scale=1.0)
    store(sqlite_library, smile, look, good)
    store(sqlite_library, smile, look, few)

    assert report(sqlite_library).pairs[0].first_beside == good
    assert all_together(sqlite_library.get_vector("smile")) == [good]


@pytest.mark.parametrize("kept", [0.0, 1.0])
def test_success_in_few_images_is_no_conflict_and_neither_is_lost_change_then(
    sqlite_library: Library, pair: tuple[EditingVector, EditingVector], kept: float
) -> None:
    smile, look = pair
    success = Kept(value=kept, count=2, against="smiling")
    change = Kept(value=0.5, count=64)
    store(
        sqlite_library, smile, look,
        together(look, partner_scale=1.0, success=success, change=change),
    )  # fmt: skip

    told = report(sqlite_library)

    assert told.conflicts == ()
    assert f"{100 * kept:.0f} % (smiling)" in composition_text(told)


def test_intervals_and_conflicts_want_equally_many_images() -> None:
    assert FEWEST_IMAGES == intervals.FEWEST


def test_sides_of_two_measurements_stand_in_rows_of_their_own(
    sqlite_library: Library, pair: tuple[EditingVector, EditingVector]
) -> None:
    smile, look = pair
    store(sqlite_library, smile, look, together(look, partner_scale=1.0))
    backwards = together(smile, None, partner_scale=-1.0, overlap=0.5)
    store(sqlite_library, look, smile, backwards)

    apart = composition_text(report(sqlite_library)).split("\n\n")[1].splitlines()

    assert [" ".join(row.split()) for row in apart[1:]] == [
        "1, 2 1, 1 64 75 % (smiling) 0.25 skin 0.10",
        "1, 2 -1, 1 64 60 % of its change 0.5 skin 0.10",
    ]
    store(sqlite_library, look, smile, together(smile, None, partner_scale=1.0))
    joined = composition_text(report(sqlite_library)).split("\n\n")[1].splitlines()
    assert [" ".join(row.split()) for row in joined[1:]] == [
        "1, 2 1, 1 64 75 % (smiling) 60 % of its change 0.25 skin 0.10"
    ]


def test_the_newest_measurement_counts_as_a_whole(
    sqlite_library: Library, pair: tuple[EditingVector, EditingVector]
) -> None:
    smile, look = pair
    store(sqlite_library, smile, look, together(look))
    later = together(look, None, scale=2.0)
    store(sqlite_library, smile, look, later)

    # nothing of success: the one at scale 1 is none at scale 2
    assert measured_together(sqlite_library.get_vector("smile"), look) == later


def test_another_version_of_the_partner_was_not_measured(
    sqlite_library: Library, pair: tuple[EditingVector, EditingVector]
) -> None:
    smile, look = pair
    store(sqlite_library, smile, look, together(look))
    sqlite_library.add_vector(new_vector("look", roi_labels=("eye",)), random_delta(2))

    assert report(sqlite_library, second="look@1").pairs[0].first_beside == together(look)
    assert report(sqlite_library, second="look@2").pairs[0].first_beside is None


def test_a_partner_with_the_longest_name_has_a_metric(sqlite_library: Library) -> None:
    smile = sqlite_library.add_vector(new_vector("smile"), random_delta(0))
    look = sqlite_library.add_vector(new_vector("l" * 100), random_delta(1))
    store(sqlite_library, smile, look, together(look))

    assert measured_together(sqlite_library.get_vector("smile"), look) == together(look)


def test_a_measurement_travels_and_finds_its_partner_under_another_number(
    sqlite_library: Library, pair: tuple[EditingVector, EditingVector], bundle: Path,
    empty_home: Path, tmp_path: Path,
) -> None:  # fmt: skip
    smile, look = pair
    store(sqlite_library, smile, look, together(look))
    export_library(sqlite_library, tmp_path / "a.editvec.zip", ["smile", "look"])
    shutil.copytree(empty_home, tmp_path / "other")
    with Library.open(RegistryConfig.for_home(tmp_path / "other")) as other:
        other.add_bundle(bundle)
        taken = other.add_vector(new_vector("look", roi_labels=("eye",)), random_delta(7))

        import_library(other, tmp_path / "a.editvec.zip")

        held, there = (other.get_vector(name) for name in ("smile", "look@2"))
        assert measured_together(held, there) == together(look)
        assert measured_together(held, taken) is None


@pytest.mark.parametrize("broken", [{"scale": "far"}, {"moved": 3}, {"partner_scale": None}])
def test_what_an_archive_says_amiss_is_no_measurement(
    sqlite_library: Library, pair: tuple[EditingVector, EditingVector], broken: dict[str, object]
) -> None:
    _, look = pair
    (first, *_) = metrics_of_pair(together(look), look, {})
    amiss: NewMetric = dataclasses.replace(first, settings={**first.settings, **broken})
    sqlite_library.add_metrics("smile", [amiss])

    held = sqlite_library.get_vector("smile")
    assert measured_together(held, look) is None
    assert "keeps" not in composition_text(report(sqlite_library))
    assert "BESIDE" not in vector_text(held)


def test_a_composition_tells_what_was_measured_of_its_terms(
    sqlite_library: Library, pair: tuple[EditingVector, EditingVector]
) -> None:
    smile, look = pair
    store(sqlite_library, smile, look, together(look))

    told = report(sqlite_library, scales=(1.0, 0.5))
    backwards = report(sqlite_library, "look", "smile", scales=(0.5, 1.0))

    assert told.conflicts == (
        "measured together on 40 images: avatars/smile@1 keeps 75% of its success beside "
        "avatars/look@1, at scales 1 and 0.5",
    )
    assert backwards.conflicts == told.conflicts
    shown = composition_text(told).split("\n\n")[1].splitlines()
    assert shown[0].split()[:3] == ["TERMS", "TOGETHER", "AT"]
    assert " ".join(shown[1].split()) == "1, 2 1, 0.5 64 75 % (smiling) 0.25 skin 0.10"
    assert "0.5, 1" in composition_text(backwards)


def test_a_part_that_neither_may_change_is_a_conflict_and_so_is_lost_change(
    sqlite_library: Library, pair: tuple[EditingVector, EditingVector]
) -> None:
    smile, look = pair
    store(sqlite_library, look, smile, together(smile, None, moved={"skin": 0.8, "eye": 0.9}))

    told = report(sqlite_library, scales=(0.5, 1.0)).conflicts

    assert told == (
        "measured together on 64 images: avatars/look@1 keeps 60% of its change beside "
        "avatars/smile@1, at scales 1 and 0.5",
        "measured together on 64 images: avatars/smile@1 and avatars/look@1 change skin, which "
        "neither of them may",
    )


def test_what_keeps_its_success_is_no_conflict(
    sqlite_library: Library, pair: tuple[EditingVector, EditingVector]
) -> None:
    smile, look = pair
    store(sqlite_library, smile, look, together(look, 0.97))

    assert report(sqlite_library, scales=(1.0, 0.5)).conflicts == ()


def test_show_lists_partners_apart_from_the_metrics(
    sqlite_library: Library, pair: tuple[EditingVector, EditingVector]
) -> None:
    smile, look = pair
    store(sqlite_library, smile, look, together(look))

    shown = vector_text(sqlite_library.get_vector("smile"))

    assert "kept_success" not in shown
    assert "avatars/look@1  1, 0.5       64  75 % (smiling)" in shown
    assert "mouth 0.90, eye 0.60, skin 0.10" in shown


def test_json_of_a_composition_holds_the_measurement(
    sqlite_library: Library, pair: tuple[EditingVector, EditingVector]
) -> None:
    from editvec.json_codec import as_json

    smile, look = pair
    store(sqlite_library, smile, look, together(look))

    told = json.loads(json.dumps(as_json(report(sqlite_library))))["pairs"][0]

    assert told["first_beside"]["success"]["value"] == 0.75
    assert told["first_beside"]["moved"] == MOVED
    assert told["second_beside"] is None
