"""Files of the library: digests, whole files, and errors in the library's words."""

import errno
import os
from pathlib import Path

import pytest

from editvec.registry.errors import BlobError, LibraryDiskFullError
from editvec.registry.files import (
    check_digest,
    foreign_errors,
    is_digest,
    new_file,
    temporary_folder,
    write_atomically,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0a" * 32, True),
        ("0a" * 31 + "0", False),
        ("0a" * 32 + "0", False),
        ("0a" * 32 + "\n", False),
        ("0A" * 32, False),
        ("0g" * 32, False),
        ("../" + "0a" * 32, False),
        (7, False),
        (None, False),
    ],
)
def test_a_digest_is_64_small_hexadecimal_digits(text: object, expected: bool) -> None:
    assert is_digest(text) == expected
    if expected:
        assert check_digest(str(text)) == text
    else:
        with pytest.raises(BlobError, match=r"blob: expected a SHA-256 in hex, got"):
            check_digest(text)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("number", "error", "message"),
    [
        (errno.ENOSPC, LibraryDiskFullError, "it: no space left on the disk"),
        (errno.EDQUOT, LibraryDiskFullError, "it: no space left on the disk"),
        (errno.ENOENT, BlobError, "it: not found"),
        (errno.EACCES, BlobError, "it: Permission denied"),
    ],
)
def test_errors_of_files_become_those_of_the_library(
    number: int, error: type[BlobError], message: str
) -> None:
    with pytest.raises(BlobError) as caught, foreign_errors("it"):
        raise OSError(number, os.strerror(number))

    assert (type(caught.value), str(caught.value)) == (error, message)
    assert isinstance(caught.value.__cause__, OSError)


def test_errors_of_the_library_and_of_others_pass() -> None:
    with pytest.raises(BlobError, match=r"^mine$"), foreign_errors("it"):
        raise BlobError("mine")
    with pytest.raises(ValueError, match=r"^other$"), foreign_errors("it"):
        raise ValueError("other")
    with pytest.raises(BlobError, match=r"^it: no number$"), foreign_errors("it"):
        raise OSError("no number")


def test_a_file_is_written_whole_and_never_into_a_folder_that_is_not_there(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", b"old")
    write_atomically(tmp_path / "a", b"new")

    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"new")]
    with pytest.raises(BlobError, match=r"file .*/b/a: its folder does not exist"):
        write_atomically(tmp_path / "b" / "a", b"x")
    assert not (tmp_path / "b").exists()


def test_a_new_file_is_gone_when_its_block_fails_and_replaces_nothing(tmp_path: Path) -> None:
    def half() -> None:
        with new_file(tmp_path / "a") as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert list(tmp_path.iterdir()) == []

    with new_file(tmp_path / "a") as file:
        file.write(b"whole")
    with pytest.raises(BlobError, match=r"file .*/a: File exists"), new_file(tmp_path / "a"):
        pass
    assert (tmp_path / "a").read_bytes() == b"whole"


def test_a_temporary_folder_is_gone_at_the_end_unless_it_was_renamed(tmp_path: Path) -> None:
    parent = tmp_path / "x" / "y"
    with temporary_folder(parent) as folder:
        (folder / "a").write_bytes(b"1")
        assert folder.parent == parent
        assert folder.name.startswith(".incoming-")
    assert list(parent.iterdir()) == []

    with pytest.raises(RuntimeError), temporary_folder(parent) as folder:
        raise RuntimeError
    with temporary_folder(parent) as folder:
        folder.rename(parent / "kept")

    assert [path.name for path in parent.iterdir()] == ["kept"]
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(BlobError, match=r"folder .*/file/z: "),
        temporary_folder(tmp_path / "file" / "z"),
    ):
        pass
