"""Tar shards of samples: their names and bytes, how items are packed, and a record of each."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import tarfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from editvec.batch.runs.entities import ItemRow, RunRecord
from editvec.batch.runs.placements import OutputNames, Placement
from editvec.batch.sinks.files import FileWriter, raise_if_full
from editvec.whole_files import sync_folder

_LOG = logging.getLogger(__name__)

SHARDS = "shards"
_NAME_LENGTH, _RECIPE_LENGTH, _DIGEST_LENGTH = 40, 24, 24


def sample_key(recipe_name: str, output_name: str) -> str:
    """The key of a sample: readable, without dots, at most 90 ASCII characters, its own.

    With the longest suffix a member's name has 99 characters, which every tar holds; what a key
    leaves out is in the sample's JSON.
    """
    digest = hashlib.sha256(f"{recipe_name}\0{output_name}".encode()).hexdigest()
    words = [_words(output_name)[-_NAME_LENGTH:], _words(recipe_name)[:_RECIPE_LENGTH]]
    return "-".join([*words, digest[:_DIGEST_LENGTH]])


def record_name(image_name: str) -> str:
    """The name of the JSON beside an image of the same sample, with the same folder if any."""
    folder, slash, file = image_name.rpartition("/")
    return f"{folder}{slash}{file.partition('.')[0]}.json"


def shard_path(shard: str) -> str:
    """Where a shard lies, relative to the output folder."""
    return f"{SHARDS}/{shard}.tar"


def shard_of(item: ItemRow) -> str | None:
    """The name of the shard that holds a done item; None while it is staged."""
    assert item.file_name is not None
    top, _, rest = item.file_name.partition("/")
    return rest.partition(".tar/")[0] if top == SHARDS else None


def base_of(shard: str) -> str:
    """What the versions of a shard have in common: ``000012`` of ``000012-2``."""
    return shard.partition("-")[0]


def next_version(base: str, known: Collection[str]) -> str:
    """The first name that is not known: ``000012``, ``000012-2``, ``000012-3``..."""
    name, number = base, 1
    while name in known:
        number += 1
        name = f"{base}-{number}"
    return name


def _words(name: str) -> str:
    return re.sub(r"[^0-9A-Za-z_]+", "_", name).strip("_") or "x"


class Member(NamedTuple):
    """A file in a tar."""

    name: str
    data: bytes


class _MemberPlace(NamedTuple):
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
        self._places: dict[Path, dict[str, _MemberPlace]] = {}

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

    def _places_in(self, path: Path) -> dict[str, _MemberPlace]:
        if path not in self._places:
            try:
                self._places[path] = _places(path)
            except OSError:
                self._places[path] = {}
        return self._places[path]


def _places(path: Path) -> dict[str, _MemberPlace]:
    try:
        with tarfile.open(path, "r:") as tar:
            return {
                info.name: _MemberPlace(info.offset_data, info.size) for info in tar if info.isreg()
            }
    except tarfile.TarError as exc:
        raise OSError(f"{path.name} is no whole tar: {exc}") from exc


class ShardPacker:
    """Makes, replaces and removes the shards of one run."""

    def __init__(
        self, run: RunRecord, writer: FileWriter, *, describe: Callable[[ItemRow], dict[str, Any]]
    ) -> None:
        """Makes the packer.

        Args:
            run: the run.
            writer: writes what is not visible yet.
            describe: makes what a sample's own JSON says.
        """
        self.folder = run.plan.output_folder
        self._records = run.work_folder / SHARDS
        self._writer = writer
        self._describe = describe

    def records(self) -> dict[str, dict[str, Any]]:
        """What was recorded of every shard that is visible, or was about to be, by its name."""
        return {path.stem: self.record(path.stem) for path in sorted(self._records.glob("*.json"))}

    def record(self, shard: str) -> dict[str, Any]:
        """What was recorded of a shard; empty if nothing was."""
        try:
            record: dict[str, Any] = json.loads((self._records / f"{shard}.json").read_bytes())
        except FileNotFoundError:
            return {}
        return record

    def remove(self, shard: str) -> None:
        """Removes a shard that SQL does not name, the record of it last."""
        (self.folder / shard_path(shard)).unlink(missing_ok=True)
        (self._records / f"{shard}.json").unlink(missing_ok=True)

    def pack(self, shard: str, rows: Sequence[ItemRow]) -> Placement:
        """Writes a shard, invisible until the placement is carried out.

        Args:
            shard: its name; SQL names none that is called so.
            rows: done items that are staged, or in shards that this one replaces.

        Raises:
            DiskFullError: no space is left.
            OSError: it cannot be written.
        """
        reader = MemberReader()
        rows = [row for row in rows if self._is_there(row, reader)]
        if not rows:
            return Placement()
        target, record_path = self.folder / shard_path(shard), self._records / f"{shard}.json"
        new = self._writer.temporary_folder / f"{self._writer.prefix}-{shard}.tar"
        new_record = new.with_suffix(".json")
        record = {"shard": shard_path(shard), **self._write(new, rows, reader)}
        self._writer.write(new_record, json.dumps(record).encode())
        for folder in (target.parent, record_path.parent):
            folder.mkdir(parents=True, exist_ok=True)
        self._writer.sync()

        def publish() -> None:
            try:
                # Somebody may have published it who was stopped before SQL knew. The record comes
                # first: whatever shard is visible has its own.
                target.unlink(missing_ok=True)
                new_record.replace(record_path)
                new.replace(target)
                sync_folder(record_path.parent)
                sync_folder(target.parent)
            except OSError as exc:
                raise_if_full(exc, target)
                raise

        return Placement(
            names={
                (row.input.position, row.recipe_position): OutputNames(
                    *(f"{shard_path(shard)}/{Path(name).name}" for name in _names(row))
                )
                for row in rows
            },
            publish=publish,
            clear=lambda: self._clear(rows),
        )

    def _write(self, path: Path, rows: Sequence[ItemRow], reader: MemberReader) -> dict[str, Any]:
        """Writes a tar and returns what is recorded of it."""
        digest, size = hashlib.sha256(), 0

        def parts() -> Iterator[bytes]:
            nonlocal size
            for part in tar_parts(self._members(rows, reader)):
                digest.update(part)
                size += len(part)
                yield part

        self._writer.write_parts(path, parts())
        return {"sha256": digest.hexdigest(), "bytes": size, "samples": len(rows)}

    def _members(self, rows: Iterable[ItemRow], reader: MemberReader) -> Iterator[Member]:
        """The files of each sample, one after the other."""
        for row in rows:
            names = _names(row)
            for name in names:
                path = self.folder / name
                data = reader.read(path.parent, path.name) if shard_of(row) else path.read_bytes()
                if data is None:
                    raise OSError(f"{name} disappeared while it was packed")
                yield Member(path.name, data)
            text = json.dumps(self._describe(row), ensure_ascii=False, allow_nan=False)
            yield Member(record_name(Path(names[0]).name), text.encode())

    def _is_there(self, row: ItemRow, reader: MemberReader) -> bool:
        """False if somebody removed a file of an item; an audit will name it."""
        for name in _names(row):
            path = self.folder / name
            if not (reader.has(path.parent, path.name) if shard_of(row) else path.is_file()):
                _LOG.warning("%s is missing and cannot be packed", name)
                return False
        return True

    def _clear(self, rows: Iterable[ItemRow]) -> None:
        """Removes what was packed from where it was before."""
        replaced = set()
        for row in rows:
            if shard := shard_of(row):
                replaced.add(shard)
            else:
                for name in _names(row):
                    (self.folder / name).unlink(missing_ok=True)
        for shard in replaced:
            self.remove(shard)


def _names(row: ItemRow) -> list[str]:
    """The image first, then the mask if there is one."""
    assert row.file_name is not None
    return [name for name in (row.file_name, row.mask_file_name) if name is not None]
