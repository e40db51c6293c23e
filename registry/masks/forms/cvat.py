"""CVAT's XML `CVAT for images`: polygons, masks, boxes and ellipses by their z order."""

from __future__ import annotations

from functools import partial
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np
import numpy.typing as npt

from editvec.registry.errors import MaskError
from editvec.registry.masks.forms import shapes
from editvec.registry.masks.forms.drawings import Drawing, DrawnRegion, check_extent, other_shape
from editvec.registry.masks.forms.run_lengths import decode_cvat

BoolArray = npt.NDArray[np.bool_]

_SHAPES = ("polygon", "mask", "box", "ellipse")
_NO_SHAPES = ("tag", "attribute")
_PROLOG_STEP = 64


def read_cvat(data: bytes, *, of: str) -> list[Drawing]:
    """One drawing for each image; a higher z order lies above, then the later shape.

    An image of a subset is called `subset/name`. An image without shapes is background.

    Raises:
        MaskError: not that XML, or an image has no name.
    """
    try:
        if _has_document_type(data):
            raise MaskError(f"{of}: it defines entities, which no export of CVAT does")
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, expat.ExpatError, ValueError, LookupError) as exc:
        raise MaskError(f"{of}: not XML ({exc})") from exc
    if root.tag != "annotations":
        raise MaskError(f"{of}: expected <annotations> of CVAT, got <{root.tag}>")
    if root.find("track") is not None:
        raise MaskError(f"{of}: it holds tracks of a video; export `CVAT for images`")
    drawings = []
    for image in root.iter("image"):
        name = image.get("name", "")
        where = f"{of}: image {name!r}"
        if not name:
            raise MaskError(f"{where}: it has no name")
        subset = image.get("subset", "")
        if subset and not name.startswith(f"{subset}/"):
            name = f"{subset}/{name}"
        try:
            drawings.append(_drawing(image, name, of=where))
        except MaskError as exc:  # of this image only
            drawings.append(Drawing(name, where, None, None, [], fault=str(exc)))
    return drawings


def _drawing(image: ElementTree.Element, name: str, *, of: str) -> Drawing:
    height, width = (_integer(image, key, of=of) for key in ("height", "width"))
    check_extent(height, width, of=of)
    found = [one for one in image if one.tag not in _NO_SHAPES]
    found.sort(key=lambda shape: _integer(shape, "z_order", of=of, default="0"))
    return Drawing(name, of, height, width, [_region(one, of=of) for one in found])


def _has_document_type(data: bytes) -> bool:
    """Whether XML of any encoding has a document type, which may define entities.

    It would come before the root. Little is parsed at a time, so that nothing is expanded.
    """
    seen: list[bool] = []
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = lambda *_: seen.append(True)
    parser.StartElementHandler = lambda *_: seen.append(False)
    for start in range(0, len(data), _PROLOG_STEP):
        parser.Parse(data[start : start + _PROLOG_STEP], False)
        if seen:
            return seen[0]
    return False


def _region(shape: ElementTree.Element, *, of: str) -> DrawnRegion:
    label = shape.get("label", "")
    of = f"{of}: {shape.tag} {label!r}"
    if shape.tag not in _SHAPES:
        return other_shape(label, of)
    return DrawnRegion(label, of, partial(_fill, shape, of=of))


def _fill(shape: ElementTree.Element, height: int, width: int, *, of: str) -> BoolArray:
    def said(key: str) -> float:
        return _number(shape.get(key, ""), of=f"{of}: {key}")

    if shape.tag == "mask":
        return _mask(shape, height, width, of=of)
    degrees = _number(shape.get("rotation", "0"), of=f"{of}: rotation")
    if shape.tag == "box":
        left, top, right, bottom = (said(key) for key in ("xtl", "ytl", "xbr", "ybr"))
        # unlike Label Studio's, a box turns about its middle
        middle = ((left + right) / 2, (top + bottom) / 2)
        corners = shapes.rectangle(left, top, right - left, bottom - top, 0)
        points = shapes.turned(corners, middle, degrees)
    elif shape.tag == "ellipse":
        points = shapes.ellipse((said("cx"), said("cy")), (said("rx"), said("ry")), degrees)
    else:
        points = []
        for pair in shape.get("points", "").split(";"):
            x, _, y = pair.partition(",")
            points.append((_number(x, of=f"{of}: points"), _number(y, of=f"{of}: points")))
    return shapes.fill_polygon(points, height, width, of=of)


def _mask(shape: ElementTree.Element, height: int, width: int, *, of: str) -> BoolArray:
    left, top, across, down = (
        _integer(shape, key, of=of) for key in ("left", "top", "width", "height")
    )
    if not (0 <= left < left + across <= width and 0 <= top < top + down <= height):
        raise MaskError(f"{of}: its box is not inside of the picture")
    filled = np.zeros((height, width), np.bool_)
    code = shape.get("rle", "")
    filled[top : top + down, left : left + across] = decode_cvat(code, down, across, of=of)
    return filled


def _integer(shape: ElementTree.Element, key: str, *, of: str, default: str | None = None) -> int:
    said = shape.get(key, default)
    try:
        return int(said or "")
    except ValueError as exc:
        raise MaskError(f"{of}: {key}: expected a number, got {said!r:.40}") from exc


def _number(said: str, *, of: str) -> float:
    try:
        value = float(said)
    except ValueError as exc:
        raise MaskError(f"{of}: expected a number, got {said!r:.40}") from exc
    if not abs(value) <= shapes.MAX_COORDINATE:
        raise MaskError(f"{of}: expected a place in the picture, got {said!r:.40}")
    return value
