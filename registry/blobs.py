"""Content-addressed bytes: SHA-256 -> bytes, in a local folder or behind an fsspec URL.

A blob appears by rename only, so a digest that exists is whole. Putting equal bytes again
writes nothing. `get` verifies what it read.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Protocol
from urllib.parse import unquote, urlsplit

from registry.errors import BlobError, DiskFullError

_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_TEMPORARY_PREFIX = ".incoming-"
_BLOCK = 1 << 20


class BlobStore(Protocol):
    """What every store of blobs can do."""

    url: str

    def has(self, digest: str) -> bool:
        """True when the blob is there."""

    def put(self, data: bytes) -> str:
        """Stores bytes; returns their digest. Raises BlobError, DiskFullError."""

    def put_file(self, path: Path) -> str:
        """Stores a file's bytes; returns their digest. Raises BlobError, DiskFullError."""

    def get(self, digest: str) -> bytes:
        """The bytes, verified. Raises BlobError: missing, unreadable or altered."""

    def copy_to(self, digest: str, target: Path) -> None:
        """Writes the bytes to a new file, verified. Raises BlobError, DiskFullError."""

    def digests(self) -> Iterator[str]:
        """Every stored digest, in no promised order."""


def open_blob_store(url: str) -> BlobStore:
    """Opens the store at a folder path, a `file://` URL, or any other fsspec URL.

    Raises:
        BlobError: the URL cannot be used.
    """
    if "://" not in url:
        return LocalBlobStore(Path(url))
    parts = urlsplit(url)
    if parts.scheme == "file":
        return LocalBlobStore(Path(unquote(parts.path)))
    return FsspecBlobStore(url)


def put_all(store: BlobStore, contents: Sequence[bytes]) -> list[str]:
    """Stores several blobs at once; their digests in the same order.

    Threads share the disk's syncs (or a remote store's round trips), which is all that a small
    blob costs.
    """
    with ThreadPoolExecutor(max_workers=max(1, min(8, len(contents)))) as threads:
        return list(threads.map(store.put, contents))


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


