"""Roboflow's folders of semantic masks: `NAME_mask.png` beside `NAME.jpg`, and `_classes.csv`."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np

from editvec.registry.errors import MaskError
from editvec.registry.labels.label import IGNORED
from editvec.registry.labels.scheme import LabelScheme, plain_name
from editvec.registry.masks.forms.documents import read_document
from editvec.registry.masks.forms.picture_sizes import picture_called
from editvec.registry.masks.png import INDEX_MODES, MaskArray, open_png, read_bytes
from editvec.registry.masks.splits import split_parts

CLASSES = "_classes.csv"
_ENDING = "_mask.png"
_HEADER = ["pixel value", "class"]
_BACKGROUND = "background"


class RoboflowMask(NamedTuple):
    """A mask, the name of its picture, and what its values are called."""

    image: str
    path: Path
    classes: dict[int, str]


def roboflow_masks(source: Path) -> list[RoboflowMask]:
    """The masks of a folder and of those within it, or the one that is a file; [] for others.

    Raises:
        MaskError: the list of classes cannot be read.
    """
    if source.is_file():
        folder, files = source.parent, [source]
        lists = [folder / CLASSES] if (folder / CLASSES).is_file() else []
    else:
        folder, files = source, sorted(source.rglob(f"*{_ENDING}"))
        lists = sorted(source.rglob(CLASSES))
    found = []
    for path in lists:
        classes = _read_classes(path)
        for mask in files:
            if classes is None or mask.parent != path.parent or not mask.name.endswith(_ENDING):
                continue
            stem = mask.name[: -len(_ENDING)]
            picture = picture_called(mask.parent, stem)
            name = mask.with_name(stem if picture is None else picture.name)
            found.append(RoboflowMask(name.relative_to(folder).as_posix(), mask, classes))
    return found


def read_roboflow(mask: RoboflowMask, scheme: LabelScheme) -> MaskArray:
    """The labels of a mask, int32 [H, W].

    Raises:
        MaskError: a value that is not listed, or whose name the scheme does not know; tells where.
    """
    of = f"mask {mask.path}"
    image = open_png(read_bytes(mask.path, of=of), of=of)
    if image.mode not in INDEX_MODES:
        raise MaskError(f"{of}: mode {image.mode} holds colours, not the values of {CLASSES}")
    values = np.asarray(image).astype(np.int64)
    table = np.zeros(int(values.max()) + 1, np.int32)
    for value in np.unique(values):
        name = mask.classes.get(int(value))
        index = None if name is None else scheme.index_of_name.get(plain_name(name))
        if name is None and int(value) in scheme.ignored_spelling.values:
            index = IGNORED
        if index is None and value == 0 and name is not None and plain_name(name) == _BACKGROUND:
            index = 0  # what nobody painted, whatever the scheme calls it
        if index is None:
            row, column = (int(place) for place in np.argwhere(values == value)[0])
            told = f"is not in {CLASSES}" if name is None else f"is {name!r}"
            raise MaskError(
                f"{of}: value {value} at row {row}, column {column} {told}: none of the parts of "
                f"{scheme.title}"
            )
        table[value] = index
    labels: MaskArray = table[values]
    return split_parts(labels, scheme, of=of)


def _read_classes(path: Path) -> dict[int, str] | None:
    """The names by value; None for a list of another kind."""
    of = f"classes {path}"
    try:
        content = read_document(path).decode("utf-8-sig")
        rows = [
            [cell.strip() for cell in row]
            for row in csv.reader(io.StringIO(content, newline=""))
            if row
        ]
    except (UnicodeDecodeError, csv.Error) as exc:
        raise MaskError(f"{of}: expected CSV in UTF-8") from exc
    if not rows or [cell.lower() for cell in rows[0]] != _HEADER:
        return None
    names: dict[int, str] = {}
    for place, row in enumerate(rows[1:], start=2):
        if len(row) != 2 or not row[0].isdecimal():
            raise MaskError(f"{of}, line {place}: expected a value and a name")
        if names.setdefault(int(row[0]), row[1]) != row[1]:
            raise MaskError(f"{of}, line {place}: the value {row[0]} is given twice")
    return names
