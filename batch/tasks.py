"""The tasks: thin. A message names a chunk; everything about it is in SQL."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from celery import Celery, Task

from batch.app import WORKER_LOST_RETRIES, queue_name, waiting_messages
from batch.entities import RunRecord
from batch.errors import (
    DeviceLostError,
    DiskFullError,
    LeaseLostError,
    RunCancelledError,
)
from batch.leases import Lease, Leases
from batch.owner import Owner
from batch.runs import Runs
from registry.config import RegistryConfig
from registry.database import now
from registry.errors import RegistryError
from registry.store import Library

if TYPE_CHECKING:
    from batch.pipeline import ChunkProcessor
    from engine.editor import Editor

_LOG = logging.getLogger(__name__)
PROCESS_CHUNK = "editvec.process_chunk"
COMPLETE_RUN = "editvec.complete_run"
# A message may lie in a worker's hands for the length of a chunk before its chunk is claimed.
_REPUBLISH_AFTER = timedelta(seconds=60)
_EXIT_DEVICE_LOST = 70


class WorkerState:
    """What one child process of a worker holds; made empty, filled by the first task.

    The parent makes it before it forks, and must hold neither torch nor a connection.
    """

    def __init__(self, config: RegistryConfig, *, device: str | None) -> None:
        self.config = config
        self.device = device
        self._library: Library | None = None
        self._editor: Editor | None = None
        self._loaded_class = ""
        self._processor: ChunkProcessor | None = None

    @property
    def library(self) -> Library:
        """The library, opened once."""
        if self._library is None:
            self._library = Library.open(self.config)
        return self._library

    def process_chunk(self, run_id: str, chunk_id: int) -> None:
        """Processes a chunk if it still waits."""
        run = Runs(self.library.engine).get(run_id)
        if run.is_finished or run.state == "paused":
            return
        processor = self._processor_for(run)
        lease = self._claim(run_id, chunk_id)
        if lease is None:
            return
        try:
            processor.process(lease)
        except (RunCancelledError, LeaseLostError, DiskFullError) as exc:
            _LOG.warning("%s", exc)
        except DeviceLostError as exc:
            _LOG.critical("%s", exc)
            os._exit(_EXIT_DEVICE_LOST)

    def complete_run(self, run_id: str) -> None:
        """Writes the manifests of a run of which every chunk is decided."""
        from batch.completion import complete

        runs = Runs(self.library.engine)
        run = runs.get(run_id)
        state = runs.final_state(run_id)
        if state is not None and not run.is_finished:
            complete(self.library, run, state)

    def pause(self, run_id: str, error: BaseException) -> None:
        """Pauses a run that a task of it failed in: the next message would only fail again."""
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        with suppress(RegistryError):
            Runs(self.library.engine).pause(run_id, reason)

    def _claim(self, run_id: str, chunk_id: int) -> Lease | None:
        """Claims a chunk; a message that came back tells that its last holder may be dead."""
        leases, owner = Leases(self.library.engine), Owner.current()
        lease = leases.claim(run_id, owner, chunk_id=chunk_id)
        if lease is None and leases.reap(run_id).total:
            lease = leases.claim(run_id, owner, chunk_id=chunk_id)
        return lease

    def _processor_for(self, run: RunRecord) -> ChunkProcessor:
        """The processor of a run: the class stays loaded, the vectors change with the run."""
        from batch.pipeline import ChunkProcessor
        from batch.workbench import default_device
        from engine.editor import Editor

        if self._processor is not None and self._processor.run.id == run.id:
            return self._processor
        if self._processor is not None:
            self._processor.__exit__(None, None, None)
            self._processor = None
        if self._editor is None or self._loaded_class != run.plan.class_address:
            model = self.library.get_class(run.plan.class_address)
            folder = self.library.materialise_bundle(model)
            self._editor = Editor.open(folder, device=self.device or default_device())
            self._loaded_class = run.plan.class_address
        self._processor = ChunkProcessor(self.library, self._editor, run)
        return self._processor


def register(app: Celery, state: WorkerState) -> None:
    """Gives the tasks to an application of a worker."""

    class RunTask(Task[Any, Any]):
        """A task about the run that its first argument names."""

        abstract = True
        max_retries = WORKER_LOST_RETRIES

        def on_failure(
            self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any
        ) -> None:
            state.pause(args[0], exc)

    @app.task(name=PROCESS_CHUNK, base=RunTask)
    def process_chunk(run_id: str, chunk_id: int) -> None:
        state.process_chunk(run_id, chunk_id)

    @app.task(name=COMPLETE_RUN, base=RunTask)
    def complete_run(run_id: str) -> None:
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
    for chunk_id in new:
        app.send_task(PROCESS_CHUNK, args=[run.id, chunk_id], queue=queue)
    leases.mark_published(new)
    return len(new)


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
            app.send_task(COMPLETE_RUN, args=[run.id], queue=queue_name(class_address))
