"""Opens the store that a URL names, and sends it many values at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from editvec.masking import is_url
from editvec.registry.blobs.store import BlobStore
from editvec.registry.config import RegistryConfig
from editvec.registry.errors import BlobError

_T = TypeVar("_T")
_U = TypeVar("_U")


def open_blob_store(url: str) -> BlobStore:
    """Opens the store at a folder path, a `file://` URL, or any other fsspec URL.

    Raises:
        BlobError: the URL cannot be used.
    """
    from editvec.registry.blobs.local import LocalBlobStore

    folder = local_folder(url)
    if folder is not None:
        return LocalBlobStore(folder)
    # imported only here: a listing needs none of it
    from editvec.registry.blobs.remote import FsspecBlobStore

    return FsspecBlobStore(url)


def library_folders(config: RegistryConfig) -> dict[str, Path]:
    """Where a library keeps its files, by what people call it: no result is written there."""
    blobs = local_folder(config.blob_url)
    return ({} if blobs is None else {"blob store": blobs}) | {"home folder": config.home}


def local_folder(url: str) -> Path | None:
    """The folder that a path or a `file://` URL names; None of any other URL.

    Raises:
        BlobError: it is no URL.
    """
    if "\0" in url:
        raise BlobError(f"blob URL: expected no NUL in it, got {url!r}")
    if "://" not in url:
        if is_url(Path(url)):
            raise BlobError(f"blob URL: expected two slashes after its scheme, got {url!r}")
        return Path(url)
    from urllib.parse import unquote, urlsplit

    try:
        parts = urlsplit(url)
    except ValueError as exc:
        raise BlobError(f"blob URL: {url!r} is no URL ({exc})") from exc
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


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
