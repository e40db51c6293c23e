"""LabelMe's JSON, one file for each picture, which X-AnyLabeling writes too."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from editvec.registry.errors import MaskError
from editvec.registry.masks.forms import shapes
from editvec.registry.masks.forms.documents import (
    items,
    mapping,
    number,
    parse_json,
    read_document,
    text,
)
from editvec.registry.masks.forms.drawings import Drawing, DrawnRegion, check_extent, other_shape
from editvec.registry.masks.png import open_png

BoolArray = npt.NDArray[np.bool_]

_SHAPES, _IMAGE = "shapes", "imagePath"
_POLYGONS = ("polygon", "rotation", "")
_OTHER = ("point", "points", "line", "linestrip", "cuboid")


def is_labelme(content: object) -> bool:
    """True for what looks like a file of LabelMe."""
    return isinstance(content, dict) and {_SHAPES, _IMAGE} <= content.keys()


def read_labelme(content: object, *, of: str) -> Drawing:
    """What is drawn on the picture; later shapes lie above earlier ones, none is background.

    Raises:
        MaskError: a field is missing or wrong; names it.
    """
    root = mapping(content, of=of)
    # the path is that of the annotator's machine: the file is meant
    name = re.split(r"[\\/]", text(root.get(_IMAGE), of=f"{of}: {_IMAGE}"))[-1]
    if not name:
        raise MaskError(f"{of}: {_IMAGE}: expected the name of a picture")
    height, width = root.get("imageHeight"), root.get("imageWidth")
    says_size = height is not None or width is not None
    if says_size:
        check_extent(height, width, of=of)
    regions = [
        _region(mapping(entry, of=f"{of}: shapes[{place}]"), of=f"{of}: shapes[{place}]")
        for place, entry in enumerate(items(root.get(_SHAPES), of=f"{of}: {_SHAPES}"))
    ]
    return Drawing(name, of, height, width, regions, says_size=says_size)


def read_labelme_folder(folder: Path) -> list[Drawing]:
    """What the files of LabelMe in a folder, and in those within it, say; other JSON is left out.

    Raises:
        MaskError: a file cannot be read, or a field is missing or wrong.
    """
    found = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() != ".json" or not path.is_file():
            continue
        data = read_document(path)
        if not all(f'"{key}"'.encode() in data for key in (_SHAPES, _IMAGE)):
            continue  # not worth parsing
        of = f"annotations {path}"
        content = parse_json(data, of=of)
        if not is_labelme(content):
            continue
        drawing = read_labelme(content, of=of)
        parent = path.parent.relative_to(folder)
        found.append(
            Drawing(
                (parent / drawing.image).as_posix(), of, drawing.height, drawing.width,
                drawing.regions, says_size=drawing.says_size,
            )
        )  # fmt: skip
    return found


def _region(shape: dict[str, Any], *, of: str) -> DrawnRegion:
    label = text(shape.get("label"), of=f"{of}: label")
    kind = shape.get("shape_type") or ""
    of = f"{of}: {kind or 'polygon'} {label!r}"
    if kind in _OTHER:
        return other_shape(label, of)
    if kind not in (*_POLYGONS, "rectangle", "circle", "mask"):
        raise MaskError(f"{of}: shape_type {kind!r:.40} is none that is known")
    points = [_point(pair, of=f"{of}: points") for pair in items(shape.get("points"), of=of)]
    if kind == "mask":
        return DrawnRegion(label, of, partial(_fill_mask, points, shape.get("mask"), of=of))
    return DrawnRegion(
        label, of, partial(shapes.fill_polygon, _outline(kind, points, of=of), of=of)
    )


def _point(pair: object, *, of: str) -> shapes.Point:
    values = [number(value, of=of) for value in items(pair, of=of)]
    if len(values) != 2:
        raise MaskError(f"{of}: expected pairs of x and y")
    return values[0], values[1]


def _outline(kind: str, points: Sequence[shapes.Point], *, of: str) -> Sequence[shapes.Point]:
    """The corners of a shape."""
    if kind in _POLYGONS or (kind == "rectangle" and len(points) == 4):
        return points
    if len(points) != 2:
        raise MaskError(f"{of}: expected 2 points, got {len(points)}")
    (left, top), (right, bottom) = points
    if kind == "circle":  # its centre, and a point on it
        radius = math.hypot(right - left, bottom - top)
        return shapes.ellipse((left, top), (radius, radius), 0)
    return shapes.rectangle(left, top, right - left, bottom - top, 0)


def _fill_mask(
    points: Sequence[shapes.Point], code: object, height: int, width: int, *, of: str
) -> BoolArray:
    """A picture of the region, of which the points are the first and the last pixel."""
    try:
        data = base64.b64decode(text(code, of=f"{of}: mask"), validate=True)
    except binascii.Error as exc:
        raise MaskError(f"{of}: mask: expected a PNG in base64") from exc
    inside: BoolArray = np.asarray(open_png(data, of=f"{of}: mask").convert("L")) > 0
    if len(points) != 2:
        raise MaskError(f"{of}: expected 2 points, got {len(points)}")
    left, top = (round(value) for value in points[0])
    down, across = inside.shape
    if (round(points[1][0]) - left + 1, round(points[1][1]) - top + 1) != (across, down):
        raise MaskError(f"{of}: its mask has {across} x {down} pixels, other than its points say")
    if not (0 <= left <= width - across and 0 <= top <= height - down):
        raise MaskError(f"{of}: its box is not inside of the picture")
    filled = np.zeros((height, width), np.bool_)
    filled[top : top + down, left : left + across] = inside
    return filled
