"""Redis as the broker: kombu's transport, made so that no item of a list can end it.

Anybody may push anything. An item that cannot be read, or is rejected, is kept in the list
`DEAD_LETTERS` of the same database.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from queue import Empty
from typing import Any

from kombu.transport import redis
from kombu.utils.encoding import bytes_to_str

from editvec.batch.workers.envelopes import (
    DEAD_LETTERS,
    KEPT_DEAD_LETTERS,
    LARGEST_BYTES,
    MalformedMessageError,
    is_whole,
    kind,
    read_json,
    read_payload,
)

_LOG = logging.getLogger(__name__)
# A message that ends the process which reads it comes back after the visibility timeout, uncounted.
_MOST_RETURNS = 5
_RETURNS = "returns"
# What is written about their types leaves out most of them.
_Channel: Any = redis.Channel
_QoS: Any = redis.QoS


class RedisQoS(_QoS):  # type: ignore[misc]
    """Keeps what is rejected for good, and what came back too often."""

    _is_overdue = False

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Gives a message back, or puts it with the dead letters."""
        message = self._delivered.get(delivery_tag)
        if not requeue and message is not None:
            self.channel.bury(json.dumps(message._raw).encode())
        super().reject(delivery_tag, requeue=requeue)

    def restore_visible(self, *arguments: Any, **options: Any) -> None:
        """Gives back what was taken long ago, by a worker that must be dead."""
        self._is_overdue = True
        try:
            super().restore_visible(*arguments, **options)
        finally:
            self._is_overdue = False

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        """Gives back a message that was taken and is not done."""
        with self.channel.conn_or_acquire(client) as connected:
            kept = connected.hget(self.unacked_key, tag)
            try:
                if kept is not None:
                    self._require_restorable(kept)
            except MalformedMessageError as exc:
                _LOG.error("a message was refused: %s (it was taken before)", exc)
                self.channel.bury(kept, client=connected)
                self._remove_from_indices(tag, connected.pipeline()).execute()
            else:
                super().restore_by_tag(tag, client=connected, leftmost=leftmost)

    def _require_restorable(self, kept: bytes) -> None:
        """Raises MalformedMessageError if a message that was taken cannot be given back."""
        found = read_json(kept, of="message")
        if not isinstance(found, list) or len(found) != 3:
            raise MalformedMessageError(f"message: expected a list of three, got {kind(found)}")
        payload = read_payload(json.dumps(found[0]).encode())
        if not all(isinstance(place, str) for place in found[1:]):
            raise MalformedMessageError("message: expected where it belongs")
        returns = payload["properties"].get(_RETURNS, 0)
        if not is_whole(returns) or (self._is_overdue and returns >= _MOST_RETURNS):
            raise MalformedMessageError("each worker that took it died")


class RedisChannel(_Channel):  # type: ignore[misc]
    """Reads a list's items; those that are no messages are put aside."""

    QoS = RedisQoS

    def bury(self, item: bytes, *, client: Any = None) -> None:
        """Keeps an item with the dead letters; what is longer than any message of ours is cut."""
        with self.conn_or_acquire(client) as connected, connected.pipeline() as pipe:
            pipe.lpush(DEAD_LETTERS, item[:LARGEST_BYTES])
            pipe.ltrim(DEAD_LETTERS, 0, KEPT_DEAD_LETTERS - 1)
            pipe.execute()

    def _brpop_read(self, **options: Any) -> bool:
        try:
            try:
                found = self.client.parse_response(self.client.connection, "BRPOP", **options)
            except self.connection_errors:
                self.client.connection.disconnect()
                raise
            except self.ResponseError:
                if not self._move_foreign_keys(self.active_queues):
                    raise
                return True
            if not found:
                raise Empty
            key, item = found
            queue = bytes_to_str(key).rsplit(self.sep, 1)[0]
            self._queue_cycle.rotate(queue)
            payload = self._read(item, queue)
            if payload is not None:
                self.connection._deliver(payload, queue)
            return True
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()

    def _get(self, queue: str) -> dict[str, Any]:
        with self.conn_or_acquire() as client:
            for priority in self.priority_steps:
                while (item := client.rpop(self._q_for_pri(queue, priority))) is not None:
                    payload = self._read(item, queue)
                    if payload is not None:
                        return payload
        raise Empty

    def _size(self, queue: str) -> int:
        try:
            return int(super()._size(queue))
        except self.ResponseError:
            if not self._move_foreign_keys([queue]):
                raise
            return int(super()._size(queue))

    def _move_foreign_keys(self, queues: Iterable[str]) -> int:
        """Renames keys that have a queue's name and are no lists; Redis answers nothing there."""
        count = 0
        with self.conn_or_acquire() as client:
            for queue in queues:
                for priority in self.priority_steps:
                    key = self._q_for_pri(queue, priority)
                    if client.type(key) not in (b"list", b"none"):
                        client.rename(key, f"{DEAD_LETTERS}.{key}")
                        _LOG.error("key %s was no list: it is %s.%s now", key, DEAD_LETTERS, key)
                        count += 1
        return count

    def _read(self, item: bytes, queue: str) -> dict[str, Any] | None:
        """The message that an item is, or None and the item is buried."""
        try:
            return read_payload(item)
        except MalformedMessageError as exc:
            _LOG.error("a message was refused: %s (in %s)", exc, queue)
            self.bury(item)
            return None

    def _do_restore_message(
        self, payload: Any, exchange: str, routing_key: str, pipe: Any, leftmost: bool = False
    ) -> None:
        if self.qos._is_overdue:
            properties = payload["properties"]
            properties[_RETURNS] = properties.get(_RETURNS, 0) + 1
        super()._do_restore_message(payload, exchange, routing_key, pipe, leftmost)


class RedisTransport(redis.Transport):
    """The transport of such a broker."""

    Channel = RedisChannel
