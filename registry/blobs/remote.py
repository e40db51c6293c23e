"""Blobs behind any fsspec URL, such as `s3://bucket/editvec`."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import fsspec

from editvec.masking import masked, remember
from editvec.registry.blobs.store import LIBRARIES, StoredFile, VerifiedReads, is_noted, vanished
from editvec.registry.errors import BlobError
from editvec.registry.files import check_digest, foreign_errors, is_digest
from editvec.whole_files import TEMPORARY_PREFIX, digest_of, digest_of_file

OBJECT_STORES = frozenset(
    {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "oss", "memory"}
)
"""Protocols that show an object whole or not at all, and have no folders."""

# s3fs would take KEY:SECRET@BUCKET for the name of a bucket
_KEY_IN_BUCKET = re.compile(r"s3a?://(?:[^/]*@|(?!arn:)[^/]*:.*@)")


class FsspecBlobStore(VerifiedReads):
    """Blobs behind any fsspec URL."""

    threads = 16

    def __init__(self, url: str) -> None:
        remember(url)
        self.url = masked(url.rstrip("/"))
        self.is_marked = False
        if _KEY_IN_BUCKET.match(url):
            raise BlobError(
                f"blob URL {self.url!r}: expected s3://BUCKET/FOLDER; the key belongs into "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        try:
            with self._translated(f"blob URL {self.url!r}"):
                self.filesystem, self.root = fsspec.core.url_to_fs(url.rstrip("/"))
        except ImportError as exc:
            hint = "; pip install 'editvec[s3]'" if self.url.startswith("s3:") else ""
            raise BlobError(f"blob URL {self.url!r}: {exc}{hint}") from exc
        except (TypeError, ValueError) as exc:
            raise BlobError(f"blob URL {self.url!r}: {exc}") from exc
        if (listings := getattr(self.filesystem, "dircache", None)) is not None:
            # other processes add and remove blobs, which a kept listing would not show
            listings.use_listings_cache = False
        protocols = self.filesystem.protocol
        names = {protocols} if isinstance(protocols, str) else set(protocols)
        self._is_object_store = not names.isdisjoint(OBJECT_STORES)
        self._is_known_to_be_used = False

    def path(self, digest: str) -> str:
        """Where a blob lies."""
        return f"{self.root}/{check_digest(digest)[:2]}/{digest}"

    def place(self, digest: str) -> str:
        """Where a blob lies, for people."""
        return f"{self.url}/{digest[:2]}/{digest}"

    def absence(self) -> str | None:
        """What is wrong when nothing was ever stored; asked once, then remembered."""
        if self._is_known_to_be_used:
            return None
        with self._translated():
            try:
                names = self.filesystem.ls(self.root, detail=False)
            except FileNotFoundError:
                return "not found"
        self._is_known_to_be_used = bool(names)
        return None if names else "it is empty"

    def create(self) -> None:
        """Makes the folder of a new store; an object store has none, and its bucket is its own."""
        if not self._is_object_store:
            with self._translated():
                self.filesystem.makedirs(self.root, exist_ok=True)

    def has(self, digest: str) -> bool:
        """True when the blob is there."""
        path = self.path(digest)
        with self._translated():
            return bool(self.filesystem.isfile(path))

    def put(self, data: bytes) -> str:
        """Stores bytes; returns their digest."""
        digest = digest_of(data)
        if not self.has(digest):
            self._write(self.path(digest), data)
        return digest

    def put_file(self, path: Path) -> str:
        """Stores a file's bytes; returns their digest."""
        with foreign_errors(f"file {path}"):
            digest = digest_of_file(path)
        if self.has(digest):
            return digest
        self._write(self.path(digest), path)
        with foreign_errors(f"file {path}"):
            is_same = digest_of_file(path) == digest
        if not is_same:
            self.delete(digest)
            raise BlobError(f"file {path}: it changed while it was stored")
        return digest

    def read(self, digest: str) -> bytes:
        """The bytes as they are."""
        path = self.path(digest)
        with self._translated(f"blob {digest}"):
            data: bytes = self.filesystem.cat_file(path)
        return data

    @contextmanager
    def reading(self, digest: str) -> Iterator[IO[bytes]]:
        """A blob's bytes, as a file."""
        path = self.path(digest)
        with self._translated(f"blob {digest}"), self.filesystem.open(path, "rb") as source:
            yield source

    def delete(self, digest: str) -> None:
        """Removes a blob."""
        path = self.path(digest)
        with self._translated(f"blob {digest}"), suppress(FileNotFoundError):
            self.filesystem.rm_file(path)

    def digests(self) -> Iterator[str]:
        """Every stored digest."""
        for entry in self.entries():
            yield entry.name

    def entries(self) -> Iterator[StoredFile]:
        """Every blob with its size and time."""
        for path, facts in self._files().items():
            name = path.rpartition("/")[2]
            if is_digest(name):
                yield StoredFile(name, int(facts["size"]), _modified(facts))

    def leftovers(self) -> Iterator[StoredFile]:
        """Temporary files."""
        for path, facts in self._files().items():
            name = path.removeprefix(self.root).lstrip("/")
            if name.rpartition("/")[2].startswith(TEMPORARY_PREFIX):
                yield StoredFile(name, int(facts["size"]), _modified(facts))

    def remove_leftover(self, name: str) -> None:
        """Removes a temporary file."""
        with self._translated(), suppress(FileNotFoundError):
            self.filesystem.rm_file(f"{self.root}/{name}")

    def libraries(self) -> dict[str, str]:
        """Whose blobs are here."""
        with self._translated():
            paths: list[str] = self.filesystem.find(f"{self.root}/{LIBRARIES}")
            return {
                path.rpartition("/")[2]: self.filesystem.cat_file(path).decode().strip()
                for path in paths
            }

    def add_library(self, identity: str, text: str) -> None:
        """Notes that a library keeps its blobs here."""
        path = f"{self.root}/{LIBRARIES}/{identity}"
        noted: str | None = None
        with self._translated():
            if self.filesystem.isfile(path):
                noted = self.filesystem.cat_file(path).decode()
        if not is_noted(noted):
            self._write(path, f"{masked(text)}\n".encode())

    def _files(self) -> dict[str, dict[str, Any]]:
        with self._translated():
            found: dict[str, dict[str, Any]] = self.filesystem.find(self.root, detail=True)
        return found

    def _write(self, path: str, content: bytes | Path) -> None:
        """Makes a file appear whole: by one put, or under a temporary name that is moved."""
        with self._translated():
            if self._is_object_store:
                self._send(path, content)
                return
            folder = path.rpartition("/")[0]
            if not self.filesystem.isdir(self.root):
                raise vanished(self.url, "not found")
            self.filesystem.makedirs(folder, exist_ok=True)
            temporary = f"{folder}/{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
            try:
                self._send(temporary, content)
                self.filesystem.mv(temporary, path)
            except BaseException as exc:
                with suppress(Exception):
                    self.filesystem.rm_file(temporary)
                # some refuse to replace what another process was faster to store
                if not isinstance(exc, OSError) or not self.filesystem.isfile(path):
                    raise

    def _send(self, path: str, content: bytes | Path) -> None:
        if isinstance(content, Path):
            self.filesystem.put_file(os.fspath(content), path)
        else:
            self.filesystem.pipe_file(path, content)

    def _translated(self, subject: str | None = None) -> _BackEndErrors:
        return _BackEndErrors(subject or f"blob store {self.url}")


class _BackEndErrors(AbstractContextManager[None]):
    """Turns the errors of a back end into ours: the system's, or a foreign package's own."""

    def __init__(self, subject: str) -> None:
        self.subject = subject

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None or isinstance(error, BlobError):
            return
        with foreign_errors(self.subject):
            if isinstance(error, OSError):
                raise error
        package = type(error).__module__.partition(".")[0]
        if isinstance(error, Exception) and package not in ("builtins", "registry"):
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise BlobError(f"{self.subject}: {reason}") from error


def _modified(facts: dict[str, Any]) -> datetime:
    """When a file was put last, by the name that its back end has for it."""
    for name in ("LastModified", "last_modified", "modified", "mtime", "updated", "created"):
        value = facts.get(name)
        if isinstance(value, datetime):
            return value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        if isinstance(value, (int, float)):
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, str):
            return datetime.fromisoformat(value)
    return datetime.now(UTC)
