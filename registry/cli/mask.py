"""The command group `mask`: part masks of any tool, and label schemes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from editvec.outputs import OutputFile, output_file, output_place, overwrite_option
from editvec.registry.cli.completion import complete_parts
from editvec.registry.cli.options import class_option, emit, json_option, opened

if TYPE_CHECKING:
    from editvec.registry.labels.scheme import LabelScheme
    from editvec.registry.masks.operations import MaskEdit
    from editvec.registry.masks.sources import SourceMask

_Command = TypeVar("_Command", bound=Callable[..., Any])

FORMS = (
    *("index", "colors", "parts", "coco", "label-studio"),
    *("cvat", "labelme", "yolo", "roboflow"),
)
TARGETS = ("palette", "index", "colors", "parts")
_PATH = click.Path(path_type=Path)
_FILE = click.Path(path_type=Path, dir_okay=False)
_TYPED = "editvec.registry.cli.mask.typed"


@click.group()
def mask() -> None:
    """Part masks: read those of annotation tools, convert, show and edit them."""


def _scheme_options(command: _Command) -> _Command:
    """`--scheme` and `--class`: which parts there are."""
    scheme = click.option(
        "--scheme",
        "scheme_source",
        metavar="NAME|FILE",
        help="Label scheme: a YAML or JSON file, or the name of a known one. [default: that of "
        "the class]",
    )
    return class_option(scheme(command))


def _source_options(command: _Command) -> _Command:
    """How the source is written, which of its masks is meant, and what is left to say of it."""
    form = click.option(
        "--form", type=click.Choice(FORMS), help="How the masks are written. [default: found out]"
    )
    image = click.option("--image", metavar="NAME", help="Only the mask of this image.")
    images = click.option(
        "--images",
        type=_PATH,
        metavar="PATH",
        help="The pictures, or one: where only they say how large a mask is.",
    )
    skips = click.option(
        "--skip-other-shapes",
        "skips_other_shapes",
        is_flag=True,
        help="Leave out points and lines: they are no area.",
    )
    return image(images(form(skips(command))))


def _scheme(obj: dict[str, Any], source: str | None, class_name: str | None) -> LabelScheme:
    """The scheme that the options name; the library is opened for that of a class only."""
    from editvec.registry.labels.files import read_scheme
    from editvec.registry.library.contents import scheme_of_class

    if source is not None and class_name is not None:
        raise click.UsageError("give either --scheme or --class")
    if source is not None:
        return read_scheme(source)
    with opened(obj) as library:
        return scheme_of_class(library, library.get_class(class_name))


def _masks(source: Path, scheme: LabelScheme, image: str | None, **how: Any) -> list[SourceMask]:
    from editvec.registry.masks.sources import choose_mask, open_masks

    found = open_masks(source, scheme, **how)
    return found if image is None else [choose_mask(found, image, of=f"masks {source}")]


@mask.command("scheme")
@click.argument("source", required=False, metavar="[FILE|NAME]")
@class_option
@json_option
@click.pass_obj
def mask_scheme(
    obj: dict[str, Any], *, source: str | None, class_name: str | None, as_json: bool
) -> None:
    """Check and show a label scheme: that of a file, a known one by its name, or a class's."""
    from editvec.registry.cli.mask_text import scheme_text

    emit(_scheme(obj, source, class_name), scheme_text, as_json=as_json)


