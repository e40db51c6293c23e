"""Options and output that the library's commands share, and their groups."""

from __future__ import annotations

import gc
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from editvec.registry.cli.completion import complete_class, complete_tag

if TYPE_CHECKING:
    from editvec.registry.config import RegistryConfig
    from editvec.registry.library.library import Library

Command = TypeVar("Command", bound=Callable[..., Any])
Value = TypeVar("Value")

KINDS = ("learned", "imported", "composed")
SPACES = ("Z", "W", "W+", "S")
POLICIES = ("labels", "brush", "union")


@click.group()
def registry() -> None:
    """Editing vectors: add, find, name, compose, share and check them."""


def json_option(command: Command) -> Command:
    """`--json`: JSON instead of a table."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def class_option(command: Command) -> Command:
    """`--class`: which class model."""
    return click.option(
        "--class",
        "class_name",
        metavar="CLASS",
        shell_complete=complete_class,
        help="Class model. [default: the only one]",
    )(command)


def reason_option(command: Command) -> Command:
    """`--reason`: why something is done."""
    return click.option("--reason", default="", help="Why; kept in the history.")(command)


def description_options(command: Command) -> Command:
    """What people write about a new vector."""
    for option in (
        reason_option,
        click.option(
            "--tag",
            "tags",
            multiple=True,
            metavar="TAG",
            shell_complete=complete_tag,
            help="Tag; repeatable.",
        ),
        click.option("--license", "license_name", default="", help="License of the vector."),
        click.option("--description", default="", help="What the vector does."),
    ):
        command = option(command)
    return command


def split_names(_context: click.Context, _parameter: click.Parameter, value: str) -> list[str]:
    """Splits `mouth,teeth` at its commas."""
    return [name.strip() for name in (value or "").split(",") if name.strip()]


@contextmanager
def opened(obj: dict[str, Any]) -> Iterator[Library]:
    """The library that the root command's --home and the environment name."""
    with _library_class().open(library_config(obj)) as library:
        yield library


def _library_class() -> type[Library]:
    """Loads the library's modules, which is most of what a listing costs.

    Modules are no garbage: to search them for some, while they load and when the process ends,
    would take a fifth of a listing's time.
    """
    first, collects = "editvec.registry.library.library" not in sys.modules, gc.isenabled()
    gc.disable()
    try:
        from editvec.registry.library.library import Library
    finally:
        if collects:
            gc.enable()
    if first:
        gc.freeze()
    return Library


def library_config(obj: dict[str, Any]) -> RegistryConfig:
    """The configuration that the root command's --home and the environment name."""
    from editvec.registry.config import RegistryConfig

    return RegistryConfig.from_environment(obj.get("home"))


def _escaped(found: re.Match[str]) -> str:
    """A character of JSON text, escaped if it does not print."""
    return found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1]


def emit(value: Value, text: Callable[[Value], str], *, as_json: bool) -> None:
    """Prints entities as JSON for programs, or as text for people; an empty list as no text."""
    if as_json:
        from editvec.registry.library.records import told_json as to_json

        printed = json.dumps(to_json(value), indent=2, ensure_ascii=False)
        # JSON escapes control characters only; its own lines stay
        click.echo(re.sub(r"[^\n -~]", _escaped, printed))
    elif value:
        click.echo(text(value))
