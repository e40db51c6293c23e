import errno
import os
from pathlib import Path

import pytest

from editvec.batch.errors import DiskFullError
from editvec.batch.sinks.files import FileWriter


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
