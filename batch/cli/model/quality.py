"""The commands `model verify`, `model compare` and `model sample`: they load the networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from editvec.batch.cli.options import DEVICE
from editvec.batch.cli.output import JSON, note, open_library
from editvec.batch.cli.settings import setting_option
from editvec.batch.quality.settings import Comparison
from editvec.batch.recipes.settings import RunSettings
from editvec.outputs import OutputFile, output_file, overwrite_option
from editvec.registry.cli.completion import complete_class

if TYPE_CHECKING:
    from editvec.batch.quality.comparison import MeasuredClass

_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path)


@click.command("verify")
@click.argument("addresses", nargs=-1, metavar="[CLASS]...", shell_complete=complete_class)
@JSON
@click.pass_context
def verify_models(ctx: click.Context, /, *, addresses: tuple[str, ...], as_json: bool) -> None:
    """Hash every file of classes again, and build their networks; exit status 1 if one is wrong.

    Without CLASS it checks every version of every class.
    """
    from editvec.batch.classes.check import check_model

    _, library = open_library(ctx)
    with library:
        models = [library.get_class(one) for one in addresses] or library.classes()
        faults = {}
        for number, model in enumerate(models, start=1):
            faults[model.address] = check_model(library, model)
            size = sum(file.size for file in model.files) / 2**20
            state = "; ".join(faults[model.address]) or "as it was stored"
            if not as_json:
                click.echo(f"{model.address}: {len(model.files)} files, {size:.1f} MiB: {state}")
            elif number % 10 == 0:
                note(f"verified {number}/{len(models)} classes")
    if as_json:
        shown = [{"address": name, "faults": found} for name, found in faults.items()]
        click.echo(json.dumps(shown, indent=2))
    if any(faults.values()):
        ctx.exit(1)


@click.command("sample")
@click.argument("address", metavar="CLASS", shell_complete=complete_class)
@click.argument("picture", metavar="PNG", type=_FILE, callback=output_file)
@click.option("--count", type=click.IntRange(1), default=64, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@setting_option(RunSettings, "truncation_psi")
@overwrite_option
@DEVICE
@JSON
@click.pass_context
def sample_model(
    ctx: click.Context,
    /,
    *,
    address: str,
    picture: OutputFile,
    count: int,
    seed: int,
    truncation_psi: float,
    device: str | None,
    as_json: bool,
) -> None:
    """Draw a grid of samples of CLASS as PNG."""
    from editvec.batch.quality.comparison import draw_samples
    from editvec.batch.workbench import default_device
    from editvec.engine.editor import Editor

    _, library = open_library(ctx)
    with library:
        folder = library.materialise_bundle(library.get_class(address))
    editor = Editor.open(folder, device or default_device())
    draw_samples(editor, picture, count=count, seed=seed, psi=truncation_psi)
    click.echo(json.dumps({"file": str(picture)}, indent=2) if as_json else picture)


@click.command("compare")
@click.argument(
    "addresses", nargs=-1, required=True, metavar="CLASS...", shell_complete=complete_class
)
@setting_option(Comparison, "photographs", "--photos", type=_FOLDER, metavar="DIR")
@setting_option(Comparison, "pairs", type=_FOLDER, metavar="DIR")
@setting_option(Comparison, "count")
@setting_option(Comparison, "steps", "--embed-steps")
@setting_option(Comparison, "fit")
@setting_option(Comparison, "seed")
@click.option(
    "--picture",
    type=_FILE,
    callback=output_file,
    metavar="PNG",
    help="Draw images and what each class makes of them.",
)
@overwrite_option
@DEVICE
@JSON
@click.pass_context
def compare_models(
    ctx: click.Context,
    /,
    *,
    addresses: tuple[str, ...],
    picture: OutputFile | None,
    device: str | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Compare class versions: how well they reconstruct images, and find parts in them.

    \b
    editvec model compare car@1 car@2 --photos PHOTOS --pairs PAIRS
    """  # noqa: D301 (click reads the backspace)
    from editvec.batch.quality.comparison import compare_models as compare
    from editvec.batch.quality.comparison import to_json
    from editvec.batch.workbench import default_device

    _, library = open_library(ctx)
    with library:
        models = [library.get_class(one) for one in addresses]
        rows = compare(
            library,
            models,
            Comparison(**chosen),
            device=device or default_device(),
            picture=picture,
        )
    click.echo(json.dumps(to_json(rows), indent=2) if as_json else comparison_text(rows))


def comparison_text(rows: list[MeasuredClass]) -> str:
    """One row for each class."""
    from editvec.registry.text_tables import format_table

    first = rows[0]
    after, name = f"+ {first.steps} steps", first.perceptual_name or "perceptual"
    headers = [
        *("class", "encoder dB", name, f"dB {after}", f"{name} {after}", "n"),
        *(["mIoU", "pairs"] if any(row.pairs for row in rows) else []),
    ]
    table = []
    for row in rows:
        cells = [
            row.address,
            _number(row.psnr, 2),
            _number(row.perceptual, 4),
            _number(row.psnr_after, 2),
            _number(row.perceptual_after, 4),
            str(row.images),
        ]
        if any(one.pairs for one in rows):
            cells += [_number(row.mean_iou, 3), str(row.pairs)]
        table.append(cells)
    return format_table(headers, table)


def _number(value: float | None, digits: int) -> str:
    return "none" if value is None else f"{value:.{digits}f}"
