"""Edits of masks by program: grow, shrink, scale, rotate, shift, remove, mirror or paste a part.

Every pixel of a result is a label that was there: all warps take the nearest pixel. What a part
leaves behind becomes the label that is nearest to it. Ignored pixels are no such label: they stay
ignored unless a part comes to lie on them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from editvec.registry.errors import MaskError
from editvec.registry.labels.label import IGNORED
from editvec.registry.labels.scheme import LabelScheme
from editvec.registry.masks.png import MaskArray, check_labels, check_size
from editvec.registry.masks.splits import SPECK, connected_components

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]


class Pieces(StrEnum):
    """Which connected components an edit is about, and whether it moves them one by one."""

    EACH = "each"
    TOGETHER = "together"
    LARGEST = "largest"
    LEFT = "left"
    RIGHT = "right"
    TOP = "top"
    BOTTOM = "bottom"


@dataclass(frozen=True)
class Length:
    """A length in pixels, or in percent of the mask's width, height or longer side."""

    value: float
    is_percent: bool = False

    def pixels(self, extent: int) -> float:
        """In pixels of a mask of that extent."""
        return self.value * extent / 100 if self.is_percent else self.value


@dataclass(frozen=True)
class Grow:
    """Takes the pixels within a distance."""

    by: Length


@dataclass(frozen=True)
class Shrink:
    """Gives up the pixels within a distance of its border. The edge of the picture is no border."""

    by: Length


@dataclass(frozen=True)
class Scale:
    """Becomes so many times as wide and high, about the middle of its box."""

    across: float
    down: float


@dataclass(frozen=True)
class Rotate:
    """Turns clockwise about the middle of its box."""

    degrees: float


@dataclass(frozen=True)
class Shift:
    """Moves to the right and downwards; what leaves the frame is lost."""

    right: Length
    down: Length


@dataclass(frozen=True)
class Remove:
    """Becomes what is behind."""


@dataclass(frozen=True)
class Mirror:
    """Left and right (axis 1) or top and bottom (axis 0) change places within its box."""

    axis: int


@dataclass(frozen=True)
class Paste:
    """Is replaced by the part of another mask of the same size.

    Attributes:
        path: the other mask.
        is_centred: the middles of both boxes coincide; else it lies as in the other mask.
    """

    path: Path
    is_centred: bool = False


Move = Scale | Rotate | Shift | Mirror
Operation = Grow | Shrink | Move | Remove | Paste
ReadMask = Callable[[Path], MaskArray]


@dataclass(frozen=True)
class MaskEdit:
    """Operations on one area of a mask, in their order; moves that follow one another are one.

    Attributes:
        parts: names of parts or groups; together they are the area.
        operations: what happens to it.
        pieces: which of its connected components.
    """

    parts: tuple[str, ...]
    operations: tuple[Operation, ...]
    pieces: Pieces = Pieces.EACH


def edit_mask(
    mask: MaskArray,
    edits: Sequence[MaskEdit],
    scheme: LabelScheme,
    *,
    read_other: ReadMask,
    of: str = "mask",
) -> MaskArray:
    """Edits a mask by program.

    Args:
        mask: label indices, or `IGNORED`, [H, W].
        edits: done one after the other.
        scheme: whose parts and groups the edits name.
        read_other: reads the mask that is pasted from.
        of: what messages call the mask.

    Returns:
        Another mask, int32 [H, W]; its labels are those of `mask` and of what was pasted.

    Raises:
        LabelNotFoundError: an edit names no part or group.
        MaskError: nothing of a part is there, all is of the part, or nothing is left of it.
    """
    check_labels(mask, scheme.labels, of=of)
    for edit in edits:
        labels = np.array(scheme.indices(edit.parts))
        area = _Area(labels, edit.pieces, of, ", ".join(edit.parts), scheme.opposites)
        for is_move, found in groupby(edit.operations, lambda one: isinstance(one, Move)):
            operations = list(found)
            if is_move:
                # as one move, so that what lies on the way is left alone
                moves = [one for one in operations if isinstance(one, Move)]
                mask = _move_pieces(mask, moves, area).astype(np.int32)
                continue
            for operation in operations:
                assert not isinstance(operation, Move)
                mask = _apply(mask, operation, area, read_other).astype(np.int32)
    return mask


