"""The commands `batch` and `worker`, and the list of this package's commands."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from batch.cli_output import JSON, listed, open_library, run_json, summary
from batch.cli_run import DEVICE, generate, resume, run
from batch.cli_single import demo, doctor, learn


@click.group()
def batch() -> None:
    """Apply editing vectors to folders, or to sampled images."""


@click.command(name="list")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True)
@JSON
@click.pass_context
def list_runs(ctx: click.Context, /, *, limit: int, as_json: bool) -> None:
    """List the latest runs."""
    from batch.runs import Runs

    _, library = open_library(ctx)
    with library:
        runs = Runs(library.engine)
        found = [(record, runs.counts(record.id)) for record in runs.latest(limit=limit)]
    if as_json:
        click.echo(json.dumps([run_json(*entry) for entry in found], indent=2))
        return
    for record, counts in found:
        created = f"{record.created_at:%Y-%m-%d %H:%M}"
        done = f"{counts.finished}/{counts.total}"
        folder = record.plan.output_folder
        click.echo(f"{record.id[:8]}  {created}  {record.state:<23}  {done:>13}  {folder}")


@click.command()
@click.argument("run_id", metavar="RUN")
@JSON
@click.pass_context
def status(ctx: click.Context, /, *, run_id: str, as_json: bool) -> None:
    """Show one run: its state, its items, its chunks."""
    from batch.runs import Runs

    _, library = open_library(ctx)
    with library:
        runs = Runs(library.engine)
        record = runs.get(run_id)
        counts, chunks = runs.counts(record.id), runs.chunk_states(record.id)
    if as_json:
        click.echo(json.dumps({**run_json(record, counts), "chunks": chunks}, indent=2))
        return
    click.echo(summary(record, counts))
    click.echo(f"chunks {listed(chunks)}")
    if record.reason:
        click.echo(f"reason {record.reason}")


@click.command()
@click.argument("run_id", metavar="RUN")
@click.pass_context
def cancel(ctx: click.Context, /, *, run_id: str) -> None:
    """Stop a run: no further image is begun, by nobody."""
    from batch.completion import complete
    from batch.leases import Leases
    from batch.runs import Runs

    _, library = open_library(ctx)
    with library:
        runs = Runs(library.engine)
        record = runs.get(run_id)
        if not runs.request_cancel(record.id):
            click.echo(f"run {record.id[:8]} is over already: {record.state}")
            return
        Leases(library.engine).reap(record.id)
        state = runs.final_state(record.id)
        if state is None:
            click.echo(f"run {record.id[:8]} stops after the images that are in work")
        else:
            click.echo(summary(complete(library, record, state), runs.counts(record.id)))


@click.command()
@click.argument("run_id", metavar="RUN")
@JSON
@click.pass_context
def audit(ctx: click.Context, /, *, run_id: str, as_json: bool) -> None:
    """Compare a run's records with its files; exit status 1 if they differ."""
    from batch.audit import audit as compare
    from batch.runs import Runs

    _, library = open_library(ctx)
    with library:
        record = Runs(library.engine).get(run_id)
        found = compare(library, record)
    if as_json:
        click.echo(json.dumps({"items": found.items, "problems": found.problems}, indent=2))
    else:
        for problem in found.problems:
            click.echo(problem)
        click.echo(f"{found.items} items, {len(found.problems)} problems")
    if found.problems:
        ctx.exit(1)


@click.command()
@click.option("--class", "class_name", metavar="CLASS", required=True, help="Class model to serve.")
@DEVICE
@click.option(
    "--log-level",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"]),
    default="INFO",
    show_default=True,
)
@click.pass_obj
def worker(obj: dict[str, Any], /, *, class_name: str, device: str | None, log_level: str) -> None:
    """Serve the runs of one class on one device, until stopped.

    Messages come from EDITVEC_BROKER_URL: redis://, amqp://, or by default a folder under the
    home folder, which workers of this machine share.
    """
    from batch.settings import broker_url
    from batch.worker import run_worker
    from registry.config import RegistryConfig

    config = RegistryConfig.from_environment(obj["home"])
    exit_status = run_worker(
        config,
        broker_url=broker_url(config.home),
        class_name=class_name,
        device=device,
        log_level=log_level,
    )
    sys.exit(exit_status)


for _command in (run, generate, list_runs, status, resume, cancel, audit):
    batch.add_command(_command)

COMMANDS: list[click.Command] = [batch, learn, worker, demo, doctor]
