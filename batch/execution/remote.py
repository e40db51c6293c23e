"""Runs on workers: publishes the chunks, follows SQL, ends with the run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from celery import Celery

from editvec.batch.errors import BrokerError, WorkerError
from editvec.batch.execution.local import Meter, Progress
from editvec.batch.runs.entities import RunRecord
from editvec.batch.runs.leases import Leases
from editvec.batch.runs.store import Runs
from editvec.batch.workers.app import queue_name, require_broker
from editvec.batch.workers.tasks import publish_waiting
from editvec.registry.errors import DatabaseError
from editvec.registry.library.library import Library
from editvec.registry.tables.database import is_away

_POLL_SECONDS = 0.5
_LONELY_SECONDS = 15.0


def run_on_workers(
    library: Library,
    app: Celery,
    run: RunRecord,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> RunRecord:
    """Has a run done by workers and returns when it is over.

    Ending this process does not end the run: the workers go on, and the same command follows it
    again.

    Args:
        library: where the run is.
        app: the broker.
        run: a planned, running or paused run.
        on_progress: called as items are decided.
        on_note: called with what the user should know meanwhile.

    Raises:
        BrokerError: no broker answers at the start; in the middle it is waited for, as is a
            database server.
        WorkerError: a worker paused the run, with the reason.
    """
    runs, leases = Runs(library.engine), Leases(library.engine)
    note = on_note or (lambda text: None)
    require_broker(app)
    runs.unpause(run.id)
    finished = runs.counts(run.id).finished
    meter = Meter(finished=finished, total=run.item_count, on_progress=on_progress)
    count = Seldom(lambda: meter.set(runs.counts(run.id).finished))
    waiting = _Waiting(note)
    lonely_since: float | None = time.monotonic()
    while True:
        with waiting.for_servers():
            if (state := runs.final_state(run.id)) is not None:
                return _complete(library, run, state)
            current = runs.get(run.id)
            if current.state == "paused":
                raise WorkerError(f"run {run.id[:8]} is paused: {current.reason}")
            leases.reap(run.id)
            if runs.chunk_states(run.id).get("leased"):
                lonely_since = None
            elif lonely_since is not None and time.monotonic() - lonely_since > _LONELY_SECONDS:
                queue = queue_name(run.plan.class_address)
                note(f"no worker serves {queue}: start `editvec worker --class {_class(run)}`")
                lonely_since = None
            count()
            publish_waiting(app, library, current)
        time.sleep(_POLL_SECONDS)


class Seldom:
    """Does something now and then, in a twentieth of the time: counting millions of items takes."""

    def __init__(
        self, action: Callable[[], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Does nothing yet.

        Args:
            action: what to do.
            clock: tells seconds.
        """
        self._action = action
        self._clock = clock
        self._next = -math.inf

    def __call__(self) -> None:
        """Does it, unless it did lately."""
        began = self._clock()
        if began >= self._next:
            self._action()
            self._next = began + 20 * (self._clock() - began)


class _Waiting:
    """Servers that are away are waited for; one line tells of each that goes away."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._is_told = False

    @contextmanager
    def for_servers(self) -> Iterator[None]:
        """Around one look at the run; the next one follows soon."""
        try:
            yield
        except (BrokerError, DatabaseError) as exc:
            if isinstance(exc, DatabaseError) and not is_away(exc):
                raise
            if not self._is_told:
                self._note(f"{exc}; waiting for it")
            self._is_told = True
        else:
            self._is_told = False


def leave_to_workers(library: Library, app: Celery, run: RunRecord) -> None:
    """Publishes what waits of a run; the workers do it, close it, and tend it meanwhile.

    Raises:
        BrokerError: no broker answers.
    """
    require_broker(app)
    Runs(library.engine).unpause(run.id)
    publish_waiting(app, library, run)


def _complete(library: Library, run: RunRecord, state: str) -> RunRecord:
    # imported late: the report needs torch, and following a run does not
    from editvec.batch.reports.completion import complete

    return complete(library, run, state)


def _class(run: RunRecord) -> str:
    return run.plan.class_address
