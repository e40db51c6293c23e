"""COCO: the image folder, and annotations.json with every part of every mask."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from editvec.batch.errors import DiskFullError
from editvec.batch.runs.entities import ItemRow
from editvec.batch.runs.store import Runs
from editvec.batch.sinks import manifests
from editvec.batch.sinks.files import raise_if_full
from editvec.batch.sinks.imagefolder import ImageFolderSink
from editvec.batch.sinks.ledger import Audit, Entry, Ledger
from editvec.registry.errors import MaskError
from editvec.registry.labels.label import IGNORED
from editvec.registry.masks.forms.run_lengths import encode_coco
from editvec.registry.masks.png import read_mask

_LOG = logging.getLogger(__name__)
ANNOTATIONS = "annotations.json"
# the file holds one record to a line, so that it can be read again without all of it in memory
_SECTIONS = ("categories", "images", "annotations")
_IDS = "ids of images"
_ROWS_AT_A_TIME = 256
_BLOCK = 1 << 20

Record = dict[str, Any]


class _Annotated(NamedTuple):
    """The records of one item; those of its parts have no id yet."""

    image: Record
    parts: list[Record]


class CocoSink(ImageFolderSink):
    """An image folder with annotations in the format of the COCO data set."""

    def write_manifests(self, runs: Runs, summary: dict[str, Any]) -> None:
        """Writes annotations.json before the other manifests.

        Raises:
            DiskFullError: no space is left.
        """
        folder = self.writer.temporary_folder
        folder.mkdir(parents=True, exist_ok=True)
        try:
            # the images come first in the file: what is known of their parts waits here meanwhile
            with tempfile.TemporaryFile(dir=folder) as waiting:
                manifests.write_manifests(
                    self.writer,
                    self.run,
                    runs,
                    row=self.row,
                    summary=summary,
                    patterns=self.patterns(runs),
                    others={ANNOTATIONS: self._annotations(runs, waiting)},
                )
        except OSError as exc:
            raise_if_full(exc, self.folder / ANNOTATIONS)
            raise

    def check(self, found: Audit, ledger: Ledger, *, is_finished: bool) -> None:
        """Compares annotations.json with the content keys in SQL."""
        if not is_finished:
            return
        try:
            ledger.add(self._listed())
            strays = self._strays(ledger)
        except DiskFullError:
            raise
        except (OSError, ValueError, KeyError, TypeError) as exc:
            found.problems.append(f"{ANNOTATIONS} cannot be read: {exc}")
            return
        if strays:
            found.problems.append(f"{ANNOTATIONS} has {strays} annotations of no image")
        found.compare(ANNOTATIONS, ledger)

    def _listed(self) -> Iterator[Entry]:
        """The images of annotations.json: by name with their content keys, and their ids."""
        for record in _read(self.folder / ANNOTATIONS, "images"):
            yield Entry(ANNOTATIONS, record["file_name"], record["content_key"])
            yield Entry(_IDS, str(record["id"]))

    def _strays(self, ledger: Ledger) -> int:
        """How many annotations belong to no image; those of one image follow each other."""
        strays, last, is_known = 0, None, False
        for record in _read(self.folder / ANNOTATIONS, "annotations"):
            if record["image_id"] != last:
                last = record["image_id"]
                is_known = ledger.has(_IDS, str(last))
            strays += not is_known
        return strays

    def _annotations(self, runs: Runs, waiting: IO[bytes]) -> Iterator[bytes]:
        """The pieces of annotations.json."""
        yield b'{\n"info": ' + _line(self._info()) + b',\n"licenses": [],\n"categories": [\n'
        yield b",\n".join(
            _line({"id": label.index + 1, "name": label.name, "color": list(label.color)})
            for label in self.labels
        )
        yield b'\n],\n"images": [\n'
        yield from _separated(self._images(runs, waiting))
        yield b'\n],\n"annotations": [\n'
        waiting.seek(0)
        while block := waiting.read(_BLOCK):
            yield block
        yield b"\n]\n}\n"

    def _images(self, runs: Runs, waiting: IO[bytes]) -> Iterator[bytes]:
        """The image records; writes those of their parts to `waiting`."""
        count = 0
        for image, parts in self._annotated(runs.items(self.run.id, states=["done"])):
            yield _line(image)
            for part in parts:
                count += 1
                data = _line({"id": count, **part})
                waiting.write(data if count == 1 else b",\n" + data)

    def _annotated(self, items: Iterator[ItemRow]) -> Iterator[_Annotated]:
        """The records of items in order, some at a time in threads."""
        with ThreadPoolExecutor(max(1, min(8, os.cpu_count() or 1))) as threads:
            while some := list(islice(items, _ROWS_AT_A_TIME)):
                for annotated in threads.map(self._annotate, some):
                    if annotated is not None:
                        yield annotated

    def _annotate(self, item: ItemRow) -> _Annotated | None:
        """The records of one item; None if its mask is gone, which an audit tells."""
        assert item.mask_file_name is not None
        try:
            mask = read_mask(self.folder / item.mask_file_name, self.labels)
        except MaskError as exc:
            _LOG.warning("%s has no annotations: %s", item.file_name, exc)
            return None
        height, width = mask.shape
        # by its place in the plan, and so whatever became of the items before it
        image_id = item.input.position * len(self.run.plan.recipes) + item.recipe_position + 1
        row = self.row(item)
        row.pop("verdict")
        image = {"id": image_id, "width": width, "height": height, **row}
        parts = [
            {
                "image_id": image_id,
                "category_id": part.label + 1,
                "segmentation": part.to_json(),
                "area": part.area,
                "bbox": list(part.bounding_box),
                "iscrowd": 0,
            }
            for part in parts_of(mask)
            if part.label != IGNORED
        ]
        return _Annotated(image, parts)

    def _info(self) -> Record:
        created = self.run.created_at
        return {
            "description": f"run {self.run.id} of class {self.run.plan.class_address}",
            "version": self.run.engine_version,
            "year": created.year,
            "date_created": created.isoformat(),
        }


def _line(record: Record) -> bytes:
    return json.dumps(record, ensure_ascii=False, allow_nan=False).encode()


def _separated(lines: Iterable[bytes]) -> Iterator[bytes]:
    for number, line in enumerate(lines):
        yield line if number == 0 else b",\n" + line


def _read(path: Path, section: str) -> Iterator[Record]:
    """The records of a section of a file that we wrote."""
    is_inside = False
    starts = {f'"{name}": [\n': name == section for name in _SECTIONS}
    with path.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            if line in starts:
                is_inside = starts[line]
            elif is_inside and line.startswith("{"):
                yield json.loads(line.rstrip(",\n"))


@dataclass(frozen=True)
class MaskPart:
    """The pixels of one label in a mask.

    Attributes:
        label: its index.
        height: of the mask in pixels.
        width: of the mask in pixels.
        counts: int64, lengths of runs in column-major order: outside, inside, outside...
    """

    label: int
    height: int
    width: int
    counts: npt.NDArray[np.int64]

    @property
    def area(self) -> int:
        """Pixels inside."""
        return int(self.counts[1::2].sum())

    @property
    def bounding_box(self) -> tuple[int, int, int, int]:
        """Left, top, width, height, in pixels."""
        ends = np.cumsum(self.counts)
        first, last = ends[:-1:2], ends[1::2] - 1
        left, right = int(first[0] // self.height), int(last[-1] // self.height)
        if (first // self.height != last // self.height).any():
            # a run that goes on in the next column touches the bottom and the top
            top, bottom = 0, self.height - 1
        else:
            top, bottom = int((first % self.height).min()), int((last % self.height).max())
        return left, top, right - left + 1, bottom - top + 1

    def to_json(self) -> dict[str, Any]:
        """What COCO calls a segmentation."""
        return {"size": [self.height, self.width], "counts": encode_coco(self.counts)}


def parts_of(mask: npt.NDArray[np.integer[Any]]) -> Iterator[MaskPart]:
    """Every label of a mask that has pixels, in the order of their indices.

    Args:
        mask: label indices, [H, W], not empty.
    """
    height, width = mask.shape
    flat = mask.ravel(order="F")
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    ends = np.append(starts[1:], flat.size)
    labels = flat[starts]
    for label in np.unique(labels):
        # runs of one label never touch, so their edges alternate between outside and inside
        chosen = labels == label
        edges = np.stack([starts[chosen], ends[chosen]], axis=1).ravel()
        if edges[-1] < flat.size:
            edges = np.append(edges, flat.size)
        counts = np.diff(edges, prepend=0).astype(np.int64)
        yield MaskPart(label=int(label), height=height, width=width, counts=counts)
