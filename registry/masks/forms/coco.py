"""COCO's JSON of object masks: polygons, run lengths and their compressed text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from editvec.registry.errors import MaskError
from editvec.registry.masks.forms.documents import items, mapping, number, text
from editvec.registry.masks.forms.drawings import Drawing, DrawnRegion, check_extent, other_shape
from editvec.registry.masks.forms.run_lengths import decode_coco
from editvec.registry.masks.forms.shapes import Point, fill_polygon, rectangle

BoolArray = npt.NDArray[np.bool_]


def is_coco(content: object) -> bool:
    """True for what looks like COCO's JSON."""
    return isinstance(content, dict) and {"images", "annotations"} <= content.keys()


def read_coco(content: object, *, of: str) -> list[Drawing]:
    """One drawing for each image; later annotations lie above earlier ones.

    A part that has a box only is drawn as its box. An image without annotations is background.

    Raises:
        MaskError: a field is missing or wrong, or two entries have one id; names them.
    """
    root = mapping(content, of=of)
    names: dict[Any, str] = {}
    places: dict[Any, int] = {}
    for place, entry in enumerate(items(root.get("categories"), of=f"{of}: categories")):
        where = f"{of}: categories[{place}]"
        category = mapping(entry, of=where)
        category_id = _identity(category, "id", of=where)
        name = text(category.get("name"), of=f"{where}: name")
        first = places.setdefault(category_id, place)
        if names.setdefault(category_id, name) != name:
            raise MaskError(
                f"{where}: the id {category_id!r} is that of categories[{first}] already: "
                f"{names[category_id]!r} and {name!r}"
            )
    drawn: dict[Any, list[DrawnRegion]] = defaultdict(list)
    for place, entry in enumerate(items(root.get("annotations"), of=f"{of}: annotations")):
        where = f"{of}: annotations[{place}]"
        annotation = mapping(entry, of=where)
        category_id = _identity(annotation, "category_id", of=where)
        if category_id not in names:
            raise MaskError(f"{where}: category_id {category_id!r} is none of the categories")
        region = _region(annotation, names[category_id], of=where)
        drawn[_identity(annotation, "image_id", of=where)].append(region)
    drawings: list[Drawing] = []
    places = {}
    for place, entry in enumerate(items(root.get("images"), of=f"{of}: images")):
        where = f"{of}: images[{place}]"
        image = mapping(entry, of=where)
        check_extent(image.get("height"), image.get("width"), of=where)
        name = text(image.get("file_name"), of=f"{where}: file_name")
        image_id = _identity(image, "id", of=where)
        first = places.setdefault(image_id, place)
        if first != place:
            raise MaskError(
                f"{where}: the id {image_id!r} is that of images[{first}] already: "
                f"{drawings[first].image!r} and {name!r}"
            )
        regions = drawn.pop(image_id, [])
        drawings.append(Drawing(name, where, image["height"], image["width"], regions))
    if drawn:
        raise MaskError(f"{of}: image_id {next(iter(drawn))!r} is none of the images")
    return drawings


def _region(annotation: dict[str, Any], name: str, *, of: str) -> DrawnRegion:
    segmentation, box = annotation.get("segmentation"), annotation.get("bbox")
    if segmentation:
        return DrawnRegion(name, of, partial(_fill, segmentation, of=of))
    if annotation.get("keypoints"):
        return other_shape(name, of)
    if box is None:
        raise MaskError(f"{of}: expected a segmentation or a bbox, got none of them")
    sides = [number(value, of=f"{of}: bbox") for value in items(box, of=f"{of}: bbox")]
    if len(sides) != 4 or sides[2] <= 0 or sides[3] <= 0:
        raise MaskError(f"{of}: bbox: expected [x, y, width, height], got {box!r:.60}")
    corners = rectangle(sides[0], sides[1], sides[2], sides[3], 0)
    return DrawnRegion(name, of, partial(_fill_box, corners, of=of))


def _fill_box(corners: Sequence[Point], height: int, width: int, *, of: str) -> BoolArray:
    return fill_polygon(corners, height, width, of=f"{of}: bbox")


def _fill(segmentation: object, height: int, width: int, *, of: str) -> BoolArray:
    of = f"{of}: segmentation"
    if isinstance(segmentation, dict):
        if segmentation.get("size") != [height, width]:
            raise MaskError(
                f"{of}: size {segmentation.get('size')} is not that of its image, "
                f"[{height}, {width}]"
            )
        counts = segmentation.get("counts")
        if not isinstance(counts, str | list):
            raise MaskError(f"{of}: counts: expected a list or a text")
        return decode_coco(counts, height, width, of=of)
    filled = np.zeros((height, width), np.bool_)
    for polygon in items(segmentation, of=of):
        values = [number(value, of=of) for value in items(polygon, of=of)]
        if len(values) % 2:
            raise MaskError(f"{of}: a polygon has {len(values)} numbers, x and y are pairs")
        points = list(zip(values[::2], values[1::2], strict=True))
        filled |= fill_polygon(points, height, width, of=of)
    return filled


def _identity(entry: dict[str, Any], key: str, *, of: str) -> int | str:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise MaskError(f"{of}: {key}: expected a number, got {value!r:.60}")
    return value
