"""Commands that look at one vector or at what was done: show, history."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from editvec.outputs import OutputFile, output_file, overwrite_option
from editvec.registry.cli.completion import complete_address
from editvec.registry.cli.options import class_option, emit, json_option, opened, registry
from editvec.registry.errors import RecordError

if TYPE_CHECKING:
    from editvec.registry.entities.vectors import EditingVector
    from editvec.registry.library.library import Library


_Command = TypeVar("_Command", bound=Callable[..., Any])
_PNG = click.Path(path_type=Path, dir_okay=False)


def picture_options(command: _Command) -> _Command:
    """`--pair`, `--preview`, `--overwrite` and `--open`."""
    for option in (
        overwrite_option,
        click.option("--open", "open_pair", is_flag=True, help="Open the mask pair in a viewer."),
        click.option(
            "--preview",
            "preview_path",
            type=_PNG,
            callback=output_file,
            metavar="PNG",
            help="Write the preview here.",
        ),
        click.option(
            "--pair",
            "pair_path",
            type=_PNG,
            callback=output_file,
            metavar="PNG",
            help="Write the mask pair here, side by side.",
        ),
    ):
        command = option(command)
    return command


def show_pictures(
    library: Library,
    vector: EditingVector,
    *,
    pair_path: OutputFile | None,
    preview_path: OutputFile | None,
    open_pair: bool,
) -> None:
    """Does what the options of `picture_options` say; tells on stderr what was written.

    Raises:
        MaskError: the vector has no mask pair.
        RecordError: it has no preview.
        BlobError: a picture is missing or was altered.
        OutputError: a file cannot be written.
        ClickException: there is nothing to view pictures with.
    """
    if preview_path is not None:
        if vector.preview_digest is None:
            raise RecordError(
                f"vector {vector.address} has no preview; "
                f"`editvec registry preview {vector.address}` draws one"
            )
        preview_path.write(library.blobs.get(vector.preview_digest))
        click.echo(f"{preview_path}: the preview of {vector.address}", err=True)
    if pair_path is None and not open_pair:
        return
    from editvec.registry.library.pictures import picture_of_pairs

    png = picture_of_pairs(library, vector)
    if pair_path is not None:
        pair_path.write(png)
        click.echo(f"{pair_path}: the mask pair of {vector.address}", err=True)
    if open_pair:
        _open(png, name=f"{vector.name}@{vector.version}.png")


def _open(png: bytes, *, name: str) -> None:
    """Shows a picture in the system's viewer; its file stays, for viewers that return at once."""
    program = shutil.which("open" if sys.platform == "darwin" else "xdg-open")
    if program is not None:
        path = Path(tempfile.mkdtemp(prefix="editvec-")) / name
        path.write_bytes(png)
        if subprocess.run([program, path], stderr=subprocess.DEVNULL, check=False).returncode == 0:
            return
        shutil.rmtree(path.parent)
    raise click.ClickException("no viewer for pictures here; --pair PNG writes the mask pair")


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
    from editvec.registry.library.records import told_json as to_json

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
