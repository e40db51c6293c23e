"""The command `batch report`: the page about a run, written anew at any time."""

from __future__ import annotations

import json

import click

from editvec.batch.cli.output import JSON, note, open_library, run_json


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option("--open", "show", is_flag=True, help="Open it in the browser.")
@JSON
@click.pass_context
def report(ctx: click.Context, /, *, run_id: str, show: bool, as_json: bool) -> None:
    """Write report.html and contact_sheet.png of a run anew, and print where.

    A run that is still going on has one too: it says how far the run was.
    """
    from editvec.batch.reports.report_run import report_run
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
