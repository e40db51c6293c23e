"""The command `registry preview`: it needs the networks, which `registry` does not know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from editvec.batch.cli.options import CLASS, DEVICE
from editvec.batch.cli.output import JSON
from editvec.outputs import OutputFile, output_file, overwrite_option
from editvec.registry.cli.completion import complete_address


@click.command()
@click.argument("address", shell_complete=complete_address)
@CLASS
@click.option(
    "--scales",
    default="-2:2:5",
    show_default=True,
    metavar="FIRST:LAST:COUNT",
    help="How far along the vector each column is.",
)
@click.option("--samples", type=click.IntRange(1), default=4, show_default=True, help="Rows.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of samples.")
@click.option(
    "--images",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Edit the first images of a folder instead of samples.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=output_file,
    metavar="PNG",
    help="Write the picture here too.",
)
@overwrite_option
@DEVICE
@JSON
@click.pass_obj
def preview(
    obj: dict[str, Any],
    /,
    *,
    address: str,
    class_name: str | None,
    scales: str,
    samples: int,
    seed: int,
    images: Path | None,
    out: OutputFile | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Draw what the vector at ADDRESS does, and keep the picture with it.

    Each row is a probe image, each column a scale. Below each picture are its part mask and what
    the generator changed.
    """
    from editvec.batch.previews.preview import PreviewProbes, preview_vector
    from editvec.batch.recipes.scales import parse_scales
    from editvec.batch.workbench import Workbench
    from editvec.outputs import marked
    from editvec.registry.config import RegistryConfig
    from editvec.whole_files import digest_of

    wanted = parse_scales(scales)
    probes = PreviewProbes(count=samples, seed=seed, folder=images)
    with Workbench.open(RegistryConfig.from_environment(obj["home"]), device=device) as bench:
        vector = bench.library.get_vector(address, class_name=class_name)
        editor = bench.editor_of(vector)
        drawn = preview_vector(bench.library, editor, vector, probes=probes, scales=wanted)
        png = marked(drawn)  # the same bytes in the library and in the file
        if out is not None:
            out.write(png)
        place = bench.library.blobs.place(digest_of(png))
        bench.library.set_preview(vector.address, png)
    if as_json:
        click.echo(json.dumps({"address": vector.address, "preview": place}, indent=2))
    else:
        click.echo(f"{vector.address}: preview {place if out is None else out}")
