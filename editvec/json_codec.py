"""Frozen dataclasses as JSON and back, where the JSON is the fields.

Tuples are lists, named ones too, and of one kind; members of enumerations are their values; paths
and times are text. A class whose JSON differs from its fields has `to_json` and `from_json` of its
own, which are called wherever it is a field.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from functools import cache
from pathlib import PurePath
from types import NoneType
from typing import Any, ClassVar, Self, get_args, get_origin, get_type_hints


class JsonFields:
    """A frozen dataclass that is written as its fields and read by their annotations."""

    written_if_given: ClassVar[frozenset[str]] = frozenset()
    """Fields that are written only where they differ from their defaults: what came after the
    first files, whose texts and digests stay as they are."""

    json_error: ClassVar[type[Exception]] = ValueError
    """The class of refusals."""

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON types."""
        values = ((one, getattr(self, one.name)) for one in _fields(type(self)))
        return {
            one.name: as_json(value)
            for one, value in values
            if one.name not in self.written_if_given or value != one.default
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Reads what `to_json` wrote; what is missing takes its default, other names do not count.

        Raises:
            ValueError: a value is of another type than its field; a class may have an error of its
                own, `json_error`.
            TypeError: a field without a default is missing.
        """
        types = _types(cls)  # type: ignore[arg-type]
        return cls(
            **{
                name: _read(types[name], values[name], f"{cls.__name__}.{name}", cls.json_error)
                for name in (one.name for one in _fields(cls))
                if name in values
            }
        )


def as_json(value: Any, *, key_of: Callable[[object, str], str] | None = None) -> Any:
    """Any value as JSON knows it; a dataclass with its address, where it has one.

    Args:
        value: What is written.
        key_of: The key of a field, by its dataclass and its name; None takes the name. A class
            with a `to_json` spells its keys itself.
    """
    if isinstance(value, JsonFields):
        return value.to_json()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        content = {
            one.name if key_of is None else key_of(value, one.name): as_json(
                getattr(value, one.name), key_of=key_of
            )
            for one in _fields(type(value))
        }
        address = getattr(value, "address", None)
        return content if address is None else {"address": address, **content}
    if isinstance(value, Mapping):
        return {str(key): as_json(entry, key_of=key_of) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(entry, key_of=key_of) for entry in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, PurePath):
        return str(value)
    return value.value if isinstance(value, Enum) else value


def _fields(kind: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(kind)


@cache
def _types(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _read(kind: Any, value: Any, of: str, error: type[Exception]) -> Any:
    """A value of a field, as its annotation says; numbers and texts are for the class to check."""
    kinds = [one for one in get_args(kind) if one is not NoneType]
    if value is None:
        return None
    if NoneType in get_args(kind) and len(kinds) == 1:
        return _read(kinds[0], value, of, error)
    origin = get_origin(kind) or kind
    if not isinstance(origin, type):
        return value
    if issubclass(origin, tuple):
        if not isinstance(value, (list, tuple)):
            raise error(f"{of}: expected a list, got {value!r:.80}")
        if hasattr(origin, "_make"):
            return origin._make(value)
        return tuple(_read(kinds[0], entry, f"{of}[{at}]", error) for at, entry in enumerate(value))
    if issubclass(origin, JsonFields):
        if not isinstance(value, Mapping):
            raise error(f"{of}: expected an object, got {value!r:.80}")
        return origin.from_json(value)
    if issubclass(origin, Enum):
        if value not in (members := [one.value for one in origin]):
            raise error(f"{of}: expected one of {', '.join(map(str, members))}, got {value!r:.80}")
        return origin(value)
    return origin(value) if issubclass(origin, PurePath) else value
