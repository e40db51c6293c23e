"""The loop of every chunk: a lease, its heartbeat, mini-batches, and an end in order.

What is done with a mini-batch differs by the kind of run: `images.py` writes files, `library.py`
adds to the library.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Self

from editvec.batch.chunks.collected import Collected
from editvec.batch.chunks.heartbeat import Heartbeat
from editvec.batch.chunks.stopping import undisturbed
from editvec.batch.errors import (
    BatchError,
    DeviceLostError,
    DiskFullError,
    LeaseLostError,
    RunCancelledError,
    WorkerError,
    WorkerStoppingError,
)
from editvec.batch.recipes.settings import HEARTBEAT_SECONDS, MINI_BATCH
from editvec.batch.runs.entities import RunRecord
from editvec.batch.runs.leases import ItemResult, Lease, Leases
from editvec.batch.runs.pace import Pace, may_be_cut
from editvec.batch.runs.plan import PlannedInput
from editvec.batch.runs.store import Runs
from editvec.engine.editor import Editor
from editvec.registry.errors import LibraryDiskFullError, RegistryError
from editvec.registry.library.library import Library

_LOG = logging.getLogger(__name__)


class Processor(ABC):
    """What a process holds to work on one run, chunk by chunk.

    Attributes:
        run: The run.
        runs: Where its inputs and items are.
        leases: Where its chunks are.
        pace: How many inputs are worked on at a time, and when a chunk takes too long.
    """

    def __init__(
        self,
        library: Library,
        run: RunRecord,
        *,
        resolution: int,
        mini_batch: int = MINI_BATCH,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        on_items: Callable[[int], None] | None = None,
        is_stopping: Callable[[], bool] | None = None,
        on_cut: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Makes the processor.

        Args:
            library: where the run is.
            run: the run.
            resolution: of the generator, in pixels.
            mini_batch: the most inputs that are worked on at a time.
            heartbeat_seconds: between two beats of a lease.
            on_items: called with the number of items that were just decided.
            is_stopping: asked between two mini-batches: True gives the chunk back.
            on_cut: called when a chunk was cut, and its rest waits for anybody.
            clock: tells the seconds by which the pace is measured.
        """
        self.run = run
        self.runs = Runs(library.engine)
        self.leases = Leases(library.engine)
        self.pace = Pace(run.plan, resolution=resolution, mini_batch=mini_batch)
        self.clock = clock
        self.on_items = on_items or (lambda count: None)
        self.is_stopping = is_stopping or (lambda: False)
        self.on_cut = on_cut or (lambda: None)
        self._heartbeat_seconds = heartbeat_seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:  # noqa: B027 (most hold nothing that must be closed)
        """Lets go of what it holds."""

    @abstractmethod
    def open_chunk(self, lease: Lease) -> ChunkWork:
        """What is done with the inputs of one chunk."""

    def process(self, lease: Lease) -> Lease:
        """Works through a chunk and closes its lease.

        What would take too long is cut off, and waits as chunks of its own. Whatever ends it early,
        the items that are finished are kept and the lease is given back.

        Returns:
            The lease as it ended, over the inputs that were processed.

        Raises:
            RunCancelledError: the run was cancelled; the lease was given back.
            WorkerStoppingError: this process is to end; the lease was given back.
            DiskFullError: the run was paused; the lease was given back.
            LeaseLostError: somebody else holds the chunk now; nothing was recorded.
            DeviceLostError: the process must end; the lease was given back.
        """
        chunk = self.open_chunk(lease)
        try:
            with Heartbeat(
                self.leases,
                lease,
                take_finished=chunk.collected.take,
                put_back=chunk.collected.put_back,
                interval=self._heartbeat_seconds,
            ) as heartbeat:
                self._work_through(chunk, heartbeat)
                chunk.pack()
            chunk.finish()
            return chunk.lease
        except LeaseLostError:
            raise
        except LibraryDiskFullError as exc:
            full = DiskFullError(f"library: {exc}")
            self._give_back(chunk, full)
            raise full from exc
        except BaseException as exc:
            self._give_back(chunk, exc)
            raise

    def _work_through(self, chunk: ChunkWork, heartbeat: Heartbeat) -> None:
        """Decides every item of the chunk that is not recorded yet."""
        lease, began = chunk.lease, self.clock()
        span = (lease.run_id, lease.first_input, lease.input_count)
        todo = chunk.open(self.runs.inputs(*span), self.runs.decided_items(*span))
        coming = self._next(todo)
        reading = chunk.read(coming)
        while coming:
            self._require_going_on(chunk, heartbeat)
            batch_began, count, ready = self.clock(), len(coming), reading()
            if chunk.reads_ahead:
                coming = self._next(todo)
                reading = chunk.read(coming)
            chunk.work_on(ready)
            ended = self.clock()
            self.pace.add(count, ended - batch_began)
            ahead = len(coming) if chunk.reads_ahead else 0
            self._cut(chunk, todo, elapsed=ended - began, coming=ahead)
            if not chunk.reads_ahead:
                coming = self._next(todo)
                reading = chunk.read(coming)
        chunk.settle()

    def _next(self, todo: list[PlannedInput]) -> list[PlannedInput]:
        """Takes a mini-batch off what is to be done."""
        count = self.pace.batch_size
        batch, todo[:] = todo[:count], todo[count:]
        return batch

    def _require_going_on(self, chunk: ChunkWork, heartbeat: Heartbeat) -> None:
        lease = chunk.lease
        of = f"run {lease.run_id[:8]} chunk {lease.chunk_position}"
        if heartbeat.is_lost:
            raise LeaseLostError(f"{of}: the lease was lost")
        if self.runs.is_cancel_requested(lease.run_id):
            raise RunCancelledError(f"run {lease.run_id[:8]} was cancelled")
        if self.is_stopping():
            chunk.settle()
            raise WorkerStoppingError(f"{of}: given back, to stop")

    def _cut(
        self, chunk: ChunkWork, todo: list[PlannedInput], *, elapsed: float, coming: int
    ) -> None:
        """Leaves to others what would take this chunk too long."""
        if not may_be_cut(self.run.plan):
            return
        cut = self.pace.cut(elapsed=elapsed, coming=coming, left=len(todo))
        if cut is not None:
            first = todo[cut.keep].position
            chunk.lease = self.leases.cut(chunk.lease, first_input=first, size=cut.size)
            del todo[cut.keep :]
            self.on_cut()

    def _give_back(self, chunk: ChunkWork, error: BaseException) -> None:
        """Ends the lease in order; see `give_back`."""
        take = partial(chunk.take_finished, error)
        give_back(self.leases, self.runs, chunk.lease, error, take_items=take)


