"""Files that are whole or not there; what goes wrong becomes an error of the library."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from editvec import whole_files
from editvec.registry.errors import BlobError, LibraryDiskFullError

_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


def is_digest(text: object) -> bool:
    """True for 64 lower-case hexadecimal digits."""
    return isinstance(text, str) and _DIGEST.match(text) is not None


def check_digest(digest: str) -> str:
    """Returns a digest.

    Raises:
        BlobError: it is none, and could be a path to somewhere else.
    """
    if not is_digest(digest):
        raise BlobError(f"blob: expected a SHA-256 in hex, got {digest!r}")
    return digest


def write_atomically(path: Path, data: bytes) -> None:
    """Writes a file that is whole or not there: temporary name, fsync, rename.

    Raises:
        BlobError: it cannot be written; DiskFullError when no space is left.
    """
    if not path.parent.is_dir():
        raise BlobError(f"file {path}: its folder does not exist")
    with foreign_errors(f"file {path}"):
        whole_files.write_whole(path, data)


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that must not exist yet; synced at the end, gone when the block fails.

    Raises:
        BlobError: it cannot be written; DiskFullError when no space is left.
    """
    with foreign_errors(f"file {path}"), whole_files.new_file(path) as file:
        yield file


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A new folder inside `parent`, gone at the end unless it was renamed away."""
    import shutil
    import tempfile

    with foreign_errors(f"folder {parent}"):
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=whole_files.TEMPORARY_PREFIX, dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def foreign_errors(subject: str) -> Iterator[None]:
    """Turns errors of files into ours."""
    try:
        yield
    except BlobError:
        raise
    except FileNotFoundError as exc:
        raise BlobError(f"{subject}: not found") from exc
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise LibraryDiskFullError(f"{subject}: no space left on the disk") from exc
        raise BlobError(f"{subject}: {exc.strerror or exc}") from exc
