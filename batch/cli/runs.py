"""Commands about runs that were planned: how far they are, and what they say of themselves."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from editvec.batch.cli.output import JSON, describe, listed, note, open_library, run_json, summary

if TYPE_CHECKING:
    from editvec.batch.runs.progress import RunStatus


_CLEAR = "\x1b[H\x1b[J"


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option("--watch", is_flag=True, help="Show it again and again until the run is over.")
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 3600),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Of --watch.",
)
@JSON
@click.pass_context
def status(
    ctx: click.Context, /, *, run_id: str, watch: bool, interval: float, as_json: bool
) -> None:
    """Show one run: its items, rate and time left, workers, and why items failed.

    With --watch --json, each look prints one line of JSON.
    """
    from editvec.batch.runs.progress import run_status
    from editvec.printing import Control

    _, library = open_library(ctx)
    with library:
        while True:
            found = run_status(library.engine, run_id)
            if as_json:
                click.echo(json.dumps(_status_json(found), indent=None if watch else 2))
            else:
                if watch and sys.stdout.isatty():
                    click.echo(Control(_CLEAR), nl=False)
                click.echo(_status_text(found))
            if not watch or found.run.is_finished:
                return
            time.sleep(interval)


def _status_json(found: RunStatus) -> dict[str, Any]:
    return {
        **run_json(found.run, found.counts),
        "chunks": found.chunks,
        "rate": round(found.rate, 3),
        "seconds_left": found.seconds_left and round(found.seconds_left, 1),
        "workers": [row._asdict() for row in found.workers],
        "reasons": [row._asdict() for row in found.reasons],
    }


def _status_text(found: RunStatus) -> str:
    from editvec.registry.text_tables import format_table

    lines = [summary(found.run, found.counts)]
    if not found.run.is_finished:
        lines.append(describe(found))
    lines.append(f"chunks {listed(found.chunks)}")
    if found.run.priority != "normal":
        lines.append(f"priority {found.run.priority}")
    if found.run.reason:
        lines.append(f"reason {found.run.reason}")
    if found.workers:
        headers = ["worker", "chunks done", "inputs done", "chunk", "silent s"]
        lines += ["", format_table(headers, found.workers)]
    if found.reasons:
        lines += ["", format_table(["items", "state", "reason"], _reason_rows(found))]
    return "\n".join(lines)


def _reason_rows(found: RunStatus) -> list[tuple[int, str, str]]:
    return [(row.items, row.state, row.reason) for row in found.reasons]


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option("--open", "show", is_flag=True, help="Open it in the browser.")
@JSON
@click.pass_context
def report(ctx: click.Context, /, *, run_id: str, show: bool, as_json: bool) -> None:
    """Write report.html and contact_sheet.png of a run anew, and print where.

    If the run is still going on, the report says how far it is.
    """
    from editvec.batch.reports.completion import report_run
    from editvec.batch.runs.store import Runs

    _, library = open_library(ctx)
    with library:
        runs = Runs(library.engine)
        record = runs.get(run_id)
        files = report_run(library, record)
        found = run_json(record, runs.counts(record.id)) if as_json else {}
    if as_json:
        sheet = files.contact_sheet
        paths = {
            "report": str(files.report),
            "contact_sheet": None if sheet is None else str(sheet),
        }
        click.echo(json.dumps({**found, **paths, **files.numbers}, indent=2))
    else:
        if not record.is_finished:
            note(f"run {record.id[:8]} is {record.state}: the report tells of what is decided")
        click.echo(files.report)
    if show:
        click.launch(files.report.as_uri())


@click.command(name="list")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True)
@JSON
@click.pass_context
def list_runs(ctx: click.Context, /, *, limit: int, as_json: bool) -> None:
    """List the latest runs."""
    from editvec.batch.naming import display_path
    from editvec.batch.runs.store import Runs
    from editvec.registry.text_tables import format_table

    _, library = open_library(ctx)
    with library:
        runs = Runs(library.engine)
        found = [(record, runs.counts(record.id)) for record in runs.latest(limit=limit)]
    if as_json:
        click.echo(json.dumps([run_json(*entry) for entry in found], indent=2))
        return
    rows = [
        (
            record.id[:8],
            f"{record.created_at:%Y-%m-%d %H:%M}",
            record.kind,
            record.state,
            f"{counts.finished}/{counts.total}",
            display_path(os.fsencode(record.plan.output_folder)),
        )
        for record, counts in found
    ]
    if rows:
        names = ["run", "planned (UTC)", "kind", "state", "items", "output folder"]
        click.echo(format_table(names, rows))


@click.command()
@click.argument("run_id", metavar="RUN")
@JSON
@click.pass_context
def cancel(ctx: click.Context, /, *, run_id: str, as_json: bool) -> None:
    """Stop a run for good: no worker begins another image, finished ones stay."""
    from editvec.batch.reports.completion import complete
    from editvec.batch.runs.leases import Leases
    from editvec.batch.runs.store import Runs

    _, library = open_library(ctx)
    with library:
        runs = Runs(library.engine)
        record = runs.get(run_id)
        is_over = not runs.request_cancel(record.id)
        if is_over:
            told = f"run {record.id[:8]} is over already: {record.state}"
        else:
            Leases(library.engine).reap(record.id)
            state = runs.final_state(record.id)
            told = f"run {record.id[:8]} stops after the images that are in work"
            if state is not None:
                told = summary(complete(library, record, state), runs.counts(record.id))
        if as_json:
            found = run_json(runs.get(record.id), runs.counts(record.id))
            click.echo(json.dumps(found, indent=2))
        else:
            click.echo(told)


@click.command()
@click.argument("run_id", metavar="RUN")
@JSON
@click.pass_context
def audit(ctx: click.Context, /, *, run_id: str, as_json: bool) -> None:
    """Compare a run's records with its files; exit status 1 if they differ."""
    from editvec.batch.reports.audit import audit as compare
    from editvec.batch.runs.store import Runs

    _, library = open_library(ctx)
    with library:
        record = Runs(library.engine).get(run_id)
        found = compare(library, record)
    if as_json:
        found_json = {"run_id": record.id, "items": found.items, "problems": found.problems}
        click.echo(json.dumps(found_json, indent=2))
    else:
        from editvec.printing import one_line

        for problem in found.problems:
            click.echo(one_line(problem))
        click.echo(f"{found.items} items, {len(found.problems)} problems")
    if found.problems:
        ctx.exit(1)
