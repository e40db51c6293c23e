"""What the generator sees of a picture, and how a change comes back at the picture's own size.

A view is a rectangle of the picture. It is brought to the generator's square, edited there, and the
change - not the edited picture - is up-sampled and added to the picture: its detail stays.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from editvec.engine.errors import EngineSettingsError, ShapeError
from editvec.engine.images.images import Fit, Pixels, crop_box, fit_pixels, pad_box
from editvec.engine.images.roi import default_dilation, erode

# Rows that are up-sampled at a time: a picture of 24 megapixels takes a few MB beside itself.
_BAND = 256

Box = tuple[int, int, int, int]
Change = npt.NDArray[np.float32]
Region = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.integer[Any]]
_Kind = TypeVar("_Kind", bound=np.generic)


class View(NamedTuple):
    """A part of a picture and its place in the generator's square, each (top, left, bottom, right).

    Attributes:
        box: In pixels of the picture. It may reach beyond the picture, which is mirrored there.
        inner: In pixels of the square; what is around it are black bars.
    """

    box: Box
    inner: Box


class _Span(NamedTuple):
    """One axis: a stretch of the picture's pixels, and the generator's pixels that it shows."""

    first: int
    length: int
    inner_first: int
    inner_length: int

    def nearest(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """The generator's pixel that holds the centre of each pixel of the picture."""
        places = 2 * np.arange(start - self.first, stop - self.first) + 1
        nearest: npt.NDArray[np.int64] = (places * self.inner_length) // (2 * self.length)
        return nearest


def view_of(
    height: int, width: int, resolution: int, *, fit: Fit = "crop", box: Box | None = None
) -> View:
    """The view of a picture, or of a box of it.

    Args:
        height: Of the picture, in pixels.
        width: Of the picture, in pixels.
        resolution: Side of the generator's square in pixels.
        fit: How `box` meets the square. "crop" takes the middle square of a picture, and a box as
            it is; "stretch" scales both sides on their own; "pad" adds black bars.
        box: (top, left, bottom, right); None is the picture.

    Raises:
        SettingsError: The box is empty or does not meet the picture.
    """
    top, left, bottom, right = box or (0, 0, height, width)
    if not (top < bottom and left < right and top < height and left < width):
        raise EngineSettingsError(f"box: expected to meet {height}x{width} pixels, got {box}")
    if bottom <= 0 or right <= 0:
        raise EngineSettingsError(f"box: expected to meet {height}x{width} pixels, got {box}")
    whole = (0, 0, resolution, resolution)
    if fit == "crop" and box is None:
        return View(crop_box(height, width), whole)
    if fit == "pad":
        whole = pad_box(bottom - top, right - left, resolution)
    return View((top, left, bottom, right), whole)


