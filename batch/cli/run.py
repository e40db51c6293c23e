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
    EMBEDDINGS,
    EXECUTION,
    FOLDER,
    GATES,
    OUTPUT,
    PHOTOGRAPHS,
    SPACE,
)
from editvec.batch.cli.settings import setting_option, take
from editvec.batch.recipes.settings import Mode, RunSettings

if TYPE_CHECKING:
    from editvec.batch.execution.execution import Execution, RunOutcome, RunWatcher
    from editvec.registry.library.library import Library


@click.command()
@click.argument("source", metavar="IN", type=FOLDER)
@click.argument("target", metavar="OUT", type=FOLDER)
@CLASS
@EDIT
@setting_option(RunSettings, "mode")
@setting_option(RunSettings, "masks_folder", "--masks", metavar="DIR", type=FOLDER)
@setting_option(RunSettings, "optimize_steps")
@setting_option(RunSettings, "embed", metavar=EMBEDDINGS)
@SPACE
@PHOTOGRAPHS
@setting_option(RunSettings, "seed", help="Of what is drawn.")
@EDITING
@setting_option(RunSettings, "max_reconstruction", metavar="D")
@setting_option(RunSettings, "min_success", metavar="IOU")
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
    masks = options.pop("masks_folder")
    if (options["mode"] == "optimize") != (masks is not None):
        raise click.UsageError("--mode optimize needs --masks DIR, and no other mode takes it")
    settings = _settings(options, masks_folder=None if masks is None else str(masks))

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
@setting_option(RunSettings, "count", starts_at_one=True, required=True)
@setting_option(RunSettings, "seed")
@setting_option(RunSettings, "truncation_psi")
@EDIT
@setting_option(RunSettings, "sources", values={"yes": True, "no": False})
@setting_option(RunSettings, "mode", without=[Mode.OPTIMIZE], help="Apply; or apply and repair.")
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
    settings = _settings(options)

    def work(library: Library, execution: Execution, watcher: RunWatcher) -> RunOutcome:
        from editvec.batch.use_cases import generate as generate_images

        return generate_images(
            library,
            target,
            options["edits"],
            count=settings.count,
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
    return RunSettings(**take(RunSettings, options, besides=("boxes",)), **chosen)


def _same(options: dict[str, Any], settings: RunSettings) -> dict[str, Any]:
    """What edited and generated runs are told alike."""
    return {
        "class_name": options["class_name"],
        "settings": settings,
        "recipes": options["recipes"] or (),
        "force_scale": options["force_scale"],
    }
