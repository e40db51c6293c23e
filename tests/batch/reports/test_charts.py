"""Bars of a report: where they stand, by hand and by numpy's histograms."""

import xml.etree.ElementTree as ET
from collections.abc import Iterable

import numpy as np
import pytest

from editvec.batch.reports import charts
from editvec.batch.reports.charts import MAX_ROWS, Bound, RowName
from editvec.batch.reports.rendering import _ENVIRONMENT
from editvec.batch.reports.tally import Distribution

WIDTH = 480


def spread(values: Iterable[float]) -> Distribution:
    made = Distribution()
    for value in values:
        made.add(float(value))
    return made


def chart(
    title: str, rows: list[tuple[RowName, Distribution]], bound: Bound | None = None, hint: str = ""
) -> str:
    """A chart as it stands on a page."""
    page = _ENVIRONMENT.from_string(
        '{% from "reports/templates/charts.html" import chart %}{{ chart(of) }}'
    )
    return page.render(of=charts.chart(title, rows, bound=bound, hint=hint)).strip()


def drawn(values: Iterable[float], bound: Bound | None = None) -> ET.Element:
    return ET.fromstring(chart("Title", [(RowName("a"), spread(values))], bound=bound, hint="more"))


def axis(root: ET.Element) -> list[str | None]:
    (found,) = (span for span in root.iter("span") if span.get("class") == "axis")
    return [span.text for span in found]


def lines(root: ET.Element) -> dict[str, float]:
    found = {}
    for line in root.iter("line"):
        assert line.get("x1") == line.get("x2")
        found[line.attrib["class"]] = float(line.attrib["x1"])
    return found


def test_bars_are_the_histogram_from_the_least_to_the_greatest() -> None:
    values = np.random.default_rng(0).uniform(-3, 5, 400)
    bins = 40  # twice the root of their number
    counts, edges = np.histogram(values, bins)

    root = drawn(values)

    bars = [{key: float(bar.attrib[key]) for key in ("x", "y", "width", "height")}
            for bar in root.iter("rect")]  # fmt: skip
    step = WIDTH / bins
    assert [bar["x"] for bar in bars] == pytest.approx(
        [place * step + 0.5 for place in np.flatnonzero(counts)], abs=0.06
    )
    assert {bar["width"] for bar in bars} == {step - 1}
    tall = 86 * counts[counts > 0] / counts.max()
    assert [bar["height"] for bar in bars] == pytest.approx(np.maximum(tall, 1), abs=0.06)
    assert [bar["y"] + bar["height"] for bar in bars] == pytest.approx([88] * len(bars), abs=0.11)
    median = WIDTH * (np.median(values) - edges[0]) / (edges[-1] - edges[0])
    assert lines(root) == {"median": pytest.approx(median, abs=0.06)}
    assert axis(root) == [f"{values.min():.3g}", f"{values.max():.3g}"]


@pytest.mark.parametrize(("count", "bins"), [(4, 16), (64, 16), (81, 18), (576, 48), (900, 48)])
def test_there_are_more_bars_for_more_numbers_within_limits(count: int, bins: int) -> None:
    widths = {bar.get("width") for bar in drawn(range(count)).iter("rect")}

    assert widths == {f"{WIDTH / bins - 1:.1f}"}


def test_numbers_are_told_in_words() -> None:
    root = drawn(range(101))

    told = {span.text: span[0].text for span in root.iter("span") if len(span) == 1}
    assert told == {"n ": "101", "median ": "50", "5% ": "5", "95% ": "95"}
    (svg,) = root.iter("svg")
    assert svg.get("aria-label") == "Title: 101 values, median 50, nine tenths from 5 to 95"
    assert "".join(root.find("div").itertext()) == "Titlemore"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("bound", "is_out", "words"),
    [
        (Bound(5.0, True), lambda middle: middle > 5, "rejected above 5"),
        (Bound(5.0, False), lambda middle: middle <= 5, "rejected below 5"),
    ],
)
def test_bars_beyond_a_gate_are_marked(bound: Bound, is_out: object, words: str) -> None:
    root = drawn(np.linspace(0, 10, 64), bound)

    for bar in root.iter("rect"):
        middle = 10 * (float(bar.attrib["x"]) + float(bar.attrib["width"]) / 2) / WIDTH
        assert (bar.get("class") == "out") == is_out(middle)  # type: ignore[operator]
    assert lines(root)["gate"] == 240
    assert f"more · {words}" in "".join(root.itertext())


def test_a_gate_near_the_numbers_widens_the_range_and_one_far_away_is_not_shown() -> None:
    # the numbers take a range of 1, of which the line is not three times away
    near, beyond = drawn([0, 1], Bound(3.9, True)), drawn([0, 1], Bound(4.1, True))

    assert axis(near) == ["0", "3.93"]
    assert lines(near)["gate"] == pytest.approx(WIDTH * 3.9 / 3.93, abs=0.06)
    assert axis(beyond) == ["0", "1"]
    assert lines(beyond).keys() == {"median"}
    below = drawn([0, 1], Bound(-2.9, False))
    assert axis(below) == ["-2.93", "1"]


@pytest.mark.parametrize(
    ("outlier", "ends"), [(1000.0, ["0", "≥ 1.49"]), (-1000.0, ["≤ -0.491", "1"])]
)
def test_a_single_number_far_away_does_not_flatten_the_rest(
    outlier: float, ends: list[str]
) -> None:
    root = drawn([*np.linspace(0, 1, 1001), outlier])

    assert axis(root) == ends
    assert len(list(root.iter("rect"))) > 20


@pytest.mark.parametrize(
    ("value", "ends"), [(5.0, ["4.75", "5.25"]), (0.0, ["-0.5", "0.5"]), (-2.0, ["-2.1", "-1.9"])]
)
def test_equal_numbers_stand_in_the_middle(value: float, ends: list[str]) -> None:
    root = drawn([value] * 3)

    assert axis(root) == ends
    assert lines(root) == {"median": 240}
    assert len(list(root.iter("rect"))) == 1


@pytest.mark.parametrize("more", [0, 1])
def test_rows_share_one_range_and_some_are_left_out(more: int) -> None:
    rows = [(RowName(f"<b>r{n}</b>"), spread([n, n + 1])) for n in range(MAX_ROWS + more)]

    root = ET.fromstring(chart("T", rows))

    body = [row for row in root.iter("tr") if row.find("th[@scope='row']") is not None]
    assert len(body) == MAX_ROWS
    for place, row in enumerate(body):
        cells = [cell.text for cell in row.findall("td[@class='num']")]
        low, middle, high = np.quantile([place, place + 1], [0.05, 0.5, 0.95])
        assert cells == ["2", f"{low:.3g}", f"{middle:.3g}", f"{high:.3g}"]
        median = [float(line.attrib["x1"]) for line in row.iter("line")]
        assert median == pytest.approx([WIDTH * middle / MAX_ROWS], abs=0.06)
    assert ("and 1 more recipes" in "".join(root.itertext())) == bool(more)


def test_a_sample_is_told() -> None:
    exact, sampled = (chart("T", [(RowName("a"), spread(range(n)))]) for n in (2048, 2049))

    assert "even sample" not in exact
    assert "even sample" in sampled
