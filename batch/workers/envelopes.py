"""What a message must look like before kombu may read it, and where others are kept.

kombu reads a message before Celery does, and trusts its form. So each of our transports checks the
form here first. Whether a message makes sense is checked in `consumer`.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any, TypeGuard

LARGEST_BYTES = 65_536
"""Of a whole message; ours have about a thousand."""

DEAD_LETTERS = "editvec.dead"
"""The queue, list or folder of messages that no worker could read."""

KEPT_DEAD_LETTERS = 1000
"""How many are kept; the oldest go first."""

_NAME = re.compile(r"[\w.:/+-]{1,60}", re.ASCII)
_TAG = re.compile(r"[\w.-]{1,128}", re.ASCII)


class MalformedMessageError(ValueError):
    """A message that nobody can read; the text says why, and holds nothing secret."""


def read_payload(item: bytes) -> dict[str, Any]:
    """Reads what kombu writes where the broker has no messages of its own: JSON of five fields.

    Args:
        item: as the broker keeps it.

    Raises:
        MalformedMessageError: kombu would not survive it.
    """
    require_size(len(item))
    payload = read_json(item, of="message")
    if not isinstance(payload, dict):
        raise MalformedMessageError(f"message: expected an object, got {kind(payload)}")
    properties = _mapping(payload.get("properties"), of="properties")
    info = _mapping(properties.get("delivery_info"), of="delivery_info")
    for name in ("exchange", "routing_key"):
        _require_text(info.get(name), of=f"delivery_info {name}")
    tag = properties.get("delivery_tag")
    if not isinstance(tag, str) or not _TAG.fullmatch(tag):
        raise MalformedMessageError(f"delivery_tag: expected a short name, got {kind(tag)}")
    priority = properties.get("priority", 0)
    if not is_whole(priority) or not 0 <= priority <= 255:
        raise MalformedMessageError(f"priority: expected 0 to 255, got {kind(priority)}")
    for name in ("content-type", "content-encoding"):
        _require_text(payload.get(name), of=name)
    require_headers(payload.get("headers"))
    _require_body(payload.get("body"), properties.get("body_encoding"))
    return payload


def require_size(size: int) -> None:
    """Raises MalformedMessageError unless a message of so many bytes may be ours."""
    if size > LARGEST_BYTES:
        raise MalformedMessageError(f"{size} bytes: expected at most {LARGEST_BYTES}")


def require_headers(headers: object) -> None:
    """Raises MalformedMessageError unless kombu may look at the headers."""
    for name in _mapping(headers, of="headers"):
        if name == "compression":  # kombu would unpack the body, whatever its size is then
            raise MalformedMessageError("header compression: expected none")


def read_json(text: bytes, *, of: str) -> Any:
    """Reads JSON in UTF-8.

    Raises:
        MalformedMessageError: it is something else.
    """
    try:
        return json.loads(text.decode("utf-8"))
    except UnicodeDecodeError as exc:
        raise MalformedMessageError(f"{of}: expected UTF-8") from exc
    except (ValueError, RecursionError) as exc:
        raise MalformedMessageError(f"{of}: expected JSON") from exc


def is_whole(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def kind(value: object) -> str:
    """What a value is, for people; the value itself may be long, or secret."""
    if value is None:
        return "nothing"
    kinds = {str: "a text", bool: "a truth value", list: "a list", dict: "an object"}
    for known, name in kinds.items():
        if isinstance(value, known):
            return name
    return "a number" if isinstance(value, int | float) else type(value).__name__


def shown_name(value: object) -> str:
    """A name as it came, if it looks like one, else its kind."""
    return value if isinstance(value, str) and _NAME.fullmatch(value) else kind(value)


def _mapping(value: object, *, of: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedMessageError(f"{of}: expected an object, got {kind(value)}")
    return value


def _require_text(value: object, *, of: str) -> None:
    if not isinstance(value, str) or len(value) > 255:
        raise MalformedMessageError(f"{of}: expected a short text, got {kind(value)}")


def _require_body(body: object, encoding: object) -> None:
    if encoding != "base64":
        raise MalformedMessageError(f"body_encoding: expected base64, got {shown_name(encoding)}")
    if not isinstance(body, str):
        raise MalformedMessageError(f"body: expected a text, got {kind(body)}")
    try:
        base64.b64decode(body, validate=True)
    except ValueError as exc:
        raise MalformedMessageError("body: expected base64") from exc