class _Area(NamedTuple):
    """What is edited: the pixels of these labels, and which pieces of them.

    `opposites` are the labels on the other side, see `LabelScheme.opposites`.
    """

    labels: npt.NDArray[np.int64]
    pieces: Pieces
    of: str
    names: str
    opposites: tuple[Mapping[int, int], Mapping[int, int]]

    def find(self, mask: MaskArray) -> BoolArray:
        """The pixels, bool [H, W]."""
        inside: BoolArray = np.isin(mask, self.labels)
        if not inside.any():
            raise MaskError(f"{self.of}: it has no pixel of {self.names}")
        if self.pieces in (Pieces.EACH, Pieces.TOGETHER):
            return inside
        numbers, count = connected_components(inside)
        sizes = np.bincount(numbers.ravel(), minlength=count + 1)[1:]
        found: BoolArray = numbers == 1 + _chosen(numbers, sizes, self.pieces)
        return found

    def split(self, inside: BoolArray) -> Iterator[BoolArray]:
        """What moves as one."""
        if self.pieces is Pieces.TOGETHER:
            yield inside
            return
        numbers, count = connected_components(inside)
        for number in range(1, count + 1):
            yield numbers == number


def _chosen(numbers: npt.NDArray[np.int32], sizes: npt.NDArray[np.int64], pieces: Pieces) -> int:
    """The number of one component, from 0; specks are only taken as the largest."""
    if pieces is Pieces.LARGEST:
        return int(np.argmax(sizes))
    axis = 1 if pieces in (Pieces.LEFT, Pieces.RIGHT) else 0
    places = np.nonzero(numbers)
    middles = np.bincount(numbers[places] - 1, weights=places[axis]) / sizes
    large = np.flatnonzero(sizes >= SPECK * sizes.max())
    first = pieces in (Pieces.LEFT, Pieces.TOP)
    return int(large[np.argmin(middles[large]) if first else np.argmax(middles[large])])


def _apply(
    mask: MaskArray, operation: Grow | Shrink | Remove | Paste, area: _Area, read_other: ReadMask
) -> MaskArray:
    if isinstance(operation, Paste):
        return _paste(mask, operation, area, read_other)
    inside = area.find(mask)
    longer = max(mask.shape)
    if isinstance(operation, Grow):
        return _grow(mask, inside, operation.by.pixels(longer))
    ground = _behind(mask, inside, area)
    if isinstance(operation, Remove):
        return ground
    distance, _ = _nearest(~inside)
    return np.where(inside & (distance <= operation.by.pixels(longer)), ground, mask)


def _move_pieces(mask: MaskArray, moves: Sequence[Move], area: _Area) -> MaskArray:
    inside = area.find(mask)
    result = _behind(mask, inside, area).copy()
    for piece in area.split(inside):
        _move(_with_sides_swapped(mask, piece, moves, area), piece, moves, result)
    if not np.isin(result, area.labels).any():
        raise MaskError(f"{area.of}: nothing of {area.names} is left in the picture")
    return result


def _with_sides_swapped(
    mask: MaskArray, piece: BoolArray, moves: Sequence[Move], area: _Area
) -> MaskArray:
    """The mask where a piece that has both sides, and is mirrored, has the labels of the other.

    A left eye that is mirrored alone stays the left one; mirrored together with the right one it
    comes to the right.
    """
    edited = set(area.labels.tolist())
    for axis, opposites in enumerate(area.opposites):
        mirrors = [move for move in moves if isinstance(move, Mirror) and move.axis == axis]
        found = set(np.unique(mask[piece]).tolist())
        has_both = any(opposites.get(label) in found for label in found)
        if len(mirrors) % 2 == 0 or not has_both:
            continue
        new = np.arange(int(mask.max()) + 1, dtype=np.int32)
        for label in found & opposites.keys():
            if opposites[label] in edited:
                new[label] = opposites[label]
        mask = np.where(piece, new[mask], mask)
    return mask


def _grow(mask: MaskArray, inside: BoolArray, by: float) -> MaskArray:
    distance, nearest = _nearest(inside)
    return np.where(distance <= by, mask[nearest], mask)