class LocalBlobStore:
    """Blobs in a local folder: `ab/ab12...`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = str(folder)

    def path(self, digest: str) -> Path:
        """Where a blob lies."""
        return self.folder / _checked(digest)[:2] / digest

    def has(self, digest: str) -> bool:
        """True when the blob is there."""
        return self.path(digest).is_file()

    def put(self, data: bytes) -> str:
        """Stores bytes; returns their digest."""
        digest = digest_of(data)
        if not self.has(digest):
            with self._incoming(digest) as file:
                file.write(data)
        return digest

    def put_file(self, path: Path) -> str:
        """Stores a file's bytes; returns their digest."""
        with _foreign_errors(f"file {path}"):
            digest = digest_of_file(path)
        if self.has(digest):
            return digest
        with path.open("rb") as source, self._incoming(digest) as file:
            if _copy(source, file) != digest:
                raise BlobError(f"file {path}: it changed while it was stored")
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes, verified."""
        path = self.path(digest)
        with _foreign_errors(f"blob {digest}"):
            data = path.read_bytes()
        if digest_of(data) != digest:
            raise BlobError(f"blob {digest}: its bytes were altered ({path})")
        return data

    def copy_to(self, digest: str, target: Path) -> None:
        """Writes the bytes to a new file, verified."""
        path = self.path(digest)
        with (
            _foreign_errors(f"blob {digest}"),
            path.open("rb") as source,
            target.open("xb") as file,
        ):
            found = _copy(source, file)
            file.flush()
            os.fsync(file.fileno())
        if found != digest:
            target.unlink()
            raise BlobError(f"blob {digest}: its bytes were altered ({path})")

    def digests(self) -> Iterator[str]:
        """Every stored digest."""
        for path in self.folder.glob("[0-9a-f][0-9a-f]/*"):
            if is_digest(path.name):
                yield path.name

    @contextmanager
    def _incoming(self, digest: str) -> Iterator[IO[bytes]]:
        """A temporary file that becomes the blob when the block ends well."""
        target = self.path(digest)
        with _foreign_errors(f"blob store {self.folder}"):
            target.parent.mkdir(parents=True, exist_ok=True)
            with _appearing(target) as file:
                yield file


class FsspecBlobStore:
    """Blobs behind any fsspec URL, such as `s3://bucket/editvec`."""

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url.rstrip("/")
        try:
            self.filesystem, self.root = fsspec.core.url_to_fs(self.url)
        except (ValueError, ImportError, OSError) as exc:
            raise BlobError(f"blob URL {url!r}: {exc}") from exc

    def path(self, digest: str) -> str:
        """Where a blob lies."""
        return f"{self.root}/{_checked(digest)[:2]}/{digest}"

    def has(self, digest: str) -> bool:
        """True when the blob is there."""
        path = self.path(digest)
        with _foreign_errors(f"blob store {self.url}"):
            return bool(self.filesystem.isfile(path))

    def put(self, data: bytes) -> str:
        """Stores bytes; returns their digest."""
        digest = digest_of(data)
        if not self.has(digest):
            path = self.path(digest)
            with _foreign_errors(f"blob store {self.url}"):
                # one put of the whole object: object stores show it complete or not at all
                self.filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
                self.filesystem.pipe_file(path, data)
        return digest

    def put_file(self, path: Path) -> str:
        """Stores a file's bytes; returns their digest."""
        with _foreign_errors(f"file {path}"):
            data = path.read_bytes()
        return self.put(data)

    def get(self, digest: str) -> bytes:
        """The bytes, verified."""
        path = self.path(digest)
        with _foreign_errors(f"blob {digest}"):
            data: bytes = self.filesystem.cat_file(path)
        if digest_of(data) != digest:
            raise BlobError(f"blob {digest}: its bytes were altered ({self.url})")
        return data

    def copy_to(self, digest: str, target: Path) -> None:
        """Writes the bytes to a new file, verified."""
        data = self.get(digest)
        with _foreign_errors(f"file {target}"), target.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def digests(self) -> Iterator[str]:
        """Every stored digest."""
        with _foreign_errors(f"blob store {self.url}"):
            paths: list[str] = self.filesystem.find(self.root)
        for path in paths:
            name = path.rpartition("/")[2]
            if is_digest(name):
                yield name


def write_atomically(path: Path, data: bytes) -> None:
    """Writes a file that is whole or not there: temporary name, fsync, rename.

    Raises:
        BlobError: it cannot be written; DiskFullError when no space is left.
    """
    if not path.parent.is_dir():
        raise BlobError(f"file {path}: its folder does not exist")
    with _foreign_errors(f"file {path}"), _appearing(path) as file:
        file.write(data)


def sync_folder(folder: Path) -> None:
    """Makes a rename inside a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A new folder inside `parent`, gone at the end unless it was renamed away."""
    with _foreign_errors(f"folder {parent}"):
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=_TEMPORARY_PREFIX, dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _appearing(target: Path) -> Iterator[IO[bytes]]:
    """A file under a temporary name in the same folder; synced and renamed when all is well."""
    descriptor, name = tempfile.mkstemp(prefix=_TEMPORARY_PREFIX, dir=target.parent)
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


def _checked(digest: str) -> str:
    if not is_digest(digest):
        raise BlobError(f"blob: expected a SHA-256 in hex, got {digest!r}")
    return digest


def _copy(source: IO[bytes], target: IO[bytes]) -> str:
    """Copies block by block; returns the digest of what went through."""
    running = hashlib.sha256()
    while block := source.read(_BLOCK):
        running.update(block)
        target.write(block)
    return running.hexdigest()


@contextmanager
def _foreign_errors(subject: str) -> Iterator[None]:
    """Turns errors of files and of fsspec's back ends into ours."""
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
