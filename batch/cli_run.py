"""The commands `batch run`, `batch generate` and `batch resume`: options in, a finished run out."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from batch.cli_output import JSON, ProgressLine, note, open_library, run_json, summary

if TYPE_CHECKING:
    from batch.entities import RunRecord
    from batch.planning import RunRequest
    from batch.settings import RunSettings
    from registry.config import RegistryConfig
    from registry.store import Library

EXIT_WITH_FAILURES = 3
_COMMAND = TypeVar("_COMMAND", bound=Callable[..., Any])

FOLDER = click.Path(path_type=Path)
CLASS = click.option(
    "--class", "class_name", metavar="CLASS", help="Class model. [default: the only one]"
)
DEVICE = click.option(
    "--device", metavar="DEVICE", help="cpu, cuda, cuda:1... [default: cuda if any]"
)
EDIT = click.option(
    "--edit",
    "edits",
    multiple=True,
    metavar="NAME[@V]=SCALE",
    help="A vector and how far along it, or a sweep FIRST:LAST:COUNT; repeatable.",
)


def _options(*options: Callable[[_COMMAND], _COMMAND]) -> Callable[[_COMMAND], _COMMAND]:
    """Several options as one decorator, shown in the order given."""

    def decorate(command: _COMMAND) -> _COMMAND:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_EDITING = _options(
    click.option(
        "--composite",
        type=click.Choice(["feather", "none"]),
        default="feather",
        show_default=True,
        help="How the edit comes back into the input's pixels.",
    ),
    click.option(
        "--refine-steps",
        type=click.IntRange(1, 10_000),
        default=10,
        show_default=True,
        help="Steps of mode refine.",
    ),
    click.option("--roi", metavar="PART,...", help="Parts that may change. [default: the edits']"),
    click.option("--force-scale", is_flag=True, help="Accept scales outside a vector's range."),
    click.option("--chunk-size", type=click.IntRange(1, 64), help="Inputs per chunk."),
)
_EXECUTION = _options(
    DEVICE,
    click.option(
        "--batch-size", type=click.IntRange(1, 1024), default=16, show_default=True,
        help="Inputs that are computed at a time.",
    ),
    click.option(
        "--workers",
        type=click.Choice(["local", "celery"]),
        default="local",
        show_default=True,
        help="Compute in this process, or have `editvec worker`s do it.",
    ),
    JSON,
)  # fmt: skip


@click.command()
@click.argument("source", metavar="IN", type=FOLDER)
@click.argument("target", metavar="OUT", type=FOLDER)
@CLASS
@EDIT
@click.option(
    "--mode",
    type=click.Choice(["vector", "refine", "optimize"]),
    default="vector",
    show_default=True,
    help="Apply; apply and repair; or fit each image to its mask.",
)
@click.option("--masks", metavar="DIR", type=FOLDER, help="Edited masks, for mode optimize.")
@click.option("--optimize-steps", type=click.IntRange(1, 10_000), default=100, show_default=True)
@click.option(
    "--embed",
    default="encoder",
    show_default=True,
    metavar="encoder|steps:N|target:DB",
    help="How an image becomes latents.",
)
@click.option("--space", type=click.Choice(["W", "W+"]), default="W+", show_default=True)
@click.option(
    "--fit",
    type=click.Choice(["stretch", "crop", "pad"]),
    default="crop",
    show_default=True,
    help="How an image of another shape meets the generator's square.",
)
@_EDITING
@_EXECUTION
@click.pass_context
def run(ctx: click.Context, /, *, source: Path, target: Path, **options: Any) -> None:
    """Edit every image under IN; write images, masks and manifests to OUT.

    The same command again continues what was interrupted.

    \b
    editvec batch run photos out --class avatars --edit smile=1.0 --edit look-left=-1:1:3
    """  # noqa: D301 (click reads the backspace)
    if (options["mode"] == "optimize") != (options["masks"] is not None):
        raise click.UsageError("--mode optimize needs --masks DIR, and no other mode takes it")
    settings = _settings(
        options,
        mode=options["mode"],
        embed=options["embed"],
        space=options["space"],
        fit=options["fit"],
        optimize_steps=options["optimize_steps"],
        masks_folder=None if options["masks"] is None else str(options["masks"]),
    )
    _plan_and_execute(ctx, _request(options, source, target, settings), options)


@click.command()
@click.argument("target", metavar="OUT", type=FOLDER)
@CLASS
@click.option("--count", type=click.IntRange(1), required=True, help="How many images.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--truncation-psi", type=click.FloatRange(0, 2), default=1.0, show_default=True,
    help="1: all of the class's variety; towards 0: closer to its average.",
)  # fmt: skip
@EDIT
@click.option(
    "--mode", type=click.Choice(["vector", "refine"]), default="vector", show_default=True
)
@_EDITING
@_EXECUTION
@click.pass_context
def generate(ctx: click.Context, /, *, target: Path, **options: Any) -> None:
    """Edit sampled images; the unedited ones are written too, as recipe `source`.

    \b
    editvec batch generate out --class avatars --count 100 --seed 7 --edit smile=1.0
    """  # noqa: D301 (click reads the backspace)
    settings = _settings(
        options,
        mode=options["mode"],
        count=options["count"],
        seed=options["seed"],
        truncation_psi=options["truncation_psi"],
    )
    _plan_and_execute(ctx, _request(options, None, target, settings), options)


@click.command()
@click.argument("run_id", metavar="RUN")
@_EXECUTION
@click.pass_context
def resume(ctx: click.Context, /, *, run_id: str, **options: Any) -> None:
    """Continue a run that was interrupted or paused."""
    from batch.planning import mark_folder
    from batch.runs import Runs

    config, library = open_library(ctx)
    with library:
        record = Runs(library.engine).get(run_id)
        mark_folder(record)
        _execute(ctx, config, library, record, options)


# --- from options to a run ---


def _settings(options: dict[str, Any], **chosen: Any) -> RunSettings:
    """The settings that the options of `run` or `generate` make."""
    from batch.settings import RunSettings

    parts = [part.strip() for part in (options["roi"] or "").split(",")]
    return RunSettings.from_json(
        {
            **chosen,
            "composite": options["composite"],
            "refine_steps": options["refine_steps"],
            "roi": [part for part in parts if part],
            "chunk_size": options["chunk_size"] or 0,
        }
    )


def _request(
    options: dict[str, Any], source: Path | None, target: Path, settings: RunSettings
) -> RunRequest:
    from batch.planning import RunRequest
    from batch.recipe import parse_edit

    return RunRequest(
        class_name=options["class_name"],
        input_folder=source,
        output_folder=target,
        edits=[parse_edit(text) for text in options["edits"]],
        settings=settings,
        force_scale=options["force_scale"],
    )


def _plan_and_execute(ctx: click.Context, request: RunRequest, options: dict[str, Any]) -> None:
    from batch.planning import open_run

    config, library = open_library(ctx)
    with library:
        opened = open_run(library, request)
        for text in opened.notes:
            note(text)
        if not opened.is_new:
            verb = "nothing to do for" if opened.run.is_finished else "continuing"
            note(f"{verb} run {opened.run.id[:8]} of {opened.run.created_at:%Y-%m-%d %H:%M}")
        _execute(ctx, config, library, opened.run, options)


def _execute(
    ctx: click.Context,
    config: RegistryConfig,
    library: Library,
    record: RunRecord,
    options: dict[str, Any],
) -> None:
    """Has a run done, unless it is over, and reports how it ended."""
    from batch.errors import RunCancelledError
    from batch.runs import Runs

    if not record.is_finished:
        signal.signal(signal.SIGTERM, _exit_on_signal)
        try:
            with ProgressLine() as line:
                record = _run_to_its_end(config, library, record, options, line)
        except KeyboardInterrupt:
            note(f"run {record.id[:8]} was interrupted; the same command continues it")
            raise
    counts = Runs(library.engine).counts(record.id)
    if options["as_json"]:
        click.echo(json.dumps(run_json(record, counts), indent=2))
    else:
        click.echo(summary(record, counts))
        click.echo(f"report {record.plan.output_folder / 'report.html'}")
    if record.state == "cancelled":
        raise RunCancelledError(f"run {record.id[:8]} was cancelled")
    if counts.with_failures:
        ctx.exit(EXIT_WITH_FAILURES)


def _run_to_its_end(
    config: RegistryConfig,
    library: Library,
    record: RunRecord,
    options: dict[str, Any],
    line: ProgressLine,
) -> RunRecord:
    if options["workers"] == "local":
        from batch.local import run_locally
        from batch.workbench import default_device

        return run_locally(
            library,
            record,
            device=options["device"] or default_device(),
            mini_batch=options["batch_size"],
            on_progress=line.show,
        )
    from batch.app import create_app
    from batch.remote import run_on_workers
    from batch.settings import broker_url

    app = create_app(broker_url(config.home))
    return run_on_workers(library, app, record, on_progress=line.show, on_note=note)


def _exit_on_signal(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)
