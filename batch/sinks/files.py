"""Files that appear whole or not at all, and a disk that is full told apart from other trouble."""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from editvec.batch.errors import DiskFullError
from editvec.whole_files import write_all

# EFBIG: a file-size limit, which to the user is the same wall
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class FileWriter:
    """Writes files below one folder by way of temporary names in another on the same disk.

    What is left of a killed process lies in the temporary folder only, never beside the outputs.
    Files are not synced one by one: `sync` does it for all of them, before SQL says that they are
    there.
    """

    def __init__(self, temporary_folder: Path, *, prefix: str) -> None:
        """Makes the writer.

        Args:
            temporary_folder: made if it is missing.
            prefix: of the temporary names; different for all who write at the same time.
        """
        self.temporary_folder = temporary_folder
        self.prefix = prefix
        self._numbers = itertools.count()
        self._known_folders: set[Path] = set()

    def write(self, path: Path, data: bytes) -> None:
        """Writes a file, over an older one of the same name.

        Raises:
            DiskFullError: no space is left.
            OSError: the file cannot be written.
        """
        self.write_parts(path, [data])

    def write_parts(self, path: Path, parts: Iterable[bytes]) -> None:
        """Writes a file from its pieces, as `write` does."""
        try:
            self._make_folder(self.temporary_folder)
            self._make_folder(path.parent)
            temporary = self.temporary_folder / f"{self.prefix}-{next(self._numbers)}"
            try:
                descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
                try:
                    for part in parts:
                        write_all(descriptor, part)
                finally:
                    os.close(descriptor)
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        except OSError as exc:
            raise_if_full(exc, path)
            raise

    def sync(self) -> None:
        """Returns when everything written so far is on the disk.

        Raises:
            DiskFullError: the disk turned out to be full.
        """
        if self.temporary_folder.exists():
            sync_filesystem(self.temporary_folder)

    def clean(self) -> None:
        """Removes the temporary folder, with what killed processes left in it."""
        shutil.rmtree(self.temporary_folder, ignore_errors=True)
        self._known_folders.discard(self.temporary_folder)

    def _make_folder(self, folder: Path) -> None:
        if folder not in self._known_folders:
            folder.mkdir(parents=True, exist_ok=True)
            self._known_folders.add(folder)


def raise_if_full(error: OSError, path: Path) -> None:
    """Raises DiskFullError if the error means that; otherwise does nothing."""
    if error.errno in _FULL:
        raise DiskFullError(f"output folder: no space left for {path}") from error


def files_below(folder: Path) -> Iterator[str]:
    """The relative paths of all files in a folder and its sub-folders, none if it is not there.

    Of a folder that holds a million files, only the one that is looked at is in memory.
    """
    waiting = [""]
    while waiting:
        place = waiting.pop()
        try:
            entries = os.scandir(folder / place)
        except OSError:  # whose files an audit then misses
            continue
        with entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{place}{entry.name}/")
                else:
                    yield f"{place}{entry.name}"


def sync_filesystem(folder: Path) -> None:
    """Flushes the file system that holds a folder.

    One call for a chunk: syncing every small file alone can cost more than making it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
        if syncfs is None:
            os.sync()
        elif syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            error = OSError(number, os.strerror(number))
            raise_if_full(error, folder)
            raise error
    finally:
        os.close(descriptor)
