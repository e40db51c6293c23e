"""One worker: one device, one class, one child process that computes."""

from __future__ import annotations

import logging
import os
import signal
from typing import Any

from celery import Celery, bootsteps
from celery.signals import worker_process_init
from kombu.exceptions import OperationalError

from batch.app import create_app, queue_name, require_broker
from batch.errors import BatchError
from batch.settings import REAP_SECONDS
from batch.tasks import WorkerState, register, tend
from registry.config import RegistryConfig
from registry.errors import RegistryError
from registry.store import Library

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
    """
    with Library.open(config) as library:
        model = library.get_class(class_name)
        library.materialise_bundle(model)
        app = create_app(broker_url)
        require_broker(app)
        register(app, WorkerState(config, device=device))
        app.steps["worker"].add(_tending(app, library, model.address))
        worker_process_init.connect(_end_in_order, weak=False)
        worker = app.Worker(
            hostname=f"editvec-{os.getpid()}@%h",
            queues=[queue_name(model.address)],
            pool="prefork",
            concurrency=1,
            loglevel=log_level,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        worker.start()
        return int(worker.exitcode or 0)


def _tending(app: Celery, library: Library, class_address: str) -> type[bootsteps.StartStopStep]:
    """A step of the worker that calls `tend` on the worker's own timer."""

    def tick() -> None:
        try:
            tend(app, library, class_address=class_address)
        except (BatchError, RegistryError, OperationalError, OSError) as exc:
            _LOG.warning("tending runs: %s", exc)

    class Tending(bootsteps.StartStopStep):
        requires = ("celery.worker.components:Timer", "celery.worker.components:Pool")

        def __init__(self, worker: Any, **options: Any) -> None:
            super().__init__(worker, **options)
            self.entry: Any = None

        def start(self, worker: Any) -> None:
            tick()
            self.entry = worker.timer.call_repeatedly(REAP_SECONDS, tick)

        def stop(self, worker: Any) -> None:
            if self.entry is not None:
                self.entry.cancel()

    return Tending


def _end_in_order(**_options: Any) -> None:
    """In the child: TERM unwinds the chunk, which gives its lease back."""
    signal.signal(signal.SIGTERM, _raise_exit)


def _raise_exit(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)
