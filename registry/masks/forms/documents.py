"""Reads the JSON that annotation tools write, one checked value at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from editvec.registry.errors import MaskError

MAX_BYTES = 512 << 20


def read_document(path: Path) -> bytes:
    """The bytes of an annotation file.

    Raises:
        MaskError: it cannot be read, or is too large.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise MaskError(f"annotations {path}: larger than {MAX_BYTES >> 20} MiB")
        return path.read_bytes()
    except OSError as exc:
        raise MaskError(f"annotations {path}: {exc.strerror or exc}") from exc


def parse_json(data: bytes, *, of: str) -> Any:
    """The content of a JSON file.

    Raises:
        MaskError: not JSON.
    """
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise MaskError(f"{of}: not JSON ({exc})") from exc


def mapping(value: object, *, of: str) -> dict[str, Any]:
    """An object of JSON.

    Raises:
        MaskError: it is something else.
    """
    if not isinstance(value, dict):
        raise MaskError(f"{of}: expected an object, got {value!r:.60}")
    return value


def items(value: object, *, of: str) -> list[Any]:
    """A list of JSON.

    Raises:
        MaskError: it is something else.
    """
    if not isinstance(value, list):
        raise MaskError(f"{of}: expected a list, got {value!r:.60}")
    return value


def number(value: object, *, of: str) -> float:
    """A number of JSON.

    Raises:
        MaskError: it is something else.
    """
    # Python's JSON knows NaN
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= 1e9:
        raise MaskError(f"{of}: expected a number, got {value!r:.60}")
    return float(value)


def text(value: object, *, of: str) -> str:
    """A text of JSON.

    Raises:
        MaskError: it is something else.
    """
    if not isinstance(value, str):
        raise MaskError(f"{of}: expected a text, got {value!r:.60}")
    return value
