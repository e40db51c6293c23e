"""The Celery application: settings only. SQL knows what is to be done; Celery wakes workers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from celery import Celery
from kombu import Connection
from kombu.exceptions import ChannelError, OperationalError

from editvec.batch.errors import BrokerError, SettingsError
from editvec.batch.recipes.settings import Priority
from editvec.batch.runs.pace import LONGEST_LIMIT_SECONDS
from editvec.batch.workers.broker import (
    CONNECT_SECONDS,
    VISIBILITY_SECONDS,
    Broker,
    message_priority,
    parse_broker_url,
)

# A chunk that ends its worker comes back twice; after that SQL splits it, and so on.
WORKER_LOST_RETRIES = 2

# Taken messages of a folder are kept by the transport; nothing reads them again.
_TAKEN_SECONDS = 600


def create_app(broker_url: str) -> Celery:
    """Makes an application for a broker; connects to nothing.

    Args:
        broker_url: as `parse_broker_url` takes it.

    Raises:
        SettingsError: the URL names no broker that we support, or a folder that cannot be made.
    """
    broker = parse_broker_url(broker_url)
    _make_folders(broker)
    app = Celery("editvec", set_as_current=False)
    app.conf.update(
        broker_url=broker.url,
        broker_transport=broker.transport,
        broker_use_ssl=broker.use_ssl,
        broker_transport_options=broker.transport_options,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # a worker waits for its broker as long as it takes
        broker_connection_timeout=CONNECT_SECONDS,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_retry_on_worker_lost=True,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_time_limit=LONGEST_LIMIT_SECONDS,
        task_queue_max_priority=len(Priority) - 1,
        worker_prefetch_multiplier=1,
        worker_concurrency=1,
        worker_pool="prefork",
        worker_consumer="editvec.batch.workers.consumer:Consumer",
        worker_proc_alive_timeout=120,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        visibility_timeout=VISIBILITY_SECONDS,
        result_backend_transport_options={"visibility_timeout": VISIBILITY_SECONDS},
    )
    return app


def queue_name(class_address: str) -> str:
    """The queue of a class model: a worker serves one class, so that no model is swapped.

    The broker keeps the messages of each priority apart, and hands out the most urgent ones first.
    """
    return f"editvec.work.{class_address.replace('@', '.v')}"


def send(
    app: Celery,
    task: str,
    args: Sequence[object],
    *,
    queue: str,
    priority: Priority,
    **options: Any,
) -> None:
    """Gives a message to the broker; `broker_errors` goes around it."""
    number = message_priority(app.conf.broker_url, priority)
    app.send_task(task, args=list(args), queue=queue, priority=number, **options)


def require_broker(app: Celery) -> None:
    """Connects once.

    Raises:
        BrokerError: nobody answers, or we are not let in.
    """
    with _connected(app):
        pass


def require_queue(app: Celery, queue: str) -> None:
    """Makes a queue, if it is not there.

    Raises:
        BrokerError: the broker does not answer, or has a queue of this name and of another kind.
    """
    with _connected(app) as connection:
        app.amqp.queues[queue](connection.default_channel).declare()


def waiting_messages(app: Celery, queue: str) -> int:
    """How many messages wait in a queue; 0 if there is no such queue.

    Raises:
        BrokerError: the broker does not answer.
    """
    with _connected(app) as connection:
        channel: Any = connection.default_channel
        try:
            return int(channel.queue_declare(queue, passive=True).message_count)
        except _channel_errors(connection):
            return 0


def forget_taken_messages(broker_url: str) -> int:
    """Deletes the messages that a folder as the broker handed out and keeps.

    Returns:
        How many; 0 for a server.
    """
    folder = parse_broker_url(broker_url).folder
    count = 0
    if folder is not None:
        before = time.time() - _TAKEN_SECONDS
        for path in (folder / "taken").glob("*.msg"):
            with suppress(FileNotFoundError):  # another worker does the same
                if path.stat().st_ctime < before:
                    path.unlink()
                    count += 1
    return count


@contextmanager
def broker_errors(app: Celery) -> Iterator[None]:
    """Turns what goes wrong between us and the broker into ours."""
    connection = app.connection_for_write()
    place = app.conf.broker_url  # masked where it is shown
    try:
        yield
    except (OSError, OperationalError) as exc:
        raise BrokerError(f"broker: {place} does not answer ({exc})") from exc
    except (*connection.connection_errors, *connection.channel_errors) as exc:
        raise BrokerError(f"broker: {place} refuses ({exc})") from exc


@contextmanager
def _connected(app: Celery) -> Iterator[Connection]:
    """A connection of its own, closed at the end."""
    with broker_errors(app), app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=CONNECT_SECONDS)
        yield connection


def _channel_errors(connection: Connection) -> tuple[type[BaseException], ...]:
    """What a transport raises about a queue that is not there."""
    return (ChannelError, *connection.channel_errors)


def _make_folders(broker: Broker) -> None:
    if broker.folder is None:
        return
    try:
        for name in ("messages", "taken"):
            (broker.folder / name).mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        reason = exc.strerror or exc
        raise SettingsError(f"EDITVEC_BROKER_URL: folder {broker.folder}: {reason}") from exc
