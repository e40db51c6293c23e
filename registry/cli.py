"""Command groups `registry`, `model` and `db`: thin twins of the library's functions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from registry.config import RegistryConfig
    from registry.store import Library

Command = TypeVar("Command", bound=Callable[..., Any])
Value = TypeVar("Value")

KINDS = ("learned", "imported", "composed")

# --- options that several commands share ---


def json_option(command: Command) -> Command:
    """`--json`: JSON instead of a table."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def class_option(command: Command) -> Command:
    """`--class`: which class model."""
    return click.option(
        "--class",
        "class_name",
        metavar="NAME",
        help="Class model; may be left out when the library holds only one.",
    )(command)


def description_options(command: Command) -> Command:
    """What people write about a new vector."""
    for option in (
        click.option("--reason", default="", help="Why; kept in the history."),
        click.option("--tag", "tags", multiple=True, metavar="TAG", help="Tag; repeatable."),
        click.option("--license", "license_name", default="", help="Licence of the vector."),
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
    from registry.store import Library

    with Library.open(library_config(obj)) as library:
        yield library


def library_config(obj: dict[str, Any]) -> RegistryConfig:
    """The configuration that the root command's --home and the environment name."""
    from registry.config import RegistryConfig

    return RegistryConfig.from_environment(obj.get("home"))


def emit(value: Value, text: Callable[[Value], str], *, as_json: bool) -> None:
    """Prints entities as JSON for programs, or as text for people; an empty list as no text."""
    if as_json:
        from registry.records import as_json as to_json

        click.echo(json.dumps(to_json(value), indent=2, ensure_ascii=False))
    elif value:
        click.echo(text(value))


# --- registry ---


@click.group()
def registry() -> None:
    """Editing vectors: add, list, show, compose, export, import."""


@registry.command("add")
@click.argument("file", type=click.Path(path_type=Path))
@class_option
@click.option("--name", help="Name of the vector. [default: the file's name]")
@click.option("--version", type=click.IntRange(min=1), help="Version. [default: the next]")
@click.option(
    "--roi",
    required=True,
    callback=split_names,
    metavar="PARTS",
    help="Parts that the vector may change, separated by commas.",
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
    *,
    file: Path,
    class_name: str | None,
    name: str | None,
    version: int | None,
    roi: list[str],
    mask_pairs: Sequence[tuple[Path, Path, Path]],
    description: str,
    license_name: str,
    tags: Sequence[str],
    reason: str,
    as_json: bool,
) -> None:
    """Store the vector of FILE (safetensors or .npy) as a new version of NAME."""
    from registry.codec import read_delta
    from registry.entities import Kind, NewVector, VectorParcel
    from registry.masks import read_mask_pair

    with opened(obj) as library:
        model = library.get_class(class_name)
        new = NewVector(
            class_name=model.address,
            name=name or file.stem,
            version=version,
            kind=Kind.IMPORTED,
            roi_labels=tuple(roi),
            description=description,
            license=license_name,
            tags=tuple(tags),
        )
        parcel = VectorParcel(
            new=new,
            delta=read_delta(file, num_ws=model.num_ws, w_dim=model.w_dim),
            pairs=tuple(read_mask_pair(*paths) for paths in mask_pairs),
        )
        stored = library.add_vectors([parcel], reason=reason)[0]
    known = "" if stored.is_new else " (the library held it already)"
    emit(stored.vector, lambda vector: f"{vector.address}{known}", as_json=as_json)


@registry.command("list")
@click.argument("name_glob", required=False, metavar="[NAME]")
@class_option
@click.option("--roi", "roi_label", metavar="PART", help="Only vectors that may change this part.")
@click.option("--kind", type=click.Choice(KINDS), help="Only vectors of this origin.")
@click.option("--tag", help="Only vectors with this tag.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many.")
@json_option
@click.pass_obj
def registry_list(
    obj: dict[str, Any],
    *,
    name_glob: str | None,
    class_name: str | None,
    roi_label: str | None,
    kind: str | None,
    tag: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """List vectors; NAME may hold `*` and `?`."""
    from registry.display import vectors_text

    with opened(obj) as library:
        found = library.find_vectors(
            class_name=class_name,
            name_glob=name_glob,
            roi_label=roi_label,
            kind=kind,
            tag=tag,
            limit=limit,
        )
    if not found:
        click.echo("no vectors", err=True)
    emit(found, vectors_text, as_json=as_json)


@registry.command("show")
@click.argument("address")
@class_option
@json_option
@click.pass_obj
def registry_show(
    obj: dict[str, Any], *, address: str, class_name: str | None, as_json: bool
) -> None:
    """Show everything about the vector at ADDRESS: class/name@version."""
    from registry.display import vector_text

    with opened(obj) as library:
        vector = library.get_vector(address, class_name=class_name)
    emit(vector, vector_text, as_json=as_json)


@registry.command("compose")
@click.argument("name")
@click.option(
    "--term",
    "terms",
    multiple=True,
    required=True,
    metavar="NAME=SCALE",
    help="Summand, such as smile=1, look-left@2=-0.5 or smile[4:9]=0.8 (rows 4 to 8 of ws only).",
)
@class_option
@click.option(
    "--roi", callback=split_names, metavar="PARTS", help="ROI parts. [default: all of the terms']"
)
@click.option("--dry-run", is_flag=True, help="Only report how the terms work together.")
@description_options
@json_option
@click.pass_obj
def registry_compose(
    obj: dict[str, Any],
    *,
    name: str,
    terms: Sequence[str],
    class_name: str | None,
    roi: list[str],
    dry_run: bool,
    description: str,
    license_name: str,
    tags: Sequence[str],
    reason: str,
    as_json: bool,
) -> None:
    """Store a weighted sum of vectors as NAME, with its terms."""
    from registry.composition import parse_term
    from registry.display import composition_text
    from registry.entities import parse_address

    with opened(obj) as library:
        model = library.get_class(parse_address(name).class_name or class_name)
        parsed = [parse_term(text, num_ws=model.num_ws) for text in terms]
        planned = library.plan_composition(parsed, class_name=model.name)
        vector = None
        if not dry_run:
            vector = library.compose(
                name,
                planned.terms,
                class_name=model.name,
                roi_labels=roi,
                license=license_name,
                description=description,
                tags=tags,
                reason=reason,
            )
    last = "nothing stored (dry run)" if vector is None else vector.address
    emit(
        vector or planned.report,
        lambda _: f"{composition_text(planned)}\n{last}",
        as_json=as_json,
    )


@registry.command("export")
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("names", nargs=-1, required=True)
@class_option
@json_option
@click.pass_obj
def registry_export(
    obj: dict[str, Any],
    *,
    path: Path,
    names: Sequence[str],
    class_name: str | None,
    as_json: bool,
) -> None:
    """Write the vectors NAMES, with all that they are made of, to one archive PATH."""
    from registry.exchange import export_library

    with opened(obj) as library:
        addresses = [library.get_vector(name, class_name=class_name).address for name in names]
        exported = export_library(library, path, addresses)
    names_there = [vector.address for vector in exported]
    text = f"{path}: {', '.join(names_there)}"
    emit({"path": str(path), "vectors": names_there}, lambda _: text, as_json=as_json)


@registry.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--reason", default="", help="Why; kept in the history.")
@json_option
@click.pass_obj
def registry_import(obj: dict[str, Any], *, path: Path, reason: str, as_json: bool) -> None:
    """Install every vector of the archive PATH, or none."""
    from registry.display import imported_text
    from registry.exchange import import_library

    with opened(obj) as library:
        imported = import_library(library, path, reason=reason)
    emit(imported, imported_text, as_json=as_json)


# --- model ---


@click.group()
def model() -> None:
    """Class models: add, list, show."""


@model.command("add")
@click.argument("folder", type=click.Path(path_type=Path))
@json_option
@click.pass_obj
def model_add(obj: dict[str, Any], *, folder: Path, as_json: bool) -> None:
    """Store the class bundle in FOLDER (bundle.json and its safetensors)."""
    with opened(obj) as library:
        added = library.add_bundle(folder)
    emit(added, lambda model: str(model.address), as_json=as_json)


@model.command("list")
@json_option
@click.pass_obj
def model_list(obj: dict[str, Any], *, as_json: bool) -> None:
    """List the class models."""
    from registry.display import classes_text

    with opened(obj) as library:
        found = library.classes()
    if not found:
        click.echo("no classes; `editvec model add FOLDER` adds one", err=True)
    emit(found, classes_text, as_json=as_json)


@model.command("show")
@click.argument("address", required=False, metavar="[CLASS]")
@json_option
@click.pass_obj
def model_show(obj: dict[str, Any], *, address: str | None, as_json: bool) -> None:
    """Show a class model: its parts, files and digests."""
    from registry.display import class_text

    with opened(obj) as library:
        found = library.get_class(address)
    emit(found, class_text, as_json=as_json)


# --- db ---


@click.group()
def db() -> None:
    """The database's tables: upgrade, current."""


@db.command("upgrade")
@click.pass_obj
def db_upgrade(obj: dict[str, Any]) -> None:
    """Create or upgrade the tables of the library and the runs."""
    from registry.schema import upgrade

    before = upgrade(library_config(obj))
    if before.is_current:
        click.echo(f"revision {before.head}: up to date")
    else:
        click.echo(f"revision {before.revision or 'none'} -> {before.head}")


@db.command("current")
@json_option
@click.pass_obj
def db_current(obj: dict[str, Any], *, as_json: bool) -> None:
    """Show the revision of the tables and the one that this program needs."""
    from registry.schema import current

    status = current(library_config(obj))
    advice = "up to date" if status.is_current else "run `editvec db upgrade`"
    text = f"revision {status.revision or 'none'}, head {status.head}: {advice}"
    emit(status, lambda _: text, as_json=as_json)


COMMANDS: list[click.Command] = [registry, model, db]
