"""Options of the commands that edit folders, one by one and in groups."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from editvec.batch.cli.output import JSON
from editvec.batch.cli.settings import setting_option
from editvec.batch.evaluation.settings import EvaluateSettings
from editvec.batch.execution.execution import Execution
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
DEVICE = setting_option(Execution, "device", metavar="DEVICE")


def page_option(help_text: str) -> Callable[[_COMMAND], _COMMAND]:
    """The options --html and --overwrite; see `editvec/outputs.py`."""
    file = click.Path(path_type=Path, dir_okay=False)
    page = click.option(
        "--html", "page", type=file, callback=_page_file, metavar="FILE", help=help_text
    )
    return lambda command: page(overwrite_option(command))


EMBEDDINGS = "encoder|steps:N|target:DB"
PROBE = setting_option(
    EvaluateSettings, "probe", type=click.Path(path_type=Path, file_okay=False), metavar="DIR"
)
PROBE_SEED = setting_option(EvaluateSettings, "seed")
PROBE_EMBED = setting_option(EvaluateSettings, "embed", metavar=EMBEDDINGS)
EDIT = click.option(
    "--edit",
    "edits",
    multiple=True,
    metavar="NAME[@V]=SCALE",
    shell_complete=complete_term,
    help="A vector and how far along it: a number; a sweep FIRST:LAST:COUNT; or, drawn for each "
    "item, uniform(A,B), choice(A,B), 50% or uniform (its usable range). Repeatable.",
)

SPACE = setting_option(RunSettings, "space")
VIEW = options(
    setting_option(RunSettings, "fit"),
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
    setting_option(RunSettings, "output_size"),
    setting_option(RunSettings, "keep_profile"),
)
CHUNK_SIZE = setting_option(RunSettings, "chunk_size", starts_at_one=True)
EDITING = options(
    setting_option(RunSettings, "composite"),
    setting_option(RunSettings, "refine_steps"),
    setting_option(RunSettings, "roi", metavar="PART,...", shell_complete=complete_parts),
    click.option(
        "--recipes",
        metavar="FILE",
        type=click.Path(path_type=Path, dir_okay=False),
        help="YAML file of further recipes, each with its own edits and mode.",
    ),
    click.option("--force-scale", is_flag=True, help="Accept scales outside a vector's range."),
    CHUNK_SIZE,
)
OUTPUT = options(
    setting_option(
        RunSettings, "image_format", "--format", metavar="png|jpeg[:Q]|webp[:Q]|webp:lossless"
    ),
    setting_option(RunSettings, "output", "--write"),
)
GATES = options(
    setting_option(RunSettings, "max_leakage", metavar="D"),
    setting_option(RunSettings, "max_uncertainty", metavar="NATS"),
    setting_option(RunSettings, "refine_auto", "--refine", values={"no": False, "auto": True}),
)
WORKERS = options(
    setting_option(Execution, "workers"),
    setting_option(Execution, "priority"),
    setting_option(Execution, "detach"),
)
EXECUTION = options(
    DEVICE,
    setting_option(Execution, "batch_size"),
    setting_option(Execution, "max_memory", type=click.STRING, callback=_size, metavar="SIZE"),
    WORKERS,
    JSON,
)
