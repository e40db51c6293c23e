"""Commands that name and judge vectors: alias, unalias, retire, restore, tag."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from editvec.registry.cli.completion import complete_address, complete_retired, complete_tag
from editvec.registry.cli.options import (
    class_option,
    emit,
    json_option,
    opened,
    reason_option,
    registry,
)


@registry.command("alias")
@click.argument("address", shell_complete=complete_address)
@click.argument("alias")
@class_option
@reason_option
@json_option
@click.pass_obj
def registry_alias(
    obj: dict[str, Any],
    *,
    address: str,
    alias: str,
    class_name: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Let ALIAS stand for the version at ADDRESS, and for no other version of the vector.

    `editvec registry alias smile@2 stable` makes `smile@stable` mean version 2.
    """
    with opened(obj) as library:
        vector = library.set_alias(address, alias, reason=reason, class_name=class_name)
    text = f"{vector.class_name}/{vector.name}@{alias} is {vector.address}"
    emit(vector, lambda _: text, as_json=as_json)


@registry.command("unalias")
@click.argument("name", shell_complete=complete_address)
@click.argument("alias")
@class_option
@reason_option
@json_option
@click.pass_obj
def registry_unalias(
    obj: dict[str, Any],
    *,
    name: str,
    alias: str,
    class_name: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Remove ALIAS from the vector NAME; all versions stay."""
    with opened(obj) as library:
        vector = library.remove_alias(name, alias, reason=reason, class_name=class_name)
    text = f"{vector.class_name}/{vector.name}@{alias} is gone; it was {vector.address}"
    emit(vector, lambda _: text, as_json=as_json)


@registry.command("retire")
@click.argument(
    "addresses",
    nargs=-1,
    required=True,
    metavar="NAME@VERSION...",
    shell_complete=complete_address,
)
@class_option
@click.option("--reason", required=True, help="Why; kept in the history.")
@json_option
@click.pass_obj
def registry_retire(
    obj: dict[str, Any],
    *,
    addresses: Sequence[str],
    class_name: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Retire versions: no longer listed, refused for new work, but never deleted."""
    with opened(obj) as library:
        retired = library.retire_vectors(addresses, reason=reason, class_name=class_name)
        used_by = {one.address: library.dependents(one.address) for one in retired}
    for address, others in used_by.items():
        if others:
            click.echo(f"{address} stays a part of {', '.join(others)}", err=True)
    text = "\n".join(f"{vector.address} is retired" for vector in retired)
    emit(retired, lambda _: text, as_json=as_json)


@registry.command("restore")
@click.argument(
    "addresses",
    nargs=-1,
    required=True,
    metavar="NAME@VERSION...",
    shell_complete=complete_retired,
)
@class_option
@reason_option
@json_option
@click.pass_obj
def registry_restore(
    obj: dict[str, Any],
    *,
    addresses: Sequence[str],
    class_name: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Bring retired versions back."""
    with opened(obj) as library:
        restored = library.restore_vectors(addresses, reason=reason, class_name=class_name)
    text = "\n".join(f"{vector.address} is active" for vector in restored)
    emit(restored, lambda _: text, as_json=as_json)


@registry.command("tag")
@click.argument("address", shell_complete=complete_address)
@class_option
@click.option(
    "--add",
    multiple=True,
    metavar="TAG",
    shell_complete=complete_tag,
    help="Tag that it shall have; repeatable.",
)
@click.option(
    "--remove",
    multiple=True,
    metavar="TAG",
    shell_complete=complete_tag,
    help="Tag that it shall not have; repeatable.",
)
@reason_option
@json_option
@click.pass_obj
def registry_tag(
    obj: dict[str, Any],
    *,
    address: str,
    class_name: str | None,
    add: Sequence[str],
    remove: Sequence[str],
    reason: str,
    as_json: bool,
) -> None:
    """Add tags to the version at ADDRESS, and remove others."""
    if not add and not remove:
        raise click.UsageError("give --add TAG or --remove TAG")
    with opened(obj) as library:
        vector = library.tag(address, add=add, remove=remove, reason=reason, class_name=class_name)
    tags = ", ".join(vector.tags) or "no tags"
    emit(vector, lambda _: f"{vector.address}: {tags}", as_json=as_json)
