"""The worker's consumer: rejects every message that editvec did not send, and logs why.

Celery's own consumer trusts every message. For example, a time limit that is a text ends the
worker; then the broker delivers the message to the next worker, and ends that one too.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer

from editvec.batch.runs.pace import LONGEST_LIMIT_SECONDS
from editvec.batch.workers.envelopes import (
    MalformedMessageError,
    is_whole,
    kind,
    read_json,
    require_size,
    shown_name,
)
from editvec.batch.workers.tasks import COMPLETE_RUN, PROCESS_CHUNK

_LOG = logging.getLogger(__name__)
_Consumer: Any = CeleryConsumer  # its types are not written down
_ID = re.compile(r"[\w.-]{1,128}", re.ASCII)
_RUN = re.compile(r"[0-9a-f]{1,32}", re.ASCII)
_LARGEST_CHUNK = 2**63 - 1  # of a column of the database
_MOST_RETRIES = 100
# What Celery writes into the body of a message that leads to no other.
_NOTHING_FOLLOWS = ("callbacks", "errbacks", "chain", "chord")


class Consumer(_Consumer):  # type: ignore[misc]
    """Celery's consumer, which is handed messages of ours alone."""

    def create_task_handler(self, *arguments: Any, **options: Any) -> Callable[[Any], Any]:
        """What is called for each message."""
        handle = super().create_task_handler(*arguments, **options)

        def on_message(message: Any) -> Any:
            try:
                message.headers = require_task(message)
            except MalformedMessageError as exc:
                return self._refuse(message, exc)
            return handle(message)

        return on_message

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Celery would acknowledge such a message, and it would be gone."""
        self._refuse(message, MalformedMessageError(f"body: cannot be read ({type(exc).__name__})"))

    def _refuse(self, message: Any, error: MalformedMessageError) -> None:
        _LOG.error("a message was refused: %s", error)
        message.reject_log_error(_LOG, self.connection_errors)


def require_task(message: Any) -> dict[str, Any]:
    """Checks that a message is one that we send.

    Args:
        message: kombu's; nothing of it has been believed yet.

    Returns:
        The headers that Celery may see: those that it wrote itself.

    Raises:
        MalformedMessageError: it is not.
    """
    if (problem := getattr(message, "problem", None)) is not None:  # RabbitMQ's, told by its reader
        raise problem
    if message.content_type != "application/json":
        raise MalformedMessageError(
            f"content type: expected application/json, got {shown_name(message.content_type)}"
        )
    encoding = message.content_encoding
    if not isinstance(encoding, str) or encoding.lower() != "utf-8":
        raise MalformedMessageError(f"content encoding: expected utf-8, got {shown_name(encoding)}")
    headers = {
        name: check(message.headers.get(name), f"header {name}") for name, check in _HEADERS.items()
    }
    _require_properties(message.properties)
    body = message.body
    if not isinstance(body, bytes):
        raise MalformedMessageError(f"body: expected bytes, got {kind(body)}")
    require_size(len(body))
    _require_body(read_json(body, of="body"), str(headers["task"]))
    return headers


def _require_body(body: object, task: str) -> None:
    """The arguments, no named ones, and nothing that follows."""
    if not isinstance(body, list) or len(body) != 3:
        raise MalformedMessageError(f"body: expected a list of three, got {kind(body)}")
    arguments, named, embedded = body
    if named != {}:
        raise MalformedMessageError("body: expected no named arguments")
    if not isinstance(embedded, dict) or set(embedded) - set(_NOTHING_FOLLOWS):
        raise MalformedMessageError("body: expected nothing that follows")
    for name, value in embedded.items():
        if value is not None and value != []:
            raise MalformedMessageError(f"{name}: expected none, got {kind(value)}")
    checks = _ARGUMENTS[task]
    if not isinstance(arguments, list) or len(arguments) != len(checks):
        raise MalformedMessageError(f"arguments: expected {len(checks)}, got {kind(arguments)}")
    for value, check in zip(arguments, checks, strict=True):
        check(value)


def _require_properties(properties: dict[str, Any]) -> None:
    for name in ("correlation_id", "reply_to"):
        _id_or_nothing(properties.get(name), name)


def _run_id(value: object) -> None:
    if not isinstance(value, str) or not _RUN.fullmatch(value):
        raise MalformedMessageError(f"run: expected the id of one, got {kind(value)}")


def _chunk_id(value: object) -> None:
    if not is_whole(value) or not 0 < value <= _LARGEST_CHUNK:
        raise MalformedMessageError(f"chunk: expected the number of one, got {kind(value)}")


_ARGUMENTS: dict[str, tuple[Callable[[object], None], ...]] = {
    PROCESS_CHUNK: (_run_id, _chunk_id),
    COMPLETE_RUN: (_run_id,),
}


def _task(value: object, of: str) -> object:
    if not isinstance(value, str) or value not in _ARGUMENTS:
        raise MalformedMessageError(f"{of}: expected one of ours, got {shown_name(value)}")
    return value


def _language(value: object, of: str) -> object:
    if value != "py":
        raise MalformedMessageError(f"{of}: expected py, got {shown_name(value)}")
    return value


def _id(value: object, of: str) -> object:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise MalformedMessageError(f"{of}: expected an id, got {kind(value)}")
    return value


def _id_or_nothing(value: object, of: str) -> object:
    return value if value is None else _id(value, of)


def _short(value: object, of: str) -> object:
    """A text for people, or nothing."""
    if value is not None and (not isinstance(value, str) or len(value) > 2048):
        raise MalformedMessageError(f"{of}: expected a short text, got {kind(value)}")
    return value or ""


def _none(value: object, of: str) -> object:
    if value is not None:
        raise MalformedMessageError(f"{of}: expected none, got {kind(value)}")
    return value


def _empty(value: object, of: str) -> object:
    if value:
        raise MalformedMessageError(f"{of}: expected none, got {kind(value)}")
    return value


def _yes_or_no(value: object, of: str) -> object:
    if value is not None and not isinstance(value, bool):
        raise MalformedMessageError(f"{of}: expected true or false, got {kind(value)}")
    return value


def _few(value: object, of: str) -> object:
    if value is None:
        return 0
    if not is_whole(value) or not 0 <= value <= _MOST_RETRIES:
        raise MalformedMessageError(f"{of}: expected a small number, got {kind(value)}")
    return value


def _time_limits(value: object, of: str) -> object:
    """The hard one and the soft one, in seconds."""
    if value is None:
        return [None, None]
    if not isinstance(value, list) or len(value) != 2:
        raise MalformedMessageError(f"{of}: expected two numbers, got {kind(value)}")
    for limit in value:
        is_number = isinstance(limit, int | float) and not isinstance(limit, bool)
        if limit is not None and not (is_number and 0 < limit <= LONGEST_LIMIT_SECONDS):
            raise MalformedMessageError(
                f"{of}: expected seconds up to {LONGEST_LIMIT_SECONDS}, got {kind(limit)}"
            )
    return value


_HEADERS: dict[str, Callable[[object, str], object]] = {
    "lang": _language,
    "task": _task,
    "id": _id,
    "root_id": _id_or_nothing,
    "parent_id": _id_or_nothing,
    "timelimit": _time_limits,
    "retries": _few,
    "replaced_task_nesting": _few,
    "ignore_result": _yes_or_no,
    "argsrepr": _short,
    "kwargsrepr": _short,
    "origin": _short,
    "shadow": _none,
    "eta": _none,
    "expires": _none,
    "group": _none,
    "group_index": _none,
    "stamps": _empty,
    "stamped_headers": _empty,
}
