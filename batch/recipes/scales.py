"""Scales that differ from item to item: drawn evenly, and again the same for the same item."""

from __future__ import annotations

import hashlib
import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Any

from editvec.batch.errors import RecipeError

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
    """The scales of one item, as they were drawn when a plan did not know how many there are.

    Such a plan goes on, and is reported, with the scales that its items got; a new one takes
    `draw_balanced`. The shares are Halton's low-discrepancy sequence over the positions, shifted
    by the seed: of any number of items, about half get a `50%`.

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


# --- scales as they are typed: a number, a sweep, or what is drawn for each item ---

MAX_SWEEP = 101
MAX_SCALE = 100.0
_CALL = re.compile(r"\s*(uniform|choice)\s*\((.*)\)\s*\Z", re.DOTALL)
_PERCENT = re.compile(r"\s*([0-9.]+)\s*%\s*\Z")


def parse_asked_scales(value: str, *, of: str) -> tuple[AskedScale, ...]:
    """Reads whatever may stand behind the ``=`` of an edit.

    Besides what `parse_scales` reads: ``uniform(0.5,1.5)`` and ``choice(0,1)`` are drawn for each
    item, ``50%`` is the vector's default scale for half of the items and 0 for the others, and
    ``uniform`` is the vector's usable range.

    Args:
        value: the text behind the ``=``.
        of: the whole argument, as messages quote it.

    Raises:
        RecipeError: names the argument and what is wrong with it.
    """
    if value.strip() == "uniform":
        return (UsableRange(),)
    if (percent := _PERCENT.match(value)) is not None:
        share = _number(percent[1], of) / 100
        if not 0 < share < 1:
            raise RecipeError(f"edit: expected a share between 0% and 100%, got {of!r}")
        return (Share(share),)
    if (call := _CALL.match(value)) is None:
        return parse_scales(value, of=of)
    values = [_scale(part, of) for part in call[2].split(",")]
    if call[1] == "choice":
        if len(values) < 2 or len(values) > MAX_SWEEP:
            raise RecipeError(f"edit: choice takes 2 to {MAX_SWEEP} scales, got {of!r}")
        return (Choice.evenly(values),)
    if len(values) != 2 or values[0] >= values[1]:
        raise RecipeError(f"edit: expected uniform(LOW,HIGH) with LOW below HIGH, got {of!r}")
    return (Uniform(values[0], values[1]),)


def parse_scales(value: str, *, of: str | None = None) -> tuple[float, ...]:
    """Reads one scale, ``0.5``, or a sweep, ``-1:1:5``: first, last and count, both ends included.

    Args:
        value: the text.
        of: the whole argument, as messages quote it; None means `value`.

    Raises:
        RecipeError: names the argument and what is wrong with it.
    """
    text = value if of is None else of
    parts = value.split(":")
    if len(parts) == 1:
        return (_scale(value, text),)
    if len(parts) != 3:
        raise RecipeError(f"edit: a sweep is FIRST:LAST:COUNT, got {text!r}")
    return tuple(_sweep(_scale(parts[0], text), _scale(parts[1], text), parts[2], text))


def _scale(value: str, text: str) -> float:
    try:
        scale = float(value)
    except ValueError:
        raise RecipeError(
            f"edit: expected a number as the scale, got {value.strip()!r} in {text!r}"
        ) from None
    if not math.isfinite(scale) or abs(scale) > MAX_SCALE:
        raise RecipeError(
            f"edit: expected a scale of -{MAX_SCALE:g} to {MAX_SCALE:g}, "
            f"got {value.strip()!r} in {text!r}"
        )
    return scale + 0.0  # -0.0 becomes 0.0


def _sweep(first: float, last: float, count_text: str, text: str) -> list[float]:
    if not re.fullmatch(r"\s*\d{1,6}\s*", count_text) or not 2 <= int(count_text) <= MAX_SWEEP:
        raise RecipeError(
            f"edit: expected a sweep of 2 to {MAX_SWEEP} scales, "
            f"got {count_text.strip()!r} in {text!r}"
        )
    if first == last:
        raise RecipeError(f"edit: the ends of a sweep must differ, got {text!r}")
    last_step = int(count_text) - 1
    between = [first + (last - first) * step / last_step for step in range(1, last_step)]
    scales = [first, *(round(scale, 12) + 0.0 for scale in between), last]
    if len(set(scales)) < len(scales):
        raise RecipeError(f"edit: the scales of a sweep must differ, got {text!r}")
    return scales


def _number(text: str, of: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise RecipeError(f"edit: expected a number before %, got {of!r}") from None
