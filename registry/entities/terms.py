"""The words a composition is written in: `smile[4:9]=0.8`, and `frown[2:5]` to do without."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple, Self

from editvec.registry.addresses import parse_address, quote
from editvec.registry.entities.spaces import rows_between
from editvec.registry.entities.vectors import Condition, NewTerm
from editvec.registry.errors import CompatibilityError, CompositionError

_TYPED = re.compile(
    r"(?P<vector>(?P<address>[^\[\]=]+)(\[(?P<first>\d{1,9}):(?P<last>\d{1,9})\])?)\s*"
    r"(=(?P<value>.+))?\Z",
    re.ASCII | re.DOTALL,
)


class TypedVector(NamedTuple):
    """A vector as it is typed: `smile`, `avatars/smile@2=1` or `smile[4:9]=0.8`.

    Attributes:
        vector: what stands before the `=`.
        address: without the rows.
        rows: the first, and the one after the last; None for all of them.
        value: what stands behind the `=`; None without one.
    """

    vector: str
    address: str
    rows: tuple[int, int] | None
    value: str | None

    @classmethod
    def read(cls, text: str) -> Self | None:
        """Takes a text apart, without a look at the address; None where it is of another form."""
        match = _TYPED.match(text.strip())
        if match is None:
            return None
        rows = None if match["first"] is None else (int(match["first"]), int(match["last"]))
        return cls(match["vector"].strip(), match["address"].strip(), rows, match["value"])


def parse_term(text: str, *, num_ws: int | None = None) -> NewTerm:
    """Parses `smile=0.5`, `avatars/smile@2=1` or `smile[4:9]=0.8` (rows 4 to 8).

    Args:
        text: address, rows and scale.
        num_ws: rows of `ws` in the class; needed where rows are given.

    Raises:
        CompositionError: not a term, a scale that is not finite, or rows outside of `ws`.
        InvalidNameError: not an address.

    Example:
        >>> parse_term("smile[1:3]=-0.5", num_ws=4).row_mask
        (False, True, True, False)
    """
    of = f"term {quote(text)}"
    typed = TypedVector.read(text)
    if typed is None or typed.value is None:
        raise CompositionError(f"{of}: expected NAME=SCALE or NAME[FIRST:LAST]=SCALE")
    parse_address(typed.address)
    try:
        scale = float(typed.value)
    except ValueError as exc:
        raise CompositionError(
            f"{of}: expected a number after '=', got {quote(typed.value)}"
        ) from exc
    if not math.isfinite(scale):
        raise CompositionError(f"{of}: expected a finite scale")
    return NewTerm(address=typed.address, scale=scale, row_mask=_rows(typed, num_ws, of=of))


def parse_condition(text: str, *, num_ws: int | None = None) -> Condition:
    """Parses `frown`, `avatars/frown@2` or `frown[2:5]` (rows 2 to 4): what to project out.

    Args:
        text: address and rows.
        num_ws: rows of `ws` in the class; needed where rows are given.

    Raises:
        CompositionError: not a vector with or without rows, or rows outside of `ws`.
        InvalidNameError: not an address.
    """
    of = f"condition {quote(text)}"
    typed = TypedVector.read(text)
    if typed is None or typed.value is not None:
        raise CompositionError(f"{of}: expected NAME or NAME[FIRST:LAST], without a scale")
    parse_address(typed.address)
    return Condition(address=typed.address, row_mask=_rows(typed, num_ws, of=of))


def class_named_in(texts: Sequence[str]) -> str | None:
    """The class of the first term or condition that names one; None when none does.

    Raises:
        InvalidNameError: not an address.

    Example:
        >>> class_named_in(["smile=1", "avatars/look-left[0:4]=1"])
        'avatars'
    """
    typed = filter(None, map(TypedVector.read, texts))
    addresses = (parse_address(one.address) for one in typed)
    return next((one.class_name for one in addresses if one.class_name is not None), None)


def _rows(typed: TypedVector, num_ws: int | None, *, of: str) -> tuple[bool, ...] | None:
    if typed.rows is None:
        return None
    if num_ws is None:
        raise CompositionError(f"{of}: rows need a class")
    try:
        return rows_between(*typed.rows, rows=num_ws)
    except CompatibilityError as exc:
        raise CompositionError(f"{of}: {exc}") from exc
