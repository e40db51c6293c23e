"""Numbers that pass by once, in constant memory: how many, their ends, and how they are spread."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np

SAMPLE_SIZE = 2048


class Distribution:
    """How numbers are spread: count and ends of all of them, the rest from an even sample.

    Up to SAMPLE_SIZE numbers the sample is all there are. Beyond, each number is as likely in it as
    any other (Vitter 1985, algorithm R), by chances that are the same in every process: equal
    numbers in equal order give an equal sample. A quantile q is then off by about
    sqrt(q (1 - q) / SAMPLE_SIZE) in rank, which is one percent for the median.

    Attributes:
        count: how many numbers were added.
        low: the least of them.
        high: the greatest of them.
    """

    __slots__ = ("_chances", "_sample", "count", "high", "low")

    def __init__(self) -> None:
        self.count = 0
        self.low = math.inf
        self.high = -math.inf
        self._sample = array("d")
        self._chances: random.Random | None = None

    def add(self, value: float) -> None:
        """Adds a finite number."""
        self.count += 1
        self.low = min(self.low, value)
        self.high = max(self.high, value)
        if self.count <= SAMPLE_SIZE:
            self._sample.append(value)
            return
        if self._chances is None:
            self._chances = random.Random(0)
        place = int(self._chances.random() * self.count)
        if place < SAMPLE_SIZE:
            self._sample[place] = value

    @property
    def is_constant(self) -> bool:
        """True if all numbers are the same."""
        return self.low >= self.high

    @property
    def is_sampled(self) -> bool:
        """True if there were more numbers than were kept."""
        return self.count > SAMPLE_SIZE

    def quantiles(self, shares: Sequence[float]) -> list[float]:
        """The numbers below which these shares of all lie; at least one number was added."""
        return [float(value) for value in np.quantile(np.asarray(self._sample), shares)]

    def bars(self, low: float, high: float, *, bins: int) -> list[int]:
        """How much of the sample lies in each of `bins` equal steps from `low` to `high`.

        What lies beyond an end counts in the step at that end.
        """
        values = np.clip(np.asarray(self._sample), low, high)
        return [int(count) for count in np.histogram(values, bins=bins, range=(low, high))[0]]

    def to_json(self) -> dict[str, Any]:
        """Count, ends, median and the middle nine tenths."""
        lower, median, upper = self.quantiles([0.05, 0.5, 0.95])
        return {
            "count": self.count,
            "low": self.low,
            "q05": lower,
            "median": median,
            "q95": upper,
            "high": self.high,
        }
