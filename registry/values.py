"""Checks of single values: each is returned as it will be stored, or refused by name."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeVar

from editvec.registry.addresses import quote
from editvec.registry.errors import CompatibilityError, RecordError

_Value = TypeVar("_Value", bound=StrEnum)


def row_mask_text(row_mask: Sequence[bool] | None, *, num_ws: int) -> str:
    """A row mask as one character per row of the delta; None means all rows.

    Raises:
        CompatibilityError: another length, or no row at all.
    """
    if row_mask is None:
        return "1" * num_ws
    if len(row_mask) != num_ws or not any(row_mask):
        raise CompatibilityError(
            f"row mask: expected {num_ws} values with one true at least, got {list(row_mask)}"
        )
    return "".join("1" if touched else "0" for touched in row_mask)


def parse_row_mask(text: str) -> tuple[bool, ...]:
    """The inverse of `row_mask_text`."""
    return tuple(character == "1" for character in text)


def one_of(kind: type[_Value], value: str, *, of: str) -> _Value:
    """The member of an enumeration.

    Raises:
        RecordError: lists the members.
    """
    try:
        return kind(value)
    except ValueError as exc:
        raise RecordError(f"{of}: expected one of {', '.join(kind)}, got {value!r}") from exc


def checked_number(value: float, *, of: str) -> float:
    """A finite float.

    Raises:
        RecordError: NaN or infinity, which no database keeps faithfully.
    """
    number = float(value)
    if not math.isfinite(number):
        raise RecordError(f"{of}: expected a finite number, got {value!r}")
    return number


def checked_text(value: str, *, of: str, max_length: int = 10_000) -> str:
    """A text that every database keeps faithfully.

    Raises:
        RecordError: too long, a NUL, or bytes that are not UTF-8.
    """
    if len(value) > max_length:
        raise RecordError(f"{of}: expected at most {max_length} characters, got {len(value)}")
    if "\0" in value or any("\ud800" <= one <= "\udfff" for one in value):
        raise RecordError(f"{of}: expected text, got {value[:60]!r}")
    return value


def optional_text(value: str | None, *, of: str, max_length: int) -> str | None:
    """A text as `checked_text` allows it, or None."""
    return None if value is None else checked_text(value, of=of, max_length=max_length)


def optional_number(value: float | None, *, of: str) -> float | None:
    """A finite float, or None."""
    return None if value is None else checked_number(value, of=of)


def checked_json(value: Mapping[str, Any], *, of: str) -> dict[str, Any]:
    """A dictionary that JSON can hold exactly.

    Raises:
        RecordError: NaN, or a type that JSON does not have.
    """
    try:
        copy: dict[str, Any] = json.loads(json.dumps(dict(value), allow_nan=False))
    except (TypeError, ValueError) as exc:
        raise RecordError(f"{of}: not JSON ({exc})") from exc
    return copy


def refuse_text(names: object, *, of: str) -> None:
    """Refuses a text where several names are meant: it is a sequence of letters to Python.

    Raises:
        RecordError: it is a text.
    """
    if isinstance(names, str):
        raise RecordError(f"{of}: expected several names, got the text {quote(names)}")
