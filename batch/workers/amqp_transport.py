"""RabbitMQ as the broker: kombu's transport, with queues that no message can hold up for ever.

A quorum queue counts how often it delivered a message, and moves one that came back too often, or
was rejected, to the dead letters. It knows neither our three priorities nor a limit of messages in
hand for all queues of a worker together. So each queue of ours is three, one for each priority, and
the worker asks for the next message in their order as soon as its hands are free.
"""

from __future__ import annotations

import shlex
import struct
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import amqp
from amqp import spec
from amqp.method_framing import frame_handler
from amqp.protocol import queue_declare_ok_t
from amqp.serialization import PROPERTY_CLASSES
from kombu.asynchronous import get_event_loop
from kombu.transport import pyamqp

from editvec.batch.workers.envelopes import (
    DEAD_LETTERS,
    KEPT_DEAD_LETTERS,
    LARGEST_BYTES,
    MalformedMessageError,
    require_headers,
)

OURS = "editvec.work."
"""Of these queues' names."""

DELIVERY_LIMIT = 5
"""So often a message may come back; one that ends its worker does so each time."""

_BY_URGENCY = (".high", "", ".low")
_NORMAL = 1
_ANSWER_SECONDS = 30.0
# Those that are refused leave the hands free for the next one.
_MOST_AT_ONCE = 100
_ARGUMENTS = {
    "x-queue-type": "quorum",
    "x-delivery-limit": DELIVERY_LIMIT,
    "x-dead-letter-exchange": DEAD_LETTERS,
}
_DEAD_ARGUMENTS = {
    "x-max-length": KEPT_DEAD_LETTERS,
    "x-max-length-bytes": KEPT_DEAD_LETTERS * LARGEST_BYTES,
}
_Channel: Any = pyamqp.Channel  # its types leave out most of it
_OF_A_QUORUM_QUEUE = "x-delivery-count"


class QueueMismatchError(amqp.PreconditionFailed):
    """A queue of this name is there already, and of another kind."""

    def __str__(self) -> str:
        return str(self.reply_text)


class _Wanted(NamedTuple):
    """Somebody who waits for messages of one of our queues."""

    queue: str
    callback: Callable[[Any], Any]


