"""The charts of the report page: bars as SVG, one row for each recipe over a common range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from editvec.batch.reports.contact_sheet import number_text
from editvec.batch.reports.html import text
from editvec.batch.reports.tally import Distribution

MAX_ROWS = 24
_MOST_BINS, _LEAST_BINS = 48, 16
_WIDTH = 480
_SHARES = (0.05, 0.5, 0.95)
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


class ChartRow(NamedTuple):
    """What one row of a chart is about: its name as HTML, and its numbers."""

    name: str
    numbers: Distribution


class _Range(NamedTuple):
    low: float
    high: float
    is_cut_low: bool
    is_cut_high: bool

    def place(self, value: float) -> float:
        return _WIDTH * (value - self.low) / (self.high - self.low)


def chart(
    title: str, rows: Sequence[ChartRow], *, bound: Bound | None = None, hint: str = ""
) -> str:
    """Bars of one metric, with count, median and the middle nine tenths as text.

    Args:
        title: of the chart, text.
        rows: what to compare; at least one, each with at least one number.
        bound: the gate on this metric.
        hint: what is better, text.
    """
    shown = rows[:MAX_ROWS]
    span = _range([row.numbers for row in shown], bound)
    notes = [text(part) for part in (hint, bound.words if bound else "") if part]
    if len(rows) > len(shown):
        notes.append(f"and {len(rows) - len(shown)} more recipes")
    if any(row.numbers.is_sampled for row in shown):
        notes.append("bars and quantiles from an even sample")
    draw = _single if len(shown) == 1 else _ridge
    return (
        f'<div class="chart{" wide" if len(shown) > 1 else ""}">'
        f'<div class="head"><h3>{text(title)}</h3><span class="note">{" · ".join(notes)}</span>'
        f"</div>{draw(title, shown, span, bound)}</div>"
    )


def _single(title: str, rows: Sequence[ChartRow], span: _Range, bound: Bound | None) -> str:
    """One row, large, and its numbers in a line."""
    (row,) = rows
    lower, median, upper = (number_text(one) for one in row.numbers.quantiles(_SHARES))
    return (
        f"{_drawing(title, row, span, bound, height=88)}{_axis(span)}"
        f'<p class="numbers"><span>n <b>{row.numbers.count:,}</b></span>'
        f"<span>median <b>{median}</b></span><span>5% <b>{lower}</b></span>"
        f"<span>95% <b>{upper}</b></span></p>"
    )


def _ridge(title: str, rows: Sequence[ChartRow], span: _Range, bound: Bound | None) -> str:
    """A table with a small drawing in each row."""
    heads = [("recipe", ""), ("distribution", "plot")]
    heads += [(name, "num") for name in ("n", "5%", "median", "95%")]
    head = "".join(f'<th scope="col" class="{kind}">{name}</th>' for name, kind in heads)
    body = []
    for row in rows:
        cells = [f"{row.numbers.count:,}"]
        cells += [number_text(one) for one in row.numbers.quantiles(_SHARES)]
        drawing = _drawing(title, row, span, bound, height=30)
        body.append(
            f'<tr><th scope="row">{row.name}</th><td class="plot">{drawing}</td>'
            + "".join(f'<td class="num">{cell}</td>' for cell in cells)
            + "</tr>"
        )
    return (
        '<div class="scroll" tabindex="0"><table class="ridge">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}"
        f'<tr><td></td><td>{_axis(span)}</td><td colspan="4"></td></tr></tbody></table></div>'
    )


def _axis(span: _Range) -> str:
    low = f"{'≤ ' if span.is_cut_low else ''}{number_text(span.low)}"
    high = f"{'≥ ' if span.is_cut_high else ''}{number_text(span.high)}"
    return f'<span class="axis"><span>{low}</span><span>{high}</span></span>'


def _drawing(title: str, row: ChartRow, span: _Range, bound: Bound | None, *, height: int) -> str:
    lower, median, upper = row.numbers.quantiles(_SHARES)
    label = (
        f"{title}: {row.numbers.count} values, median {number_text(median)}, "
        f"nine tenths from {number_text(lower)} to {number_text(upper)}"
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" preserveAspectRatio="none" role="img" '
        f'aria-label="{text(label)}" style="height:{height}px">'
        f"{_bars(row.numbers, span, bound, height)}{_marks(median, span, bound, height)}</svg>"
    )


def share_bar(count: int, most: int) -> str:
    """A bar as long as a count beside the most that there is."""
    share = 100 * count / max(1, most)
    return f'<span class="bar" aria-hidden="true"><i style="width:{share:.1f}%"></i></span>'


def _bars(numbers: Distribution, span: _Range, bound: Bound | None, height: int) -> str:
    bins = min(_MOST_BINS, max(_LEAST_BINS, round(2 * numbers.count**0.5)))
    counts = numbers.bars(span.low, span.high, bins=bins)
    tallest, step = max(1, *counts), _WIDTH / bins
    bars = []
    for number, count in enumerate(counts):
        if count:
            tall = max(1.0, (height - 2) * count / tallest)
            middle = span.low + (span.high - span.low) * (number + 0.5) / bins
            is_out = bound is not None and (middle > bound.value) == bound.is_upper
            kind = ' class="out"' if is_out else ""
            bars.append(
                f'<rect{kind} x="{number * step + 0.5:.1f}" y="{height - tall:.1f}" '
                f'width="{step - 1:.1f}" height="{tall:.1f}"/>'
            )
    return "".join(bars)


def _marks(median: float, span: _Range, bound: Bound | None, height: int) -> str:
    lines = [("median", median)]
    if bound is not None:
        lines.append(("gate", bound.value))
    return "".join(
        f'<line class="{kind}" x1="{span.place(value):.1f}" x2="{span.place(value):.1f}" '
        f'y1="0" y2="{height}"/>'
        for kind, value in lines
        if span.low <= value <= span.high
    )


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
