"""The contract of every blob store: a local folder, fsspec's file systems, and a real S3 server."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec
import pytest

from editvec.registry.blobs.local import LocalBlobStore
from editvec.registry.blobs.opening import open_blob_store, put_all
from editvec.registry.blobs.remote import FsspecBlobStore
from editvec.registry.blobs.store import BlobStore
from editvec.registry.errors import BlobError

DATA = b"some bytes"
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(params=["local", "memory", "moved", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a store could be; nothing is there yet."""
    if request.param == "local":
        yield str(tmp_path / "blobs")
    elif request.param == "memory":
        yield f"memory://{tmp_path.name}/blobs"
        fsspec.filesystem("memory").store.clear()
    elif request.param == "moved":  # fsspec's way to files that appear by a move
        yield f"local://{tmp_path}/blobs"
    else:
        yield f"{request.getfixturevalue('s3_bucket')}/some/prefix"


@pytest.fixture
def store(url: str) -> BlobStore:
    store = open_blob_store(url)
    store.create()
    return store


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
    assert store.rehash(DIGEST) == DIGEST
    assert list(store.digests()) == [DIGEST]
    store.copy_to(DIGEST, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == DATA


def test_empty_bytes_are_a_blob_too(store: BlobStore, tmp_path: Path) -> None:
    digest = store.put(b"")

    assert store.get(digest) == b""
    assert [entry.size for entry in store.entries()] == [0]


def test_file_is_stored_like_its_bytes(store: BlobStore, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)

    assert store.put_file(path) == store.put_file(path) == DIGEST
    assert store.get(DIGEST) == DATA


def test_file_of_many_blocks_is_stored_and_copied_whole(store: BlobStore, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * (80 << 10))  # 20 MiB

    digest = store.put_file(path)
    store.copy_to(digest, tmp_path / "copy")

    assert digest == hashlib.sha256(path.read_bytes()).hexdigest() == store.rehash(digest)
    assert (tmp_path / "copy").read_bytes() == path.read_bytes()


def test_altered_blob_is_refused(store: BlobStore, tmp_path: Path) -> None:
    store.put(DATA)
    _alter(store)

    with pytest.raises(BlobError, match=f"blob {DIGEST}: its bytes were altered") as caught:
        store.get(DIGEST)
    assert store.place(DIGEST) in str(caught.value)
    with pytest.raises(BlobError, match="altered"):
        store.copy_to(DIGEST, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    assert store.read(DIGEST) == b"other bytes"
    assert store.rehash(DIGEST) == hashlib.sha256(b"other bytes").hexdigest()


def test_missing_blob_is_named(store: BlobStore, tmp_path: Path) -> None:
    for call in (store.get, store.read, store.rehash):
        with pytest.raises(BlobError, match=f"blob {DIGEST}: not found"):
            call(DIGEST)
    with pytest.raises(BlobError, match="not found"):
        store.copy_to(DIGEST, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    with pytest.raises(BlobError, match="not found"):
        store.put_file(tmp_path / "nowhere")


@pytest.mark.parametrize("digest", ["../../etc/passwd", "", DIGEST.upper(), DIGEST + "\n"])
def test_only_digests_are_looked_up(store: BlobStore, digest: str) -> None:
    for call in (store.has, store.get, store.delete):
        with pytest.raises(BlobError, match="expected a SHA-256"):
            call(digest)


def test_several_blobs_keep_their_order(store: BlobStore) -> None:
    contents = [bytes([one]) * 100 for one in range(30)] + [b"\0" * 100]

    digests = put_all(store, contents)

    assert [store.get(digest) for digest in digests] == contents
    assert put_all(store, []) == []


def test_entries_tell_size_and_time(store: BlobStore) -> None:
    before = datetime.now(UTC)
    put_all(store, [DATA, b"other"])

    entries = {entry.name: entry for entry in store.entries()}

    assert entries[DIGEST].size == len(DATA)
    assert len(entries) == 2
    for entry in entries.values():
        # clocks of file systems are coarse
        assert abs(entry.modified - before) < timedelta(seconds=30)


def test_deleted_blob_is_gone_and_may_come_again(store: BlobStore) -> None:
    store.put(DATA)

    store.delete(DIGEST)
    store.delete(DIGEST)

    assert not store.has(DIGEST)
    assert list(store.entries()) == []
    store.put(DATA)
    assert store.get(DIGEST) == DATA


def test_what_another_process_adds_and_removes_is_seen(store: BlobStore, url: str) -> None:
    other = open_blob_store(url)
    assert list(store.entries()) == []
    other.put(DATA)

    assert [entry.name for entry in store.entries()] == [DIGEST]
    assert store.has(DIGEST)
    other.delete(DIGEST)
    assert not store.has(DIGEST)
    assert list(store.entries()) == []


def test_same_blob_from_many_threads_is_one(store: BlobStore) -> None:
    with ThreadPoolExecutor(8) as threads:
        digests = set(threads.map(lambda _: store.put(DATA), range(24)))

    assert digests == {DIGEST}
    assert [entry.name for entry in store.entries()] == [DIGEST]
    assert list(store.leftovers()) == []


def test_store_tells_whether_it_was_ever_used(url: str) -> None:
    store = open_blob_store(url)
    assert store.absence() in ("not found", "it is empty")
    store.create()
    store.create()
    store.put(DATA)

    assert store.absence() is None
    assert open_blob_store(url).absence() is None


def test_store_tells_whose_blobs_it_keeps(store: BlobStore) -> None:
    assert store.libraries() == {}

    store.add_library("ab12", "sqlite:////home/ada/editvec.db")
    store.add_library("ab12", "sqlite:////home/ada/editvec.db")
    store.add_library("cd34", "postgresql://host/team")

    assert store.libraries() == {
        "ab12": "sqlite:////home/ada/editvec.db",
        "cd34": "postgresql://host/team",
    }
    assert store.absence() is None
    assert list(store.entries()) == []


@pytest.mark.parametrize("url", ["local", "moved"], indirect=True)
def test_store_that_vanished_is_not_made_again(url: str, tmp_path: Path) -> None:
    store = open_blob_store(url)
    (tmp_path / "file").write_bytes(DATA)

    for call in (lambda: store.put(DATA), lambda: store.put_file(tmp_path / "file")):
        with pytest.raises(BlobError, match=r"blob store .*: not found; is ") as caught:
            call()
        assert "\n" not in str(caught.value)

    assert not (tmp_path / "blobs").exists()


@pytest.mark.parametrize("url", ["local", "moved"], indirect=True)
def test_temporary_files_of_killed_commands_are_listed_and_removed(
    store: BlobStore, tmp_path: Path
) -> None:
    store.put(DATA)
    left = tmp_path / "blobs" / DIGEST[:2] / ".incoming-killed"
    left.write_bytes(b"123")

    (found,) = store.leftovers()
    assert (found.name, found.size) == (f"{DIGEST[:2]}/.incoming-killed", 3)
    store.remove_leftover(found.name)
    store.remove_leftover(found.name)

    assert not left.exists()
    assert [entry.name for entry in store.entries()] == [DIGEST]


def test_url_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(BlobError, match=r"blob URL 'nosuch://bucket'"):
        open_blob_store("nosuch://bucket")
