"""Files that a user names for a result: what may be replaced, and what not.

A file that is there already is replaced only where this program wrote it and nobody has changed it
since, or where `--overwrite` is given. So a PNG or a page carries a mark with the digest of the
rest; archives, bundles and vector files say themselves what they are. Nothing is ever written into
the library's own folders. What is wrong is told before the work begins.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import click

from editvec.whole_files import write_whole

OVERWRITE = "--overwrite"
KEPT = "kept_folders"
"""In click's object: a function that gives the folders of the library, where nothing is written."""

MAX_MARKED_BYTES = 1 << 28
"""Larger pictures and pages are nobody's: they are not read to find the mark."""

_TYPED = "editvec.outputs.overwrite"
_KEYWORD = b"editvec-output"
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = 12
_PAGE = re.compile(rb'<meta name="generator" content="editvec ([0-9a-f]{64})">\n')
_HEAD = re.compile(rb"<head[^>]*>(<meta charset=[^>]*>)?\n?")
_MAX_HEADER = 100 << 20

_Command = TypeVar("_Command", bound=Callable[..., Any])


class OutputError(click.ClickException):
    """A result cannot be written where it was asked for: another one's file is there, say."""


@dataclass(frozen=True)
class OutputFile:
    """A file for a result.

    Attributes:
        path: where.
        overwrite: replace whatever file is there.
        kept: folders in which nothing is written.
    """

    path: Path
    overwrite: bool = False
    kept: Sequence[Path] = ()

    def __str__(self) -> str:
        return str(self.path)

    def check(self, *, makes_folder: bool = False) -> None:
        """Refuses a place that cannot be written to, or must not be.

        Args:
            makes_folder: the folder of the file is made where it is missing.

        Raises:
            OutputError: names the file and what to do.
        """
        self.check_place()
        folder = self.path.absolute().parent
        if not folder.is_dir() and not makes_folder:
            raise OutputError(f"{self.path}: its folder does not exist")
        if folder.is_dir() and not os.access(folder, os.W_OK):
            raise OutputError(f"{self.path}: its folder cannot be written to")
        if not os.path.lexists(self.path):
            return
        mode = self.path.lstat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
            raise OutputError(f"{self.path}: it is no regular file; choose another name")
        if self.path.is_dir():
            raise OutputError(f"{self.path}: it is a folder; choose another name")
        if not self.overwrite and not is_own(self.path):
            raise OutputError(
                f"{self.path}: it exists, and editvec did not write it or it was changed since; "
                f"choose another name, or give {OVERWRITE}"
            )

    def check_place(self) -> None:
        """Refuses the library's own folders.

        Raises:
            OutputError: the file or folder lies in one.
        """
        place = Path(os.path.realpath(self.path.absolute().parent)) / self.path.name
        for one in self.kept:
            folder = Path(os.path.realpath(one))
            if place.is_relative_to(folder):
                raise OutputError(
                    f"{self.path}: it lies in a folder of the library, {folder}; choose another "
                    "place"
                )

    def check_new_folder(self) -> None:
        """Refuses a folder that holds files, unless they may be replaced.

        Raises:
            OutputError: names the folder and what to do.
        """
        self.check_place()
        if self.path.is_dir() and any(self.path.iterdir()) and not self.overwrite:
            raise OutputError(
                f"{self.path}: the folder holds files; choose a new or empty one, or give "
                f"{OVERWRITE}"
            )

    def write(self, data: bytes, *, makes_folder: bool = False) -> None:
        """Writes the file, marked, whole or not at all; checks the place again.

        Args:
            data: of the file.
            makes_folder: as for `check`.

        Raises:
            OutputError: as for `check`; or it cannot be written.
        """
        self.check(makes_folder=makes_folder)
        try:
            if makes_folder:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.path, marked(data))
        except OSError as exc:
            raise OutputError(f"{self.path}: cannot be written ({exc.strerror or exc})") from exc


def overwrite_option(command: _Command) -> _Command:
    """The option `--overwrite`, below those of the files."""
    # eager, so that it is known when the files are checked
    return click.option(
        OVERWRITE,
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_note_overwrite,
        help="Replace a file that is there, whoever wrote it.",
    )(command)


