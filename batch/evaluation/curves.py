"""Curves over scales: a line, the interval around it, a bound, and the usable range."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from editvec.batch.evaluation.intervals import Interval

_WIDTH, _HEIGHT = 480, 180


class Place(NamedTuple):
    """A value at a scale, with its interval where there is one."""

    scale: float
    value: float
    interval: Interval | None = None


class Axes(NamedTuple):
    """A drawing of 480 by 180: scales from left to right, values from below."""

    left: float
    right: float
    low: float
    high: float

    def x(self, scale: float) -> float:
        """How far to the right a scale lies, within the drawing."""
        share = (scale - self.left) / (self.right - self.left)
        return round(_WIDTH * min(1.0, max(0.0, share)), 1)

    def y(self, value: float) -> float:
        """How far down a value lies."""
        return round(_HEIGHT * (1 - (value - self.low) / (self.high - self.low)), 1)


class Curve(NamedTuple):
    """A chart of one value over scales.

    Attributes:
        title: what is drawn.
        places: at least two, in the order of their scales.
        bound: a line that the value shall keep to.
        usable: scales that are shaded.
        hint: what is better.
    """

    title: str
    places: Sequence[Place]
    bound: float | None = None
    usable: tuple[float, float] | None = None
    hint: str = ""

    @property
    def axes(self) -> Axes:
        """Room for all of it."""
        values = [one.value for one in self.places]
        for one in self.places:
            values += [end for end in one.interval or () if math.isfinite(end)]
        if self.bound is not None:
            values.append(self.bound)
        low, high = min(values), max(values)
        margin = 0.04 * (high - low) or 0.5
        # what cannot be below 0 has no axis that says so
        floor = 0.0 if low >= 0 else -math.inf
        first, last = self.places[0].scale, self.places[-1].scale
        return Axes(first, last, max(low - margin, floor), high + margin)
