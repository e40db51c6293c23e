"""Blobs in a local folder."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from editvec.masking import masked
from editvec.registry.blobs.store import (
    LIBRARIES,
    StoredFile,
    VerifiedReads,
    is_noted,
    vanished,
)
from editvec.registry.errors import BlobError
from editvec.registry.files import (
    check_digest,
    foreign_errors,
    is_digest,
    write_atomically,
)
from editvec.whole_files import (
    TEMPORARY_PREFIX,
    appearing,
    copy_blocks,
    digest_of,
    digest_of_file,
)

_FOLDER = re.compile(r"[0-9a-f]{2}\Z")


class LocalBlobStore(VerifiedReads):
    """Blobs in a local folder: `ab/ab12...`."""

    threads = 8

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = str(folder)
        self.is_marked = False

    def path(self, digest: str) -> Path:
        """Where a blob lies."""
        return self.folder / check_digest(digest)[:2] / digest

    def place(self, digest: str) -> str:
        """Where a blob lies, for people."""
        return str(self.path(digest))

    def absence(self) -> str | None:
        """What is wrong when nothing was ever stored; the folder of a disk that is not mounted."""
        try:
            with os.scandir(self.folder) as entries:
                is_used = any(_FOLDER.match(one.name) or one.name == LIBRARIES for one in entries)
        except FileNotFoundError:
            return "not found"
        except OSError as exc:
            raise BlobError(f"blob store {self.folder}: {exc.strerror or exc}") from exc
        return None if is_used else "it is empty"

    def create(self) -> None:
        """Makes the folder of a new store."""
        with foreign_errors(f"blob store {self.folder}"):
            self.folder.mkdir(parents=True, exist_ok=True)

    def has(self, digest: str) -> bool:
        """True when the blob is there."""
        path = self.path(digest)
        with foreign_errors(f"blob store {self.folder}"):
            return path.is_file()

    def put(self, data: bytes) -> str:
        """Stores bytes; returns their digest."""
        digest = digest_of(data)
        if not self._refresh(digest):
            with self._incoming(digest) as file:
                file.write(data)
        return digest

    def put_file(self, path: Path) -> str:
        """Stores a file's bytes; returns their digest."""
        with foreign_errors(f"file {path}"):
            digest = digest_of_file(path)
        if self._refresh(digest):
            return digest
        with path.open("rb") as source, self._incoming(digest) as file:
            if copy_blocks(source, file) != digest:
                raise BlobError(f"file {path}: it changed while it was stored")
        return digest

    def read(self, digest: str) -> bytes:
        """The bytes as they are."""
        with self.reading(digest) as source:
            return source.read()

    def delete(self, digest: str) -> None:
        """Removes a blob."""
        with foreign_errors(f"blob {digest}"):
            self.path(digest).unlink(missing_ok=True)

    def digests(self) -> Iterator[str]:
        """Every stored digest."""
        for path in self._files():
            if is_digest(path.name):
                yield path.name

    def entries(self) -> Iterator[StoredFile]:
        """Every blob with its size and time."""
        for path in self._files():
            if is_digest(path.name) and (found := _examine(path, path.name)) is not None:
                yield found

    def leftovers(self) -> Iterator[StoredFile]:
        """Temporary files."""
        for path in self._files():
            if path.name.startswith(TEMPORARY_PREFIX):
                found = _examine(path, f"{path.parent.name}/{path.name}")
                if found is not None:
                    yield found

    def remove_leftover(self, name: str) -> None:
        """Removes a temporary file."""
        with foreign_errors(f"blob store {self.folder}"):
            (self.folder / name).unlink(missing_ok=True)

    def libraries(self) -> dict[str, str]:
        """Whose blobs are here."""
        with foreign_errors(f"blob store {self.folder}"):
            paths = sorted((self.folder / LIBRARIES).glob("[0-9a-f]*"))
            return {path.name: path.read_text(encoding="utf-8").strip() for path in paths}

    def add_library(self, identity: str, text: str) -> None:
        """Notes that a library keeps its blobs here."""
        path = self.folder / LIBRARIES / identity
        with foreign_errors(f"blob store {self.folder}"):
            if is_noted(path.read_text(encoding="utf-8") if path.is_file() else None):
                return
            path.parent.mkdir(exist_ok=True)
        write_atomically(path, f"{masked(text)}\n".encode())

    def _files(self) -> Iterator[Path]:
        with foreign_errors(f"blob store {self.folder}"):
            yield from self.folder.glob("[0-9a-f][0-9a-f]/*")

    def _refresh(self, digest: str) -> bool:
        """Makes a blob young again, so that gc spares it a while; False when it is not there."""
        try:
            os.utime(self.path(digest))
        except FileNotFoundError:
            return False
        except OSError:  # another user's, or a file system to be read only: there all the same
            return self.has(digest)
        return True

    @contextmanager
    def reading(self, digest: str) -> Iterator[IO[bytes]]:
        """A blob's file; when it is not there, what may be the reason."""
        path = self.path(digest)
        with foreign_errors(f"blob {digest}"):
            try:
                file = path.open("rb")
            except FileNotFoundError as exc:
                absence = self.absence()
                if absence == "not found":
                    raise vanished(self.url, absence) from exc
                hint = "" if absence is None else f", and the store {self.url} is empty"
                raise BlobError(f"blob {digest}: not found{hint}") from exc
            with file:
                yield file

    @contextmanager
    def _incoming(self, digest: str) -> Iterator[IO[bytes]]:
        """A temporary file that becomes the blob when the block ends well."""
        target = self.path(digest)
        with foreign_errors(f"blob store {self.folder}"):
            try:
                target.parent.mkdir(exist_ok=True)
            except FileNotFoundError as exc:
                raise vanished(self.url, "not found") from exc
            with appearing(target) as file:
                yield file


def _examine(path: Path, name: str) -> StoredFile | None:
    """A file's size and time; None when it is gone already, or no file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return StoredFile(name, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))
