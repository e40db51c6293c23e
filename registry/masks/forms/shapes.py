"""Drawn shapes as pixels: a pixel is inside where its centre is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from editvec.registry.errors import MaskError

BoolArray = npt.NDArray[np.bool_]
Point = tuple[float, float]

MAX_COORDINATE = 1e6
_ELLIPSE_STEPS = 256


def fill_polygon(points: Sequence[Point], height: int, width: int, *, of: str) -> BoolArray:
    """The pixels whose centres are inside a polygon, by the even-odd rule; bool [H, W].

    Args:
        points: x and y in pixels; the centre of the first pixel is (0.5, 0.5).
        height: of the mask in pixels.
        width: of the mask in pixels.
        of: what messages call it.

    Raises:
        MaskError: fewer than three points, or one that is no place.
    """
    corners = np.array(points, np.float64).reshape(-1, 2)
    if len(corners) < 3:
        raise MaskError(f"{of}: a polygon needs three points, got {len(corners)}")
    if not (np.abs(corners) <= MAX_COORDINATE).all():
        raise MaskError(f"{of}: a point of the polygon is no place in a picture")
    following = np.roll(corners, -1, axis=0)
    filled = np.zeros((height, width), np.bool_)
    first = max(0, math.floor(corners[:, 1].min() - 0.5))
    last = min(height, math.ceil(corners[:, 1].max() + 0.5))
    for row in range(first, last):
        middle = row + 0.5
        # an edge counts where it begins, not where it ends: a corner is crossed once
        crosses = (corners[:, 1] <= middle) != (following[:, 1] <= middle)
        start, end = corners[crosses], following[crosses]
        along = (middle - start[:, 1]) / (end[:, 1] - start[:, 1])
        places = np.sort(start[:, 0] + along * (end[:, 0] - start[:, 0]))
        # centres from each odd crossing to the next even one
        columns = np.clip(np.ceil(places - 0.5), 0, width).astype(int)
        for begin, stop in zip(columns[::2], columns[1::2], strict=True):
            filled[row, begin:stop] = True
    return filled


def rectangle(left: float, top: float, width: float, height: float, degrees: float) -> list[Point]:
    """The corners of a rectangle, turned clockwise about its top left corner."""
    corners = [(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)]
    return turned([(left + x, top + y) for x, y in corners], (left, top), degrees)


def ellipse(centre: Point, radii: Point, degrees: float) -> list[Point]:
    """A polygon that is an ellipse to less than a thousandth of its radius, turned clockwise."""
    angles = [2 * math.pi * step / _ELLIPSE_STEPS for step in range(_ELLIPSE_STEPS)]
    points = [
        (centre[0] + radii[0] * math.cos(angle), centre[1] + radii[1] * math.sin(angle))
        for angle in angles
    ]
    return turned(points, centre, degrees)


def turned(points: Sequence[Point], centre: Point, degrees: float) -> list[Point]:
    """Points turned clockwise about a centre."""
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    return [
        (
            centre[0] + (x - centre[0]) * cosine - (y - centre[1]) * sine,
            centre[1] + (x - centre[0]) * sine + (y - centre[1]) * cosine,
        )
        for x, y in points
    ]
