"""Reasons why items gave no image, without what is an item's own, so that they can be counted."""

from __future__ import annotations

import re

# different reasons that are told apart in one run
MAX_REASONS = 200
OTHER_REASONS = "(other reasons)"

_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def general_reason(reason: str, source: str) -> str:
    """A reason with its numbers written as ``#``, and without the name of its input.

    Example:
        >>> general_reason("a/7.png: cannot be read: 12 bytes", "a/7.png")
        'cannot be read: # bytes'
    """
    named = f"{source}: "
    place = reason.find(named)
    if place >= 0 and len(named) > 2:
        reason = reason[place + len(named) :]
    return _NUMBER.sub("#", reason)
