"""The command `embed`: a folder's embeddings, ahead of the runs that need them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from editvec.batch.cli.execution import check_execution, execute
from editvec.batch.cli.options import CLASS, EXECUTION, FOLDER, SPACE, VIEW
from editvec.batch.cli.output import open_library, tell_opened


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
    "--out",
    metavar="DIR",
    type=FOLDER,
    help="Where the report about the run goes. [default: a folder in the home folder]",
)
@EXECUTION
@click.pass_context
def embed(ctx: click.Context, /, *, source: Path, **options: Any) -> None:
    """Embed every image under IN ahead of time; the library keeps the embeddings.

    A later `editvec batch run IN OUT` with the same --embed, --space, --fit and boxes finds them
    and embeds nothing. It is a run like those of `editvec batch`: the same command again continues
    what was interrupted.

    \b
    editvec embed photos --embed steps:200 --workers celery
    editvec batch run photos out --embed steps:200 --edit smile=1
    """  # noqa: D301 (click reads the backspace)
    from editvec.batch.embedding.planning import EmbedRequest, open_embed_run
    from editvec.batch.recipes.boxes import read_boxes
    from editvec.batch.recipes.settings import RunSettings

    check_execution(options)
    chosen = {name: options[name] for name in ("embed", "space", "fit", "box_margin")}
    boxes = options["boxes"]
    request = EmbedRequest(
        class_name=options["class_name"],
        input_folder=source,
        settings=RunSettings.from_json({**chosen, "chunk_size": options["chunk_size"] or 0}),
        boxes=None if boxes is None else read_boxes(boxes),
        output_folder=options["out"],
    )
    config, library = open_library(ctx)
    with library:
        opened = open_embed_run(library, request)
        tell_opened(opened)
        execute(ctx, config, library, opened.run, options)
