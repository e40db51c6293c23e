"""Blobs in a local folder, and files that appear whole: what disks and permissions do to them."""

import errno
import hashlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from editvec.registry.blobs.local import LocalBlobStore
from editvec.registry.blobs.opening import open_blob_store
from editvec.registry.errors import BlobError, LibraryDiskFullError
from editvec.registry.files import temporary_folder, write_atomically

DATA = b"some bytes"
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> LocalBlobStore:
    store = LocalBlobStore(tmp_path / "blobs")
    store.create()
    return store


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(mounting, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_folders_may_hold_spaces_and_file_urls(tmp_path: Path) -> None:
    folder = tmp_path / "my blobs"
    store = LocalBlobStore(folder)
    store.create()

    store.put(DATA)

    assert open_blob_store(folder.as_uri()).get(DIGEST) == DATA


def test_blob_put_again_is_young_again(store: LocalBlobStore, tmp_path: Path) -> None:
    store.put(DATA)
    (tmp_path / "file").write_bytes(DATA)
    for put in (lambda: store.put(DATA), lambda: store.put_file(tmp_path / "file")):
        os.utime(store.path(DIGEST), (1e9, 1e9))

        put()

        assert time.time() - store.path(DIGEST).stat().st_mtime < 60


def test_full_disk_leaves_no_part_of_a_blob(small_disk: Path) -> None:
    store = LocalBlobStore(small_disk / "blobs")
    store.create()

    with pytest.raises(LibraryDiskFullError, match=r"blob store .*: no space left on the disk"):
        store.put(os.urandom(100_000))

    assert _files(store.folder) == []
    assert store.put(DATA) == DIGEST


def test_full_disk_leaves_no_part_of_a_copy(store: LocalBlobStore, small_disk: Path) -> None:
    digest = store.put(os.urandom(100_000))

    with pytest.raises(LibraryDiskFullError, match="no space left"):
        store.copy_to(digest, small_disk / "copy")

    assert _files(small_disk) == []


def test_disk_that_is_full_only_at_the_sync_leaves_nothing(
    store: LocalBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # network file systems tell it this late; the system's own error is raised here
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _full)
        with pytest.raises(LibraryDiskFullError, match="no space left") as caught:
            store.put(DATA)

    assert isinstance(caught.value, OSError)
    assert _files(store.folder) == []
    assert store.put(DATA) == DIGEST


def test_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = LocalBlobStore(tmp_path / "file")

    for call in (store.absence, store.create, lambda: store.put(DATA)):
        with pytest.raises(BlobError, match=r"blob store .*file: (Not a directory|File exists)"):
            call()


def test_disk_to_be_read_only_is_one_line_and_is_read(small_disk: Path) -> None:
    store = LocalBlobStore(small_disk)
    store.put(DATA)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

    with pytest.raises(BlobError, match=r"blob store .*: Read-only file system"):
        store.put(b"other")

    assert store.put(DATA) == DIGEST
    assert store.get(DIGEST) == DATA


def test_folder_without_permission_is_one_line(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("locked")
    store = LocalBlobStore(folder)
    store.put(DATA)
    folder.chmod(0o555)
    base = tmp_path_factory.getbasetemp()
    for parent in [folder, *folder.parents]:
        if parent == folder or parent in (base, *list(base.parents)[:2]):
            parent.chmod(parent.stat().st_mode | 0o055)
    user = os.geteuid()
    if user == 0:  # permissions do not bind root
        os.seteuid(65534)
    try:
        with pytest.raises(BlobError, match=r"blob store .*: Permission denied"):
            store.put(b"other")
        assert store.put(DATA) == DIGEST
    finally:
        os.seteuid(user)
        folder.chmod(0o755)


def test_folder_that_may_not_be_searched_is_one_line(
    store: LocalBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "is_file", refuse)

    with pytest.raises(BlobError, match=r"blob store .*: Permission denied"):
        store.has(DIGEST)


def test_empty_store_is_told_from_a_lost_blob(store: LocalBlobStore) -> None:
    with pytest.raises(BlobError, match=rf"blob {DIGEST}: not found, and the store .* is empty"):
        store.get(DIGEST)

    store.folder.rmdir()
    with pytest.raises(BlobError, match=r"blob store .*: not found; is its disk mounted\?"):
        store.get(DIGEST)


def test_file_written_atomically_replaces_the_old_one_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _full)
        with pytest.raises(LibraryDiskFullError):
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


def test_blob_behind_a_link_is_listed_as_it_is_read(tmp_path: Path) -> None:
    store = LocalBlobStore(tmp_path / "blobs")
    store.create()
    path = store.path(store.put(DATA))
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")

    (entry,) = store.entries()

    assert store.has(entry.name)
    assert (entry.name, entry.size) == (path.name, len(DATA))
