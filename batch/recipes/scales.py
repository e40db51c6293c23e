"""Scales that differ from item to item: drawn evenly, and again the same for the same item."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Any

_DIGITS = 6


@dataclass(frozen=True)
class Uniform:
    """Any scale between two ends, each as likely."""

    low: float
    high: float

    def at(self, share: float) -> float:
        """The scale at a share of the range, 0 to 1."""
        return round(self.low + (self.high - self.low) * share, _DIGITS) + 0.0

    def __str__(self) -> str:
        return f"uniform({self.low:g},{self.high:g})"


@dataclass(frozen=True)
class Choice:
    """One of several scales.

    Attributes:
        values: the scales.
        weights: how often each, relative to the others.
    """

    values: tuple[float, ...]
    weights: tuple[float, ...]

    @classmethod
    def evenly(cls, values: Sequence[float]) -> Choice:
        """All of them as often."""
        return cls(tuple(values), (1.0,) * len(values))

    def at(self, share: float) -> float:
        """The scale at a share of the weights, 0 to 1."""
        ends = list(accumulate(self.weights))
        place = bisect_right(ends, share * ends[-1])
        return self.values[min(place, len(self.values) - 1)]

    def __str__(self) -> str:
        values = ",".join(f"{value:g}" for value in self.values)
        if len(set(self.weights)) == 1:
            return f"choice({values})"
        weights = ":".join(f"{weight:g}" for weight in self.weights)
        return f"choice({values} at {weights})"


@dataclass(frozen=True)
class Share:
    """A share of the items gets the vector's default scale, the others 0; before it is pinned."""

    share: float

    def __str__(self) -> str:
        return f"{self.share * 100:g}%"


@dataclass(frozen=True)
class UsableRange:
    """Any scale of the vector's usable range; before it is pinned."""

    def __str__(self) -> str:
        return "uniform"


Drawn = Uniform | Choice
"""A scale that is drawn for each item."""

Scale = float | Uniform | Choice
"""What a pinned edit holds."""

AskedScale = float | Uniform | Choice | Share | UsableRange
"""What is typed: some of it means something only for a vector."""


def scale_ends(scale: Scale) -> tuple[float, float]:
    """The least and the largest scale that an item may get."""
    if isinstance(scale, Uniform):
        return scale.low, scale.high
    if isinstance(scale, Choice):
        return min(scale.values), max(scale.values)
    return scale, scale


def scale_to_json(scale: Scale) -> float | dict[str, Any]:
    """Plain values, as stored in the plan."""
    if isinstance(scale, Uniform):
        return {"uniform": [scale.low, scale.high]}
    if isinstance(scale, Choice):
        return {"choice": list(scale.values), "weights": list(scale.weights)}
    return scale


def scale_from_json(values: float | dict[str, Any]) -> Scale:
    """Reads what `scale_to_json` wrote."""
    if not isinstance(values, dict):
        return values
    if "uniform" in values:
        low, high = values["uniform"]
        return Uniform(low, high)
    return Choice(tuple(values["choice"]), tuple(values["weights"]))


def draw(scales: Sequence[Drawn], *, names: Sequence[str], seed: int, position: int) -> list[float]:
    """The scales of one item.

    The shares are Halton's low-discrepancy sequence over the positions, shifted by the seed: of any
    number of items, half get a `50%`, and every combination of several draws comes as often as it
    should. Throwing dice for each item would leave a small set unbalanced.

    Args:
        scales: what to draw from.
        names: one for each, which shifts its sequence.
        seed: of the run.
        position: of the item's input in the run.

    Returns:
        One scale for each.

    Example:
        >>> smile = Choice((0.0, 1.0), (0.5, 0.5))
        >>> sum(draw([smile], names=["smile"], seed=0, position=i)[0] for i in range(100))
        50.0
    """
    shares = (
        (_offset(seed, name) + _radical_inverse(position, base)) % 1.0
        for name, base in zip(names, _bases(len(scales)), strict=True)
    )
    return [scale.at(share) for scale, share in zip(scales, shares, strict=True)]


@cache
def _bases(count: int) -> tuple[int, ...]:
    """The first primes."""
    primes: list[int] = []
    candidate = 2
    while len(primes) < count:
        if all(candidate % prime for prime in primes):
            primes.append(candidate)
        candidate += 1
    return tuple(primes)


def _radical_inverse(number: int, base: int) -> float:
    """The digits of a number, mirrored at the point: 6 = 110 in base 2 becomes 0.011."""
    inverse, unit = 0.0, 1.0
    while number:
        number, digit = divmod(number, base)
        unit /= base
        inverse += digit * unit
    return inverse


def _offset(seed: int, name: str) -> float:
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
