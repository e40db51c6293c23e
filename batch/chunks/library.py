"""Chunks of runs that write no images: what they make goes into the library, item by item.

One kind of such work is a class with a method `do`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from editvec.batch.chunks.collected import Collected
from editvec.batch.chunks.processor import ChunkWork, Processor
from editvec.batch.recipes.settings import MINI_BATCH
from editvec.batch.runs.entities import RunRecord
from editvec.batch.runs.leases import ItemResult, Lease
from editvec.batch.runs.plan import PlannedInput
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


class WorkProcessor(Processor):
    """What a process holds to work on one run that writes no images."""

    def __init__(
        self,
        library: Library,
        run: RunRecord,
        work: Work,
        *,
        mini_batch: int = MINI_BATCH,
        **options: Any,
    ) -> None:
        """Makes the processor.

        Args:
            library: where the run is.
            run: the run.
            work: what is done with its inputs.
            mini_batch: the most inputs that are worked on together.
            options: those of `Processor`.
        """
        most = min(mini_batch, work.most_at_a_time)
        super().__init__(library, run, mini_batch=most, **options)
        self.work = work

    def open_chunk(self, lease: Lease) -> ChunkWork:
        """See `Processor.open_chunk`."""
        return _LibraryChunk(self, lease)


class _LibraryChunk(ChunkWork):
    """One chunk in work."""

    def __init__(self, processor: WorkProcessor, lease: Lease) -> None:
        # what an item names is on the disk before the item is made
        super().__init__(lease, Collected(lambda: None))
        self.processor = processor

    def open(
        self, inputs: Iterable[PlannedInput], decided: set[tuple[int, int]]
    ) -> list[PlannedInput]:
        """See `ChunkWork.open`; an input has one item."""
        positions = {position for position, _ in decided}
        return [one for one in inputs if one.position not in positions]

    def work_on(self, ready: Sequence[PlannedInput]) -> None:
        """See `ChunkWork.work_on`."""
        worked = self.processor.work.do(ready, self._require_lease)
        self.digests |= worked.digests
        self.collected.add(worked.items)
        self.processor.on_items(len(worked.items))

    def finish(self) -> None:
        """See `ChunkWork.finish`."""
        self.processor.leases.finish(self.lease, self.collected.take(), self.digests)

    def _require_lease(self) -> None:
        self.processor.leases.heartbeat(self.lease)
