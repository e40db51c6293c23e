import gzip
import io
import tarfile
from pathlib import Path

import pytest

from editvec.batch.sinks.shards import Member, MemberReader, member_names, tar_parts

MEMBERS = [
    Member("a.png", b"x" * 1000),
    Member("a.mask.png", b""),
    Member("a.json", b"{}"),
    Member(f"{'k' * 90}.mask.png", b"y" * 512),
]


def test_a_tar_holds_its_members_in_order() -> None:
    data = b"".join(tar_parts(MEMBERS))

    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        read = [Member(info.name, tar.extractfile(info).read()) for info in tar]  # type: ignore[union-attr]
    assert read == MEMBERS
    assert len(data) % tarfile.RECORDSIZE == 0


@pytest.mark.parametrize("blocks", range(1, 42))
def test_a_tar_is_that_of_tarfile_wherever_its_last_record_ends(blocks: int) -> None:
    """Two blocks of zeros end a tar, and the record of twenty blocks that holds them."""
    members = [Member("a.png", b"x" * (512 * blocks - 100)), Member("b.json", b"{}")]
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))

    written = b"".join(tar_parts(members))

    assert written == stream.getvalue()
    assert written[-1024:] == bytes(1024)


def test_a_tar_of_nothing_is_that_of_tarfile() -> None:
    stream = io.BytesIO()
    tarfile.open(fileobj=stream, mode="w").close()

    assert b"".join(tar_parts([])) == stream.getvalue()


def test_equal_members_make_equal_bytes() -> None:
    assert b"".join(tar_parts(MEMBERS)) == b"".join(tar_parts(list(MEMBERS)))


def test_a_member_is_read_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(b"".join(tar_parts(MEMBERS)))
    reader = MemberReader()

    assert member_names(path) == [member.name for member in MEMBERS]
    for member in MEMBERS:
        assert reader.read(path, member.name) == member.data
    assert reader.read(path, "b.png") is None
    assert reader.read(tmp_path / "nowhere.tar", "a.png") is None


@pytest.mark.parametrize("data", [b"", b"no tar at all" * 100])
def test_what_is_no_tar_says_so(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(data)

    with pytest.raises(OSError, match=r"a\.tar is no whole tar"):
        member_names(path)
    assert not MemberReader().has(path, "a.png")


def test_only_files_of_a_tar_are_its_members(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        for name, kind in (("d", tarfile.DIRTYPE), ("l", tarfile.SYMTYPE), ("h", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "a.png"
            tar.addfile(info)
        info = tarfile.TarInfo("a.png")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))

    assert member_names(path) == ["a.png"]
    assert MemberReader().read(path, "a.png") == b"abc"
    assert not MemberReader().has(path, "l")


@pytest.mark.parametrize("kept", [100, 512, 700, 1536])
def test_a_tar_that_was_cut_or_packed_is_not_whole(tmp_path: Path, kept: int) -> None:
    whole = b"".join(tar_parts([Member("a.png", b"x" * 3000), Member("b.json", b"{}")]))
    path = tmp_path / "a.tar"
    path.write_bytes(whole[:kept])

    with pytest.raises(OSError, match=r"a\.tar is no whole tar"):
        member_names(path)
    path.write_bytes(gzip.compress(whole))
    with pytest.raises(OSError, match=r"a\.tar is no whole tar"):
        member_names(path)
    assert MemberReader().read(path, "a.png") is None
    with pytest.raises(FileNotFoundError):
        member_names(tmp_path / "nowhere.tar")


def test_members_are_files_that_everybody_may_read_of_no_time() -> None:
    with tarfile.open(fileobj=io.BytesIO(b"".join(tar_parts(MEMBERS)))) as tar:
        for info in tar:
            assert (info.mode, info.mtime, info.uid, info.gid) == (0o644, 0, 0, 0)
            assert info.isreg()
