"""Label Studio's exports: JSON and JSON-MIN, with brushes, polygons, rectangles and ellipses."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import numpy.typing as npt

from editvec.registry.errors import MaskError
from editvec.registry.masks.forms import shapes
from editvec.registry.masks.forms.documents import items, mapping, number
from editvec.registry.masks.forms.drawings import Drawing, DrawnRegion, check_extent, other_shape
from editvec.registry.masks.forms.run_lengths import decode_label_studio

BoolArray = npt.NDArray[np.bool_]

_LABELS = "labels"
_IMAGE = "image"
_PLACES = ("rle", "points", "vertices", "x", "y", "width", "height", "radiusX", "radiusY")
_PICTURE = re.compile(r"\.(png|jpe?g|webp|bmp|gif|tiff?|avif)\Z", re.IGNORECASE)
_UPLOAD = re.compile(r"[0-9a-f]{8}-(?=.)")


class _Result(NamedTuple):
    """One region as the tool says it.

    `size` is height and width of its picture, `picture` what the tool calls that picture (None in
    JSON-MIN), `region` what tells that two results are of one region.
    """

    labels: list[str]
    value: dict[str, Any]
    size: tuple[Any, Any]
    picture: str | None
    region: str | int | None
    of: str

    @property
    def places(self) -> dict[str, Any]:
        """Where the region is."""
        return {key: self.value[key] for key in _PLACES if key in self.value}


class _Task(NamedTuple):
    """One task: its data, the pictures among them, and its regions."""

    of: str
    data: dict[str, Any]
    pictures: dict[str, str]
    results: list[_Result]
    is_annotated: bool


def is_label_studio(content: object) -> bool:
    """True for what looks like an export of Label Studio: a list of tasks."""
    return (
        isinstance(content, list)
        and bool(content)
        and isinstance(content[0], dict)
        and ("annotations" in content[0] or "annotation_id" in content[0])
    )


def read_label_studio(content: object, *, of: str) -> list[Drawing]:
    """One drawing for each annotated picture of a task; later regions lie above earlier ones.

    A task that was submitted without regions is background. It does not say how large its picture
    is: as large as the others, where these agree and the picture itself cannot be asked.

    Raises:
        MaskError: a field is missing or wrong, two people annotated one task, or a task does not
            say which of its pictures a region is of.
    """
    tasks = [
        _task(mapping(entry, of=f"{of}: task {place}"), of=f"{of}: task {place}")
        for place, entry in enumerate(items(content, of=of), start=1)
    ]
    objects = {one.picture for task in tasks for one in task.results if one.picture is not None}
    drawings: list[Drawing] = []
    for task in tasks:
        if not task.is_annotated:
            continue  # nobody has looked at it
        regions: dict[str, list[_Result]] = {key: [] for key in _annotated(task, objects)}
        for result in task.results:
            regions.setdefault(_picture_of(result, task, objects), []).append(result)
        for key, results in regions.items():
            where = task.of if len(task.pictures) == 1 else f"{task.of}: {key}"
            drawings.append(_drawing(task.pictures[key], results, of=where))
    sizes = {(one.height, one.width) for one in drawings if one.says_size}
    if len(sizes) != 1:
        return drawings
    height, width = sizes.pop()
    return [one if one.says_size else replace(one, height=height, width=width) for one in drawings]


def task_pictures(content: object, *, of: str) -> dict[int, str]:
    """The name of the picture of each task that has one picture, by the number of the task.

    Raises:
        MaskError: not an export of Label Studio.
    """
    found = {}
    for place, entry in enumerate(items(content, of=of), start=1):
        task = mapping(entry, of=f"{of}: task {place}")
        pictures = _pictures(_data(task, of=f"{of}: task {place}"))
        if isinstance(task.get("id"), int) and len(pictures) == 1:
            found[task["id"]] = next(iter(pictures.values()))
    return found


def original_name(name: str) -> str:
    """The name of a file before Label Studio put eight letters before it, at its upload."""
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{_UPLOAD.sub('', last, count=1)}"


# --- tasks ---


def _task(task: dict[str, Any], *, of: str) -> _Task:
    """A task of which one annotation counts."""
    data = _data(task, of=of)
    pictures = _pictures(data)
    if "annotations" in task:
        annotations = [
            mapping(one, of=f"{of}: annotations")
            for one in items(task["annotations"], of=f"{of}: annotations")
        ]
        valid = [one for one in annotations if not one.get("was_cancelled")]
        if len(valid) > 1:
            names = ", ".join(pictures.values()) or "a task"
            raise MaskError(f"{of}: {len(valid)} annotations of {names}, two masks for one image")
        results = [result for one in valid for result in _results(one, of=of)]
        is_annotated = bool(valid)
    else:
        results = list(_short_results(task, of=of))
        is_annotated = bool(results) or "annotation_id" in task
    if is_annotated and not pictures:
        raise MaskError(f"{of}: data: expected the name of a picture")
    return _Task(of, data, pictures, results, is_annotated)


def _data(task: dict[str, Any], *, of: str) -> dict[str, Any]:
    return mapping(task.get("data", task), of=f"{of}: data")


def _pictures(data: Mapping[str, Any]) -> dict[str, str]:
    """The pictures' files: from URLs, a storage, or the folder that Label Studio serves."""
    found = {}
    for key, value in data.items():
        if isinstance(value, str):
            try:
                parts = urlsplit(value)
            except ValueError:  # a text that looks like a broken URL names no picture
                continue
            served = parse_qs(parts.query).get("d")
            path = served[0] if served else unquote(parts.path)
            if _PICTURE.search(path):
                found[key] = path
    return found


