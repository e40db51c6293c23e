"""The commands `batch` and `worker`, and the list of this package's commands."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import click

from editvec.batch.cli.discover import discover
from editvec.batch.cli.disentangle import disentangle
from editvec.batch.cli.embed import embed
from editvec.batch.cli.evaluate import evaluate
from editvec.batch.cli.learn import demo, doctor, learn
from editvec.batch.cli.model.importing import import_members, import_model
from editvec.batch.cli.model.quality import compare_models, sample_model, verify_models
from editvec.batch.cli.options import DEVICE
from editvec.batch.cli.output import JSON, open_library, run_json, summary
from editvec.batch.cli.preview import preview
from editvec.batch.cli.run import generate, resume, retry, run
from editvec.batch.cli.runs import report, status
from editvec.batch.cli.train.commands import train
from editvec.batch.cli.train.encoder import train_encoder
from editvec.batch.cli.train.generator import train_generator
from editvec.batch.cli.train.segmentation import train_segmentation
from editvec.registry.cli.completion import complete_class


@click.group()
def batch() -> None:
    """Apply editing vectors to folders, or to sampled images.

    RUN is the output folder of a run, or its id or the first letters of that, as `batch list`
    shows them.
    """


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
@click.pass_context
def cancel(ctx: click.Context, /, *, run_id: str) -> None:
    """Stop a run: no further image is begun, by nobody."""
    from editvec.batch.reports.completion import complete
    from editvec.batch.runs.leases import Leases
    from editvec.batch.runs.store import Runs

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
    from editvec.batch.reports.audit import audit as compare
    from editvec.batch.runs.store import Runs

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
@click.option(
    "--class",
    "class_name",
    metavar="CLASS",
    required=True,
    shell_complete=complete_class,
    help="Class model to serve.",
)
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
    home folder, which workers of this machine share. The library is that of whoever starts runs
    (EDITVEC_DATABASE_URL, EDITVEC_BLOB_URL) and holds the class; the folders of the runs are seen
    here under the same paths. Start one worker for each device.

    TERM or Ctrl-C: the images in work are finished, the rest of their chunk is given back. A
    second time, what is in work is given back too.

    \b
    editvec worker --class avatars --device cuda:0
    """  # noqa: D301 (click reads the backspace)
    from editvec.batch.recipes.settings import broker_url
    from editvec.batch.workers.worker import run_worker
    from editvec.registry.config import RegistryConfig

    config = RegistryConfig.from_environment(obj["home"])
    exit_status = run_worker(
        config,
        broker_url=broker_url(config.home),
        class_name=class_name,
        device=device,
        log_level=log_level,
    )
    sys.exit(exit_status)


for _command in (run, generate, list_runs, status, resume, retry, cancel, report, audit):
    batch.add_command(_command)

train.add_command(train_encoder)
train.add_command(train_generator)
train.add_command(train_segmentation)

COMMANDS: list[click.Command] = [
    batch, learn, discover, evaluate, disentangle, train, embed, worker, demo, doctor
]  # fmt: skip
ATTACHED: dict[str, list[click.Command]] = {
    "registry": [preview],
    "model": [import_model, import_members, sample_model, compare_models, verify_models],
}
"""Commands that need networks and belong to the groups of other packages, by the group's name."""
