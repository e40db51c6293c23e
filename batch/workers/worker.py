"""One worker: one device, one class, one child process that computes."""

from __future__ import annotations

import logging
import os
import signal
import socket
from contextlib import suppress
from typing import Any

from billiard import active_children
from celery import Celery, bootsteps
from celery.apps.worker import Worker
from celery.worker import state
from kombu.exceptions import OperationalError

from editvec.batch.errors import BatchError
from editvec.batch.recipes.settings import REAP_SECONDS
from editvec.batch.workers.app import (
    create_app,
    forget_taken_messages,
    queue_name,
    require_queue,
    waiting_messages,
)
from editvec.batch.workers.broker import parse_broker_url
from editvec.batch.workers.device import hold_device, probe_device
from editvec.batch.workers.log import log_to_stderr
from editvec.batch.workers.tasks import (
    DEVICE_FAILED_SIGNAL,
    EXIT_DEVICE_LOST,
    WorkerState,
    register,
    tend,
)
from editvec.masking import masked
from editvec.registry.config import RegistryConfig
from editvec.registry.errors import RegistryError
from editvec.registry.library.library import Library

_LOG = logging.getLogger(__name__)


def run_worker(
    config: RegistryConfig, *, broker_url: str, class_name: str, device: str | None, log_level: str
) -> int:
    """Serves the runs of one class until it is told to stop.

    Args:
        config: where the library is.
        broker_url: where messages come from.
        class_name: ``avatars`` (its latest version) or ``avatars@2``.
        device: ``cpu``, ``cuda`` or ``cuda:N``; None takes a CUDA device if there is one.
        log_level: of the log on stderr.

    Returns:
        The exit status.

    Raises:
        RegistryError: there is no such class, or its bundle cannot be laid out.
        BrokerError: nobody answers at the broker's address.
        WorkerError: the device is not there, or does not work.
    """
    with Library.open(config) as library:
        model = library.get_class(class_name)
        library.materialise_bundle(model)
        app = create_app(broker_url)
        require_queue(app, queue_name(model.address))
        chosen = probe_device(device)
        log_to_stderr(log_level)
        if not hold_device(config.home, chosen):
            _LOG.warning("another worker of this library serves %s too: they share it", chosen.name)
        register(app, WorkerState(config, device=chosen.name))
        app.steps["consumer"].add(_tending(app, library, broker_url, model.address))
        worker = app.subclass_with_self(_Worker, name="Worker")(
            hostname=f"editvec-{os.getpid()}@{socket.gethostname()}",
            queues=[queue_name(model.address)],
            pool="prefork",
            concurrency=1,
            loglevel=log_level,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            quiet=True,
        )
        _take_signals()  # whoever reads that it serves may stop it at once
        where = f"{chosen.name} ({chosen.model}), messages from {masked(broker_url)}"
        _LOG.info("serving %s on %s", model.address, where)
        worker.start()
        _LOG.info("stopped")
        return int(worker.exitcode or 0)


class _Worker(Worker):
    """Celery's worker; what stops it is passed on to its child, which then stops soon."""

    def install_platform_tweaks(self, worker: Any) -> None:
        """Puts our answer to signals in the place of Celery's."""
        _take_signals()


def _take_signals() -> None:
    """Takes the signals that mean: stop. Any of them, any number of times, means the same."""
    signal.signal(DEVICE_FAILED_SIGNAL, _stop)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # nohup and a shell's `&` have some of them ignored
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def _is_stopping() -> bool:
    return vars(state)["should_stop"] is not None


def _stop(number: int, _frame: object) -> None:
    """In the parent: no new message is taken, and the child learns that it is to end."""
    is_failure = number == DEVICE_FAILED_SIGNAL
    vars(state)["should_stop"] = EXIT_DEVICE_LOST if is_failure else os.EX_OK
    if not state.active_requests:
        return  # an idle child ends with the pool
    for child in active_children():
        if child.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGTERM)


class Watchdog:
    """Sees that a worker is connected and yet receives nothing.

    A broker that restarts while a task runs takes the task's acknowledgement with it. The consumer
    then waits for that for ever, asks for no further message, and so never learns that its
    connection is gone.
    """

    def __init__(self, app: Celery, queue: str) -> None:
        self._app = app
        self._queue = queue
        self._was_idle_beside_messages = False
        self._received = 0

    def check(self) -> None:
        """Call it every `REAP_SECONDS`.

        Raises:
            ConnectionResetError: nothing was received between two calls, although messages wait
                and nothing is being done; Celery reconnects when one of its timers raises it.
            BrokerError: the broker does not answer.
        """
        is_busy = bool(state.reserved_requests) or bool(state.active_requests)
        is_idle_beside_messages = not is_busy and waiting_messages(self._app, self._queue) > 0
        received, self._received = self._received, state.all_total_count[0]
        was_so_before = self._was_idle_beside_messages and self._received == received
        self._was_idle_beside_messages = is_idle_beside_messages
        if is_idle_beside_messages and was_so_before:
            self._was_idle_beside_messages = False
            _LOG.warning("messages wait in %s and none comes: connecting anew", self._queue)
            raise ConnectionResetError(f"no message from {self._queue} comes")


def _tending(
    app: Celery, library: Library, broker_url: str, class_address: str
) -> type[bootsteps.StartStopStep]:
    """A step of the consumer that calls `tend` on its timer, anew after each reconnection."""
    watchdog = Watchdog(app, queue_name(class_address))
    has_connection = parse_broker_url(broker_url).folder is None

    def look() -> None:
        try:
            tend(app, library, class_address=class_address)
            forget_taken_messages(broker_url)
        except (BatchError, RegistryError, OperationalError, OSError) as exc:
            _LOG.warning("tending runs: %s", exc)

    def tick() -> None:
        if _is_stopping():
            return
        if has_connection:
            watchdog.check()  # before we publish more
        look()

    class Tending(bootsteps.StartStopStep):
        requires = ("celery.worker.consumer.tasks:Tasks",)

        def __init__(self, consumer: Any, **options: Any) -> None:
            super().__init__(consumer, **options)
            self.entry: Any = None

        def start(self, consumer: Any) -> None:
            # a reconnection clears the timer, and starts the consumer's steps again
            self.entry = consumer.timer.call_repeatedly(REAP_SECONDS, tick)
            look()

        def stop(self, consumer: Any) -> None:
            if self.entry is not None:
                self.entry.cancel()

    return Tending