def _results(annotation: dict[str, Any], *, of: str) -> Iterator[_Result]:
    for place, entry in enumerate(items(annotation.get("result"), of=f"{of}: result")):
        where = f"{of}: result[{place}]"
        result = mapping(entry, of=where)
        value = result.get("value")
        if isinstance(value, dict) and _is_region(value):
            picture, region = result.get("to_name"), result.get("id")
            named = picture if isinstance(picture, str) else None
            region = region if isinstance(region, str | int) else None
            yield _Result(_labels_of(value), value, _size(result), named, region, where)


def _short_results(task: dict[str, Any], *, of: str) -> Iterator[_Result]:
    """The regions of JSON-MIN: one list of values for each control."""
    for key, values in task.items():
        if isinstance(values, list):
            for place, value in enumerate(values):
                if isinstance(value, dict) and _is_region(value):
                    where = f"{of}: {key}[{place}]"
                    yield _Result(_labels_of(value), value, _size(value), None, None, where)


def _is_region(value: dict[str, Any]) -> bool:
    return bool(_labels_of(value)) or any(key in value for key in _PLACES)


def _labels_of(value: dict[str, Any]) -> list[str]:
    labels = [
        label
        for key, found in value.items()
        if key.endswith(_LABELS) and isinstance(found, list)
        for label in found
        if isinstance(label, str)
    ]
    return list(dict.fromkeys(labels))


def _size(entry: dict[str, Any]) -> tuple[Any, Any]:
    return entry.get("original_height"), entry.get("original_width")


# --- which picture ---


def _annotated(task: _Task, objects: Collection[str]) -> list[str]:
    """The pictures of a task that can have regions: all of one, else those that tools name."""
    if len(task.pictures) == 1:
        return list(task.pictures)
    if named := [key for key in task.pictures if key in objects]:
        return named
    return [_IMAGE] if _IMAGE in task.pictures and len(objects) == 1 else []


def _picture_of(result: _Result, task: _Task, objects: Collection[str]) -> str:
    if result.picture in task.pictures:
        return result.picture
    named = {one.picture for one in task.results}
    usual = _annotated(task, objects)
    # the name of the tool's object need not be that of the data, where there is one only
    is_other = result.picture is not None and result.picture in task.data
    if len(usual) == 1 and usual[0] not in objects and len(named) == 1 and not is_other:
        return usual[0]
    shown = ", ".join(task.pictures)
    if result.picture is None:
        raise MaskError(
            f"{result.of}: it does not say which of the task's pictures it is of ({shown}); export "
            "JSON instead of JSON-MIN"
        )
    raise MaskError(
        f"{result.of}: to_name {result.picture!r} is none of the pictures of its task: {shown}"
    )


# --- regions ---


def _drawing(name: str, results: Sequence[_Result], *, of: str) -> Drawing:
    sizes = {result.size for result in results}
    if len(sizes) > 1:
        raise MaskError(f"{of}: its regions are of pictures of {len(sizes)} sizes")
    if not sizes:
        return Drawing(name, of, None, None, [], says_size=False)
    height, width = sizes.pop()
    check_extent(height, width, of=of)
    regions: list[DrawnRegion] = []
    fault = None
    same: dict[str | int | None, list[_Result]] = defaultdict(list)
    for result in results:
        if result.labels:
            same[result.region].append(result)
    for result in results:
        others = [one for one in same[result.region] if one.places == result.places]
        labels = list(result.labels)
        if result.region is not None:
            labels += [label for one in others for label in one.labels if label not in labels]
        if not result.labels and others:
            continue  # the same region once more, with a choice or a text
        if not _is_area(result.value):
            regions.append(other_shape(", ".join(labels), result.of))
        elif not labels:
            fault = fault or f"{result.of}: a region without a label"
        elif len(labels) > 1:
            names = " and ".join(repr(label) for label in labels)
            fault = fault or f"{result.of}: {len(labels)} labels on one region, {names}"
        else:
            fill = partial(_fill, result.value, of=result.of)
            regions.append(DrawnRegion(labels[0], result.of, fill))
    return Drawing(name, of, height, width, regions, fault=fault)


def _is_area(value: dict[str, Any]) -> bool:
    is_box = "height" in value and "width" in value
    return is_box or any(key in value for key in ("rle", "points", "radiusX"))


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
    else:
        points = shapes.rectangle(
            said("x") * across, said("y") * down, said("width") * across, said("height") * down,
            degrees,
        )  # fmt: skip
    return shapes.fill_polygon(points, height, width, of=of)
