"""Files that are whole or not there, whatever is killed while they are written.

Standard library only, and errors as the system gives them: every package writes its files here and
tells of errors in its own words.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

TEMPORARY_PREFIX = ".incoming-"
"""What unfinished files and folders are called: whoever finds an old one may remove it."""

BLOCK = 1 << 20
_OF_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under a temporary name beside its place, sync it, rename it, sync the folder.

    Raises:
        OSError: It cannot be written; what was there before still is.
    """
    with appearing(path) as file:
        file.write(data)


@contextmanager
def appearing(target: Path) -> Iterator[IO[bytes]]:
    """A file to write to that takes its place, `target`, when the block ends well.

    Its mode is what the umask leaves of 0o666. When the block fails, nothing of it stays.

    Raises:
        OSError: It cannot be written; what was there before still is.
    """
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException as exc:
        with suppress(OSError):
            temporary.unlink()
        _name(exc, target)
        raise
    sync_folder(target.parent)


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to that must not exist yet; synced at the end, gone when the block fails.

    Raises:
        OSError: It exists, or cannot be written.
    """
    with path.open("xb") as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
        except BaseException as exc:
            path.unlink()
            _name(exc, path)
            raise


def _name(error: BaseException, path: Path) -> None:
    """Says of an error in writing which file it was: the system does not."""
    if isinstance(error, OSError) and error.filename is None and error.errno in _OF_WRITING:
        error.filename = str(path)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all bytes to an open file: the system may take a part of them at a time."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def sync_folder(folder: Path) -> None:
    """Make a rename inside a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def copy_blocks(source: IO[bytes], target: IO[bytes]) -> str:
    """Copy block by block; return the digest of what went through."""
    running = hashlib.sha256()
    while block := source.read(BLOCK):
        running.update(block)
        target.write(block)
    return running.hexdigest()


def digest_of(data: bytes) -> str:
    """SHA-256 of bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file, in hex, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
