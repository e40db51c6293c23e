"""Curves over scales as SVG: a line, the interval around it, bounds, and the usable range."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from editvec.batch.evaluation.intervals import Interval
from editvec.batch.reports.contact_sheet import number_text
from editvec.batch.reports.html import text

_WIDTH, _HEIGHT = 480, 180


class Place(NamedTuple):
    """A value at a scale, with its interval where there is one."""

    scale: float
    value: float
    interval: Interval | None = None


class _Axes(NamedTuple):
    """What the drawing shows: scales from left to right, values from below."""

    left: float
    right: float
    low: float
    high: float

    def point(self, scale: float, value: float) -> str:
        return f"{self.x(scale):.1f},{self.y(value):.1f}"

    def x(self, scale: float) -> float:
        return _WIDTH * (scale - self.left) / (self.right - self.left)

    def y(self, value: float) -> float:
        return _HEIGHT * (1 - (value - self.low) / (self.high - self.low))


def curve(
    title: str,
    places: Sequence[Place],
    *,
    bound: float | None = None,
    usable: tuple[float, float] | None = None,
    hint: str = "",
) -> str:
    """A chart of one value over scales.

    Args:
        title: of the chart, text.
        places: at least two, in the order of their scales.
        bound: a line that the value shall keep to.
        usable: scales that are shaded.
        hint: what is better, text.
    """
    frame = _frame(places, bound)
    label = f"{title}: " + ", ".join(
        f"{number_text(one.value)} at {one.scale:g}" for one in places
    )  # fmt: skip
    return (
        f'<div class="chart"><div class="head"><h3>{text(title)}</h3>'
        f'<span class="note">{text(hint)}</span></div>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{text(label)}" style="height:{_HEIGHT}px">'
        f"{_shade(frame, usable)}{_band(frame, places)}{_line(frame, places)}"
        f"{_bound(frame, bound)}</svg>"
        f'<span class="axis"><span>scale {places[0].scale:g}</span>'
        f"<span>{number_text(frame.low)} to {number_text(frame.high)}</span>"
        f"<span>{places[-1].scale:g}</span></span></div>"
    )


def _frame(places: Sequence[Place], bound: float | None) -> _Axes:
    values = [one.value for one in places]
    for one in places:
        values += [end for end in one.interval or () if math.isfinite(end)]
    if bound is not None:
        values.append(bound)
    low, high = min(values), max(values)
    margin = 0.04 * (high - low) or 0.5
    # what cannot be below 0 has no axis that says so
    floor = 0.0 if low >= 0 else -math.inf
    return _Axes(places[0].scale, places[-1].scale, max(low - margin, floor), high + margin)


def _shade(frame: _Axes, usable: tuple[float, float] | None) -> str:
    if usable is None:
        return ""
    left, right = (frame.x(end) for end in usable)
    return (
        f'<rect x="{left:.1f}" y="0" width="{right - left:.1f}" height="{_HEIGHT}" '
        'style="fill:var(--soft)"/>'
    )


def _band(frame: _Axes, places: Sequence[Place]) -> str:
    known = [(one.scale, one.interval) for one in places if one.interval is not None]
    if len(known) < 2:
        return ""
    above = [frame.point(scale, ends.high) for scale, ends in known]
    below = [frame.point(scale, ends.low) for scale, ends in reversed(known)]
    points = " ".join(above + below)
    return f'<polygon points="{points}" style="fill:var(--fill);opacity:.3"/>'


def _line(frame: _Axes, places: Sequence[Place]) -> str:
    points = " ".join(frame.point(one.scale, one.value) for one in places)
    return (
        f'<polyline points="{points}" style="fill:none;stroke:var(--accent);stroke-width:2;'
        'vector-effect:non-scaling-stroke"/>'
    )


def _bound(frame: _Axes, bound: float | None) -> str:
    if bound is None:
        return ""
    y = f"{frame.y(bound):.1f}"
    return f'<line class="gate" x1="0" x2="{_WIDTH}" y1="{y}" y2="{y}"/>'
