"""Brushes: painted regions that an edit may change, kept as grey PNGs (0 = keep)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from editvec.registry.entities.classes import ClassModel
from editvec.registry.entities.vectors import NewVector, RoiPolicy
from editvec.registry.errors import MaskError, RecordError
from editvec.registry.masks.forms.pictures import painted_part
from editvec.registry.masks.png import INDEX_MODES, check_size, open_png, read_bytes

MAX_BRUSH_BYTES = 64 << 20

BoolArray = npt.NDArray[np.bool_]


def read_brush(path: Path) -> bytes:
    """A brush as `encode_brush` writes it; the library checks it against a class.

    Args:
        path: a PNG as for `decode_brush`.

    Raises:
        MaskError: the file cannot be read, or what is painted cannot be told.
    """
    of = f"brush {path}"
    return encode_brush(_painted(read_bytes(path, of=of), of=of))


def decode_brush(data: bytes, model: ClassModel, *, of: str = "brush") -> BoolArray:
    """The painted pixels, bool [H, W].

    Args:
        data: a PNG at the class's resolution: grey, where every value but 0 is painted, or one
            colour on black or transparent. Of a palette the colours count, not their order.
        model: the class.
        of: what messages call it.

    Raises:
        MaskError: no such PNG, another size, or nothing painted.
    """
    if len(data) > MAX_BRUSH_BYTES:
        raise MaskError(f"{of}: larger than {MAX_BRUSH_BYTES >> 20} MiB")
    painted = _painted(data, of=of)
    check_size(painted.astype(np.uint8), model.resolution, model.resolution, of=of)
    if not painted.any():
        raise MaskError(f"{of}: nothing is painted, every pixel is 0 (keep)")
    return painted


def _painted(data: bytes, *, of: str) -> BoolArray:
    image = open_png(data, of=of)
    if image.mode in INDEX_MODES and image.mode != "P":
        painted: BoolArray = np.asarray(image).astype(np.int64) != 0
        return painted
    return painted_part(image, of=of)


def encode_brush(painted: BoolArray) -> bytes:
    """The index PNG of painted pixels, bool [H, W]; equal regions give equal bytes."""
    stream = io.BytesIO()
    Image.fromarray(painted.astype(np.uint8), mode="L").save(stream, format="PNG", optimize=False)
    return stream.getvalue()


def union_of_brushes(brushes: Sequence[BoolArray]) -> bytes:
    """One brush that paints wherever one of them does.

    Args:
        brushes: at least one, bool [H, W], of one size.
    """
    return encode_brush(np.logical_or.reduce(brushes))


def check_brush(new: NewVector, brush_png: bytes | None, model: ClassModel) -> None:
    """Checks that a brush is there where the ROI policy asks for one, and fits the class.

    Raises:
        RecordError: a brush is missing, or one is given to the policy `labels`.
        MaskError: it is no PNG of the class's size, or nothing is painted.
    """
    policy = RoiPolicy(new.roi_policy)
    if brush_png is None:
        if policy is not RoiPolicy.LABELS:
            raise RecordError(f"vector {new.name}: ROI policy {policy} needs a brush, got none")
    elif policy is RoiPolicy.LABELS:
        raise RecordError(
            f"vector {new.name}: ROI policy labels takes no brush; give policy brush or union"
        )
    else:
        decode_brush(brush_png, model, of=f"brush of {new.name}")
