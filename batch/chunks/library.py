"""Chunks of runs that write no images: what they make goes into the library, item by item.

One kind of such work is a class with a method `do`; what holds for every kind is here: the lease
and its heartbeat, cancelling, stopping, cutting off what would take too long.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

import editvec.registry.errors
from editvec.batch.chunks.heartbeat import Heartbeat
from editvec.batch.chunks.processor import Collected, give_back
from editvec.batch.errors import (
    DiskFullError,
    LeaseLostError,
    RunCancelledError,
    WorkerStoppingError,
)
from editvec.batch.recipes.settings import HEARTBEAT_SECONDS, MINI_BATCH
from editvec.batch.runs.entities import RunRecord
from editvec.batch.runs.leases import ItemResult, Lease, Leases
from editvec.batch.runs.pace import Pace, may_be_cut
from editvec.batch.runs.plan import PlannedInput
from editvec.batch.runs.store import Runs
from editvec.registry.library.library import Library


@dataclass(kw_only=True)
class Worked:
    """What became of some inputs.

    Attributes:
        items: one for each input.
        digests: of the inputs that were read, by position.
    """

    items: list[ItemResult] = field(default_factory=list)
    digests: dict[int, str] = field(default_factory=dict)


class Work(Protocol):
    """What is done with the inputs of the runs of one kind."""

    most_at_a_time: int
    """Inputs that are worked on together, at most."""

    def do(self, inputs: Sequence[PlannedInput], require_lease: Callable[[], None]) -> Worked:
        """Works on some inputs; trouble with one of them becomes its reason.

        What it adds to the library it finds again: a process may end before its items are
        recorded, and the next one does the same inputs.

        Args:
            inputs: as planned.
            require_lease: call it before anything is added; it raises LeaseLostError where
                somebody else does this chunk now.

        Raises:
            editvec.registry.errors.RegistryError: the library cannot be reached, or is full.
            DeviceLostError: the device failed.
        """


class WorkProcessor:
    """What a process holds to work on one run: its work, and the pace of it."""

    def __init__(
        self,
        library: Library,
        run: RunRecord,
        work: Work,
        *,
        resolution: int,
        mini_batch: int = MINI_BATCH,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        on_items: Callable[[int], None] | None = None,
        is_stopping: Callable[[], bool] | None = None,
        on_cut: Callable[[], None] | None = None,
    ) -> None:
        """Makes the processor.

        Args:
            library: where the run is.
            run: the run.
            work: what is done with its inputs.
            resolution: of the generator, in pixels.
            mini_batch: the most inputs that are worked on together.
            heartbeat_seconds: between two beats of a lease.
            on_items: called with the number of items that were just decided.
            is_stopping: asked between two mini-batches: True gives the chunk back.
            on_cut: called when a chunk was cut, and its rest waits for anybody.
        """
        self.run = run
        self.work = work
        self.runs = Runs(library.engine)
        self.leases = Leases(library.engine)
        most = min(mini_batch, work.most_at_a_time)
        self.pace = Pace(run.plan, resolution=resolution, mini_batch=most)
        self.on_items = on_items or (lambda count: None)
        self.is_stopping = is_stopping or (lambda: False)
        self.on_cut = on_cut or (lambda: None)
        self._heartbeat_seconds = heartbeat_seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Holds nothing that must be closed."""

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
        # what an item names is on the disk before the item is made
        chunk = _LibraryChunk(self, lease, Collected(lambda: None))
        try:
            with Heartbeat(
                self.leases,
                lease,
                take_finished=chunk.collected.take,
                put_back=chunk.collected.put_back,
                interval=self._heartbeat_seconds,
            ) as heartbeat:
                chunk.work_through(heartbeat)
            self.leases.finish(chunk.lease, chunk.collected.take(), chunk.digests)
            return chunk.lease
        except LeaseLostError:
            raise
        except editvec.registry.errors.LibraryDiskFullError as exc:
            full = DiskFullError(f"library: {exc}")
            self._give_back(chunk, full)
            raise full from exc
        except BaseException as exc:
            self._give_back(chunk, exc)
            raise

    def _give_back(self, chunk: _LibraryChunk, error: BaseException) -> None:
        """Ends the lease in order; see `give_back`."""
        give_back(self.leases, self.runs, chunk.lease, error, take_items=chunk.collected.take)


class _LibraryChunk:
    """One chunk in work."""

    def __init__(self, processor: WorkProcessor, lease: Lease, collected: Collected) -> None:
        self.processor = processor
        self.lease = lease
        self.collected = collected
        self.digests: dict[int, str] = {}

    def work_through(self, heartbeat: Heartbeat) -> None:
        """Decides every input of the chunk that is not recorded yet."""
        processor, lease = self.processor, self.lease
        span = (lease.run_id, lease.first_input, lease.input_count)
        decided = {position for position, _ in processor.runs.decided_items(*span)}
        todo = [one for one in processor.runs.inputs(*span) if one.position not in decided]
        began = time.monotonic()
        while todo:
            self._require_going_on(heartbeat)
            count = processor.pace.batch_size
            batch, todo = todo[:count], todo[count:]
            batch_began = time.monotonic()
            worked = processor.work.do(batch, self._require_lease)
            self.digests |= worked.digests
            self.collected.add(worked.items)
            processor.on_items(len(worked.items))
            ended = time.monotonic()
            processor.pace.add(len(batch), ended - batch_began)
            todo = self._cut(todo, elapsed=ended - began)

    def _require_going_on(self, heartbeat: Heartbeat) -> None:
        lease = self.lease
        of = f"run {lease.run_id[:8]} chunk {lease.chunk_position}"
        if heartbeat.is_lost:
            raise LeaseLostError(f"{of}: the lease was lost")
        if self.processor.runs.is_cancel_requested(lease.run_id):
            raise RunCancelledError(f"run {lease.run_id[:8]} was cancelled")
        if self.processor.is_stopping():
            raise WorkerStoppingError(f"{of}: given back, to stop")

    def _require_lease(self) -> None:
        self.processor.leases.heartbeat(self.lease)

    def _cut(self, todo: list[PlannedInput], *, elapsed: float) -> list[PlannedInput]:
        """Leaves to others what would take this chunk too long; returns the rest."""
        processor = self.processor
        if not may_be_cut(processor.run.plan):
            return todo
        cut = processor.pace.cut(elapsed=elapsed, coming=0, left=len(todo))
        if cut is None:
            return todo
        first = todo[cut.keep].position
        self.lease = processor.leases.cut(self.lease, first_input=first, size=cut.size)
        processor.on_cut()
        return todo[: cut.keep]
