"""The tasks: thin. A message names a chunk; everything about it is in SQL."""

from __future__ import annotations

import logging
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from billiard.exceptions import TimeLimitExceeded
from celery import Celery, Task
from celery.exceptions import Reject

from editvec.batch.chunks.stopping import StopRequest, undisturbed
from editvec.batch.errors import (
    BrokerError,
    DeviceLostError,
    DiskFullError,
    LeaseLostError,
    RunCancelledError,
    RunNotFoundError,
    WorkerStoppingError,
)
from editvec.batch.recipes.settings import LEASE_SECONDS, Priority
from editvec.batch.runs.entities import RunRecord
from editvec.batch.runs.leases import Lease, Leases
from editvec.batch.runs.owner import Owner
from editvec.batch.runs.pace import LONGEST_LIMIT_SECONDS, limit_seconds
from editvec.batch.runs.store import Runs
from editvec.batch.workers.app import (
    WORKER_LOST_RETRIES,
    broker_errors,
    queue_name,
    send,
    waiting_messages,
)
from editvec.registry.config import RegistryConfig
from editvec.registry.errors import DatabaseError, RegistryError
from editvec.registry.library.library import Library
from editvec.registry.tables.database import is_away, now

if TYPE_CHECKING:
    from editvec.batch.chunks.processor import Processor
    from editvec.engine.editor import Editor

_LOG = logging.getLogger(__name__)
PROCESS_CHUNK = "editvec.process_chunk"
COMPLETE_RUN = "editvec.complete_run"
# A message may lie in a worker's hands for the length of a chunk before its chunk is claimed.
_REPUBLISH_AFTER = timedelta(seconds=60)
EXIT_DEVICE_LOST = 70
# from a child to its worker, which ends then, as failed
DEVICE_FAILED_SIGNAL = signal.SIGUSR2
_LOOK_SECONDS = 1.0


