"""The page about an evaluated vector: one file, with every measure and the pictures."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from editvec.batch.evaluation.curves import Curve, Place
from editvec.batch.evaluation.intervals import Interval
from editvec.batch.reports.rendering import render
from editvec.registry.library.library import Library

Editvec = Callable[..., int]


class _Page(HTMLParser):
    """Which tags a page has, and whatever it refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.alternatives: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "href")]
        self.alternatives += [value or "" for name, value in attrs if name == "alt"]


def test_the_page_shows_measures_curves_and_pictures_and_needs_nothing_else(
    run_editvec: Editvec, library: Library, tmp_path: Path
) -> None:
    words = ("--samples", 4, "--operation", "mouth: grow 1", "--scales", "0:2:3")
    out = tmp_path / "smile.html"
    assert run_editvec("evaluate", "smile", *words, "--html", out, "--device", "cpu") == 0

    content = out.read_text()
    page = _Page()
    page.feed(content)
    assert all(one.startswith("data:image/") for one in page.references)
    for metric in library.get_vector("smile").latest_metrics:
        assert f"<b>{metric.name}</b>" in content
    assert page.tags.count("polyline") == 3
    # every item is among the best or the worst: before, after and both masks of each
    assert len(page.alternatives) == 4 * 4
    assert len(set(page.alternatives)) == 16
    assert "Not measured" in content


def test_a_curve_goes_through_its_points() -> None:
    places = [Place(-1, 2.0, Interval(1, 3)), Place(0, 4.0, Interval(3, 5)), Place(1, 6.0)]

    drawn = _drawn(Curve("a < b", places, usable=(-1, 0), bound=5.0))

    assert "a &lt; b" in drawn
    line = re.search(r'<polyline points="([^"]+)"', drawn)
    assert line is not None
    points = [tuple(map(float, pair.split(","))) for pair in line[1].split()]
    assert [x for x, _ in points] == [0, 240, 480]
    # equal steps of the value are equal steps of the drawing, upwards
    (_, first), (_, second), (_, third) = points
    assert first - second == pytest.approx(second - third, abs=0.2)
    assert first > second
    assert '<rect x="0.0"' in drawn
    assert 'width="240.0"' in drawn


def test_the_axis_of_what_cannot_be_negative_begins_at_zero_at_the_least() -> None:
    drawn = _drawn(Curve("leakage", [Place(-1, 0.01), Place(0, 0.0), Place(1, 0.02)]))
    logits = _drawn(Curve("logit", [Place(-1, -5.0), Place(0, 1.0), Place(1, 5.0)]))

    assert "<span>0 to 0.0208</span>" in drawn
    assert "<span>-5.4 to 5.4</span>" in logits


def _drawn(one: Curve) -> str:
    return render("evaluation/templates/curve.html", curve=one)
