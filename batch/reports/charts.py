"""The charts of a report: bars of one measure, one row for each recipe over a common range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from editvec.batch.reports.contact_sheet import number_text
from editvec.batch.reports.tally import Distribution

MAX_ROWS = 24
_MOST_BINS, _LEAST_BINS = 48, 16
_WIDTH, _LARGE, _LOW = 480, 88, 30
# a range is cut where its outer hundredths would take most of it
_OUTER = (0.005, 0.995)
_LONGEST = 2.0


class Bound(NamedTuple):
    """A gate: a line in the chart, and which side of it is rejected."""

    value: float
    is_upper: bool

    @property
    def words(self) -> str:
        """What it does."""
        return f"rejected {'above' if self.is_upper else 'below'} {number_text(self.value)}"


class Bar(NamedTuple):
    """A bar of a drawing; `is_out` on the side of the gate that is rejected."""

    x: float
    y: float
    width: float
    height: float
    is_out: bool


class RowName(NamedTuple):
    """What a row is called, and the section of the page that it leads to; empty for none."""

    text: str
    anchor: str = ""


@dataclass(frozen=True)
class ChartRow:
    """One row of a chart: whose numbers they are, and their drawing.

    Attributes:
        name: of the row.
        count: of its numbers.
        quantiles: 5 %, median and 95 % of them.
        height: of the drawing; it is 480 wide.
        bars: of the drawing.
        lines: kinds and places of its upright lines.
    """

    name: RowName
    count: int
    quantiles: list[float]
    height: int
    bars: list[Bar]
    lines: list[tuple[str, float]]


class Chart(NamedTuple):
    """Bars of one measure, with the ends of their range as text."""

    title: str
    notes: list[str]
    rows: list[ChartRow]
    low: str
    high: str


class _Range(NamedTuple):
    low: float
    high: float
    is_cut_low: bool
    is_cut_high: bool

    def place(self, value: float) -> float:
        return _WIDTH * (value - self.low) / (self.high - self.low)


def chart(
    title: str,
    numbers: Sequence[tuple[RowName, Distribution]],
    *,
    bound: Bound | None = None,
    hint: str = "",
) -> Chart:
    """The chart of one measure.

    Args:
        title: of the chart.
        numbers: what to compare, by name; at least one, each with at least one number.
        bound: the gate on this measure.
        hint: what is better.
    """
    shown = numbers[:MAX_ROWS]
    span = _range([one for _, one in shown], bound)
    notes = [part for part in (hint, bound.words if bound else "") if part]
    if len(numbers) > len(shown):
        notes.append(f"and {len(numbers) - len(shown)} more recipes")
    if any(one.is_sampled for _, one in shown):
        notes.append("bars and quantiles from an even sample")
    height = _LARGE if len(shown) == 1 else _LOW
    return Chart(
        title,
        notes,
        [_row(name, one, span, bound, height) for name, one in shown],
        f"{'≤ ' if span.is_cut_low else ''}{number_text(span.low)}",
        f"{'≥ ' if span.is_cut_high else ''}{number_text(span.high)}",
    )


def _row(
    name: RowName, numbers: Distribution, span: _Range, bound: Bound | None, height: int
) -> ChartRow:
    quantiles = numbers.quantiles((0.05, 0.5, 0.95))
    marked = [("median", quantiles[1]), *([("gate", bound.value)] if bound else [])]
    lines = [(kind, round(span.place(x), 1)) for kind, x in marked if span.low <= x <= span.high]
    return ChartRow(
        name, numbers.count, quantiles, height, _bars(numbers, span, bound, height), lines
    )


def _bars(numbers: Distribution, span: _Range, bound: Bound | None, height: int) -> list[Bar]:
    bins = min(_MOST_BINS, max(_LEAST_BINS, round(2 * numbers.count**0.5)))
    counts = numbers.bars(span.low, span.high, bins=bins)
    tallest, step = max(1, *counts), _WIDTH / bins
    bars = []
    for number, count in enumerate(counts):
        if count:
            tall = max(1.0, (height - 2) * count / tallest)
            middle = span.low + (span.high - span.low) * (number + 0.5) / bins
            is_out = bound is not None and (middle > bound.value) == bound.is_upper
            x, y = round(number * step + 0.5, 1), round(height - tall, 1)
            bars.append(Bar(x, y, round(step - 1, 1), round(tall, 1), is_out))
    return bars


def _range(all_numbers: Sequence[Distribution], bound: Bound | None) -> _Range:
    """From the least to the greatest number, without the outer ends where these are far away."""
    low = min(numbers.low for numbers in all_numbers)
    high = max(numbers.high for numbers in all_numbers)
    ends = [numbers.quantiles(_OUTER) for numbers in all_numbers]
    inner_low, inner_high = min(end[0] for end in ends), max(end[1] for end in ends)
    length = inner_high - inner_low
    shown_low, shown_high = low, high
    if length > 0:
        shown_low = max(low, inner_low - (_LONGEST - 1) / 2 * length)
        shown_high = min(high, inner_high + (_LONGEST - 1) / 2 * length)
    if bound is not None:
        # the line is shown unless everything lies far from it
        reach = max(shown_high - shown_low, abs(bound.value) * 0.05, 1e-9)
        if abs(bound.value - shown_low) < 3 * reach or abs(bound.value - shown_high) < 3 * reach:
            shown_low = min(shown_low, bound.value - 0.03 * reach)
            shown_high = max(shown_high, bound.value + 0.03 * reach)
    if shown_high <= shown_low:
        margin = max(abs(low) * 0.05, 0.5 if low == 0 else 1e-9)
        return _Range(low - margin, high + margin, False, False)
    return _Range(shown_low, shown_high, shown_low > low, shown_high < high)