class WorkerState:
    """What one child process of a worker holds; made empty, filled by the first task.

    The parent makes it before it forks, and must hold neither torch nor a connection.
    """

    def __init__(self, config: RegistryConfig, *, device: str | None) -> None:
        self.config = config
        self.device = device
        self.stop = StopRequest()
        self.publish: Callable[[RunRecord], None] = lambda run: None
        self.end_worker: Callable[[], None] = lambda: None
        self._deadline = math.inf
        self._is_deviceless = False
        self._library: Library | None = None
        self._editor: Editor | None = None
        self._loaded_class = ""
        self._processor: Processor | None = None
        self._lease: Lease | None = None

    @property
    def library(self) -> Library:
        """The library, opened once."""
        if self._library is None:
            self._library = Library.open(self.config)
        return self._library

    def process_chunk(
        self, run_id: str, chunk_id: int, *, limit_seconds: float = LONGEST_LIMIT_SECONDS
    ) -> None:
        """Processes a chunk if it still waits.

        Args:
            run_id: the run.
            chunk_id: the chunk.
            limit_seconds: when this process is killed; a chunk that needs more than half of it is
                given back between two mini-batches.

        Raises:
            Reject: this process is to end; the message goes back to the broker.
        """
        if self.stop.is_made or self._is_deviceless:
            raise Reject("stopping", requeue=True)
        run = self._find(run_id)
        if run is None or run.is_finished or run.state == "paused":
            return
        try:
            processor = self._processor_for(run)
        except DeviceLostError as exc:
            # nothing was claimed: whose device works takes the message
            _LOG.critical("%s; this worker stops", exc)
            self._is_deviceless = True
            self.end_worker()
            raise Reject("the device failed", requeue=True) from exc
        with undisturbed():
            lease = self._lease = self._claim(run_id, chunk_id)
        if lease is None:
            return
        began = time.monotonic()
        self._deadline = began + limit_seconds / 2
        try:
            lease = processor.process(lease)
        except WorkerStoppingError as exc:
            self._hand_on(run, lease, exc)
        except (RunCancelledError, LeaseLostError, DiskFullError) as exc:
            _LOG.warning("%s", exc)
        except DeviceLostError as exc:
            _LOG.critical("%s", exc)
            os._exit(EXIT_DEVICE_LOST)
        else:
            done = (run_id[:8], lease.chunk_position, lease.input_count, time.monotonic() - began)
            _LOG.info("run %s chunk %d: %d inputs in %.1f s", *done)
            self.complete_run(run_id)

    def complete_run(self, run_id: str) -> None:
        """Writes the manifests of a run, if every chunk of it is decided."""
        run = self._find(run_id)
        if run is None or run.is_finished:
            return
        state = Runs(self.library.engine).final_state(run_id)
        if state is not None:
            from editvec.batch.reports.completion import complete

            complete(self.library, run, state)

    def _hand_on(self, run: RunRecord, lease: Lease, error: WorkerStoppingError) -> None:
        """Tells why a chunk was given back between two mini-batches."""
        if self.stop.is_made:
            _LOG.warning("%s", error)
        else:
            _LOG.info("run %s chunk %d: takes long, handed on", run.id[:8], lease.chunk_position)
            self._publish_again(run)

    def _publish_again(self, run: RunRecord) -> None:
        """Tells others of chunks that wait; whoever tends the run does so too, but later."""
        if not self.stop.is_made:
            try:
                self.publish(run)
            except (BrokerError, RegistryError) as exc:
                _LOG.warning("run %s: %s", run.id[:8], exc)

    def wait_for_database(self, error: DatabaseError) -> None:
        """Waits until the database answers, and gives back the chunk that was in work.

        Returns:
            At the latest when the chunk's lease has ended by itself, or this process is to end.
        """
        _LOG.warning("%s; waiting for it", error)
        deadline = time.monotonic() + LEASE_SECONDS
        while not self.stop.is_made and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
            try:
                if self._lease is None:
                    Runs(self.library.engine).active()
                else:
                    Leases(self.library.engine).give_back(self._lease)
            except LeaseLostError:
                return
            except DatabaseError as exc:
                if not is_away(exc):
                    raise
            else:
                return

    def pause(self, run_id: str, error: BaseException) -> None:
        """Pauses a run that a task of it failed in: the next message would only fail again."""
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        with suppress(RegistryError):
            Runs(self.library.engine).pause(run_id, reason)

    def _find(self, run_id: str) -> RunRecord | None:
        """The run of a message; None if it is none of this library's."""
        try:
            return Runs(self.library.engine).get(run_id)
        except RunNotFoundError as exc:
            _LOG.error("%s: does another library use this broker? Give each its own", exc)
            return None

    def _claim(self, run_id: str, chunk_id: int) -> Lease | None:
        """Claims a chunk; a message that came back tells that its last holder may be dead.

        Raises:
            Reject: this process was told to stop meanwhile; nothing is held.
        """
        leases, owner = Leases(self.library.engine), Owner.current()
        device = str(self._editor.device) if self._editor is not None else ""
        lease = leases.claim(run_id, owner, chunk_id=chunk_id, device=device)
        if lease is None and leases.reap(run_id).total:
            lease = leases.claim(run_id, owner, chunk_id=chunk_id, device=device)
        if lease is not None and self.stop.is_made:
            leases.give_back(lease)
            raise Reject("stopping", requeue=True)
        return lease

    def _processor_for(self, run: RunRecord) -> Processor:
        """The processor of a run: the class stays loaded, the vectors change with the run."""
        from editvec.batch.chunks.isolation import needing_device
        from editvec.batch.kinds import open_processor
        from editvec.batch.workbench import default_device
        from editvec.engine.editor import Editor

        if self._processor is not None and self._processor.run.id == run.id:
            return self._processor
        if self._processor is not None:
            self._processor.__exit__(None, None, None)
            self._processor = None
        if self._editor is None or self._loaded_class != run.plan.class_address:
            model = self.library.get_class(run.plan.class_address)
            folder = self.library.materialise_bundle(model)
            with needing_device():
                self._editor = Editor.open(folder, device=self.device or default_device())
            self._loaded_class = run.plan.class_address
        with needing_device():
            self._processor = open_processor(
                self.library,
                self._editor,
                run,
                is_stopping=lambda: self.stop.is_made or time.monotonic() > self._deadline,
                on_cut=lambda: self._publish_again(run),
            )
        return self._processor


