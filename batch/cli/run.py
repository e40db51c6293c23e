"""The commands `batch run`, `generate`, `resume` and `retry`: options in, a finished run out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from editvec.batch.cli.execution import have_done
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
from editvec.batch.cli.settings import setting_option
from editvec.batch.recipes.settings import RunSettings

if TYPE_CHECKING:
    from editvec.batch.execution.execution import Execution, RunOutcome, RunWatcher
    from editvec.registry.library.library import Library


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
@setting_option(RunSettings, "optimize_steps")
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

    def work(library: Library, execution: Execution, watcher: RunWatcher) -> RunOutcome:
        from editvec.batch.use_cases import edit_folder

        return edit_folder(
            library,
            source,
            target,
            options["edits"],
            boxes=options["boxes"],
            execution=execution,
            watcher=watcher,
            **_same(options, settings),
        )

    have_done(ctx, options, work)


@click.command()
@click.argument("target", metavar="OUT", type=FOLDER)
@CLASS
@click.option("--count", type=click.IntRange(1), required=True, help="How many images.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of all that is drawn."
)
@setting_option(RunSettings, "truncation_psi")
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
    """Sample images and edit them; the unedited ones can be written too, as recipe `source`.

    \b
    editvec batch generate out --class avatars --count 100 --seed 7 --edit smile=1.0
    """  # noqa: D301 (click reads the backspace)
    settings = _settings(
        options,
        mode=options["mode"],
        seed=options["seed"],
        truncation_psi=options["truncation_psi"],
        sources=None if options["sources"] is None else options["sources"] == "yes",
    )

    def work(library: Library, execution: Execution, watcher: RunWatcher) -> RunOutcome:
        from editvec.batch.use_cases import generate as generate_images

        return generate_images(
            library,
            target,
            options["edits"],
            count=options["count"],
            execution=execution,
            watcher=watcher,
            **_same(options, settings),
        )

    have_done(ctx, options, work)


@click.command()
@click.argument("run_id", metavar="RUN")
@EXECUTION
@click.pass_context
def resume(ctx: click.Context, /, *, run_id: str, **options: Any) -> None:
    """Continue a run that was interrupted or paused."""
    from editvec.batch.use_cases import resume as continue_run

    have_done(
        ctx,
        options,
        lambda library, execution, watcher: continue_run(
            library, run_id, execution=execution, watcher=watcher
        ),
    )


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option("--rejected", is_flag=True, help="Also what a gate rejected.")
@EXECUTION
@click.pass_context
def retry(ctx: click.Context, /, *, run_id: str, rejected: bool, **options: Any) -> None:
    """Make the failed and quarantined items of a finished run again.

    If a file was replaced meanwhile, the new one is taken.
    """
    from editvec.batch.use_cases import retry as make_again

    have_done(
        ctx,
        options,
        lambda library, execution, watcher: make_again(
            library, run_id, rejected=rejected, execution=execution, watcher=watcher
        ),
    )


# --- from options to a run ---


def _settings(options: dict[str, Any], **chosen: Any) -> RunSettings:
    """The settings that the options of `run` or `generate` make."""
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


def _same(options: dict[str, Any], settings: RunSettings) -> dict[str, Any]:
    """What edited and generated runs are told alike."""
    return {
        "class_name": options["class_name"],
        "settings": settings,
        "recipes": options["recipes"] or (),
        "force_scale": options["force_scale"],
    }