def _behind(mask: MaskArray, inside: BoolArray, area: _Area) -> MaskArray:
    """The mask without a part: its pixels become the nearest that are not of the part."""
    others: BoolArray = ~np.isin(mask, area.labels) & (mask != IGNORED)
    if not others.any():
        raise MaskError(f"{area.of}: all of it is {area.names}, so nothing is behind")
    _, nearest = _nearest(others)
    return np.where(inside, mask[nearest], mask)


def _nearest(inside: BoolArray) -> tuple[FloatArray, tuple[npt.NDArray[np.intp], ...]]:
    """How far the nearest pixel of an area is, [H, W], and the rows and columns of it."""
    from scipy import ndimage

    distance, places = ndimage.distance_transform_edt(~inside, return_indices=True)
    return distance, tuple(places)


# --- moves ---


class _Bounds(NamedTuple):
    """The box of an area: its middle, [2], and half its size, [2]; rows first, in pixels."""

    middle: FloatArray
    half: FloatArray

    @classmethod
    def around(cls, inside: BoolArray) -> _Bounds:
        """The box around pixels."""
        places = np.nonzero(inside)
        low = np.array([places[0].min(), places[1].min()], np.float64)
        high = np.array([places[0].max(), places[1].max()], np.float64)
        return cls((low + high) / 2, (high - low) / 2)


def _move(
    mask: MaskArray,
    piece: BoolArray,
    moves: Sequence[Move],
    result: MaskArray,
) -> None:
    """Draws a piece where it moves to; each pixel there takes the label that comes to it."""
    matrix, offset = _transform(moves, mask.shape)
    box = _Bounds.around(piece)
    reach = np.abs(matrix) @ (box.half + 1) + 1
    target = box.middle + offset
    low = np.clip(np.floor(target - reach), 0, mask.shape).astype(int)
    high = np.clip(np.ceil(target + reach) + 1, 0, mask.shape).astype(int)
    if (low >= high).any():
        return
    window = (slice(low[0], high[0]), slice(low[1], high[1]))
    places = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), axis=-1)
    source = (places - target) @ np.linalg.inv(matrix).T + box.middle
    # a hair up, so that halves do not fall to either side by their last bit
    rows, columns = np.moveaxis(np.floor(source + 0.5 + 1e-9).astype(int), -1, 0)
    is_there = (rows >= 0) & (rows < mask.shape[0]) & (columns >= 0) & (columns < mask.shape[1])
    rows, columns = np.where(is_there, rows, 0), np.where(is_there, columns, 0)
    comes = is_there & piece[rows, columns]
    result[window][comes] = mask[rows, columns][comes]


def _transform(moves: Sequence[Move], shape: tuple[int, ...]) -> tuple[FloatArray, FloatArray]:
    """What happens to places about the middle of a box: a matrix, and an offset."""
    matrix, offset = np.eye(2), np.zeros(2)
    for move in moves:
        if isinstance(move, Shift):
            offset += (move.down.pixels(shape[0]), move.right.pixels(shape[1]))
        else:
            matrix = _matrix(move) @ matrix
    return matrix, offset


def _matrix(move: Scale | Rotate | Mirror) -> FloatArray:
    """A move about a point; rows first, and they go downwards."""
    if isinstance(move, Scale):
        return np.diag([move.down, move.across])
    if isinstance(move, Mirror):
        return np.diag([-1.0, 1.0] if move.axis == 0 else [1.0, -1.0])
    angle = math.radians(math.remainder(move.degrees, 360.0))
    sine, cosine = math.sin(angle), math.cos(angle)
    return np.array([[cosine, sine], [-sine, cosine]])


def _paste(mask: MaskArray, paste: Paste, area: _Area, read_other: ReadMask) -> MaskArray:
    other = read_other(paste.path)
    check_size(other, *mask.shape, of=f"mask {paste.path}")
    theirs = area._replace(of=f"mask {paste.path}").find(other)
    if not paste.is_centred and not np.isin(mask, area.labels).any():
        return np.where(theirs, other, mask)  # a part that was not there
    inside = area.find(mask)
    result = _behind(mask, inside, area)
    if not paste.is_centred:
        return np.where(theirs, other, result)
    way = _Bounds.around(inside).middle - _Bounds.around(theirs).middle
    down, right = np.floor(way + 0.5)
    _move(other, theirs, [Shift(Length(right), Length(down))], result)
    return result
