"""Boxes of objects in pictures: from a CSV file or COCO annotations to items of a run.

Boxes are in pixels of the upright picture, its EXIF orientation applied. If somebody annotated the
picture as it lies in its file, the boxes are at wrong places. COCO files say how large their
pictures are, so a size that differs from the upright picture's tells of this mistake.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import json
import math
import os
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from editvec.batch.errors import PlanError
from editvec.batch.naming import display_path

MAX_FILE_BYTES = 1 << 30
MIN_SIDE = 8
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_SIDES = ("x", "y", "width", "height")


class Box(NamedTuple):
    """An object in a picture, in pixels from its upper left corner.

    Attributes:
        left: may lie outside the picture, as may the other sides: boxes are cut to it.
        top: likewise.
        width: of the box.
        height: of the box.
        label: what the file calls the object.
        id: what the file calls the box.
        of_height: of the picture, as the file of boxes says it; None where it does not.
        of_width: likewise.
    """

    left: float
    top: float
    width: float
    height: float
    label: str | None = None
    id: str | None = None
    of_height: int | None = None
    of_width: int | None = None

    def check_picture(self, height: int, width: int) -> None:
        """Refuses an upright picture of another size than the one that was annotated.

        Raises:
            PlanError: gives both sizes.
        """
        said = (self.of_height, self.of_width)
        if None in said or said == (height, width):
            return
        problem = (
            f"box: the file of boxes says that the picture has {self.of_width} x {self.of_height} "
            f"pixels, the upright one has {width} x {height}"
        )
        if said == (width, height):
            problem += "; boxes are in pixels of the picture after its EXIF orientation"
        raise PlanError(problem)

    def inside(self, height: int, width: int) -> tuple[int, int, int, int]:
        """The whole pixels of a picture that the box touches: (top, left, bottom, right).

        Raises:
            PlanError: they are too few, or none.
        """
        left, top = max(0, math.floor(self.left)), max(0, math.floor(self.top))
        right = min(width, math.ceil(self.left + self.width))
        bottom = min(height, math.ceil(self.top + self.height))
        if self.width <= 0 or self.height <= 0:
            raise PlanError(f"box: it is empty, {self.width:g} x {self.height:g} pixels")
        if right <= left or bottom <= top:
            raise PlanError(
                f"box: at {self.left:g}, {self.top:g} it lies outside the upright picture of "
                f"{width} x {height} pixels"
            )
        if right - left < MIN_SIDE or bottom - top < MIN_SIDE:
            raise PlanError(
                f"box: {right - left} x {bottom - top} pixels in the upright picture of "
                f"{width} x {height}, expected at least {MIN_SIDE} x {MIN_SIDE}"
            )
        return top, left, bottom, right


@dataclass(frozen=True, kw_only=True)
class BoxFile:
    """What a file of boxes says.

    Attributes:
        boxes: of every picture, in the order of the file, by the path under the input folder.
        crowds: regions of many objects, which are left out.
    """

    boxes: Mapping[bytes, Sequence[Box]]
    crowds: int = 0

    @property
    def digest(self) -> str:
        """Equal for files that ask for the same, whatever their format."""
        digest = hashlib.sha256()
        for path in sorted(self.boxes):
            values = [list(box) for box in self.boxes[path]]
            digest.update(json.dumps([path.hex(), values]).encode())
        return digest.hexdigest()


def read_boxes(path: Path) -> BoxFile:
    """Reads a file of boxes: COCO annotations if it is JSON, CSV otherwise.

    Raises:
        PlanError: it cannot be read, or has no box; names the line, or the annotation.
    """
    of = f"boxes {display_path(os.fsencode(path))}"
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise PlanError(f"{of}: larger than {MAX_FILE_BYTES >> 20} MiB")
        text = _decoded(path.read_bytes(), of)
    except OSError as exc:
        raise PlanError(f"{of}: {exc.strerror or exc}") from exc
    found: dict[bytes, list[Box]] = {}
    crowds = 0
    entries = _of_coco(text, of) if text.lstrip()[:1] in ("{", "[") else _of_csv(text, of)
    for name, box in entries:
        if box is None:
            crowds += 1
        else:
            found.setdefault(_relative(name, of), []).append(box)
    if not found:
        raise PlanError(f"{of}: no box in it")
    return BoxFile(boxes=found, crowds=crowds)


def box_path(path: bytes, number: int) -> bytes:
    """A path that stands for one box of a picture, for its output name.

    No two boxes of a run have the same, because every one of its inputs has a number.
    """
    folder, slash, name = path.rpartition(b"/")
    stem, dot, suffix = name.rpartition(b".")
    if not stem:
        stem, dot, suffix = name, b"", b""
    return folder + slash + stem + b"~box%d" % number + dot + suffix


def _decoded(data: bytes, of: str) -> str:
    """The text of a file: UTF-8, or UTF-16 that says so in its first two bytes."""
    is_wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError as exc:
        if is_wide:
            raise PlanError(f"{of}: it begins like UTF-16 and is none ({exc.reason})") from exc
        line = data.count(b"\n", 0, exc.start) + 1
        raise PlanError(
            f"{of}, line {line}: expected text in UTF-8, got the byte 0x{data[exc.start]:02x}; "
            "save the file as UTF-8"
        ) from exc


def _relative(name: str, of: str) -> bytes:
    try:
        return os.fsencode(posixpath.normpath(name))
    except UnicodeEncodeError as exc:
        raise PlanError(f"{of}: {name!r} can be the name of no file") from exc


def _of_csv(text: str, of: str) -> Iterator[tuple[str, Box]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        name_column = next((name for name in ("file_name", "path") if name in header), None)
        missing = [name for name in _SIDES if name not in header]
        if name_column is None or missing:
            lacking = ", ".join(["file_name"] * (name_column is None) + missing)
            raise PlanError(
                f"{of}, line 1: expected the columns file_name, x, y, width, height; "
                f"it has no {lacking}"
            )
        for cells in reader:
            if not cells:
                continue
            where = f"{of}, line {reader.line_num}"
            if len(cells) != len(header):
                raise PlanError(f"{where}: expected {len(header)} columns, got {len(cells)}")
            row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
            if not row[name_column]:
                raise PlanError(f"{where}: {name_column} is empty")
            sides = [_number(row[side], f"{where}: {side}") for side in _SIDES]
            yield row[name_column], _box(sides, row.get("label"), row.get("id"))
    except csv.Error as exc:
        raise PlanError(f"{of}, line {reader.line_num}: {exc}") from exc


def _of_coco(text: str, of: str) -> Iterator[tuple[str, Box | None]]:
    """The boxes of COCO annotations; None for a crowd."""
    try:
        root = json.loads(text)
    except json.JSONDecodeError as exc:
        raise PlanError(f"{of}, line {exc.lineno}: {exc.msg}") from exc
    except RecursionError as exc:
        raise PlanError(f"{of}: nested too deeply") from exc
    except ValueError as exc:  # a number of thousands of digits
        raise PlanError(f"{of}: not JSON that can be read ({exc})") from exc
    if not isinstance(root, dict):
        raise PlanError(f"{of}: expected COCO annotations, an object with images and annotations")
    images = _named(root, "images", "file_name", of)
    labels = _named(root, "categories", "name", of) if "categories" in root else {}
    sizes = {
        _key(entry["id"]): _size(entry, f"{of}, images[{number}]")
        for number, entry in enumerate(_entries(root, "images", of))
    }
    for number, entry in enumerate(_entries(root, "annotations", of)):
        where = f"{of}, annotations[{number}]"
        image = _key(entry.get("image_id"))
        name = images.get(image)
        if name is None:
            raise PlanError(f"{where}: no image has the id {entry.get('image_id')!r}")
        if entry.get("iscrowd"):
            yield name, None
            continue
        sides = entry.get("bbox")
        if not isinstance(sides, list) or len(sides) != 4:
            raise PlanError(f"{where}: bbox: expected [x, y, width, height], got {sides!r:.60}")
        values = [_number(side, f"{where}: bbox") for side in sides]
        box_id = None if entry.get("id") is None else str(entry["id"])
        box = _box(values, labels.get(_key(entry.get("category_id"))), box_id)
        height, width = sizes[image]
        yield name, box._replace(of_height=height, of_width=width)


def _named(root: dict[str, Any], section: str, field: str, of: str) -> dict[str, str]:
    """The name of every entry of a section, by its id."""
    names: dict[str, str] = {}
    places: dict[str, int] = {}
    for number, entry in enumerate(_entries(root, section, of)):
        name = entry.get(field)
        if entry.get("id") is None or not isinstance(name, str) or not name:
            raise PlanError(f"{of}, {section}[{number}]: expected an id and a {field}")
        key = _key(entry["id"])
        first = places.setdefault(key, number)
        # two categories of one name are one, two images of one name need not be
        if first != number and (section == "images" or names[key] != name):
            raise PlanError(
                f"{of}, {section}[{number}]: the id {key} is that of {section}[{first}] already: "
                f"{names[key]!r} and {name!r}"
            )
        names[key] = name
    return names


def _size(image: dict[str, Any], of: str) -> tuple[int | None, int | None]:
    """Height and width of a picture, as far as they are said."""
    said = (image.get("height"), image.get("width"))
    if any(one is None or one == 0 for one in said):
        return None, None
    values = [_number(one, f"{of}: height and width") for one in said]
    if any(value < 1 or value != int(value) for value in values):
        raise PlanError(f"{of}: height and width: expected numbers of pixels, got {said!r:.60}")
    return int(values[0]), int(values[1])


def _entries(root: dict[str, Any], section: str, of: str) -> list[dict[str, Any]]:
    entries = root.get(section)
    if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
        raise PlanError(f"{of}: {section}: expected a list of objects")
    return entries


def _key(value: object) -> str:
    """Ids by their JSON, so that 1 and "1" are two."""
    return json.dumps(value)


def _box(sides: Sequence[float], label: str | None, box_id: str | None) -> Box:
    left, top, width, height = sides
    return Box(left, top, width, height, _plain(label), _plain(box_id))


def _plain(text: str | None) -> str | None:
    """Text that every database and manifest can hold; None for none."""
    if not text:
        return None
    return _UNSTORABLE.sub("\ufffd", text)


def _number(value: object, what: str) -> float:
    try:
        number = float(value) if isinstance(value, str | int | float) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number) or abs(number) > 1e9:
        raise PlanError(f"{what}: expected a number of pixels, got {value!r:.60}")
    return number
