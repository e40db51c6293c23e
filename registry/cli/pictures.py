"""The pictures of a vector on the command line: written to files, and opened."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from editvec.registry.errors import RecordError

if TYPE_CHECKING:
    from editvec.registry.entities.vectors import EditingVector
    from editvec.registry.library.library import Library

_Command = TypeVar("_Command", bound=Callable[..., Any])
_PNG = click.Path(path_type=Path, dir_okay=False)


def picture_options(command: _Command) -> _Command:
    """`--pair`, `--preview` and `--open`."""
    for option in (
        click.option("--open", "open_pair", is_flag=True, help="Open the mask pair in a viewer."),
        click.option(
            "--preview", "preview_path", type=_PNG, metavar="PNG", help="Write the preview here."
        ),
        click.option(
            "--pair",
            "pair_path",
            type=_PNG,
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
    pair_path: Path | None,
    preview_path: Path | None,
    open_pair: bool,
) -> None:
    """Does what the options of `picture_options` say; tells on stderr what was written.

    Raises:
        MaskError: the vector has no mask pair.
        RecordError: it has no preview.
        BlobError: a picture is missing or was altered, or a file cannot be written.
        ClickException: there is nothing to view pictures with.
    """
    from editvec.registry.blobs.store import write_atomically

    if preview_path is not None:
        if vector.preview_digest is None:
            raise RecordError(
                f"vector {vector.address} has no preview; "
                f"`editvec registry preview {vector.address}` draws one"
            )
        write_atomically(preview_path, library.blobs.get(vector.preview_digest))
        click.echo(f"{preview_path}: the preview of {vector.address}", err=True)
    if pair_path is None and not open_pair:
        return
    from editvec.registry.masks.pictures import picture_of_pairs

    png = picture_of_pairs(library, vector)
    if pair_path is not None:
        write_atomically(pair_path, png)
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
