"""Label Studio's exports: JSON and JSON-MIN, with brushes, polygons, rectangles and ellipses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import numpy.typing as npt

from editvec.registry.errors import MaskError
from editvec.registry.masks.forms import shapes
from editvec.registry.masks.forms.documents import items, mapping, number
from editvec.registry.masks.forms.drawings import Drawing, DrawnRegion, check_extent
from editvec.registry.masks.forms.run_lengths import decode_label_studio

BoolArray = npt.NDArray[np.bool_]

_LABELS = "labels"
_PICTURE = re.compile(r"\.(png|jpe?g|webp|bmp|gif|tiff?|avif)\Z", re.IGNORECASE)
_UPLOAD = re.compile(r"[0-9a-f]{8}-(?=.)")


class _Result(NamedTuple):
    """One region as the tool says it; `size` is height and width of its picture."""

    labels: list[str]
    value: dict[str, Any]
    size: tuple[Any, Any]
    of: str


def is_label_studio(content: object) -> bool:
    """True for what looks like an export of Label Studio: a list of tasks."""
    return (
        isinstance(content, list)
        and bool(content)
        and isinstance(content[0], dict)
        and ("annotations" in content[0] or "annotation_id" in content[0])
    )


def read_label_studio(content: object, *, of: str) -> list[Drawing]:
    """One drawing for each task with regions; later regions lie above earlier ones.

    Raises:
        MaskError: a field is missing or wrong, two people annotated one task, or a region covers
            no pixels, such as a key point.
    """
    drawings = []
    for place, entry in enumerate(items(content, of=of)):
        where = f"{of}: task {place + 1}"
        task = mapping(entry, of=where)
        results = list(_results(task, of=where))
        if not results:
            continue
        sizes = {result.size for result in results}
        if len(sizes) > 1:
            raise MaskError(f"{where}: its regions are of pictures of {len(sizes)} sizes")
        height, width = sizes.pop()
        check_extent(height, width, of=where)
        regions = [
            DrawnRegion(label, result.of, partial(_fill, result.value, of=result.of))
            for result in results
            for label in result.labels
        ]
        drawings.append(Drawing(_image_name(task, of=where), where, height, width, regions))
    return drawings


def original_name(name: str) -> str:
    """The name of a file before Label Studio put eight letters before it, at its upload."""
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{_UPLOAD.sub('', last, count=1)}"


def _results(task: dict[str, Any], *, of: str) -> Iterator[_Result]:
    """The regions of a task, of its one annotation."""
    if "annotations" not in task:
        # JSON-MIN: one list of values for each control
        for key, value in task.items():
            if isinstance(value, list):
                for place, one in enumerate(value):
                    if isinstance(one, dict) and (labels := _labels_of(one)):
                        yield _Result(labels, one, _size(one), f"{of}: {key}[{place}]")
        return
    annotations = [
        mapping(one, of=f"{of}: annotations")
        for one in items(task["annotations"], of=f"{of}: annotations")
    ]
    valid = [one for one in annotations if not one.get("was_cancelled")]
    if len(valid) > 1:
        raise MaskError(
            f"{of}: {len(valid)} annotations of {_image_name(task, of=of)}, two masks for one image"
        )
    for one in valid:
        for place, entry in enumerate(items(one.get("result"), of=f"{of}: result")):
            where = f"{of}: result[{place}]"
            result = mapping(entry, of=where)
            value = result.get("value")
            if isinstance(value, dict) and (labels := _labels_of(value)):
                yield _Result(labels, value, _size(result), where)


def _labels_of(value: dict[str, Any]) -> list[str]:
    for key, found in value.items():
        if key.endswith(_LABELS) and isinstance(found, list):
            return [label for label in found if isinstance(label, str)]
    return []


def _size(entry: dict[str, Any]) -> tuple[Any, Any]:
    return entry.get("original_height"), entry.get("original_width")


def _fill(value: dict[str, Any], height: int, width: int, *, of: str) -> BoolArray:
    """The pixels of a region; all places but those of brushes are in percent of the picture."""
    if "rle" in value:
        return decode_label_studio(items(value["rle"], of=f"{of}: rle"), height, width, of=of)
    across, down = width / 100, height / 100

    def said(key: str) -> float:
        return number(value.get(key), of=f"{of}: {key}")

    degrees = number(value.get("rotation", 0), of=f"{of}: rotation")
    if "points" in value:
        pairs = [items(pair, of=f"{of}: points") for pair in items(value["points"], of=of)]
        if not all(len(pair) == 2 for pair in pairs):
            raise MaskError(f"{of}: points: expected pairs of x and y")
        points = [(number(x, of=of) * across, number(y, of=of) * down) for x, y in pairs]
    elif "radiusX" in value:
        centre = (said("x") * across, said("y") * down)
        radii = (said("radiusX") * across, said("radiusY") * down)
        points = shapes.ellipse(centre, radii, degrees)
    elif "height" in value and "width" in value:
        points = shapes.rectangle(
            said("x") * across, said("y") * down, said("width") * across, said("height") * down,
            degrees,
        )  # fmt: skip
    else:
        raise MaskError(
            f"{of}: it covers no pixels; brushes, polygons, rectangles and ellipses are read"
        )
    return shapes.fill_polygon(points, height, width, of=of)


def _image_name(task: dict[str, Any], *, of: str) -> str:
    """The picture's file: from its URL, its storage, or the folder that Label Studio serves."""
    data = task.get("data", task)
    values = list(mapping(data, of=f"{of}: data").values())
    for value in [data.get("image"), *values]:
        if isinstance(value, str):
            parts = urlsplit(value)
            served = parse_qs(parts.query).get("d")
            path = served[0] if served else unquote(parts.path)
            if _PICTURE.search(path):
                return path
    raise MaskError(f"{of}: data: expected the name of a picture")