class ChunkWork(ABC):
    """One chunk in work: what a kind of run does with its inputs.

    Attributes:
        lease: of the chunk; shorter after a cut.
        collected: items that are finished and not recorded.
        digests: of the inputs that were read, by position.
        reads_ahead: True if the next mini-batch is read while one is worked on.
    """

    reads_ahead = False

    def __init__(self, lease: Lease, collected: Collected) -> None:
        self.lease = lease
        self.collected = collected
        self.digests: dict[int, str] = {}

    @abstractmethod
    def open(
        self, inputs: Iterable[PlannedInput], decided: set[tuple[int, int]]
    ) -> list[PlannedInput]:
        """The inputs with items that are not decided; `decided` are positions and recipes."""

    def read(self, batch: Sequence[PlannedInput]) -> Callable[[], Sequence[Any]]:
        """Begins to read a mini-batch; the call waits for it and gives what `work_on` takes."""
        return lambda: batch

    @abstractmethod
    def work_on(self, ready: Sequence[Any]) -> None:
        """Decides the items of a mini-batch, or hands them to somebody who does."""

    def settle(self) -> None:  # noqa: B027 (nothing waits where nothing is handed on)
        """Waits until everything that was worked on is decided."""

    def pack(self) -> None:  # noqa: B027 (not every kind packs)
        """Does what a decided chunk needs before its lease is closed."""

    @abstractmethod
    def finish(self) -> None:
        """Closes the lease with the items that are not recorded yet."""

    def take_finished(self, error: BaseException) -> list[ItemResult]:
        """The items that are worth recording though an error ended the chunk."""
        return self.collected.take()


def require_generator(editor: Editor, run: RunRecord) -> None:
    """Refuses to work on a run with another generator than its own.

    Raises:
        WorkerError: names both.
    """
    if editor.bundle.generator_digest != run.plan.generator_digest:
        raise WorkerError(
            f"class: run {run.id[:8]} needs {run.plan.class_address} "
            f"({run.plan.generator_digest[:12]}), loaded is another generator"
        )


def give_back(
    leases: Leases,
    runs: Runs,
    lease: Lease,
    error: BaseException,
    *,
    take_items: Callable[[], Sequence[ItemResult]],
) -> None:
    """Gives a chunk back with the items that are finished; a full disk pauses the run.

    Args:
        leases: the leases.
        runs: the runs.
        lease: of the chunk.
        error: what ended the work, which the caller raises after this.
        take_items: gives the items that are finished.

    Raises:
        LeaseLostError: what went wrong did so because the chunk is somebody else's by now: a holder
            that slept finds the files of its run removed, or its inputs replaced.
    """
    try:
        with undisturbed():
            leases.give_back(lease, take_items())
            if isinstance(error, DiskFullError):
                runs.pause(lease.run_id, str(error))
    except LeaseLostError as lost:
        if isinstance(error, Exception) and not isinstance(error, DeviceLostError):
            raise lost from error
    except (RegistryError, BatchError, OSError) as exc:
        # the first error is the one to tell; the lease ends by itself
        _LOG.warning("chunk %s: the lease was not given back: %s", lease.chunk_position, exc)
