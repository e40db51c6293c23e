"""The commands `batch run`, `generate`, `resume` and `retry`: options in, a finished run out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from editvec.batch.cli.execution import check_execution, execute
from editvec.batch.cli.options import (
    CLASS,
    EDIT,
    EDITING,
    EXECUTION,
    FOLDER,
    GATES,
    OUTPUT,
    PHOTOGRAPHS,
    SPACE,
)
from editvec.batch.cli.output import note, open_library, tell_opened

if TYPE_CHECKING:
    from editvec.batch.recipes.settings import RunSettings
    from editvec.batch.runs.planning import RunRequest


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
@click.option(
    "--optimize-steps",
    type=click.IntRange(1, 10_000),
    default=100,
    show_default=True,
    help="Steps of mode optimize, for each image.",
)
@click.option(
    "--embed",
    default="encoder",
    show_default=True,
    metavar="encoder|steps:N|target:DB",
    help="How an image becomes latents: by the encoder alone; N steps closer to the image; or as "
    "many, at most 500, as it takes to reach a PSNR of DB.",
)
@SPACE
@PHOTOGRAPHS
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of what is drawn."
)
@EDITING
@click.option(
    "--max-reconstruction",
    type=float,
    metavar="D",
    help="Reject inputs that the class cannot reconstruct, by perceptual distance.",
)
@click.option(
    "--min-success",
    type=float,
    metavar="IOU",
    help="Reject what comes less close than this to its wanted mask, 0 to 1. Only mode optimize "
    "has such masks.",
)
@GATES
@OUTPUT
@EXECUTION
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
        box_margin=options["box_margin"],
        output_size=options["output_size"],
        keep_profile=options["keep_profile"],
        optimize_steps=options["optimize_steps"],
        max_reconstruction=options["max_reconstruction"],
        min_success=options["min_success"],
        seed=options["seed"],
        masks_folder=None if options["masks"] is None else str(options["masks"]),
    )
    _plan_and_execute(ctx, _request(options, source, target, settings), options)


@click.command()
@click.argument("target", metavar="OUT", type=FOLDER)
@CLASS
@click.option("--count", type=click.IntRange(1), required=True, help="How many images.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of all that is drawn."
)
@click.option(
    "--truncation-psi", type=click.FloatRange(0, 2), default=1.0, show_default=True,
    help="1: all of the class's variety; towards 0: closer to its average.",
)  # fmt: skip
@EDIT
@click.option(
    "--sources",
    type=click.Choice(["yes", "no"]),
    help="Whether the unedited images are written too; no where an edit draws its scale, else yes.",
)
@click.option(
    "--mode", type=click.Choice(["vector", "refine"]), default="vector", show_default=True
)
@EDITING
@GATES
@OUTPUT
@EXECUTION
@click.pass_context
def generate(ctx: click.Context, /, *, target: Path, **options: Any) -> None:
    """Edit sampled images; the unedited ones may be written too, as recipe `source`.

    \b
    editvec batch generate out --class avatars --count 100 --seed 7 --edit smile=1.0
    """  # noqa: D301 (click reads the backspace)
    settings = _settings(
        options,
        mode=options["mode"],
        count=options["count"],
        seed=options["seed"],
        truncation_psi=options["truncation_psi"],
        sources=None if options["sources"] is None else options["sources"] == "yes",
    )
    _plan_and_execute(ctx, _request(options, None, target, settings), options)


@click.command()
@click.argument("run_id", metavar="RUN")
@EXECUTION
@click.pass_context
def resume(ctx: click.Context, /, *, run_id: str, **options: Any) -> None:
    """Continue a run that was interrupted or paused."""
    from editvec.batch.runs.planning import mark_folder
    from editvec.batch.runs.store import Runs

    check_execution(options)
    config, library = open_library(ctx)
    with library:
        record = Runs(library.engine).get(run_id)
        mark_folder(record)
        if record.is_finished:
            note(f"nothing to do for run {record.id[:8]} of {record.created_at:%Y-%m-%d %H:%M}")
        execute(ctx, config, library, record, options)


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option("--rejected", is_flag=True, help="Also what a gate rejected.")
@EXECUTION
@click.pass_context
def retry(ctx: click.Context, /, *, run_id: str, rejected: bool, **options: Any) -> None:
    """Make the failed and quarantined items of a finished run again.

    A file that was replaced since is taken as it is now.
    """
    from editvec.batch.runs.planning import mark_folder
    from editvec.batch.runs.retry import retry as open_again
    from editvec.batch.runs.store import Runs

    check_execution(options)
    config, library = open_library(ctx)
    with library:
        runs = Runs(library.engine)
        record = runs.get(run_id)
        mark_folder(record)
        opened = open_again(library.engine, record, with_rejected=rejected)
        changed = f", {opened.changed} of them replaced since" if opened.changed else ""
        made = "1 input is" if opened.inputs == 1 else f"{opened.inputs} inputs are"
        note(f"{made} made again{changed}")
        execute(ctx, config, library, runs.get(record.id), options)


# --- from options to a run ---


def _settings(options: dict[str, Any], **chosen: Any) -> RunSettings:
    """The settings that the options of `run` or `generate` make."""
    from editvec.batch.recipes.settings import RunSettings

    parts = [part.strip() for part in (options["roi"] or "").split(",")]
    return RunSettings.from_json(
        {
            **chosen,
            "composite": options["composite"],
            "refine_steps": options["refine_steps"],
            "roi": [part for part in parts if part],
            "chunk_size": options["chunk_size"] or 0,
            "max_leakage": options["max_leakage"],
            "max_uncertainty": options["max_uncertainty"],
            "refine_auto": options["refine"] == "auto",
            "image_format": options["image_format"],
            "output": options["output"],
        }
    )


def _request(
    options: dict[str, Any], source: Path | None, target: Path, settings: RunSettings
) -> RunRequest:
    from editvec.batch.recipes.boxes import read_boxes
    from editvec.batch.recipes.file import read_recipes
    from editvec.batch.recipes.pinning import parse_edit
    from editvec.batch.runs.planning import RunRequest

    boxes = options.get("boxes")
    return RunRequest(
        class_name=options["class_name"],
        input_folder=source,
        output_folder=target,
        edits=[parse_edit(text) for text in options["edits"]],
        settings=settings,
        recipes=[] if options["recipes"] is None else read_recipes(options["recipes"]),
        force_scale=options["force_scale"],
        boxes=None if boxes is None else read_boxes(boxes),
    )


def _plan_and_execute(ctx: click.Context, request: RunRequest, options: dict[str, Any]) -> None:
    from editvec.batch.runs.planning import open_run

    check_execution(options)
    config, library = open_library(ctx)
    with library:
        opened = open_run(library, request)
        tell_opened(opened)
        execute(ctx, config, library, opened.run, options)
