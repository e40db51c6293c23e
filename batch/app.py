"""The Celery application: settings only. SQL knows what is to be done; Celery wakes workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from celery import Celery
from kombu.exceptions import ChannelError, OperationalError

from batch.errors import BrokerError, SettingsError

# Longer than any chunk: a broker that redelivers earlier gives a second worker the same message.
VISIBILITY_SECONDS = 1800
CHUNK_LIMIT_SECONDS = 1500
# A chunk that ends its worker comes back twice; after that SQL splits it, and so on.
WORKER_LOST_RETRIES = 2

_TRANSPORTS = ("filesystem", "redis", "rediss", "amqp", "amqps", "pyamqp")


def create_app(broker_url: str) -> Celery:
    """Makes an application for a broker; connects to nothing.

    Args:
        broker_url: ``redis://``, ``amqp://``, or ``filesystem:///folder``, which needs no server.

    Raises:
        SettingsError: the URL names no broker that we support.
    """
    parts = urlsplit(broker_url)
    if parts.scheme not in _TRANSPORTS:
        raise SettingsError(
            f"EDITVEC_BROKER_URL: expected redis://, amqp:// or filesystem:///FOLDER, "
            f"got {broker_url!r}"
        )
    is_folder = parts.scheme == "filesystem"
    app = Celery("editvec", set_as_current=False)
    app.conf.update(
        broker_url="filesystem://" if is_folder else broker_url,
        broker_connection_retry_on_startup=True,
        broker_connection_timeout=10,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_retry_on_worker_lost=True,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_time_limit=CHUNK_LIMIT_SECONDS,
        worker_prefetch_multiplier=1,
        worker_concurrency=1,
        worker_pool="prefork",
        worker_proc_alive_timeout=120,
        worker_soft_shutdown_timeout=30,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        visibility_timeout=VISIBILITY_SECONDS,
        result_backend_transport_options={"visibility_timeout": VISIBILITY_SECONDS},
        broker_transport_options=(
            _folder_options(broker_url) if is_folder else {"visibility_timeout": VISIBILITY_SECONDS}
        ),
    )
    return app


def queue_name(class_address: str) -> str:
    """The queue of a class model: a worker serves one class, so that no model is swapped."""
    return f"editvec.{class_address.replace('@', '.v')}"


def require_broker(app: Celery) -> None:
    """Connects once.

    Raises:
        BrokerError: nobody answers.
    """
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=10)
    except (OSError, OperationalError) as exc:
        place = app.connection_for_write().as_uri()
        raise BrokerError(f"broker: {place} does not answer ({exc})") from exc


def waiting_messages(app: Celery, queue: str) -> int:
    """How many messages wait in a queue; 0 if there is no such queue.

    Raises:
        BrokerError: the broker does not answer.
    """
    try:
        with app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=10)
            channel: Any = connection.default_channel
            return int(channel.queue_declare(queue, passive=True).message_count)
    except (OSError, OperationalError) as exc:
        raise BrokerError(f"broker: it does not answer ({exc})") from exc
    except ChannelError:
        return 0
    except Exception as exc:
        if type(exc).__name__ == "NotFound":  # amqp's own class, known only where amqp is used
            return 0
        raise


def _folder_options(broker_url: str) -> dict[str, Any]:
    """A broker that is a folder: every message a file."""
    path = unquote(urlsplit(broker_url).path)
    if not path.startswith("/"):
        raise SettingsError(
            f"EDITVEC_BROKER_URL: expected filesystem:// and an absolute folder, got {broker_url!r}"
        )
    folder = Path(path)
    for name in ("messages", "control", "taken"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return {
        "data_folder_in": str(folder / "messages"),
        "data_folder_out": str(folder / "messages"),
        "control_folder": str(folder / "control"),
        # messages are moved here while they are read: the default would be another disk
        "processed_folder": str(folder / "taken"),
        "store_processed": True,
    }
