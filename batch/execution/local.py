"""Runs in this process: claims chunk after chunk on one device until the run is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from editvec.batch.errors import DiskFullError, LeaseLostError, RunCancelledError
from editvec.batch.recipes.settings import MINI_BATCH
from editvec.batch.runs.entities import RunRecord
from editvec.batch.runs.leases import Leases
from editvec.batch.runs.owner import Owner
from editvec.batch.runs.store import Runs
from editvec.registry.library.library import Library

_POLL_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is.

    Attributes:
        finished: items that are decided.
        total: items of the run.
        rate: items per second since this process began; 0 before the first.
    """

    finished: int
    total: int
    rate: float

    @property
    def seconds_left(self) -> float | None:
        """At the present rate; None while there is none."""
        return (self.total - self.finished) / self.rate if self.rate else None


class Meter:
    """Turns finished items into progress."""

    def __init__(
        self, *, finished: int, total: int, on_progress: Callable[[Progress], None] | None
    ) -> None:
        self._began_with = finished
        self._finished = finished
        self._total = total
        self._started = time.monotonic()
        self._on_progress = on_progress

    def add(self, count: int) -> None:
        """Counts items that were just decided."""
        self.set(self._finished + count)

    def set(self, finished: int) -> None:
        """Tells how many items are decided."""
        self._finished = finished
        seconds = max(time.monotonic() - self._started, 1e-9)
        if self._on_progress is not None:
            rate = (finished - self._began_with) / seconds
            self._on_progress(Progress(finished=finished, total=self._total, rate=rate))


def run_locally(
    library: Library,
    run: RunRecord,
    *,
    device: str = "cpu",
    mini_batch: int = MINI_BATCH,
    max_memory: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> RunRecord:
    """Works on a run until it is over, beside any others that do; then writes its manifests.

    Args:
        library: where the run is.
        run: a planned, running or paused run.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        mini_batch: the most inputs that are computed at a time.
        max_memory: bytes for them; see `open_processor`.
        on_progress: called as items are decided.

    Returns:
        The closed run.

    Raises:
        DiskFullError: the run is paused and goes on when it is resumed.
    """
    from editvec.batch.reports.completion import complete

    runs, leases = Runs(library.engine), Leases(library.engine)
    runs.unpause(run.id)
    leases.reap(run.id)
    state = runs.final_state(run.id)
    if state is None:
        finished = runs.counts(run.id).finished
        meter = Meter(finished=finished, total=run.item_count, on_progress=on_progress)
        state = _work(
            library, run, meter, device=device, mini_batch=mini_batch, max_memory=max_memory
        )
    try:
        return complete(library, run, state)
    except DiskFullError as exc:
        runs.pause(run.id, str(exc))
        raise


def _work(
    library: Library,
    run: RunRecord,
    meter: Meter,
    *,
    device: str,
    mini_batch: int,
    max_memory: int | None,
) -> str:
    """Processes chunks until none is left, here or elsewhere; returns the final state."""
    from editvec.batch.kinds import open_processor
    from editvec.engine.editor import Editor

    runs, leases, owner = Runs(library.engine), Leases(library.engine), Owner.current()
    model = library.get_class(run.plan.class_address)
    editor = Editor.open(library.materialise_bundle(model), device=device)
    with open_processor(
        library, editor, run, mini_batch=mini_batch, max_memory=max_memory, on_items=meter.add
    ) as processor:
        while (state := runs.final_state(run.id)) is None:
            lease = leases.claim(run.id, owner, device=device)
            if lease is not None:
                with suppress(RunCancelledError, LeaseLostError):
                    processor.process(lease)
                continue
            _raise_if_paused(runs.get(run.id))
            if not leases.reap(run.id).total:
                time.sleep(_POLL_SECONDS)
                meter.set(runs.counts(run.id).finished)
    return state


def _raise_if_paused(run: RunRecord) -> None:
    if run.state == "paused":
        raise DiskFullError(f"run {run.id[:8]} is paused: {run.reason}")
