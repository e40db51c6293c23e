"""Have a run done, here or by workers, and know how it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from editvec.batch.errors import SettingsError
from editvec.batch.recipes.settings import MINI_BATCH, Priority, broker_url
from editvec.settings import check_settings, setting

if TYPE_CHECKING:
    from editvec.batch.execution.local import Progress
    from editvec.batch.runs.entities import RunCounts, RunRecord
    from editvec.batch.runs.planning import OpenedRun
    from editvec.batch.runs.store import Runs
    from editvec.registry.library.library import Library

Workers = Literal["local", "celery"]


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Who computes a run, and how much at a time.

    Attributes:
        workers: ``local`` computes in this process, ``celery`` has workers do it.
        device: Of this process; None takes a CUDA device if there is one.
        batch_size: The most inputs that are computed at a time.
        max_memory: Bytes for them; None takes EDITVEC_MAX_MEMORY, or most of what is free.
        priority: Of the run's chunks among those that wait for workers; None leaves it as it is.
        detach: Leave the run to the workers and return.
    """

    workers: Workers = setting(
        "local",
        choices=get_args(Workers),
        help="Compute in this process, or have `editvec worker`s do it.",
    )
    device: str | None = setting(None, help="cpu, cuda, cuda:1... [default: cuda if any]")
    batch_size: int = setting(
        MINI_BATCH, least=1, most=1024, help="Inputs that are computed at a time, at most."
    )
    max_memory: int | None = setting(
        None,
        kind=int,
        least=1,
        help="Of the images that are computed at a time, such as 6GB: as many as fit. "
        "[default: $EDITVEC_MAX_MEMORY or most of what is free]",
    )
    priority: Priority | None = setting(
        None,
        kind=Priority,
        help="Of the run's chunks among those that wait for workers; may be changed at any time. "
        f"[default: as it is; of a new run, {Priority.NORMAL}]",
    )
    detach: bool = setting(
        default=False,
        help="With --workers celery: plan, publish, print the run's id and leave.",
    )

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            SettingsError: One is out of its range, or they do not go together.
        """
        check_settings(self, SettingsError)
        if self.detach and self.workers != "celery":
            raise SettingsError("detach: needs workers celery: this process computes nothing")


class RunWatcher(NamedTuple):
    """Who is told what while a run is worked on; nobody by default.

    Attributes:
        on_opened: The run, before anything is computed.
        on_progress: How far it is.
        on_note: What the user should know, in a line.
    """

    on_opened: Callable[[OpenedRun], None] | None = None
    on_progress: Callable[[Progress], None] | None = None
    on_note: Callable[[str], None] | None = None


class RunOutcome(NamedTuple):
    """A run as it is when the call returns, and what became of its items."""

    run: RunRecord
    counts: RunCounts


def work_on(
    library: Library,
    opened: OpenedRun,
    execution: Execution | None = None,
    watcher: RunWatcher | None = None,
) -> RunOutcome:
    """Have a run done, unless it is over.

    A run that ends early goes on with the same call; it may be stopped at any time.

    Args:
        library: Where the run is.
        opened: The run.
        execution: Who computes it.
        watcher: Who is told.

    Raises:
        DiskFullError: The run is paused, and goes on when there is room.
        BrokerError, WorkerError: Workers are to do it, and none can be reached, or one paused it.
    """
    from editvec.batch.runs.store import Runs

    execution, watcher = execution or Execution(), watcher or RunWatcher()
    if watcher.on_opened is not None:
        watcher.on_opened(opened)
    runs, run = Runs(library.engine), opened.run
    if not run.is_finished:
        run = _prioritised(runs, run, execution.priority)
        if execution.workers == "celery":
            run = _by_workers(library, run, execution, watcher)
        else:
            run = _here(library, run, execution, watcher)
    return RunOutcome(run, runs.counts(run.id))


def _prioritised(runs: Runs, run: RunRecord, priority: Priority | None) -> RunRecord:
    """The run with the priority that was asked for, if any was."""
    if priority is None or priority == run.priority:
        return run
    runs.set_priority(run.id, Priority(priority))
    return runs.get(run.id)


def _here(library: Library, run: RunRecord, execution: Execution, watcher: RunWatcher) -> RunRecord:
    from editvec.batch.execution.local import run_locally
    from editvec.batch.workbench import default_device

    return run_locally(
        library,
        run,
        device=execution.device or default_device(),
        mini_batch=execution.batch_size,
        max_memory=execution.max_memory,
        on_progress=watcher.on_progress,
    )


def _by_workers(
    library: Library, run: RunRecord, execution: Execution, watcher: RunWatcher
) -> RunRecord:
    from editvec.batch.execution.remote import leave_to_workers, run_on_workers
    from editvec.batch.runs.pace import LONGEST_LIMIT_SECONDS, slow_seconds
    from editvec.batch.workers.app import create_app

    resolution = library.get_class(run.plan.class_address).resolution
    is_slow = slow_seconds(run.plan, resolution=resolution) > LONGEST_LIMIT_SECONDS
    if is_slow and watcher.on_note is not None:
        watcher.on_note(
            f"one input may take longer than {LONGEST_LIMIT_SECONDS // 60} min on a CPU, and "
            "workers are stopped then: have it done by a GPU, or here with --workers local"
        )
    app = create_app(broker_url(library.config.home))
    if execution.detach:
        leave_to_workers(library, app, run)
        return run
    return run_on_workers(
        library, app, run, on_progress=watcher.on_progress, on_note=watcher.on_note
    )
