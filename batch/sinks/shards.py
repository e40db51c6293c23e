"""Tar files whose members are samples: equal contents make equal bytes, and any member is read."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple


class Member(NamedTuple):
    """A file in a tar."""

    name: str
    data: bytes


class _Place(NamedTuple):
    offset: int
    size: int


def tar_parts(members: Iterable[Member]) -> Iterator[bytes]:
    """The pieces of a tar file, made as they are asked for.

    Args:
        members: names of at most 100 ASCII characters, so that the oldest readers know them.
    """
    written = 0
    for name, data in members:
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.mode = len(data), 0, 0o644
        padding = b"\0" * (-len(data) % tarfile.BLOCKSIZE)
        for part in (info.tobuf(tarfile.USTAR_FORMAT), data, padding):
            yield part
            written += len(part)
    end = 2 * tarfile.BLOCKSIZE
    yield b"\0" * (end + -(written + end) % tarfile.RECORDSIZE)


def member_names(path: Path) -> list[str]:
    """The names of all members of a tar.

    Raises:
        OSError: it cannot be read, or is no tar.
    """
    return list(_places(path))


class MemberReader:
    """Reads members of tars by their names; remembers where the members of each lie."""

    def __init__(self) -> None:
        self._places: dict[Path, dict[str, _Place]] = {}

    def has(self, path: Path, name: str) -> bool:
        """True if a tar is there, can be read and has the member."""
        return name in self._places_in(path)

    def read(self, path: Path, name: str) -> bytes | None:
        """The bytes of a member; None if there is none, or the tar cannot be read."""
        place = self._places_in(path).get(name)
        if place is None:
            return None
        with path.open("rb") as file:
            file.seek(place.offset)
            return file.read(place.size)

    def _places_in(self, path: Path) -> dict[str, _Place]:
        if path not in self._places:
            try:
                self._places[path] = _places(path)
            except OSError:
                self._places[path] = {}
        return self._places[path]


def _places(path: Path) -> dict[str, _Place]:
    try:
        with tarfile.open(path, "r:") as tar:
            return {info.name: _Place(info.offset_data, info.size) for info in tar if info.isreg()}
    except tarfile.TarError as exc:
        raise OSError(f"{path.name} is no whole tar: {exc}") from exc
