"""What a composition says about itself before it is stored."""

from typing import Any

import numpy as np
import pytest

from editvec.registry.cli.compose_text import composition_text
from editvec.registry.composition.report import ScaleFit, cosine_between, scale_fit
from editvec.registry.entities.vectors import Condition, NewTerm
from editvec.registry.library.library import Library
from tests.support.registry_fixtures import NUM_WS, W_DIM, new_vector

UPPER = (True, True, True, False, False, False)
LOWER = (False, False, False, True, True, True)


def axis(*values: float) -> np.ndarray:
    """A delta that is `values` in its first row: angles and lengths are easy to tell."""
    delta = np.zeros((NUM_WS, W_DIM), np.float32)
    delta[0, : len(values)] = values
    return delta


def term(address: str, scale: float = 1.0, **changes: Any) -> NewTerm:
    return NewTerm(address=address, scale=scale, **changes)


@pytest.fixture
def plane(sqlite_library: Library) -> Library:
    """A library whose vectors have round angles and lengths."""
    deltas = {"east": axis(3), "north": axis(0, 4), "west": axis(-2, 0.5), "nearly": axis(5, 1)}
    labels = {"east": ("mouth", "teeth"), "north": ("eye",), "west": ("teeth", "eye")}
    for name, delta in deltas.items():
        new = new_vector(
            name, roi_labels=labels.get(name, ("skin",)), scale_min=-1.0, scale_max=2.0
        )
        sqlite_library.add_vector(new, delta)
    return sqlite_library


def test_terms_are_measured_against_their_usable_ranges(plane: Library) -> None:
    report = plane.plan_composition([term("east", 1.5), term("north", -2.0)]).report

    east, north = report.terms
    assert (east.address, east.scale, east.fit) == ("avatars/east@1", 1.5, ScaleFit.INSIDE)
    assert (east.norm, east.norm_at_min, east.norm_at_max) == (4.5, 3.0, 6.0)
    assert (north.fit, north.norm, north.norm_at_max) == (ScaleFit.OUTSIDE, 8.0, 8.0)
    assert report.norm == report.norm_before == pytest.approx(np.hypot(4.5, 8.0))
    assert report.conflicts == (
        "avatars/north@1: scale -2 is outside of its usable range, -1 to 2",
    )


def test_pairs_have_an_angle_and_the_parts_they_share(plane: Library) -> None:
    report = plane.plan_composition([term("east"), term("north"), term("west")]).report

    pairs = [
        (one.first[8:], one.second[8:], one.shared_labels, one.overlap) for one in report.pairs
    ]
    assert pairs == [
        ("east@1", "north@1", (), 0.0),
        ("east@1", "west@1", ("teeth",), 1 / 3),
        ("north@1", "west@1", ("eye",), 1 / 2),
    ]
    cosines = [one.cosine for one in report.pairs]
    np.testing.assert_allclose(cosines, [0, -2 / np.hypot(2, 0.5), 0.5 / np.hypot(2, 0.5)])


def test_scale_and_rows_count_in_the_angle(plane: Library) -> None:
    report = plane.plan_composition([term("east", -1.0), term("west")]).report
    apart = plane.plan_composition(
        [term("east", row_mask=UPPER), term("north"), term("west", row_mask=LOWER)]
    ).report

    assert report.pairs[0].cosine == pytest.approx(2 / np.hypot(2, 0.5))
    assert [pair.cosine for pair in apart.pairs] == [0.0, 0.0, 0.0]


def test_opposing_terms_are_a_conflict_where_they_share_parts(plane: Library) -> None:
    sharing = plane.plan_composition([term("east"), term("west")]).report
    apart = plane.plan_composition([term("nearly"), term("west")]).report

    assert sharing.conflicts == (
        "avatars/east@1 and avatars/west@1 oppose each other (cosine -0.97) on teeth",
    )
    assert apart.pairs[0].cosine < -0.8
    assert apart.conflicts == ()


def test_near_duplicates_are_a_conflict(plane: Library) -> None:
    report = plane.plan_composition([term("east"), term("nearly")]).report

    assert report.conflicts == (
        "avatars/east@1 and avatars/nearly@1 do nearly the same (cosine 0.98): together they are "
        "one edit at a larger scale",
    )


