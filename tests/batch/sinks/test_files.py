import ctypes
import errno
import os
from pathlib import Path

import pytest

from editvec.batch.errors import DiskFullError
from editvec.batch.sinks.files import FileWriter, sync_filesystem


def test_a_file_appears_whole_and_replaces_an_older_one(tmp_path: Path) -> None:
    writer = FileWriter(tmp_path / "tmp", prefix="a")

    writer.write(tmp_path / "out/sub/x", b"old")
    writer.write(tmp_path / "out/sub/x", b"new")
    writer.sync()

    assert (tmp_path / "out/sub/x").read_bytes() == b"new"
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_leaves_nothing_torn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    writer = FileWriter(tmp_path / "tmp", prefix="a")
    real_write = os.write

    def write(descriptor: int, data: bytes) -> int:
        if len(data) < 100:
            raise OSError(number, os.strerror(number))
        return real_write(descriptor, data[:100])

    monkeypatch.setattr(os, "write", write)

    with pytest.raises(DiskFullError, match="no space left for"):
        writer.write(tmp_path / "out/x", b"y" * 250)

    assert list((tmp_path / "out").iterdir()) == []
    assert list((tmp_path / "tmp").iterdir()) == []


def test_other_trouble_keeps_its_name(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"a file where a folder should be")

    with pytest.raises(FileExistsError):
        FileWriter(tmp_path / "tmp", prefix="a").write(tmp_path / "out/x", b"y")


def test_nothing_written_needs_no_sync_and_a_folder_that_is_gone_cannot_be_synced(
    tmp_path: Path,
) -> None:
    FileWriter(tmp_path / "tmp", prefix="a").sync()

    assert not (tmp_path / "tmp").exists()
    with pytest.raises(FileNotFoundError):
        sync_filesystem(tmp_path / "tmp")


@pytest.mark.parametrize(("number", "error"), [(errno.ENOSPC, DiskFullError), (errno.EIO, OSError)])
def test_a_sync_that_fails_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[OSError]
) -> None:
    """Some disks say only then that they are full, or broken."""

    class Library:
        def __init__(self, name: None, *, use_errno: bool) -> None: ...

        def syncfs(self, descriptor: int) -> int:
            os.fstat(descriptor)  # it is open
            ctypes.set_errno(number)
            return -1

    monkeypatch.setattr(ctypes, "CDLL", Library)

    with pytest.raises(error) as told:
        sync_filesystem(tmp_path)

    assert isinstance(told.value, DiskFullError) == (error is DiskFullError)
    cause = told.value.__cause__ if error is DiskFullError else told.value
    assert isinstance(cause, OSError)
    assert cause.errno == number
