"""Content-addressed bytes: SHA-256 -> bytes, in a local folder or behind an fsspec URL.

A blob appears by rename only, so a digest that exists is whole. Putting equal bytes again
writes nothing. `get` verifies what it read.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Protocol, TypeVar

from editvec.registry.errors import BlobError, DiskFullError

TEMPORARY_PREFIX = ".incoming-"
LIBRARIES = "libraries"
"""The folder beside the blobs that tells whose they are."""

_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
BLOCK = 1 << 20

_T = TypeVar("_T")
_U = TypeVar("_U")


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
        url: where it is.
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


def open_blob_store(url: str) -> BlobStore:
    """Opens the store at a folder path, a `file://` URL, or any other fsspec URL.

    Raises:
        BlobError: the URL cannot be used.
    """
    from editvec.registry.blobs.local import LocalBlobStore

    if "://" not in url:
        return LocalBlobStore(Path(url))
    # imported only here: a listing needs none of it
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(url)
    if parts.scheme == "file":
        return LocalBlobStore(Path(unquote(parts.path)))
    from editvec.registry.blobs.remote import FsspecBlobStore

    return FsspecBlobStore(url)


def put_all(store: BlobStore, contents: Sequence[bytes | Path]) -> list[str]:
    """Stores several blobs at once, bytes or files; their digests in the same order."""

    def put(content: bytes | Path) -> str:
        return store.put_file(content) if isinstance(content, Path) else store.put(content)

    return at_once(store, put, contents)


def at_once(store: BlobStore, call: Callable[[_T], _U], values: Sequence[_T]) -> list[_U]:
    """Calls a store once per value; the answers in the same order.

    Threads share the disk's syncs (or a remote store's round trips), which is all that a small
    blob costs.
    """
    if len(values) < 2:
        return [call(value) for value in values]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(store.threads, len(values))) as threads:
        return list(threads.map(call, values))


def digest_of(data: bytes) -> str:
    """SHA-256 of bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file, in hex, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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


def vanished(url: str, absence: str) -> BlobError:
    """The error about a store that is not where it was."""
    hint = "is the address right" if "://" in url else "is its disk mounted"
    return BlobError(f"blob store {url}: {absence}; {hint}?")


def write_atomically(path: Path, data: bytes) -> None:
    """Writes a file that is whole or not there: temporary name, fsync, rename.

    Raises:
        BlobError: it cannot be written; DiskFullError when no space is left.
    """
    if not path.parent.is_dir():
        raise BlobError(f"file {path}: its folder does not exist")
    with foreign_errors(f"file {path}"), appearing(path) as file:
        file.write(data)


def sync_folder(folder: Path) -> None:
    """Makes a rename inside a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that must not exist yet; synced at the end, gone when the block fails.

    Raises:
        BlobError: it cannot be written; DiskFullError when no space is left.
    """
    with foreign_errors(f"file {path}"), path.open("xb") as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            path.unlink()
            raise


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A new folder inside `parent`, gone at the end unless it was renamed away."""
    import shutil
    import tempfile

    with foreign_errors(f"folder {parent}"):
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def appearing(target: Path) -> Iterator[IO[bytes]]:
    """A file under a temporary name in the same folder; synced and renamed when all is well."""
    import tempfile

    descriptor, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(target.parent)


def copy_blocks(source: IO[bytes], target: IO[bytes]) -> str:
    """Copies block by block; returns the digest of what went through."""
    running = hashlib.sha256()
    while block := source.read(BLOCK):
        running.update(block)
        target.write(block)
    return running.hexdigest()


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
            raise DiskFullError(f"{subject}: no space left on the disk") from exc
        raise BlobError(f"{subject}: {exc.strerror or exc}") from exc
