"""The end of every command that works on a run: do it here or by workers, and print the result."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import click

from editvec.batch.cli.output import (
    ProgressLine,
    echo_results,
    note,
    open_library,
    results_json,
    run_json,
    summary,
    tell_opened,
)

if TYPE_CHECKING:
    from editvec.batch.execution.execution import Execution, RunOutcome, RunWatcher
    from editvec.batch.runs.planning import OpenedRun
    from editvec.registry.library.library import Library

EXIT_WITH_FAILURES = 3


def execution_of(options: dict[str, Any]) -> Execution:
    """Who computes, as the options say.

    Raises:
        click.UsageError: options that do not go together.
    """
    from editvec.batch.execution.execution import Execution

    if options["detach"] and options["workers"] != "celery":
        raise click.UsageError("--detach needs --workers celery: this process computes nothing")
    names = ("workers", "device", "batch_size", "max_memory", "priority", "detach")
    return Execution(**{name: options[name] for name in names if name in options})


def have_done(
    ctx: click.Context,
    options: dict[str, Any],
    work: Callable[[Library, Execution, RunWatcher], RunOutcome],
) -> None:
    """Has a run done, and reports how it ended.

    Args:
        ctx: Of the command.
        options: Of the command.
        work: Opens the run and works on it.
    """
    from editvec.batch.errors import DiskFullError
    from editvec.batch.execution.execution import RunWatcher

    execution, known = execution_of(options), []

    def tell(opened: OpenedRun) -> None:
        known.append(opened.run.id[:8])
        tell_opened(opened)

    _, library = open_library(ctx)
    with library:
        signal.signal(signal.SIGTERM, _exit_on_signal)
        try:
            with ProgressLine() as line:
                watcher = RunWatcher(on_opened=tell, on_progress=line.show, on_note=note)
                outcome = work(library, execution, watcher)
        except KeyboardInterrupt:
            for run in known:
                note(f"run {run} was interrupted; the same command continues it")
            raise
        except DiskFullError:
            for run in known:
                note(f"run {run} is paused; with room again, the same command continues it")
            raise
        _tell_outcome(ctx, library, outcome, options)


def _tell_outcome(
    ctx: click.Context, library: Library, outcome: RunOutcome, options: dict[str, Any]
) -> None:
    from editvec.batch.errors import RunCancelledError

    record, counts = outcome
    if options["detach"] and not record.is_finished:
        click.echo(json.dumps({"run_id": record.id}) if options["as_json"] else record.id)
        return
    if options["as_json"]:
        found = run_json(record, counts) | results_json(library, record)
        click.echo(json.dumps(found, indent=2))
    else:
        echo_results(library, record)
        click.echo(summary(record, counts))
        click.echo(f"report {record.plan.output_folder / 'report.html'}")
    if record.state == "cancelled":
        raise RunCancelledError(f"run {record.id[:8]} was cancelled")
    if counts.with_failures:
        ctx.exit(EXIT_WITH_FAILURES)


def _exit_on_signal(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)