@mask.command("show")
@click.argument("source", type=_PATH)
@_scheme_options
@_source_options
@click.option(
    "--picture", type=_FILE, callback=output_file, metavar="PNG", help="Draw the mask here."
)
@overwrite_option
@click.option("--photo", type=_FILE, metavar="FILE", help="Its image, shown beside it.")
@json_option
@click.pass_obj
def mask_show(
    obj: dict[str, Any],
    /,
    *,
    source: Path,
    scheme_source: str | None,
    class_name: str | None,
    image: str | None,
    picture: OutputFile | None,
    photo: Path | None,
    as_json: bool,
    **how: Any,
) -> None:
    """Show which parts the mask in SOURCE has; of several masks, how many parts each has.

    SOURCE is a PNG, a folder of PNGs, or the files of an annotation tool.
    """
    from editvec.registry.cli.mask_text import masks_text, parts_text
    from editvec.registry.masks.export import (
        UNSIZED,
        assume_size,
        count_ignored,
        draw_mask,
        summarise,
        summarise_all,
    )
    from editvec.registry.text_tables import printable

    scheme = _scheme(obj, scheme_source, class_name)
    if photo is not None and how["images"] is None:
        how["images"] = photo
    masks = []
    for one in _masks(source, scheme, image, **how):
        masks.append(assume_size(one))
        if one.needs_picture:
            click.echo(f"{printable(one.name)}: {UNSIZED}", err=True)
    if len(masks) > 1:
        if picture is not None:
            raise click.UsageError("--picture shows one mask: say --image NAME")
        emit(summarise_all(masks, scheme), masks_text, as_json=as_json)
        return
    labels = masks[0].read()
    if ignored := count_ignored(labels):
        name = printable(masks[0].name)
        click.echo(f"{name}: {ignored} of {labels.size} pixels are ignored", err=True)
    if picture is not None:
        drawn = draw_mask(labels, scheme, image=photo, title=masks[0].name)
        picture.write(drawn)
        click.echo(f"{picture}: the mask of {printable(masks[0].name)}", err=True)
    emit(summarise(labels, scheme), parts_text, as_json=as_json)


@mask.command("convert")
@click.argument("source", type=_PATH)
@click.argument("target", type=_PATH, callback=output_place)
@_scheme_options
@_source_options
@click.option(
    "--to",
    type=click.Choice(TARGETS),
    default="palette",
    show_default=True,
    help="palette: indices with the scheme's colours; index: grey; colors: RGB; parts: one PNG "
    "for each part.",
)
@overwrite_option
@json_option
@click.pass_obj
def mask_convert(
    obj: dict[str, Any],
    /,
    *,
    source: Path,
    target: OutputFile,
    scheme_source: str | None,
    class_name: str | None,
    image: str | None,
    to: str,
    as_json: bool,
    **how: Any,
) -> None:
    """Convert the masks in SOURCE to PNGs: into the file TARGET, or into a folder if several.

    SOURCE is a PNG (of indices or colours), a folder of PNGs (one for each image, or for each
    part), or files of COCO, Label Studio, CVAT, LabelMe, YOLO or Roboflow. A file that exists is
    replaced only if editvec wrote it and nobody changed it.
    """
    from editvec.registry.masks.export import convert_masks

    is_folder = to == "parts" or target.path.suffix.lower() != ".png"
    if not is_folder:
        target.check(makes_folder=True)
    scheme = _scheme(obj, scheme_source, class_name)
    masks = _masks(source, scheme, image, **how)
    if len(masks) > 1 and not is_folder:
        raise click.UsageError(f"{len(masks)} masks go into a folder, or say --image NAME")
    paths = convert_masks(masks, scheme, target, form=to, is_folder=is_folder)
    if as_json:
        click.echo(json.dumps({"files": [str(path) for path in paths]}, indent=2))
        return
    for path in paths:
        click.echo(path)


# --- edit ---


def _operation_options(command: _Command) -> _Command:
    """One option for each operation; they are done in the order in which they are typed."""
    for kind, metavar, text in reversed(_OPERATIONS):
        option = click.option(
            f"--{kind}",
            multiple=metavar is not None,
            is_flag=metavar is None,
            metavar=metavar,
            expose_value=False,
            callback=_note_operation,
            help=text,
        )
        command = option(command)
    return command


_OPERATIONS = (
    ("grow", "N", "Take the pixels within N."),
    ("shrink", "N", "Give up the pixels within N of its border."),
    ("scale", "F|FxF", "Make it F times as large (width x height)."),
    ("rotate", "DEGREES", "Turn it clockwise."),
    ("shift", "RIGHT,DOWN", "Move it."),
    ("remove", None, "Make it what is behind."),
    ("mirror", "left-right|top-bottom", "Turn it over."),
    ("paste", "MASK", "Take it from another mask of the same size; `MASK centred` moves it."),
)


