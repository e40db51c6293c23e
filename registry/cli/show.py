"""Commands that look at one vector or at what was done: show, history."""

from __future__ import annotations

from typing import Any

import click

from editvec.registry.cli.completion import complete_address
from editvec.registry.cli.options import class_option, emit, json_option, opened, registry
from editvec.registry.cli.pictures import picture_options, show_pictures


@registry.command("show")
@click.argument("address", shell_complete=complete_address)
@class_option
@picture_options
@json_option
@click.pass_obj
def registry_show(
    obj: dict[str, Any], /, *, address: str, class_name: str | None, as_json: bool, **pictures: Any
) -> None:
    """Show everything about the vector at ADDRESS: class/name@version."""
    from editvec.registry.cli.vector_text import vector_text
    from editvec.registry.library.records import as_json as to_json

    with opened(obj) as library:
        vector = library.get_vector(address, class_name=class_name)
        used_by = library.dependents(vector.address)
        history = library.history(vector.address)
        digest = vector.preview_digest
        preview = None if digest is None else library.blobs.place(digest)
        show_pictures(library, vector, **pictures)
    everything = {**to_json(vector), "preview": preview, "used_by": used_by, "history": history}
    text = vector_text(vector, preview=preview, used_by=used_by, history=history)
    emit(everything, lambda _: text, as_json=as_json)


@registry.command("history")
@click.argument("name", required=False, metavar="[NAME]", shell_complete=complete_address)
@class_option
@click.option("--limit", type=click.IntRange(min=1), help="Only the newest so many.")
@json_option
@click.pass_obj
def registry_history(
    obj: dict[str, Any],
    *,
    name: str | None,
    class_name: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """Show who did what, when and why, the newest last.

    NAME is a vector with all its versions and aliases, one version (smile@2), or a class with all
    its vectors. Without NAME, everything.
    """
    from editvec.registry.cli.vector_text import history_text

    with opened(obj) as library:
        entries = library.history(name, class_name=class_name, limit=limit)
    if not entries:
        click.echo("nothing was done yet", err=True)
    emit(entries, history_text, as_json=as_json)
