"""Sizes and times as people write them: `10GB`, `500MiB`, `24h`."""

from __future__ import annotations

import math
import re
from datetime import timedelta

from editvec.registry.errors import RecordError

_UNITS = {"": 1, "b": 1}
_UNITS |= {f"{letter}b": 1000**power for power, letter in enumerate("kmgtp", 1)}
_UNITS |= {f"{letter}ib": 1024**power for power, letter in enumerate("kmgtp", 1)}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_QUANTITY = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*([a-z]*)\Z", re.ASCII)
_LONGEST = timedelta(days=36_500)


def parse_size(text: str) -> int:
    """Bytes of `10GB` (10^10), `500MiB` (500 * 2^20), `1.5 TB` or `0`.

    Raises:
        RecordError: not a size.

    Example:
        >>> parse_size("500MiB")
        524288000
    """
    match = _QUANTITY.match(text.strip().lower())
    if match is None or match[2] not in _UNITS:
        raise RecordError(f"size: expected bytes such as 10GB, 500MiB or 0, got {text!r}")
    size = float(match[1]) * _UNITS[match[2]]
    if not math.isfinite(size):
        raise RecordError(f"size: expected a smaller one, got {text!r:.40}")
    return round(size)


def parse_duration(text: str) -> timedelta:
    """The time of `24h`, `30m`, `7d`, `90s`, `2w` or `0`.

    Raises:
        RecordError: not a time, or more than a hundred years.

    Example:
        >>> parse_duration("36h")
        datetime.timedelta(days=1, seconds=43200)
    """
    match = _QUANTITY.match(text.strip().lower())
    if match is not None and match[2] == "" and float(match[1]) == 0:
        return timedelta(0)
    if match is None or match[2] not in _SECONDS:
        raise RecordError(f"time: expected one such as 24h, 30m, 7d or 0, got {text!r}")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds > _LONGEST.total_seconds():
        raise RecordError(f"time: expected at most {_LONGEST.days} days, got {text!r}")
    return timedelta(seconds=seconds)


def size_text(size: int) -> str:
    """Bytes for people, in steps of 1000.

    Example:
        >>> size_text(1_250_000)
        '1.25 MB'
    """
    for power, letter in reversed(list(enumerate("kMGTPE", 1))):
        # what would be written as 1000 of the smaller unit is 1 of the larger one
        if size >= 999.5 * 1000 ** (power - 1) and size >= 1000:
            return f"{size / 1000**power:.3g} {letter}B"
    return f"{size} B"
