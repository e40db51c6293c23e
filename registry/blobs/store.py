"""Content-addressed bytes: SHA-256 -> bytes, in a local folder or behind an fsspec URL.

A blob appears by rename only, so a digest that exists is whole. Putting equal bytes again
writes nothing. `get` verifies what it read.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Protocol

from editvec.masking import masked
from editvec.registry.errors import BlobError
from editvec.registry.files import new_file
from editvec.whole_files import BLOCK, copy_blocks, digest_of

LIBRARIES = "libraries"
"""The folder beside the blobs that tells whose they are."""


@dataclass(frozen=True)
class StoredFile:
    """A file of a store: a blob by its digest, or what an interrupted command left, by its path.

    Attributes:
        name: the digest, or the path in the store.
        size: in bytes.
        modified: when it was put last.
    """

    name: str
    size: int
    modified: datetime


class BlobStore(Protocol):
    """What every store of blobs can do.

    Attributes:
        url: where it is, as it may be shown: secrets are masked.
        threads: how many requests at a time pay.
        is_marked: whether the present library is known to be noted there, see `add_library`.
    """

    url: str
    threads: int
    is_marked: bool

    def absence(self) -> str | None:
        """`not found` or `it is empty` where nothing was ever stored; None otherwise."""

    def create(self) -> None:
        """Makes the folder of a new store. Raises BlobError."""

    def has(self, digest: str) -> bool:
        """True when the blob is there."""

    def put(self, data: bytes) -> str:
        """Stores bytes; returns their digest. Raises BlobError, DiskFullError."""

    def put_file(self, path: Path) -> str:
        """Stores a file's bytes; returns their digest. Raises BlobError, DiskFullError."""

    def get(self, digest: str) -> bytes:
        """The bytes, verified. Raises BlobError: missing, unreadable or altered."""

    def read(self, digest: str) -> bytes:
        """The bytes as they are. Raises BlobError: missing or unreadable."""

    def rehash(self, digest: str) -> str:
        """The digest that the bytes have, read in blocks. Raises BlobError."""

    def copy_to(self, digest: str, target: Path) -> None:
        """Writes the bytes to a new file, verified. Raises BlobError, DiskFullError."""

    def delete(self, digest: str) -> None:
        """Removes a blob; one that is not there is no error. Raises BlobError."""

    def place(self, digest: str) -> str:
        """Where the blob lies, for people."""

    def digests(self) -> Iterator[str]:
        """Every stored digest, in no promised order."""

    def entries(self) -> Iterator[StoredFile]:
        """Every blob with its size and time, in no promised order."""

    def leftovers(self) -> Iterator[StoredFile]:
        """Temporary files, of commands at work or of those that were killed."""

    def remove_leftover(self, name: str) -> None:
        """Removes a temporary file; one that is not there is no error. Raises BlobError."""

    def libraries(self) -> dict[str, str]:
        """Whose blobs are here: what `add_library` was told, by identity."""

    def add_library(self, identity: str, text: str) -> None:
        """Notes that a library keeps its blobs here. Raises BlobError."""


class VerifiedReads(ABC):
    """What a store reads in the same way wherever it is."""

    @abstractmethod
    def place(self, digest: str) -> str:
        """See `BlobStore.place`."""

    @abstractmethod
    def read(self, digest: str) -> bytes:
        """See `BlobStore.read`."""

    @abstractmethod
    def reading(self, digest: str) -> AbstractContextManager[IO[bytes]]:
        """A blob's bytes, as a file. Raises BlobError: missing or unreadable."""

    def get(self, digest: str) -> bytes:
        """See `BlobStore.get`."""
        data = self.read(digest)
        self._check(digest_of(data), digest)
        return data

    def rehash(self, digest: str) -> str:
        """See `BlobStore.rehash`."""
        running = hashlib.sha256()
        with self.reading(digest) as source:
            while block := source.read(BLOCK):
                running.update(block)
        return running.hexdigest()

    def copy_to(self, digest: str, target: Path) -> None:
        """See `BlobStore.copy_to`."""
        with new_file(target) as file, self.reading(digest) as source:
            self._check(copy_blocks(source, file), digest)

    def _check(self, found: str, digest: str) -> None:
        if found != digest:
            raise BlobError(f"blob {digest}: its bytes were altered ({self.place(digest)})")


def is_noted(text: str | None) -> bool:
    """True of a note of `add_library` that shows no secret; an earlier release's may show one."""
    return text is not None and masked(text) == text


def vanished(url: str, absence: str) -> BlobError:
    """The error about a store that is not where it was."""
    hint = "is the address right" if "://" in url else "is its disk mounted"
    return BlobError(f"blob store {url}: {absence}; {hint}?")