class AmqpChannel(_Channel):  # type: ignore[misc]
    """A channel on which each of our queues looks like one."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # a message's own words do not decide how its bytes are read
        super().__init__(*arguments, **{**options, "auto_decode": False})
        self._wanted: dict[str, _Wanted] = {}
        self._in_hand: dict[int, tuple[Any, str]] = {}
        self._most_in_hand = 1
        self._subscribed: list[str] = []
        self._is_fetch_due = False
        self._is_fetching = False

    # --- queues ---

    def queue_declare(self, queue: str = "", passive: bool = False, **options: Any) -> Any:
        """Declares a queue; each of ours is three, and their dead letters'.

        Raises:
            QueueMismatchError: it is there and of another kind.
        """
        if not queue.startswith(OURS):
            return super().queue_declare(queue, passive=passive, **options)
        if passive:
            found = [
                super(AmqpChannel, self).queue_declare(name, passive=True) for name in _all(queue)
            ]
        else:
            self._declare(DEAD_LETTERS, _DEAD_ARGUMENTS)
            self.exchange_declare(DEAD_LETTERS, "fanout", durable=True, auto_delete=False)
            self.queue_bind(DEAD_LETTERS, DEAD_LETTERS)
            found = [self._declare(name, _ARGUMENTS) for name in _all(queue)]
        waiting = sum(one.message_count for one in found)
        return queue_declare_ok_t(queue, waiting, sum(one.consumer_count for one in found))

    def queue_delete(self, queue: str = "", **options: Any) -> Any:
        """Deletes a queue, which nobody on this channel waits for any more."""
        for tag in [tag for tag, wanted in self._wanted.items() if wanted.queue == queue]:
            self.basic_cancel(tag)
        return self._for_all(super().queue_delete, queue, **options)

    def queue_purge(self, queue: str = "", **options: Any) -> Any:
        """Empties a queue."""
        return self._for_all(super().queue_purge, queue, **options)

    def _for_all(self, action: Callable[..., Any], queue: str, **options: Any) -> int:
        return sum(action(name, **options) or 0 for name in _all(queue))

    def _declare(self, name: str, arguments: dict[str, Any]) -> Any:
        try:
            return super().queue_declare(name, durable=True, auto_delete=False, arguments=arguments)
        except amqp.PreconditionFailed as exc:
            host = shlex.quote(self.connection.client.virtual_host if self.connection else "/")
            raise QueueMismatchError(
                f"queue {name} is there, of another kind: stop who uses it, and "
                f"`rabbitmqctl delete_queue -p {host} {name}`; what waits in it is sent again"
            ) from exc

    # --- messages out ---

    def _basic_publish(
        self, msg: Any, exchange: str = "", routing_key: str = "", **options: Any
    ) -> Any:
        if exchange == "" and routing_key.startswith(OURS):
            routing_key += _suffix(msg.properties.get("priority"))
        return super()._basic_publish(msg, exchange, routing_key, **options)

    basic_publish = _basic_publish

    # --- messages in ---

    def basic_qos(self, prefetch_size: int, prefetch_count: int, a_global: bool) -> Any:
        """Sets how many messages may be in hand: of our queues, all together."""
        self._most_in_hand = prefetch_count or 1
        # a quorum queue refuses consumers of a channel with a global limit
        return super().basic_qos(prefetch_size, prefetch_count, False)

    def basic_consume(
        self,
        queue: str = "",
        consumer_tag: str = "",
        callback: Callable[[Any], Any] | None = None,
        **options: Any,
    ) -> str:
        """Hands each message of a queue to a callback."""
        if not queue.startswith(OURS) or callback is None:
            return str(
                super().basic_consume(
                    queue, consumer_tag=consumer_tag, callback=callback, **options
                )
            )
        tag = consumer_tag or f"editvec-{id(callback)}"
        self._wanted[tag] = _Wanted(queue, callback)
        self._fetch_soon()
        return tag

    def basic_cancel(self, consumer_tag: str, nowait: bool = False, **options: Any) -> Any:
        """Hands no more messages to a callback."""
        if self._wanted.pop(consumer_tag, None) is None:
            return super().basic_cancel(consumer_tag, nowait=nowait, **options)
        if not self._wanted:
            self._unsubscribe()
        return None

    def basic_ack(self, delivery_tag: int, multiple: bool = False, **options: Any) -> None:
        """Tells that a message is done."""
        super().basic_ack(delivery_tag, multiple=multiple, **options)
        self._let_go(delivery_tag)

    def basic_reject(self, delivery_tag: int, requeue: bool, **options: Any) -> None:
        """Gives a message back, or puts it with the dead letters."""
        if requeue and delivery_tag in self._in_hand:
            self._give_back(*self._in_hand[delivery_tag])
        else:
            super().basic_reject(delivery_tag, requeue=requeue, **options)
        self._let_go(delivery_tag)

    def _let_go(self, delivery_tag: int) -> None:
        if self._in_hand.pop(delivery_tag, None) is not None and not self._is_fetching:
            self._fetch_soon()

    def _give_back(self, message: Any, queue: str) -> None:
        """Sends a message anew: what is given back in order is not counted against it."""
        headers = message.properties.get("application_headers") or {}
        headers.pop(_OF_A_QUORUM_QUEUE, None)
        super()._basic_publish(message, "", queue)
        super().basic_ack(message.delivery_tag)

    def _has_room(self) -> bool:
        return bool(self._wanted) and len(self._in_hand) < self._most_in_hand

    def _fetch_soon(self) -> None:
        """Fetches when the event loop comes to it; at once where there is none."""
        if self._is_fetch_due:
            return
        self._is_fetch_due = True
        loop: Any = get_event_loop()  # none in a command
        if loop:
            loop.call_later(0, self._fetch)  # what is called `soon` waits for other events first
        else:
            self._fetch()

    def _fetch(self) -> None:
        """Takes the most urgent message; where there is none, has the next one sent."""
        self._is_fetch_due = False
        if not self._has_room() or not self.is_open or self._subscribed:
            return
        self._is_fetching = True
        try:
            for _ in range(_MOST_AT_ONCE):
                if not self._fetch_most_urgent():
                    self._subscribe()
                    return
                if not self._has_room():
                    return
        except amqp.ChannelError as exc:
            # a queue is gone, for example: Celery connects anew, and declares it
            raise ConnectionResetError(f"broker: {exc}") from exc
        finally:
            self._is_fetching = False
        self._fetch_soon()

    def _fetch_most_urgent(self) -> bool:
        for suffix in _BY_URGENCY:
            for tag, wanted in list(self._wanted.items()):
                message = self._get(wanted.queue + suffix)
                if message is not None:
                    self._on_sent(tag, wanted.queue + suffix, message)
                    return True
        return False

    def _get(self, queue: str) -> Any:
        """The next message of a queue, or None."""
        self.send_method(spec.Basic.Get, "Bsb", (0, queue, False))
        kinds = [spec.Basic.GetOk, spec.Basic.GetEmpty]
        answer = self.wait(kinds, timeout=_ANSWER_SECONDS, returns_tuple=True)
        return self._on_get_ok(*answer) if answer and len(answer) > 1 else None

    def _subscribe(self) -> None:
        """Has messages sent as they come; a queue sends one and waits."""
        super().basic_qos(0, 1, False)
        for tag, wanted in list(self._wanted.items()):
            for suffix in _BY_URGENCY:
                queue = wanted.queue + suffix
                name = f"{tag}{suffix or '.normal'}"
                super().basic_consume(
                    queue, consumer_tag=name, callback=partial(self._on_sent, tag, queue)
                )
                self._subscribed.append(name)
                if not self._has_room():  # a message came meanwhile
                    self._unsubscribe()
                    return

    def _unsubscribe(self) -> None:
        for name in self._subscribed:
            super().basic_cancel(name, nowait=True)
        self._subscribed.clear()

    def _on_sent(self, tag: str, queue: str, message: Any) -> None:
        """Hands a message on; one that comes when the hands are full goes back."""
        if self._has_room() and tag in self._wanted:
            self._hand_on(tag, queue, message)
        else:
            self._give_back(message, queue)

    def _hand_on(self, tag: str, queue: str, message: Any) -> None:
        """Gives a message to who wants it, as one of the queue that he knows."""
        wanted = self._wanted[tag]
        self._in_hand[message.delivery_tag] = message, queue
        self._unsubscribe()
        message.delivery_info |= {"consumer_tag": tag, "routing_key": wanted.queue}
        wanted.callback(message)


class AmqpMessage(pyamqp.Message):
    """A message of which kombu unpacks nothing."""

    def __init__(self, msg: Any, channel: Any = None, **options: Any) -> None:
        headers = msg.properties.get("application_headers") or {}
        problem: MalformedMessageError | None = None
        try:
            require_headers(headers)
        except MalformedMessageError as exc:
            problem = exc
            msg.properties["application_headers"] = {}
        super().__init__(msg, channel=channel, **options)
        self.problem = problem


AmqpChannel.Message = AmqpMessage


class AmqpConnection(pyamqp.Connection):
    """A connection that survives headers which cannot be read."""

    Channel = AmqpChannel

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.frame_handler_cls = _readable_frames


class AmqpTransport(pyamqp.Transport):
    """The transport of such a broker."""

    Connection = AmqpConnection


def _readable_frames(connection: Any, callback: Callable[..., Any]) -> Callable[[Any], Any]:
    """amqp's reader of frames; properties that it cannot read are taken for none at all."""
    on_frame = frame_handler(connection, callback)

    def on_any_frame(frame: tuple[int, int, bytes]) -> Any:
        number, channel, buffer = frame
        if number == _PROPERTIES_FRAME:
            class_id, size = struct.unpack_from(">HxxQ", buffer, 0)
            try:
                PROPERTY_CLASSES[class_id](buffer, _PROPERTIES_START)
            except Exception:  # noqa: BLE001 (dates, numbers, texts: whatever amqp meets there)
                frame = number, channel, struct.pack(">HHQH", class_id, 0, size, 0)
        return on_frame(frame)

    return on_any_frame


_PROPERTIES_FRAME = 2
_PROPERTIES_START = 12


def _all(queue: str) -> list[str]:
    """The queues that one of ours is."""
    return [queue + suffix for suffix in _BY_URGENCY] if queue.startswith(OURS) else [queue]


def _suffix(priority: int | None) -> str:
    """Of the queue of a priority: 2 is high, 0 is low."""
    number = _NORMAL if priority is None else priority
    return _BY_URGENCY[2 - min(max(number, 0), 2)]
