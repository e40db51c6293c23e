"""The command `embed`: a folder's embeddings, ahead of the runs that need them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from editvec.batch.cli.execution import have_done
from editvec.batch.cli.options import CLASS, EXECUTION, FOLDER, SPACE, VIEW


@click.command()
@click.argument("source", metavar="IN", type=FOLDER)
@CLASS
@click.option(
    "--embed",
    default="steps:100",
    show_default=True,
    metavar="steps:N|target:DB",
    help="How an image becomes latents.",
)
@SPACE
@VIEW
@click.option("--chunk-size", type=click.IntRange(1, 64), help="Inputs per chunk.")
@click.option(
    "-o",
    "--output",
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
    from editvec.batch.recipes.settings import RunSettings
    from editvec.batch.use_cases import embed_folder

    chosen = {name: options[name] for name in ("embed", "space", "fit", "box_margin")}
    settings = RunSettings.from_json({**chosen, "chunk_size": options["chunk_size"] or 0})
    have_done(
        ctx,
        options,
        lambda library, execution, watcher: embed_folder(
            library,
            source,
            class_name=options["class_name"],
            settings=settings,
            boxes=options["boxes"],
            target=options["output"],
            execution=execution,
            watcher=watcher,
        ),
    )
