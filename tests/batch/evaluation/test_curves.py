"""Curves: points, bands and bounds stand where their values say, computed by hand."""

import xml.etree.ElementTree as ET
from typing import Any

import pytest

from editvec.batch.evaluation.curves import Curve, Place
from editvec.batch.evaluation.intervals import Interval
from editvec.batch.reports.rendering import render


def curve(title: str, places: list[Place], **about: Any) -> str:
    """A curve as it stands on a page."""
    return render("evaluation/templates/curve.html", curve=Curve(title, places, **about)).strip()


def points(root: ET.Element, kind: str) -> list[tuple[float, float]]:
    (found,) = root.iter(kind)
    pairs = [pair.split(",") for pair in found.attrib["points"].split()]
    return [(float(x), float(y)) for x, y in pairs]


def texts(root: ET.Element) -> list[str | None]:
    (axis,) = (span for span in root.iter("span") if span.get("class") == "axis")
    return [span.text for span in axis]


def test_a_line_goes_from_the_first_scale_to_the_last() -> None:
    places = [Place(-2.0, -1.0), Place(0.0, 0.0), Place(2.0, 3.0)]

    root = ET.fromstring(curve("Success <of>", places, usable=(-1.0, 2.0), hint="more"))

    # values from -1.16 to 3.16: the margin is a twenty-fifth of the range
    height = [180 * (1 - (value + 1.16) / 4.32) for value in (-1, 0, 3)]
    expected = list(zip((0, 240, 480), height, strict=True))
    assert points(root, "polyline") == [pytest.approx(one, abs=0.06) for one in expected]
    assert texts(root) == ["scale -2", "-1.16 to 3.16", "2"]
    (shade,) = root.iter("rect")
    assert (shade.get("x"), shade.get("width"), shade.get("height")) == ("120.0", "360.0", "180")
    (svg,) = root.iter("svg")
    assert svg.get("aria-label") == "Success <of>: -1 at -2, 0 at 0, 3 at 2"
    assert not list(root.iter("line"))
    assert not list(root.iter("polygon"))


def test_a_bound_and_intervals_widen_the_frame() -> None:
    places = [
        Place(0.0, 1.0, Interval(0.5, 1.5)),
        Place(1.0, 2.0),
        Place(4.0, 2.0, Interval(1.0, float("inf"))),
    ]
    finite = [places[0], places[1], Place(4.0, 2.0, Interval(1.0, 3.0))]

    root = ET.fromstring(curve("t", finite, bound=0.25))

    low, high = 0.25 - 0.04 * 2.75, 3 + 0.04 * 2.75

    def y(value: float) -> float:
        return 180 * (1 - (value - low) / (high - low))

    band = [(0, y(1.5)), (480, y(3)), (480, y(1)), (0, y(0.5))]
    assert points(root, "polygon") == [pytest.approx(one, abs=0.06) for one in band]
    (line,) = root.iter("line")
    assert line.get("y1") == line.get("y2") == f"{y(0.25):.1f}"
    assert texts(root)[1] == "0.14 to 3.11"
    # an open end has no place: the frame is that of the others
    assert "0.44 to 2.06" in curve("t", places)


def test_one_interval_makes_no_band() -> None:
    one = curve("t", [Place(0.0, 1.0, Interval(0.5, 1.5)), Place(1.0, 2.0)])

    assert "<polygon" not in one


@pytest.mark.parametrize(
    ("values", "frame"),
    [((0.0, 1.0), "0 to 1.04"), ((2.0, 2.0), "1.5 to 2.5"), ((-1.0, -1.0), "-1.5 to -0.5")],
)
def test_what_cannot_be_below_0_has_no_axis_below_0(
    values: tuple[float, float], frame: str
) -> None:
    assert frame in curve("t", [Place(0.0, values[0]), Place(1.0, values[1])])
