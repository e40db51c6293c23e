"""The commands `model add`, `model import` and `model import-members`: they read networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from editvec.batch.classes.request import ImportRequest
from editvec.batch.cli.output import JSON, note, open_library
from editvec.batch.cli.settings import setting_option
from editvec.registry.cli.completion import complete_class

if TYPE_CHECKING:
    from editvec.registry.entities.classes import ClassModel

SCHEME = click.option(
    "--scheme",
    metavar="NAME|FILE",
    help="Label scheme: editgan-car, datasetgan-face, celebamask-hq, or a YAML or JSON file.",
)


@click.command("add")
@click.argument("source", metavar="FOLDER|NAME", type=click.Path(path_type=Path))
@JSON
@click.pass_context
def add_model(ctx: click.Context, /, *, source: Path, as_json: bool) -> None:
    """Store the class bundle in FOLDER (bundle.json and its safetensors), or a .tar of one.

    A bundle whose networks cannot be built from its weights is refused. NAME is a class that comes
    with an installed package, such as avatars; its vectors are added, too.

    \b
    editvec model add avatars
    """  # noqa: D301 (click reads the backspace)
    from editvec.batch.classes.adding import add_class
    from editvec.registry.cli.options import emit

    with open_library(ctx)[1] as library:
        added, notes = add_class(library, source)
    for text in notes:
        note(text)
    emit(added, lambda model: str(model.address), as_json=as_json)


@click.command("import")
@click.argument("file", metavar="FILE", type=click.Path())
@setting_option(ImportRequest, "class_name", "--class", metavar="CLASS", required=True)
@setting_option(
    ImportRequest,
    "label_classes",
    "--label-class",
    metavar="N",
    type=click.IntRange(0),
    multiple=True,
)
@SCHEME
@setting_option(ImportRequest, "valid_rectangle", metavar="TOP,LEFT,BOTTOM,RIGHT", callback=None)
@setting_option(ImportRequest, "description")
@setting_option(ImportRequest, "license_name", "--license")
@JSON
@click.pass_context
def import_model(
    ctx: click.Context,
    /,
    *,
    file: str,
    scheme: str | None,
    valid_rectangle: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Store the StyleGAN2 generator in FILE as a class.

    FILE is NVIDIA's .pkl (StyleGAN2-ADA and the StyleGAN2 configurations of StyleGAN3's program in
    PyTorch, or StyleGAN2 in TensorFlow), rosinality's .pt, or the folder of a bundle. Its content
    tells which. Nothing in a pickle is run: it may hold only tensors and settings.

    \b
    editvec model import stylegan2-car-config-f.pkl --class car --scheme editgan-car
    """  # noqa: D301 (click reads the backspace)
    from editvec.batch.classes.importing import import_model as import_file
    from editvec.registry.labels.files import read_scheme

    request = ImportRequest(
        scheme=None if scheme is None else read_scheme(scheme),
        valid_rectangle=None if valid_rectangle is None else parse_rectangle(valid_rectangle),
        **options,
    )
    _, library = open_library(ctx)
    with library:
        model, ready, notes = import_file(library, file, request)
    for text in notes:
        note(f"note: {text}")
    networks = ready.values["networks"]
    if as_json:
        shown = _json(model, sorted(networks))
        click.echo(json.dumps({**shown, "origin": ready.origin, "notes": notes}, indent=2))
        return
    config = networks["generator"].config
    click.echo(model.address)
    click.echo(
        f"  generator  {ready.origin}, {config.resolution} x {config.resolution} pixels, "
        f"{config.architecture}, {config.mapping_layers} mapping layers, "
        f"{model.generator_digest[:12]}"
    )
    click.echo(f"  parts      {', '.join(model.label_names)}")
    for name, command in (("segmentation", "PAIRS"), ("encoder", "[PHOTOS]")):
        if name not in networks:
            note(f"no {name}: `editvec train {name} --class {model.name} {command}` makes one")


@click.command("import-members")
@click.argument(
    "sources",
    metavar="FILE...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True),
)
@click.option(
    "--class",
    "class_address",
    metavar="CLASS",
    required=True,
    shell_complete=complete_class,
    help="Class of whose generator's features they are; the result is a new version of it.",
)
@SCHEME
@JSON
@click.pass_context
def import_members(
    ctx: click.Context,
    /,
    *,
    sources: tuple[Path, ...],
    class_address: str,
    scheme: str | None,
    as_json: bool,
) -> None:
    """Give a class the segmentation branch that DatasetGAN's or EditGAN's classifiers make.

    One FILE for each member of the ensemble (model_0.pth, model_1.pth...), or a folder with them;
    snapshots in it (model_iter5000_number_0.pth) are left out. The new version of the class has the
    same generator, so all vectors go on working.

    \b
    editvec model import-members classifiers/ --class car --scheme editgan-car
    """  # noqa: D301 (click reads the backspace)
    from editvec.batch.classes.importing import import_members as give_members
    from editvec.engine.foreign.members import member_files
    from editvec.printing import one_line
    from editvec.registry.labels.files import read_scheme

    files = member_files(sources)
    wanted = None if scheme is None else read_scheme(scheme)
    _, library = open_library(ctx)
    with library:
        model = give_members(library, files, class_address=class_address, scheme=wanted)
    if as_json:
        click.echo(json.dumps(_json(model, ["generator", "segmentation"]), indent=2))
        return
    click.echo(model.address)
    click.echo(one_line(f"  members    {', '.join(path.name for path in files)}"))
    click.echo(f"  parts      {', '.join(model.label_names)}")


def parse_rectangle(text: str) -> tuple[int, int, int, int]:
    """Four numbers, as `--valid-rectangle` has them.

    Raises:
        click.BadParameter: They are not.
    """
    parts = text.split(",")
    if len(parts) != 4 or not all(part.strip().isdecimal() for part in parts):
        raise click.BadParameter(
            f"expected TOP,LEFT,BOTTOM,RIGHT in pixels, got {text!r}",
            param_hint="--valid-rectangle",
        )
    top, left, bottom, right = (int(part) for part in parts)
    return top, left, bottom, right


def _json(model: ClassModel, networks: list[str]) -> dict[str, Any]:
    return {
        "address": model.address,
        "class": model.name,
        "version": model.version,
        "resolution": model.resolution,
        "generator_digest": model.generator_digest,
        "bundle_digest": model.bundle_digest,
        "parts": list(model.label_names),
        "networks": networks,
    }
