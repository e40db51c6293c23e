"""The command that adds a vector of a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from editvec.registry.cli.completion import complete_parts
from editvec.registry.cli.options import (
    POLICIES,
    SPACES,
    class_option,
    description_options,
    emit,
    json_option,
    opened,
    registry,
    split_names,
)

if TYPE_CHECKING:
    from editvec.registry.sharing.vector_files import FileRequest

_Number = TypeVar("_Number", int, float)


def _pair_of(kind: type[_Number], what: str) -> Callable[..., tuple[_Number, _Number] | None]:
    """Reads `FIRST:LAST`."""

    def read(
        _context: click.Context, _parameter: click.Parameter, value: str | None
    ) -> tuple[_Number, _Number] | None:
        if value is None:
            return None
        first, colon, last = value.partition(":")
        try:
            if colon:
                return kind(first), kind(last)
        except ValueError:
            pass
        raise click.BadParameter(f"expected {what}, got {value!r}")

    return read


@registry.command("add")
@click.argument("file", type=click.Path(path_type=Path))
@class_option
@click.option("--name", help="Name of the vector. [default: the file's name]")
@click.option("--version", type=click.IntRange(min=1), help="Version. [default: the next]")
@click.option(
    "--roi",
    callback=split_names,
    metavar="PART,...",
    shell_complete=complete_parts,
    help="Parts that the vector may change, separated by commas; needed where the file does not "
    "say them and no brush stands in.",
)
@click.option(
    "--space",
    type=click.Choice(SPACES),
    help="Latent space; needed for a file of one row. [default: W+ for a file with a row for "
    "every row of ws]",
)
@click.option(
    "--rows",
    metavar="FIRST:LAST",
    callback=_pair_of(int, "FIRST:LAST, such as 4:9 for rows 4 to 8"),
    help="Keep rows FIRST to LAST - 1 only. [default: all that the file touches]",
)
@click.option(
    "--brush",
    type=click.Path(path_type=Path),
    metavar="MASK.png",
    help="Painted region that may change: a PNG of the class's size, white (or one colour) on "
    "black or transparent.",
)
@click.option(
    "--roi-policy",
    type=click.Choice(POLICIES),
    help="What may change: the parts, the painted region, or both. [default: what is given]",
)
@click.option("--dilation", type=click.IntRange(0, 8192), help="ROI buffer in pixels.")
@click.option("--default-scale", type=float, help="Scale that the vector is meant for.")
@click.option(
    "--scale-range",
    metavar="MIN:MAX",
    callback=_pair_of(float, "MIN:MAX, such as -1.5:2"),
    help="Lowest and highest usable scale.",
)
@click.option(
    "--mask-pair",
    "mask_pairs",
    nargs=3,
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="IMAGE BEFORE AFTER",
    help="Image, its mask and the edited mask that the vector comes from; repeatable.",
)
@description_options
@json_option
@click.pass_obj
def registry_add(
    obj: dict[str, Any],
    /,
    *,
    file: Path,
    mask_pairs: Sequence[tuple[Path, Path, Path]],
    reason: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Store the vector of FILE as a new version of NAME.

    FILE is safetensors with one tensor, or a .npy of EditGAN (1, rows, columns), of StyleGAN2
    directions (rows, columns) or of InterFaceGAN boundaries (1, columns). A file that `registry
    export FILE.safetensors` wrote needs no options: it says what it is.
    """
    from editvec.registry.masks.pairs import PairFiles
    from editvec.registry.sharing.vector_files import add_vector_file

    pair_files = tuple(PairFiles(*paths) for paths in mask_pairs)
    request = _file_request(pair_files=pair_files, **options)
    with opened(obj) as library:
        stored = add_vector_file(library, file, request, reason=reason)
    known = "" if stored.is_new else " (the library held it already)"
    emit(stored.vector, lambda vector: f"{vector.address}{known}", as_json=as_json)


def _file_request(
    *,
    roi: list[str],
    space: str | None,
    roi_policy: str | None,
    brush: Path | None,
    license_name: str,
    tags: Sequence[str],
    **options: Any,
) -> FileRequest:
    """The request that the options of `add` make."""
    from editvec.registry.entities.vectors import LatentSpace, RoiPolicy
    from editvec.registry.masks.brushes import read_brush
    from editvec.registry.sharing.vector_files import FileRequest

    return FileRequest(
        roi_labels=tuple(roi) or None,
        latent_space=None if space is None else LatentSpace(space),
        roi_policy=None if roi_policy is None else RoiPolicy(roi_policy),
        brush_png=None if brush is None else read_brush(brush),
        license=license_name,
        tags=tuple(tags),
        **options,
    )