def register(app: Celery, state: WorkerState) -> None:
    """Gives the tasks to an application of a worker."""

    class RunTask(Task[Any, Any]):
        """A task about the run that its first argument names."""

        abstract = True
        max_retries = WORKER_LOST_RETRIES
        default_retry_delay = 0  # a message for later would wait in a worker's hands

        def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
            # Celery's pool takes the signals of its processes for itself after they began
            state.stop.listen()

        def on_failure(
            self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any
        ) -> None:
            if isinstance(exc, TimeLimitExceeded):
                # its process is killed; the lease of a dead owner ends, and counts as an attempt
                _LOG.error("run %s: a chunk took longer than its limit", args[0][:8])
            elif isinstance(exc, Exception):
                state.pause(args[0], exc)

    state.publish = lambda run: _publish(app, state.library, run)
    # tasks run in the child of the worker that is to end
    state.end_worker = lambda: os.kill(os.getppid(), DEVICE_FAILED_SIGNAL)

    @contextmanager
    def waiting_for_database() -> Iterator[None]:
        try:
            yield
        except DatabaseError as exc:
            if not is_away(exc):
                raise
            state.wait_for_database(exc)
            raise Reject("the database was away", requeue=True) from exc

    @app.task(name=PROCESS_CHUNK, base=RunTask, bind=True)
    def process_chunk(task: Task[Any, Any], run_id: str, chunk_id: int) -> None:
        limit = (task.request.timelimit or (None,))[0] or LONGEST_LIMIT_SECONDS
        with waiting_for_database():
            state.process_chunk(run_id, chunk_id, limit_seconds=limit)

    @app.task(name=COMPLETE_RUN, base=RunTask)
    def complete_run(run_id: str) -> None:
        with waiting_for_database():
            state.complete_run(run_id)


def publish_waiting(app: Celery, library: Library, run: RunRecord) -> int:
    """Publishes the chunks of a run that wait and of which no message is known to exist.

    Returns:
        The number of messages sent.

    Raises:
        BrokerError: the broker does not answer.
    """
    leases, queue = Leases(library.engine), queue_name(run.plan.class_address)
    new = leases.pending_chunks(run.id)
    if not new:
        # the broker may have lost what we gave it: it has, if nothing waits for long
        lost = leases.pending_chunks(run.id, not_published_since=now() - _REPUBLISH_AFTER)
        if lost and waiting_messages(app, queue) == 0:
            new = lost
    if not new:
        return 0
    resolution = library.get_class(run.plan.class_address).resolution
    attempts = leases.attempts(run.id)
    with broker_errors(app):
        for chunk_id in new:
            limit = limit_seconds(
                run.plan, resolution=resolution, attempts=attempts.get(chunk_id, 0)
            )
            send(
                app,
                PROCESS_CHUNK,
                [run.id, chunk_id],
                queue=queue,
                priority=run.priority,
                time_limit=limit,
            )
    leases.mark_published(new)
    return len(new)


def _publish(app: Celery, library: Library, run: RunRecord) -> None:
    """Publishes what waits of a run that may have changed since."""
    publish_waiting(app, library, Runs(library.engine).get(run.id))


def tend(app: Celery, library: Library, *, class_address: str) -> None:
    """What a worker's parent does on a timer: ends lost leases, publishes, closes runs.

    Raises:
        BrokerError, RegistryError: the broker or the database does not answer.
    """
    runs, leases = Runs(library.engine), Leases(library.engine)
    for run in runs.active(class_address):
        leases.reap(run.id)
        if runs.final_state(run.id) is None:
            publish_waiting(app, library, run)
        else:
            with broker_errors(app):
                send(
                    app,
                    COMPLETE_RUN,
                    [run.id],
                    queue=queue_name(class_address),
                    priority=Priority.HIGH,
                )
