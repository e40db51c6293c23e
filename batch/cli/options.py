"""Options of the commands that edit folders, one by one and in groups."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from editvec.batch.cli.output import JSON
from editvec.batch.cli.settings import setting_option
from editvec.batch.recipes.settings import RunSettings
from editvec.outputs import output_file, overwrite_option
from editvec.registry.cli.completion import complete_class, complete_parts, complete_term

_COMMAND = TypeVar("_COMMAND", bound=Callable[..., Any])


def options(*group: Callable[[_COMMAND], _COMMAND]) -> Callable[[_COMMAND], _COMMAND]:
    """Several options as one decorator, shown in the order given."""

    def decorate(command: _COMMAND) -> _COMMAND:
        for option in reversed(group):
            command = option(command)
        return command

    return decorate


def _size(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Bytes as people write them."""
    from editvec.registry.errors import RecordError
    from editvec.registry.quantities import parse_size

    if value is None:
        return None
    try:
        return parse_size(value)
    except RecordError as exc:
        raise click.BadParameter(str(exc), ctx=ctx, param=param) from exc


def _page_file(ctx: click.Context, param: click.Parameter, value: Path | None) -> Any:
    """A page, in a folder that exists."""
    if value is not None and not value.absolute().parent.is_dir():
        raise click.BadParameter(
            f"the folder {value.absolute().parent} does not exist", ctx=ctx, param=param
        )
    return output_file(ctx, param, value)


FOLDER = click.Path(path_type=Path)
CLASS = click.option(
    "--class",
    "class_name",
    metavar="CLASS",
    shell_complete=complete_class,
    help="Class model. [default: the only one]",
)
DEVICE = click.option(
    "--device", metavar="DEVICE", help="cpu, cuda, cuda:1... [default: cuda if any]"
)


def page_option(help_text: str) -> Callable[[_COMMAND], _COMMAND]:
    """The options --html and --overwrite; see `editvec/outputs.py`."""
    file = click.Path(path_type=Path, dir_okay=False)
    page = click.option(
        "--html", "page", type=file, callback=_page_file, metavar="FILE", help=help_text
    )
    return lambda command: page(overwrite_option(command))


PROBE = click.option(
    "--probe",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Edit the images of a folder.",
)
PROBE_SEED = click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
PROBE_EMBED = click.option(
    "--embed",
    default="encoder",
    show_default=True,
    metavar="encoder|steps:N|target:DB",
    help="How pictures become latents.",
)
EDIT = click.option(
    "--edit",
    "edits",
    multiple=True,
    metavar="NAME[@V]=SCALE",
    shell_complete=complete_term,
    help="A vector and how far along it: a number; a sweep FIRST:LAST:COUNT; or, drawn for each "
    "item, uniform(A,B), choice(A,B), 50% or uniform (its usable range). Repeatable.",
)

SPACE = click.option(
    "--space",
    type=click.Choice(["W", "W+"]),
    default="W+",
    show_default=True,
    help="Of these latents: W+ comes closer to the image, W is easier to edit.",
)

VIEW = options(
    click.option(
        "--fit",
        type=click.Choice(["stretch", "crop", "pad"]),
        default="crop",
        show_default=True,
        help="How an image of another shape meets the generator's square: its middle square, or "
        "with --boxes the square around the box; stretched to it; or with black bars.",
    ),
    click.option(
        "--boxes",
        metavar="FILE",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Edit objects inside larger pictures: COCO annotations (JSON), or CSV with the "
        "columns file_name, x, y, width, height and, if wanted, label and id. In pixels of the "
        "upright picture (EXIF orientation applied).",
    ),
    setting_option(RunSettings, "box_margin"),
)
PHOTOGRAPHS = options(
    VIEW,
    click.option(
        "--output-size",
        type=click.Choice(["generator", "original"]),
        default="generator",
        show_default=True,
        help="original: the whole picture at its own size, with the change added to it.",
    ),
    click.option(
        "--keep-profile",
        is_flag=True,
        help="Outputs in the colours of their inputs, with profile and transparency, not in sRGB; "
        "with --output-size original.",
    ),
)
EDITING = options(
    click.option(
        "--composite",
        type=click.Choice(["feather", "gradient", "none"]),
        default="feather",
        show_default=True,
        help="How the edit comes back into the input's pixels: with a soft edge; in its colours, "
        "without a seam; or not at all: then the whole image is the generator's.",
    ),
    setting_option(RunSettings, "refine_steps"),
    click.option(
        "--roi",
        metavar="PART,...",
        shell_complete=complete_parts,
        help="Parts that may change. [default: those of the edits' vectors]",
    ),
    click.option(
        "--recipes",
        metavar="FILE",
        type=click.Path(path_type=Path, dir_okay=False),
        help="YAML file of further recipes, each with its own edits and mode.",
    ),
    click.option("--force-scale", is_flag=True, help="Accept scales outside a vector's range."),
    click.option(
        "--chunk-size",
        type=click.IntRange(1, 64),
        help="Inputs per chunk. [default: what takes a minute]",
    ),
)
OUTPUT = options(
    click.option(
        "--format", "image_format", default="png", show_default=True,
        metavar="png|jpeg[:Q]|webp[:Q]|webp:lossless",
        help="Of the images; masks are PNG. jpeg (Q 95) and webp (Q 90) lose a little everywhere: "
        "pixels that no edit may touch then differ from the input.",
    ),
    click.option(
        "--write", "output", type=click.Choice(["imagefolder", "coco", "webdataset"]),
        default="imagefolder", show_default=True,
        help="Files for Hugging Face datasets; these with COCO annotations; or tar shards.",
    ),
)  # fmt: skip
GATES = options(
    click.option(
        "--max-leakage", type=float, metavar="D",
        help="Reject what changed more than this outside the ROI, as a perceptual distance.",
    ),
    click.option(
        "--max-uncertainty", type=float, metavar="NATS",
        help="Reject where the part labels are less certain than this.",
    ),
    click.option(
        "--refine",
        type=click.Choice(["no", "auto"]),
        default="no",
        show_default=True,
        help="auto: refine what --max-leakage would reject, and judge it again.",
    ),
)  # fmt: skip
WORKERS = options(
    click.option(
        "--workers",
        type=click.Choice(["local", "celery"]),
        default="local",
        show_default=True,
        help="Compute in this process, or have `editvec worker`s do it.",
    ),
    click.option(
        "--priority",
        type=click.Choice(["high", "normal", "low"]),
        help="Of the run's chunks among those that wait for workers; may be changed at any time. "
        "[default: as it is; of a new run, normal]",
    ),
    click.option(
        "--detach",
        is_flag=True,
        help="With --workers celery: plan, publish, print the run's id and leave.",
    ),
)
EXECUTION = options(
    DEVICE,
    click.option(
        "--batch-size", type=click.IntRange(1, 1024), default=16, show_default=True,
        help="Inputs that are computed at a time, at most.",
    ),
    click.option(
        "--max-memory", callback=_size, metavar="SIZE",
        help="Of the images that are computed at a time, such as 6GB: as many as fit. "
        "[default: $EDITVEC_MAX_MEMORY or most of what is free]",
    ),
    WORKERS,
    JSON,
)  # fmt: skip
