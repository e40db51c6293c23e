"""The command `embed`: a folder's embeddings, ahead of the runs that need them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from editvec.batch.cli.execution import have_done
from editvec.batch.cli.options import CHUNK_SIZE, CLASS, EXECUTION, FOLDER, SPACE, VIEW
from editvec.batch.cli.settings import setting_option, take
from editvec.batch.recipes.settings import EMBED_AHEAD, RunSettings


@click.command()
@click.argument("source", metavar="IN", type=FOLDER)
@CLASS
@setting_option(
    RunSettings,
    "embed",
    default=EMBED_AHEAD,
    metavar="steps:N|target:DB",
    help="How an image becomes latents.",
)
@SPACE
@VIEW
@CHUNK_SIZE
@click.option(
    "-o",
    "--output",
    "target",
    metavar="DIR",
    type=FOLDER,
    help="Where the report about the run goes. [default: a folder in the home folder]",
)
@EXECUTION
@click.pass_context
def embed(ctx: click.Context, /, *, source: Path, **options: Any) -> None:
    """Embed every image under IN ahead of time; the library keeps the embeddings.

    A later `editvec batch run IN OUT` with the same --embed, --space, --fit and boxes finds them
    and embeds nothing. It is a run like those of `editvec batch`: the same command continues an
    interrupted one.

    \b
    editvec embed photos --embed steps:200 --workers celery
    editvec batch run photos out --embed steps:200 --edit smile=1
    """  # noqa: D301 (click reads the backspace)
    from editvec.batch.use_cases import embed_folder

    settings = RunSettings(**take(RunSettings, options, besides=("boxes",)))
    have_done(
        ctx,
        options,
        lambda library, execution, watcher: embed_folder(
            library,
            source,
            class_name=options["class_name"],
            settings=settings,
            boxes=options["boxes"],
            target=options["target"],
            execution=execution,
            watcher=watcher,
        ),
    )
