"""Reads the scales of an edit as they are typed: a number, a sweep, or what is drawn per item."""

from __future__ import annotations

import math
import re

from editvec.batch.errors import RecipeError
from editvec.batch.recipes.scales import AskedScale, Choice, Share, Uniform, UsableRange

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
