"""The end of every command that works on a run: have it done, here or by workers, and tell."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any, NoReturn

import click

from editvec.batch.cli.output import (
    ProgressLine,
    echo_results,
    note,
    results_json,
    run_json,
    summary,
)

if TYPE_CHECKING:
    from editvec.batch.runs.entities import RunRecord
    from editvec.registry.config import RegistryConfig
    from editvec.registry.library.library import Library

EXIT_WITH_FAILURES = 3


def check_execution(options: dict[str, Any]) -> None:
    """Refuses options of execution that do not go together."""
    if options["detach"] and options["workers"] != "celery":
        raise click.UsageError("--detach needs --workers celery: this process computes nothing")


def execute(
    ctx: click.Context,
    config: RegistryConfig,
    library: Library,
    record: RunRecord,
    options: dict[str, Any],
) -> None:
    """Has a run done, unless it is over, and reports how it ended."""
    from editvec.batch.errors import DiskFullError, RunCancelledError
    from editvec.batch.runs.store import Runs

    if not record.is_finished:
        record = _prioritised(library, record, options["priority"])
        if options["workers"] == "celery":
            _tell_if_slow(library, record)
    if options["detach"] and not record.is_finished:
        _publish(config, library, record)
        click.echo(json.dumps({"run_id": record.id}) if options["as_json"] else record.id)
        return
    if not record.is_finished:
        signal.signal(signal.SIGTERM, _exit_on_signal)
        try:
            with ProgressLine() as line:
                record = _run_to_its_end(config, library, record, options, line)
        except KeyboardInterrupt:
            note(f"run {record.id[:8]} was interrupted; the same command continues it")
            raise
        except DiskFullError:
            note(f"run {record.id[:8]} is paused; with room again, the same command continues it")
            raise
    counts = Runs(library.engine).counts(record.id)
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


def _prioritised(library: Library, record: RunRecord, priority: str | None) -> RunRecord:
    """The run with the priority that was asked for, if any was."""
    from editvec.batch.recipes.settings import Priority
    from editvec.batch.runs.store import Runs

    if priority is None or priority == record.priority:
        return record
    Runs(library.engine).set_priority(record.id, Priority(priority))
    return Runs(library.engine).get(record.id)


def _tell_if_slow(library: Library, record: RunRecord) -> None:
    """Tells of inputs that may take longer than workers may spend on one."""
    from editvec.batch.runs.pace import LONGEST_LIMIT_SECONDS, slow_seconds

    resolution = library.get_class(record.plan.class_address).resolution
    if slow_seconds(record.plan, resolution=resolution) > LONGEST_LIMIT_SECONDS:
        note(
            f"one input may take longer than {LONGEST_LIMIT_SECONDS // 60} min on a CPU, and "
            "workers are stopped then: have it done by a GPU, or here with --workers local"
        )


def _publish(config: RegistryConfig, library: Library, record: RunRecord) -> None:
    """Leaves a run to the workers."""
    from editvec.batch.execution.remote import leave_to_workers
    from editvec.batch.recipes.settings import broker_url
    from editvec.batch.workers.app import create_app

    leave_to_workers(library, create_app(broker_url(config.home)), record)


def _run_to_its_end(
    config: RegistryConfig,
    library: Library,
    record: RunRecord,
    options: dict[str, Any],
    line: ProgressLine,
) -> RunRecord:
    if options["workers"] == "local":
        from editvec.batch.execution.local import run_locally
        from editvec.batch.workbench import default_device

        return run_locally(
            library,
            record,
            device=options["device"] or default_device(),
            mini_batch=options["batch_size"],
            max_memory=options.get("max_memory"),
            on_progress=line.show,
        )
    from editvec.batch.execution.remote import run_on_workers
    from editvec.batch.recipes.settings import broker_url
    from editvec.batch.workers.app import create_app

    app = create_app(broker_url(config.home))
    return run_on_workers(library, app, record, on_progress=line.show, on_note=note)


def _exit_on_signal(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)
