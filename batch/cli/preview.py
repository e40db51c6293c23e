"""The command `registry preview`: it needs the networks, which `registry` does not know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from editvec.batch.cli.options import CLASS, DEVICE
from editvec.batch.cli.output import JSON, open_library
from editvec.batch.cli.settings import setting_option
from editvec.batch.previews.probes import SWEEP, PreviewProbes
from editvec.outputs import OutputFile, output_file, overwrite_option
from editvec.registry.cli.completion import complete_address


@click.command()
@click.argument("address", shell_complete=complete_address)
@CLASS
@click.option(
    "--scales",
    default=SWEEP,
    show_default=True,
    metavar="FIRST:LAST:COUNT",
    help="How far along the vector each column is.",
)
@setting_option(PreviewProbes, "count")
@setting_option(PreviewProbes, "seed")
@setting_option(PreviewProbes, "folder", "--probe", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=output_file,
    metavar="PNG",
    help="Write the picture here too.",
)
@overwrite_option
@DEVICE
@JSON
@click.pass_context
def preview(
    ctx: click.Context,
    /,
    *,
    address: str,
    class_name: str | None,
    scales: str,
    output: OutputFile | None,
    device: str | None,
    as_json: bool,
    **probes: Any,
) -> None:
    """Draw what the vector at ADDRESS does, and keep the picture with it.

    Each row is a probe image, each column a scale. Below each picture are its part mask and what
    the generator changed.
    """
    from editvec.batch.recipes.scales import parse_scales
    from editvec.batch.use_cases import preview as draw
    from editvec.whole_files import digest_of

    _, library = open_library(ctx)
    with library:
        vector, png = draw(
            library,
            address,
            class_name=class_name,
            probes=PreviewProbes(**probes),
            scales=parse_scales(scales),
            device=device,
        )
        if output is not None:
            output.write(png)
        place = library.blobs.place(digest_of(png))
    if as_json:
        file = {} if output is None else {"file": str(output)}
        click.echo(json.dumps({"address": vector.address, "preview": place, **file}, indent=2))
    else:
        click.echo(f"{vector.address}: preview {place if output is None else output}")
