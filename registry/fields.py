"""Reads fields out of foreign JSON, one checked value at a time, with precise messages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from registry.blobs import is_digest
from registry.entities import check_name
from registry.errors import InvalidNameError, RegistryError


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

    def refuse(self, key: str, expected: str) -> RegistryError:
        """The error for a field that holds something else than what was expected."""
        found = repr(self._content[key]) if key in self._content else "nothing"
        return self._error(f"{self._of}: {key}: expected {expected}, got {found:.80}")

    def text(self, key: str, default: str | None = None) -> str:
        """A string."""
        value = self._content.get(key, default)
        if not isinstance(value, str):
            raise self.refuse(key, "text")
        return value

    def optional_text(self, key: str) -> str | None:
        """A string, or None."""
        return None if self._content.get(key) is None else self.text(key)

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
        if not math.isfinite(value):
            raise self.refuse(key, "a finite number")
        return float(value)

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
        except ValueError as exc:
            raise self.refuse(key, "a date and time") from exc
        if value.tzinfo is None:
            raise self.refuse(key, "a date and time with a zone")
        return value.astimezone(UTC)

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