def square_around(box: Box, height: int, width: int, *, margin: float = 0.0) -> Box:
    """The square around a box, moved into the picture as far as it fits there.

    Args:
        box: (top, left, bottom, right), inside the picture.
        height: Of the picture, in pixels.
        width: Of the picture, in pixels.
        margin: What is added on each side, as a share of the box's longer side.

    Returns:
        (top, left, bottom, right); beyond the picture where the square is larger than that.

    Example:
        >>> square_around((10, 0, 20, 4), 100, 100)
        (10, 0, 20, 10)
    """
    side = round(max(box[2] - box[0], box[3] - box[1]) * (1 + 2 * margin))

    def first(low: int, high: int, extent: int) -> int:
        least, most = sorted((0, extent - side))
        return min(max((low + high - side) // 2, least), most)

    top, left = first(box[0], box[2], height), first(box[1], box[3], width)
    return top, left, top + side, left + side


def with_margin(box: Box, height: int, width: int, *, margin: float) -> Box:
    """A box with a share of each of its sides added there, cut to the picture."""
    top, left, bottom, right = box
    rows, columns = round((bottom - top) * margin), round((right - left) * margin)
    return (
        max(0, top - rows),
        max(0, left - columns),
        min(height, bottom + rows),
        min(width, right + columns),
    )


def see(picture: Pixels, view: View, resolution: int) -> Pixels:
    """What the generator gets: uint8 [resolution, resolution, 3] of a picture uint8 [H, W, 3]."""
    fit: Fit = "stretch" if view.inner == (0, 0, resolution, resolution) else "pad"
    return fit_pixels(_cut(picture, view.box), resolution, fit=fit)


def see_labels(mask: Labels, view: View, resolution: int) -> npt.NDArray[np.int32]:
    """The same of a label mask [H, W], by the nearest label; bars have the label 0."""
    seen = np.zeros((resolution, resolution), np.int32)
    part = _cut(mask, view.box)
    top, left, bottom, right = view.inner
    rows, columns = (
        ((2 * np.arange(length) + 1) * side) // (2 * length)
        for length, side in zip((bottom - top, right - left), part.shape, strict=True)
    )
    seen[top:bottom, left:right] = part[rows][:, columns]
    return seen


def add_change(
    picture: Pixels, change: Change, roi: Region, view: View, *, feather: int | None = None
) -> None:
    """Adds the change of an edit to a picture of any size, in place.

    The change fades from nothing at the border of the region to all of it `feather` pixels inside.
    It fades likewise towards the sides of the view that lie inside the picture, so that there is no
    edge to be seen; the sides of the picture itself are none.

    Args:
        picture: uint8 [H0, W0, 3]; outside the up-sampled region its values stay as they are.
        change: What the edit adds at the generator's resolution, in units of [-1, 1],
            float32 [3, H, W].
        roi: Dilated region of the edit, bool [H, W].
        view: What of the picture the generator saw.
        feather: In pixels of `roi`; None is the default dilation, so that the edit is whole
            wherever the undilated region is.

    Raises:
        ShapeError: The arrays do not fit each other.
        SettingsError: `feather` is negative.
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ShapeError(f"picture: expected uint8 [H, W, 3], got {list(picture.shape)}")
    if roi.dtype != np.bool_ or change.shape != (3, *roi.shape):
        raise ShapeError(f"change: expected [3, {roi.shape}], got {list(change.shape)}")
    feather = default_dilation(roi.shape[1]) if feather is None else feather
    if feather < 0:
        raise EngineSettingsError(f"feather: expected 0 or more pixels, got {feather}")
    top, left, bottom, right = view.inner
    roi = roi[top:bottom, left:right]
    alpha = _ramp(roi, view.box, (picture.shape[0], picture.shape[1]), feather)
    faded = np.where(roi, change[:, top:bottom, left:right] * alpha, 0).astype(np.float32)
    channels = [Image.fromarray(np.ascontiguousarray(channel * 127.5)) for channel in faded]
    down, across = _spans(view)
    for rows, columns in _bands(roi, view, picture.shape[0], picture.shape[1]):
        inside = roi[down.nearest(*rows)][:, across.nearest(*columns)]
        seen = picture[rows[0] : rows[1], columns[0] : columns[1]]
        size, source = _source(rows, columns, down, across)
        added = [
            np.asarray(channel.resize(size, Image.Resampling.BILINEAR, box=source))
            for channel in channels
        ]
        changed = np.rint(np.stack(added, axis=2) + seen).clip(0, 255).astype(np.uint8)
        seen[inside] = changed[inside]


def put_labels(labels: Labels, view: View, mask: Labels) -> None:
    """Puts labels [H, W] of the generator's square into a mask [H0, W0] of the picture, in place.

    Every pixel of the view gets the nearest label; the others keep theirs.
    """
    top, left, bottom, right = view.inner
    labels = labels[top:bottom, left:right]
    down, across = _spans(view)
    rows = max(0, view.box[0]), min(mask.shape[0], view.box[2])
    columns = max(0, view.box[1]), min(mask.shape[1], view.box[3])
    chosen = labels[down.nearest(*rows)][:, across.nearest(*columns)]
    mask[rows[0] : rows[1], columns[0] : columns[1]] = chosen


def _cut(picture: npt.NDArray[_Kind], box: Box) -> npt.NDArray[_Kind]:
    """The box of a picture, mirrored where it reaches beyond."""
    height, width = picture.shape[:2]
    top, left, bottom, right = box
    part = picture[max(0, top) : min(height, bottom), max(0, left) : min(width, right)]
    beyond = [(max(0, -top), max(0, bottom - height)), (max(0, -left), max(0, right - width))]
    if not any(map(any, beyond)):
        return part
    return np.pad(part, [*beyond, *[(0, 0)] * (picture.ndim - 2)], mode="symmetric")


def _spans(view: View) -> tuple[_Span, _Span]:
    (top, left, bottom, right), inner = view
    return (
        _Span(top, bottom - top, inner[0], inner[2] - inner[0]),
        _Span(left, right - left, inner[1], inner[3] - inner[1]),
    )


def _ramp(roi: Region, box: Box, size: tuple[int, int], feather: int) -> npt.NDArray[np.float32]:
    """How much of the change each pixel gets, [H, W]: 0 at the border of the region, then more."""
    if feather == 0:
        return roi.astype(np.float32)
    # around the view is a ring that is no region, except where the picture itself ends
    sides = ((box[0] > 0, box[2] < size[0]), (box[1] > 0, box[3] < size[1]))
    rings = [(int(low), int(high)) for low, high in sides]
    shrunk = torch.from_numpy(np.pad(roi, rings))[None, None]
    total = torch.zeros(shrunk.shape)
    for _ in range(feather):
        shrunk = erode(shrunk, 1)
        total += shrunk
    (top, bottom), (left, right) = rings
    height, width = total.shape[2:]
    share = total[0, 0, top : height - bottom, left : width - right] / feather
    alpha: npt.NDArray[np.float32] = share.numpy()
    return alpha


def _bands(
    roi: Region, view: View, height: int, width: int
) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """The rows and columns of the picture that show the region, some rows at a time."""
    down, across = _spans(view)
    ranges = []
    for span, extent, is_used in (
        (down, height, np.logical_or.reduce(roi, axis=1)),
        (across, width, np.logical_or.reduce(roi, axis=0)),
    ):
        start, stop = max(0, span.first), min(extent, span.first + span.length)
        used = np.nonzero(is_used[span.nearest(start, stop)])[0]
        if not len(used):
            return
        ranges.append((start + int(used[0]), start + int(used[-1]) + 1))
    (first, last), columns = ranges
    for start in range(first, last, _BAND):
        yield (start, min(start + _BAND, last)), columns


def _source(
    rows: tuple[int, int], columns: tuple[int, int], down: _Span, across: _Span
) -> tuple[tuple[int, int], tuple[float, float, float, float]]:
    """The size (width, height) of a band, and its place in the generator's pixels."""
    (left, right), (top, bottom) = (
        (
            (stretch[0] - span.first) * span.inner_length / span.length,
            (stretch[1] - span.first) * span.inner_length / span.length,
        )
        for stretch, span in ((columns, across), (rows, down))
    )
    return (columns[1] - columns[0], rows[1] - rows[0]), (left, top, right, bottom)
