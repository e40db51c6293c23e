import ctypes
import errno
import os
from pathlib import Path

import pytest

from editvec.batch.errors import DiskFullError
from editvec.batch.sinks.files import FileWriter, files_below, raise_if_full, sync_filesystem


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


def _descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208


def test_a_file_is_for_everybody_to_read_and_for_its_owner_to_write(tmp_path: Path) -> None:
    old = os.umask(0o002)
    try:
        FileWriter(tmp_path / "tmp", prefix="a").write(tmp_path / "x", b"y")
    finally:
        os.umask(old)

    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o644


def test_a_temporary_file_of_somebody_else_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    FileWriter(tmp_path / "tmp", prefix="a").write(tmp_path / "x", b"y")
    for number in range(3):
        (tmp_path / "tmp" / f"a-{number}").symlink_to(tmp_path / "x")

    with pytest.raises(FileExistsError):
        FileWriter(tmp_path / "tmp", prefix="a").write(tmp_path / "z", b"other")

    assert (tmp_path / "x").read_bytes() == b"y"


def test_a_writer_goes_on_after_its_temporary_folder_was_removed(tmp_path: Path) -> None:
    writer = FileWriter(tmp_path / "tmp", prefix="a")
    writer.write(tmp_path / "out/x", b"1")
    (tmp_path / "tmp/left").write_bytes(b"of a killed process")

    writer.clean()
    assert not (tmp_path / "tmp").exists()
    writer.clean()
    writer.write(tmp_path / "out/y", b"2")

    assert (tmp_path / "out/y").read_bytes() == b"2"


def test_no_file_stays_open_whatever_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = FileWriter(tmp_path / "tmp", prefix="a")
    before = _descriptors()

    writer.write(tmp_path / "x", b"y")
    writer.sync()

    def torn(descriptor: int, data: bytes) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", torn)
        with pytest.raises(OSError, match="Input/output error"):
            writer.write(tmp_path / "z", b"y")
    assert _descriptors() == before
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["x"]
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_file_that_could_not_get_its_name_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out/x").mkdir(parents=True)

    with pytest.raises(IsADirectoryError):
        FileWriter(tmp_path / "tmp", prefix="a").write(tmp_path / "out/x", b"y")

    assert list((tmp_path / "tmp").iterdir()) == []


def test_where_one_file_system_cannot_be_synced_all_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(ctypes, "CDLL", lambda name, *, use_errno: object())
    monkeypatch.setattr(os, "sync", lambda: calls.append("sync"))
    before = _descriptors()

    sync_filesystem(tmp_path)

    assert calls == ["sync"]
    assert _descriptors() == before


def test_only_what_means_a_full_disk_is_told_as_one(tmp_path: Path) -> None:
    raise_if_full(OSError(errno.EACCES, "no"), tmp_path)
    raise_if_full(OSError("without a number"), tmp_path)
    with pytest.raises(DiskFullError, match="output folder: no space left for /x"):
        raise_if_full(OSError(errno.ENOSPC, "full"), Path("/x"))


def test_files_are_found_at_any_depth_and_links_are_not_followed(tmp_path: Path) -> None:
    top = tmp_path / "top"
    for name in ("a", "b/c", "b/d/e", "f/g"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(b"")
    (top / "link").symlink_to(tmp_path)
    (top / "empty").mkdir()

    assert sorted(files_below(top)) == ["a", "b/c", "b/d/e", "f/g", "link"]
    assert list(files_below(tmp_path / "nowhere")) == []


@pytest.mark.parametrize("closed", ["b", "m", "z"])
def test_a_folder_that_cannot_be_read_hides_only_its_own_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    for name in ("b/1", "m/2", "z/3"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"")
    scan = os.scandir

    def refuse(path: Path) -> object:
        if path == tmp_path / f"{closed}/":
            raise PermissionError(errno.EACCES, "no")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)

    found = set(files_below(tmp_path))

    assert found == {name for name in ("b/1", "m/2", "z/3") if name[0] != closed}