def _note_operation(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Keeps what was typed; click calls this in the order of the command line."""
    for one in ("",) if value is True else value or ():
        ctx.meta.setdefault(_TYPED, []).append((parameter.name, one))


@mask.command("edit")
@click.argument("source", type=_PATH)
@_scheme_options
@_source_options
@click.option(
    "--part",
    "area",
    metavar="PART,...",
    shell_complete=complete_parts,
    help="Parts or groups to edit; `eye[left]` takes one piece (each, together, largest, left, "
    "right, top, bottom).",
)
@_operation_options
@click.option(
    "--operation",
    "texts",
    multiple=True,
    metavar="TEXT",
    help="`PART,...: OPERATION, ...`, such as `mouth: scale 1.2x1, shift 0,-2`; repeatable.",
)
@click.option(
    "-o",
    "--output",
    type=_FILE,
    callback=output_file,
    required=True,
    metavar="PNG",
    help="The edited mask.",
)
@click.option(
    "--picture", type=_FILE, callback=output_file, metavar="PNG", help="Draw before and after here."
)
@overwrite_option
@click.option("--photo", type=_FILE, metavar="FILE", help="The image, shown beside them.")
@json_option
@click.pass_context
def mask_edit(
    ctx: click.Context,
    /,
    *,
    source: Path,
    scheme_source: str | None,
    class_name: str | None,
    image: str | None,
    area: str | None,
    texts: Sequence[str],
    output: OutputFile,
    picture: OutputFile | None,
    photo: Path | None,
    as_json: bool,
    **how: Any,
) -> None:
    """Edit the mask in SOURCE by program.

    Operations are done in the order in which you type them. Lengths are pixels, or percent of the
    mask: --shift 0,-2%.

    \b
    editvec mask edit M.png --part mouth --scale 1.3x1 --shift 0,-1 -o OUT.png
    """  # noqa: D301 (click reads the backspace)
    from editvec.registry.masks.export import draw_edit, encode_as
    from editvec.registry.masks.operation_text import format_edits
    from editvec.registry.masks.operations import edit_mask
    from editvec.registry.masks.sources import read_any_mask

    if picture is not None and picture.path.absolute() == output.path.absolute():
        raise click.UsageError("-o and --picture are two files")
    edits = _edits(area, ctx.meta.get(_TYPED, []), texts)
    scheme = _scheme(ctx.obj, scheme_source, class_name)
    if photo is not None and how["images"] is None:
        how["images"] = photo
    before = read_any_mask(source, scheme, image=image, **how)
    after = edit_mask(
        before,
        edits,
        scheme,
        read_other=lambda path: read_any_mask(path, scheme, **how),
        of=f"mask {source}",
    )
    if picture is not None:
        drawn = draw_edit(
            before, after, scheme, image=photo, title=source.name, subtitle=format_edits(edits)
        )
        picture.write(drawn)
    output.write(encode_as(after, scheme, "palette"))
    changed = int((before != after).sum())
    if as_json:
        found = {"file": str(output), "changed_pixels": changed, "pixels": before.size}
        click.echo(json.dumps(found, indent=2))
    else:
        click.echo(f"{output}: {changed} of {before.size} pixels changed")


def _edits(
    area: str | None, typed: Sequence[tuple[str, str]], texts: Sequence[str]
) -> tuple[MaskEdit, ...]:
    """The edits that the options say; --operation comes last."""
    from editvec.registry.masks.operation_text import make_operation, parse_area, parse_edits
    from editvec.registry.masks.operations import MaskEdit

    if (area is None) != (not typed):
        raise click.UsageError("--part needs an operation such as --scale, and the other way round")
    edits = [edit for text in texts for edit in parse_edits(text)]
    if area is not None:
        parts, pieces = parse_area(area)
        operations = tuple(make_operation(kind, value) for kind, value in typed)
        edits.insert(0, MaskEdit(parts, operations, pieces))
    if not edits:
        raise click.UsageError("give --part with an operation, or --operation")
    return tuple(edits)
