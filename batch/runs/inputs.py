"""What a run works on: pictures of a folder, objects in boxes, or samples."""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from editvec.batch.errors import PlanError
from editvec.batch.naming import display_path, output_names
from editvec.batch.recipes.boxes import BoxFile, box_path
from editvec.batch.recipes.settings import RunSettings
from editvec.batch.runs.plan import PlannedInput

# the formats that `editvec.engine.images.images` reads
# fmt: off
IMAGE_SUFFIXES = frozenset({
    "png", "jpg", "jpeg", "jpe", "jfif", "webp", "avif", "gif", "bmp", "dib", "tif", "tiff",
    "ppm", "pgm", "pbm", "pnm",
})
# fmt: on


@dataclass(kw_only=True)
class FolderScan:
    """What a walk through the input folder found.

    Attributes:
        inputs: the images, sorted by the bytes of their relative paths.
        unreadable: folders that could not be listed.
        other_files: number of files that are no images by their suffix.
    """

    inputs: list[PlannedInput] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    other_files: int = 0


class _FoundFile(NamedTuple):
    relative_path: bytes
    size: int | None
    mtime_ns: int | None


def scan_folder(folder: Path) -> FolderScan:
    """Finds the images under a folder: path, size and time only, no file is opened.

    Hidden files and folders are skipped; links to folders are followed, loops are not.

    Raises:
        PlanError: the folder cannot be listed, or holds no image.
    """
    scan = FolderScan()
    try:
        next(folder.iterdir(), None)
    except OSError as exc:
        raise PlanError(f"input folder: cannot list {folder} ({exc.strerror})") from exc
    found = sorted(_walk(folder, "", (), scan))
    if not found:
        raise PlanError(
            f"input folder: no image under {folder} ({scan.other_files} other files; images are "
            f"known by their suffix: {' '.join(sorted(IMAGE_SUFFIXES))})"
        )
    names = output_names([entry.relative_path for entry in found])
    # taken off one by one, because a folder may hold a million
    found.reverse()
    for position, name in enumerate(names):
        entry = found.pop()
        scan.inputs.append(
            PlannedInput(
                position=position,
                relative_path=entry.relative_path,
                output_name=name,
                size=entry.size,
                mtime_ns=entry.mtime_ns,
            )
        )
    return scan


def count_images(folder: Path) -> int:
    """How many images `scan_folder` would find now, in constant memory; 0 if the folder is gone."""
    return sum(1 for _ in _walk(folder, "", (), FolderScan()))


def sampled_inputs(count: int, seed: int) -> list[PlannedInput]:
    """The inputs of a generated run: sample i depends on the seed and on i alone.

    Raises:
        PlanError: no input was asked for.
    """
    if count < 1:
        raise PlanError(f"count: expected at least 1, got {count}")
    names = [f"seed-{seed}-{position:06d}" for position in range(count)]
    return [
        PlannedInput(position=position, relative_path=name.encode(), output_name=name, seed=seed)
        for position, name in enumerate(names)
    ]


def _walk(
    root: Path, relative: str, ancestors: tuple[tuple[int, int], ...], scan: FolderScan
) -> Iterator[_FoundFile]:
    """Yields the images under root/relative; `ancestors` are the folders on the way down."""
    folder = root / relative
    folders = []
    try:
        here = folder.stat()
        if (here.st_dev, here.st_ino) in ancestors:
            return
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                path = f"{relative}/{entry.name}" if relative else entry.name
                if _is_folder(entry):
                    folders.append(path)
                elif entry.name.rpartition(".")[2].lower() not in IMAGE_SUFFIXES:
                    scan.other_files += 1
                else:
                    yield from _examine(entry, os.fsencode(path), scan)
    except OSError:
        scan.unreadable.append(display_path(os.fsencode(folder)))
        return
    below = (*ancestors, (here.st_dev, here.st_ino))
    for path in folders:
        yield from _walk(root, path, below, scan)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _examine(entry: os.DirEntry[str], path: bytes, scan: FolderScan) -> Iterator[_FoundFile]:
    """Yields a regular file; one that cannot be examined comes too, to fail with its reason."""
    try:
        status = entry.stat()
    except OSError:
        yield _FoundFile(path, None, None)
        return
    if stat.S_ISREG(status.st_mode):
        yield _FoundFile(path, status.st_size, status.st_mtime_ns)
    else:
        scan.other_files += 1


def find_inputs(
    source: Path | None, settings: RunSettings, boxes: BoxFile | None
) -> tuple[list[PlannedInput], list[str]]:
    """The inputs of a run, and notes on what is left out.

    Raises:
        PlanError: there is none.
    """
    if source is None:
        return sampled_inputs(settings.count, settings.seed), []
    scan = scan_folder(source)
    notes = [f"cannot list {folder}: what is in it is left out" for folder in scan.unreadable]
    if scan.other_files:
        notes.append(f"{scan.other_files} files that are no images are left out")
    if boxes is None:
        return scan.inputs, notes
    inputs, about_boxes = _boxed(scan.inputs, boxes)
    return inputs, notes + about_boxes


def _boxed(scanned: Sequence[PlannedInput], boxes: BoxFile) -> tuple[list[PlannedInput], list[str]]:
    """An input for every box of every picture, with notes on what is left out.

    Raises:
        PlanError: no box belongs to a picture.
    """
    found = [
        (one, box)
        for one in scanned
        for box in enumerate(boxes.boxes.get(one.relative_path, ()), 1)
    ]
    if not found:
        raise PlanError(
            f"boxes: none of the {len(boxes.boxes)} pictures that they name is among the "
            f"{len(scanned)} in the input folder; expected paths under it"
        )
    names = output_names([box_path(one.relative_path, number) for one, (number, _) in found])
    inputs = [
        dataclasses.replace(one, position=position, output_name=name, box=box)
        for position, (name, (one, (_, box))) in enumerate(zip(names, found, strict=True))
    ]
    pictures = len({one.relative_path for one, _ in found})
    notes = []
    if bare := len(scanned) - pictures:
        notes.append(f"{bare} images without a box are left out")
    if missing := len(boxes.boxes) - pictures:
        notes.append(f"boxes of {missing} pictures that are not in the input folder are left out")
    if boxes.crowds:
        notes.append(f"{boxes.crowds} boxes of crowds are left out")
    return inputs, notes
