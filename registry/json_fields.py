"""Reads fields out of foreign JSON, one checked value at a time, with precise messages."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from editvec.registry.addresses import check_name
from editvec.registry.errors import InvalidNameError, RegistryError
from editvec.registry.files import is_digest

_Member = TypeVar("_Member", bound=StrEnum)


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys differ, for `json.loads(..., object_pairs_hook=unique_keys)`.

    JSON leaves it open which of two equal keys counts, so that two readers may read two things.

    Raises:
        ValueError: a key is there twice.
    """
    if len(dict(pairs)) != len(pairs):
        raise ValueError("duplicate keys")
    return dict(pairs)


class Fields:
    """The fields of one JSON object.

    Args:
        content: what should be an object.
        of: what messages call it, such as `bundle.json: labels[3]`.
        error: the class of every refusal.
    """

    def __init__(self, content: object, *, of: str, error: type[RegistryError]) -> None:
        if not isinstance(content, dict):
            raise error(f"{of}: expected an object, got {content!r:.80}")
        self._content: dict[str, Any] = content
        self._of = of
        self._error = error

    @property
    def content(self) -> dict[str, Any]:
        """A copy of the object, unchecked."""
        return dict(self._content)

    def refuse(self, key: str, expected: str) -> RegistryError:
        """The error for a field that holds something else than what was expected."""
        found = repr(self._content[key]) if key in self._content else "nothing"
        return self._error(f"{self._of}: {key}: expected {expected}, got {found:.80}")

    def is_silent(self, key: str) -> bool:
        """True where the field is missing or null."""
        return self._content.get(key) is None

    def check_known(self, known: Collection[str]) -> None:
        """Refuses fields that are not among the known ones: they could be misspelt."""
        if unknown := sorted(self._content.keys() - set(known)):
            raise self._error(f"{self._of}: {unknown[0]!r:.80} is no known field")

    def text(self, key: str, default: str | None = None) -> str:
        """A string."""
        value = self._content.get(key, default)
        if not isinstance(value, str):
            raise self.refuse(key, "text")
        return value

    def optional_text(self, key: str) -> str | None:
        """A string, or None."""
        return None if self._content.get(key) is None else self.text(key)

    def one_of(self, key: str, members: type[_Member]) -> _Member:
        """A member of an enumeration, by its value."""
        value = self.text(key)
        if value not in list(members):
            raise self.refuse(key, f"one of {', '.join(members)}")
        return members(value)

    def name(self, key: str) -> str:
        """A string that can stand in an address."""
        try:
            return check_name(self.text(key), of=key)
        except InvalidNameError as exc:
            raise self._error(f"{self._of}: {exc}") from exc

    def digest(self, key: str) -> str:
        """A SHA-256 in hex."""
        value = self._content.get(key)
        if not isinstance(value, str) or not is_digest(value):
            raise self.refuse(key, "a SHA-256 in hex")
        return value

    def optional_digest(self, key: str) -> str | None:
        """A SHA-256 in hex, or None."""
        return None if self._content.get(key) is None else self.digest(key)

    def integer(self, key: str, low: int, high: int) -> int:
        """An integer from `low` to `high`."""
        value = self._content.get(key)
        if type(value) is not int or not low <= value <= high:
            raise self.refuse(key, f"an integer from {low} to {high}")
        return value

    def number(self, key: str) -> float:
        """A finite number."""
        value = self._content.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.refuse(key, "a number")
        try:
            number = float(value)
        except OverflowError:  # JSON's integers know no limit
            number = math.inf
        if not math.isfinite(number):
            raise self.refuse(key, "a finite number")
        return number

    def optional_number(self, key: str) -> float | None:
        """A finite number, or None."""
        return None if self._content.get(key) is None else self.number(key)

    def integers(self, key: str, count: int, low: int, high: int) -> tuple[int, ...]:
        """A list of exactly `count` integers from `low` to `high`."""
        values = self.items(key)
        if len(values) != count or not all(
            type(value) is int and low <= value <= high for value in values
        ):
            raise self.refuse(key, f"{count} integers from {low} to {high}")
        return tuple(values)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings."""
        values = self.items(key)
        if not all(isinstance(value, str) for value in values):
            raise self.refuse(key, "a list of texts")
        return tuple(values)

    def booleans(self, key: str) -> tuple[bool, ...]:
        """A list of booleans."""
        values = self.items(key)
        if not all(isinstance(value, bool) for value in values):
            raise self.refuse(key, "a list of true and false")
        return tuple(values)

    def instant(self, key: str) -> datetime:
        """A date and time with its zone, as ISO 8601."""
        try:
            value = datetime.fromisoformat(self.text(key))
            if value.tzinfo is None:
                raise self.refuse(key, "a date and time with a zone")
            return value.astimezone(UTC)
        except (ValueError, OverflowError) as exc:
            if isinstance(exc, self._error):
                raise
            raise self.refuse(key, "a date and time") from exc

    def items(self, key: str) -> list[Any]:
        """A list."""
        value = self._content.get(key)
        if not isinstance(value, list):
            raise self.refuse(key, "a list")
        return value

    def objects(self, key: str) -> list[Fields]:
        """A list of objects."""
        return [
            Fields(value, of=f"{self._of}: {key}[{place}]", error=self._error)
            for place, value in enumerate(self.items(key))
        ]

    def mapping(self, key: str) -> Mapping[str, Any]:
        """An object, as it is."""
        value = self._content.get(key)
        if not isinstance(value, dict):
            raise self.refuse(key, "an object")
        return value