def test_two_versions_of_one_vector_are_a_conflict(plane: Library) -> None:
    plane.add_vector(new_vector("east"), axis(0, 0, 7))

    report = plane.plan_composition([term("east@1"), term("east@2")]).report

    assert report.conflicts == ("avatars/east@1 and avatars/east@2 are versions of one vector",)


def test_one_version_twice_adds_up_where_its_rows_meet(plane: Library) -> None:
    meeting = plane.plan_composition([term("east", 1.5), term("east", 1.0, row_mask=UPPER)]).report
    apart = plane.plan_composition(
        [term("east", row_mask=UPPER), term("east", 2.0, row_mask=LOWER)]
    ).report

    assert meeting.conflicts == (
        "avatars/east@1 is there twice: its scale adds up to 2.5 on the rows that both terms "
        "touch, outside of its usable range, -1 to 2",
    )
    assert apart.conflicts == ()


def test_conditions_are_measured_and_a_large_loss_is_a_conflict(plane: Library) -> None:
    report = plane.plan_composition([term("nearly")], conditions=[Condition(address="east")]).report

    (condition,) = report.conditions
    assert condition.address == "avatars/east@1"
    assert condition.cosine == pytest.approx(5 / np.hypot(5, 1))
    assert condition.scale == pytest.approx(-5 / 3)
    assert condition.norm == pytest.approx(5.0)
    assert (report.norm_before, report.norm) == (pytest.approx(np.hypot(5, 1)), pytest.approx(1.0))
    assert report.conflicts == (
        "the projection takes 80% of the sum's length: what is left is another edit",
    )


def test_text_shows_terms_pairs_conditions_and_conflicts(plane: Library) -> None:
    planned = plane.plan_composition(
        [term("east", 3.0), term("west")], conditions=[Condition(address="north")]
    )

    lines = composition_text(planned.report).splitlines()

    assert " ".join(lines[0].split()) == "TERM SCALE USABLE FIT NORM NORM AT ENDS COS 1 COS 2"
    assert " ".join(lines[1].split()) == "avatars/east@1 3 -1 to 2 outside 9 3 to 6 1 -0.9701"
    assert lines[4].split() == ["TERMS", "SHARED", "PARTS", "OVERLAP"]
    assert lines[5].split() == ["1,", "2", "teeth", "0.3333"]
    assert lines[7].split() == ["WITHOUT", "COS", "SCALE", "NORM"]
    assert lines[8].split() == ["avatars/north@1", "0.07125", "-0.125", "0.5"]
    assert lines[10] == "sum: norm 7 (7.018 before projecting), roi mouth, teeth, eye"
    assert lines[11:] == [f"conflict: {conflict}" for conflict in planned.report.conflicts]
    assert len(planned.report.conflicts) == 2


@pytest.mark.parametrize(
    ("scale", "scale_min", "scale_max", "fit"),
    [
        (1.0, 0.0, 1.0, ScaleFit.INSIDE),
        (1.1, 0.0, 1.0, ScaleFit.OUTSIDE),
        (-0.1, 0.0, 1.0, ScaleFit.OUTSIDE),
        (1.0, None, None, ScaleFit.UNKNOWN),
        (1.0, None, 2.0, ScaleFit.UNKNOWN),
        (3.0, None, 2.0, ScaleFit.OUTSIDE),
        (-3.0, -2.0, None, ScaleFit.OUTSIDE),
    ],
)
def test_scale_fits_a_range_that_may_be_open(
    scale: float, scale_min: float | None, scale_max: float | None, fit: ScaleFit
) -> None:
    assert scale_fit(scale, scale_min, scale_max) is fit


def test_cosine_with_nothing_is_zero() -> None:
    assert cosine_between(np.zeros(3), np.ones(3)) == 0.0
    assert cosine_between(np.full(3, 1e-100), np.ones(3)) == pytest.approx(1.0)


def test_term_without_effect_has_length_zero(plane: Library) -> None:
    report = plane.plan_composition([term("east"), term("north", row_mask=LOWER)]).report

    assert report.terms[1].norm == 0.0
    assert report.pairs[0].cosine == 0.0
