"""Runs on workers: publishes the chunks, follows SQL, ends with the run."""

from __future__ import annotations

import time
from collections.abc import Callable

from celery import Celery

from batch.app import queue_name, require_broker
from batch.completion import complete
from batch.entities import RunRecord
from batch.errors import BrokerError, WorkerError
from batch.leases import Leases
from batch.local import Meter, Progress
from batch.runs import Runs
from batch.tasks import publish_waiting
from registry.store import Library

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
        BrokerError: no broker answers at the start; in the middle it is waited for.
        WorkerError: a worker paused the run, with the reason.
    """
    runs, leases = Runs(library.engine), Leases(library.engine)
    note = on_note or (lambda text: None)
    require_broker(app)
    runs.unpause(run.id)
    finished = runs.counts(run.id).finished
    meter = Meter(finished=finished, total=run.item_count, on_progress=on_progress)
    lonely_since: float | None = time.monotonic()
    while (state := runs.final_state(run.id)) is None:
        current = runs.get(run.id)
        if current.state == "paused":
            raise WorkerError(f"run {run.id[:8]} is paused: {current.reason}")
        leases.reap(run.id)
        try:
            publish_waiting(app, library, current)
        except BrokerError as exc:
            note(f"{exc}; waiting for it")
        if runs.chunk_states(run.id).get("leased"):
            lonely_since = None
        elif lonely_since is not None and time.monotonic() - lonely_since > _LONELY_SECONDS:
            queue = queue_name(run.plan.class_address)
            note(f"no worker serves {queue}: start `editvec worker --class {_class(run)}`")
            lonely_since = None
        meter.set(runs.counts(run.id).finished)
        time.sleep(_POLL_SECONDS)
    return complete(library, run, state)


def _class(run: RunRecord) -> str:
    return run.plan.class_address
