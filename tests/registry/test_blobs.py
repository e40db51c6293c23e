"""The contract of every blob store, and what happens when a disk is full."""

import errno
import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest

from registry.blobs import (
    BlobStore,
    FsspecBlobStore,
    LocalBlobStore,
    open_blob_store,
    put_all,
    temporary_folder,
    write_atomically,
)
from registry.errors import BlobError, DiskFullError

DATA = b"some bytes"
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BlobStore]:
    if request.param == "local":
        yield open_blob_store(str(tmp_path / "blobs"))
    else:
        yield open_blob_store(f"memory://{tmp_path.name}/blobs")
        fsspec.filesystem("memory").store.clear()


def _alter(store: BlobStore) -> None:
    if isinstance(store, LocalBlobStore):
        store.path(DIGEST).write_bytes(b"other bytes")
    elif isinstance(store, FsspecBlobStore):
        store.filesystem.pipe_file(store.path(DIGEST), b"other bytes")


def test_bytes_come_back_by_their_digest(store: BlobStore, tmp_path: Path) -> None:
    assert not store.has(DIGEST)

    assert store.put(DATA) == DIGEST
    assert store.put(DATA) == DIGEST

    assert store.has(DIGEST)
    assert store.get(DIGEST) == DATA
    assert list(store.digests()) == [DIGEST]
    store.copy_to(DIGEST, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == DATA


def test_file_is_stored_like_its_bytes(store: BlobStore, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)

    assert store.put_file(path) == store.put_file(path) == DIGEST
    assert store.get(DIGEST) == DATA


def test_altered_blob_is_refused(store: BlobStore, tmp_path: Path) -> None:
    store.put(DATA)
    _alter(store)

    with pytest.raises(BlobError, match=f"blob {DIGEST}: its bytes were altered"):
        store.get(DIGEST)
    with pytest.raises(BlobError, match="altered"):
        store.copy_to(DIGEST, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_missing_blob_is_named(store: BlobStore, tmp_path: Path) -> None:
    with pytest.raises(BlobError, match=f"blob {DIGEST}: not found"):
        store.get(DIGEST)
    with pytest.raises(BlobError, match="not found"):
        store.copy_to(DIGEST, tmp_path / "copy")
    with pytest.raises(BlobError, match="not found"):
        store.put_file(tmp_path / "nowhere")


@pytest.mark.parametrize("digest", ["../../etc/passwd", "", DIGEST.upper(), DIGEST + "\n"])
def test_only_digests_are_looked_up(store: BlobStore, digest: str) -> None:
    for call in (store.has, store.get):
        with pytest.raises(BlobError, match="expected a SHA-256"):
            call(digest)  # type: ignore[operator]


def test_several_blobs_keep_their_order(store: BlobStore) -> None:
    contents = [bytes([one]) * 100 for one in range(30)] + [b"\0" * 100]

    digests = put_all(store, contents)

    assert [store.get(digest) for digest in digests] == contents
    assert put_all(store, []) == []


def test_equal_bytes_from_many_threads_make_one_blob(tmp_path: Path) -> None:
    store = LocalBlobStore(tmp_path)

    with ThreadPoolExecutor(16) as threads:
        digests = set(threads.map(lambda _: store.put(DATA), range(64)))

    assert digests == {DIGEST}
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [store.path(DIGEST)]


def test_folders_may_hold_spaces_and_file_urls(tmp_path: Path) -> None:
    folder = tmp_path / "my blobs"

    LocalBlobStore(folder).put(DATA)

    assert open_blob_store(folder.as_uri()).get(DIGEST) == DATA


def test_url_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(BlobError, match=r"blob URL 'nosuch://bucket'"):
        open_blob_store("nosuch://bucket")


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("failing", ["fsync", "write"])
def test_full_disk_leaves_no_part_of_a_blob(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    # the device /dev/full cannot be renamed, so the failing call is the system's own, raised here
    store = LocalBlobStore(tmp_path / "blobs")
    with monkeypatch.context() as patch:
        if failing == "fsync":
            patch.setattr(os, "fsync", _full)
        else:
            patch.setattr("registry.blobs._copy", _full)
        source = tmp_path / "source"
        source.write_bytes(DATA)
        with pytest.raises(DiskFullError, match="no space left") as caught:
            store.put_file(source)

    assert isinstance(caught.value, OSError)
    assert not store.has(DIGEST)
    assert [path for path in store.folder.rglob("*") if path.is_file()] == []
    assert store.put(DATA) == DIGEST


def test_unwritable_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(BlobError, match="Not a directory"):
        LocalBlobStore(tmp_path / "file").put(DATA)


def test_file_written_atomically_replaces_the_old_one_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _full)
        with pytest.raises(DiskFullError):
            write_atomically(path, b"new")

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    with pytest.raises(BlobError, match="its folder does not exist"):
        write_atomically(tmp_path / "nowhere" / "file", b"new")


def test_temporary_folder_is_gone_unless_renamed(tmp_path: Path) -> None:
    with temporary_folder(tmp_path / "parent") as folder:
        (folder / "file").write_bytes(DATA)
    with temporary_folder(tmp_path / "parent") as folder:
        folder.rename(tmp_path / "parent" / "kept")

    assert [path.name for path in (tmp_path / "parent").iterdir()] == ["kept"]
