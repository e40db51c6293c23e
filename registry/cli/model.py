"""Command groups `model` and `db`: class models, and the tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from editvec.outputs import OutputFile, output_place, overwrite_option
from editvec.registry.cli.completion import complete_class
from editvec.registry.cli.options import (
    class_option,
    emit,
    json_option,
    library_config,
    opened,
    reason_option,
    split_names,
)


@click.group()
def model() -> None:
    """Class models: import, add, list, show, compare, verify, export, name groups of parts."""


@model.command("list")
@json_option
@click.pass_obj
def model_list(obj: dict[str, Any], *, as_json: bool) -> None:
    """List the class models."""
    from editvec.registry.cli.vector_text import classes_text

    with opened(obj) as library:
        found = library.classes()
    if not found:
        from editvec.registry.bundles.shipped import how_to_add

        click.echo(f"no classes; {how_to_add()} adds one", err=True)
    emit(found, classes_text, as_json=as_json)


@model.command("show")
@click.argument("address", required=False, metavar="[CLASS]", shell_complete=complete_class)
@json_option
@click.pass_obj
def model_show(obj: dict[str, Any], *, address: str | None, as_json: bool) -> None:
    """Show a class model: its networks, parts, versions, files and digests."""
    from editvec.registry.cli.model_text import class_text
    from editvec.registry.library.contents import contents_of
    from editvec.registry.library.records import told_json as to_json

    with opened(obj) as library:
        found = library.get_class(address)
        contents = contents_of(library, found)
    if as_json:
        click.echo(json.dumps({**to_json(found), **to_json(contents)}, indent=2))
    else:
        click.echo(class_text(found, contents))


@model.command("export")
@click.argument("address", metavar="CLASS", shell_complete=complete_class)
@click.argument("target", type=click.Path(path_type=Path), callback=output_place, metavar="OUT")
@overwrite_option
@json_option
@click.pass_obj
def model_export(obj: dict[str, Any], *, address: str, target: OutputFile, as_json: bool) -> None:
    """Write the bundle of CLASS as the folder OUT, or as one file if OUT ends in .tar.

    The same version gives the same bytes; `editvec model add OUT` takes it back. A folder that
    exists is never replaced.
    """
    from editvec.registry.library.records import told_json as to_json
    from editvec.registry.sharing.bundle_archives import check_target, export_bundle

    check_target(target)
    with opened(obj) as library:
        found = library.get_class(address)
        export_bundle(library, found, target)
    record = {**to_json(found), "file": str(target)}
    emit(record, lambda _: f"{found.address}: {target}", as_json=as_json)


@model.command("group")
@click.argument("name")
@click.argument("parts", required=False, callback=split_names, metavar="[PART,...]")
@class_option
@click.option("--remove", is_flag=True, help="Remove the group.")
@reason_option
@json_option
@click.pass_obj
def model_group(
    obj: dict[str, Any],
    *,
    name: str,
    parts: list[str],
    class_name: str | None,
    remove: bool,
    reason: str,
    as_json: bool,
) -> None:
    """Let NAME stand for several parts, or groups, wherever a part may stand.

    The bundle does not change, nor do vectors: an ROI is stored as its parts.

    \b
    editvec model group wheel tire,spoke,hub --class cars
    """  # noqa: D301 (click reads the backspace)
    if remove == bool(parts):
        raise click.UsageError("give the parts of the group, or --remove")
    with opened(obj) as library:
        changed = library.set_groups(class_name, {name: parts}, reason=reason)
    text = f"{name}: {', '.join(changed.parts([name]))}" if parts else f"{name}: removed"
    emit(changed, lambda _: text, as_json=as_json)


@click.group()
def db() -> None:
    """The tables of the database: create or upgrade them, or show their revision."""


@db.command("upgrade")
@json_option
@click.pass_obj
def db_upgrade(obj: dict[str, Any], *, as_json: bool) -> None:
    """Create or upgrade the tables of the library and the runs, and the blob store."""
    from editvec.registry.library.references import make_store
    from editvec.registry.tables.schema import upgrade

    config = library_config(obj)
    before = upgrade(config)
    if as_json:
        click.echo(json.dumps({"revision": before.head, "before": before.revision}, indent=2))
    elif before.is_current:
        click.echo(f"revision {before.head}: up to date")
    else:
        click.echo(f"revision {before.revision or 'none'} -> {before.head}")
    absence = make_store(config)
    if absence is not None:
        click.echo(
            f"blob store {config.blob_url}: {absence}, made anew; `editvec registry verify` names "
            "what is missing",
            err=True,
        )


@db.command("current")
@json_option
@click.pass_obj
def db_current(obj: dict[str, Any], *, as_json: bool) -> None:
    """Show the revision of the tables and the one that this program needs."""
    from editvec.registry.tables.schema import current

    status = current(library_config(obj))
    advice = "up to date" if status.is_current else "run `editvec db upgrade`"
    text = f"revision {status.revision or 'none'}, head {status.head}: {advice}"
    emit(status, lambda _: text, as_json=as_json)