def _note_overwrite(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.meta[_TYPED] = value


def output_file(ctx: click.Context, _: click.Parameter, value: Path | None) -> Any:
    """Click's callback of a path: an `OutputFile` that was checked; None for None.

    Raises:
        OutputError: as for `OutputFile.check`.
    """
    if value is None:
        return None
    file = output_at(ctx, value)
    file.check()
    return file


def output_place(ctx: click.Context, _: click.Parameter, value: Path | None) -> Any:
    """The same of a path whose folder is made, and that may be a folder itself."""
    if value is None:
        return None
    file = output_at(ctx, value)
    file.check_place()
    return file


def output_folder(ctx: click.Context, _: click.Parameter, value: Path | None) -> Path | None:
    """Click's callback of a folder that is new or empty; its path.

    Raises:
        OutputError: as for `OutputFile.check_new_folder`.
    """
    if value is not None:
        output_at(ctx, value).check_new_folder()
    return value


def output_at(ctx: click.Context, path: Path) -> OutputFile:
    """A file of the command that runs."""
    kept = (ctx.obj or {}).get(KEPT, tuple)
    return OutputFile(path, bool(ctx.meta.get(_TYPED)), tuple(kept()))


# --- marks ---


def marked(data: bytes) -> bytes:
    """The bytes of a PNG or a page with the mark; others, and those that have it, as they are."""
    if data.startswith(_PNG):
        if _is_own_png(data):
            return data
        body, end = data[:-_PNG_END], data[-_PNG_END:]
        text = _KEYWORD + b"\0" + hashlib.sha256(data).hexdigest().encode()
        chunk = b"tEXt" + text
        sealed = len(text).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4)
        return body + sealed + end
    if data[:15].lower() == b"<!doctype html>" and (head := _HEAD.search(data)) is not None:
        if _is_own_page(data):
            return data
        digest = hashlib.sha256(data).hexdigest()
        line = f'<meta name="generator" content="editvec {digest}">\n'.encode()
        return data[: head.end()] + line + data[head.end() :]
    return data


def is_own(path: Path) -> bool:
    """Whether this program wrote the file, and it is as it was written; False for a link."""
    if path.is_symlink() or not path.is_file():
        return False
    import tarfile
    import zipfile

    try:
        with path.open("rb") as file:
            start = file.read(16)
            file.seek(0)
            if start.startswith(_PNG):
                return _is_own_png(file.read(MAX_MARKED_BYTES + 1))
            if start[:15].lower() == b"<!doctype html>":
                return _is_own_page(file.read(MAX_MARKED_BYTES + 1))
            if start.startswith(b"PK"):
                return _is_archive(file)
            return _is_vector_file(file) or _is_bundle(file)
    except (OSError, ValueError, RecursionError, zipfile.BadZipFile, tarfile.TarError):
        return False


def _is_own_png(data: bytes) -> bool:
    """Its last chunk but one is the mark, and holds the digest of the others."""
    length = len(_KEYWORD) + 1 + 64
    begin = len(data) - _PNG_END - length - 12
    text = data[begin + 8 : begin + 8 + length]
    if begin < 0 or data[begin + 4 : begin + 8] != b"tEXt" or not text.startswith(_KEYWORD):
        return False
    rest = data[:begin] + data[-_PNG_END:]
    return text[-64:] == hashlib.sha256(rest).hexdigest().encode()


def _is_own_page(data: bytes) -> bool:
    found = _PAGE.search(data)
    if found is None:
        return False
    rest = data[: found.start()] + data[found.end() :]
    return found[1] == hashlib.sha256(rest).hexdigest().encode()


def _is_archive(file: IO[bytes]) -> bool:
    """What `registry export` writes."""
    import zipfile

    with zipfile.ZipFile(file) as archive:
        if "manifest.json" not in archive.namelist():
            return False
        with archive.open("manifest.json") as manifest:
            content = json.loads(manifest.read(_MAX_HEADER))
    return isinstance(content, dict) and content.get("format") == "editvec-archive"


def _is_vector_file(file: IO[bytes]) -> bool:
    """What `registry export` writes into a name that ends in .safetensors."""
    file.seek(0)
    size = int.from_bytes(file.read(8), "little")
    if not 2 <= size <= _MAX_HEADER:
        return False
    header = file.read(size)
    if not header.startswith(b"{"):
        return False
    metadata = json.loads(header).get("__metadata__")
    return isinstance(metadata, dict) and "editvec" in metadata


def _is_bundle(file: IO[bytes]) -> bool:
    """What `model export` writes into a name that ends in .tar."""
    import tarfile

    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:") as archive:
        first = archive.next()
        if first is None or first.name != "bundle.json" or first.size > _MAX_HEADER:
            return False
        stream = archive.extractfile(first)
        content = {} if stream is None else json.loads(stream.read())
    return isinstance(content, dict) and content.get("format") == "editvec-bundle"
