"""Files that are whole or not there."""

import errno
import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from editvec.whole_files import (
    BLOCK,
    TEMPORARY_PREFIX,
    appearing,
    copy_blocks,
    digest_of,
    digest_of_file,
    new_file,
    write_all,
    write_whole,
)


@pytest.mark.parametrize("write", [appearing, new_file])
def test_a_full_disk_is_told_with_the_name_of_the_file(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OSError, match="No space left") as caught, write(tmp_path / "a.png") as file:
        file.write(b"data")

    assert caught.value.filename == str(tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was synced and renamed, in order: the names of files and folders."""
    seen: list[str] = []
    sync, replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        seen.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        sync(descriptor)

    def renamed(self: Path, target: Path) -> Path:
        seen.append(f"rename to {target.name}")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", renamed)
    return seen


@pytest.fixture
def umask() -> Iterator[None]:
    old = os.umask(0o027)
    yield
    os.umask(old)


def test_a_file_is_synced_before_it_appears_and_its_folder_after(
    tmp_path: Path, calls: list[str]
) -> None:
    write_whole(tmp_path / "file", b"new")

    temporary, rename, folder = calls
    assert temporary.startswith(f"sync {TEMPORARY_PREFIX}")
    assert rename == "rename to file"
    assert folder == f"sync {tmp_path.name}"
    assert (tmp_path / "file").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_failed_block_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")

    def interrupted() -> None:
        with appearing(tmp_path / "file") as file:
            file.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"old")]


@pytest.mark.usefixtures("umask")
def test_modes_follow_the_umask(tmp_path: Path) -> None:
    write_whole(tmp_path / "whole", b"")
    with new_file(tmp_path / "new"):
        pass

    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"whole": 0o640, "new": 0o640}


def test_a_new_file_is_synced_and_replaces_nothing(tmp_path: Path, calls: list[str]) -> None:
    with new_file(tmp_path / "file") as file:
        file.write(b"first")

    with pytest.raises(FileExistsError), new_file(tmp_path / "file") as file:
        file.write(b"second")

    assert calls == ["sync file"]
    assert (tmp_path / "file").read_bytes() == b"first"


def test_a_new_file_whose_block_fails_is_gone(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), new_file(tmp_path / "file"):
        raise KeyboardInterrupt

    assert list(tmp_path.iterdir()) == []


def test_everything_is_written_where_the_system_takes_a_part_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[bytes] = []

    def write(_descriptor: int, data: memoryview) -> int:
        written.append(bytes(data[:3]))
        return len(written[-1])

    monkeypatch.setattr(os, "write", write)
    write_all(0, b"abcdefgh")

    assert written == [b"abc", b"def", b"gh"]


@pytest.mark.parametrize("size", [0, 1, BLOCK, BLOCK + 1])
def test_copies_and_their_digests_are_those_of_the_whole(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "file").write_bytes(data)
    target = io.BytesIO()

    digest = copy_blocks(io.BytesIO(data), target)

    assert target.getvalue() == data
    assert {digest, digest_of(data), digest_of_file(tmp_path / "file")} == {
        hashlib.sha256(data).hexdigest()
    }
