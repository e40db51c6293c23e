"""Brushes: painted regions that an edit may change, kept as index PNGs (0 = keep)."""

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
from editvec.registry.masks.png import check_size, decode_mask, read_bytes

MAX_BRUSH_BYTES = 64 << 20

BoolArray = npt.NDArray[np.bool_]


def read_brush(path: Path) -> bytes:
    """The bytes of a brush; the library checks them against a class.

    Raises:
        MaskError: the file cannot be read, or is no index PNG.
    """
    of = f"brush {path}"
    data = read_bytes(path, of=of)
    decode_mask(data, of=of)
    return data


def decode_brush(data: bytes, model: ClassModel, *, of: str = "brush") -> BoolArray:
    """The painted pixels, bool [H, W]: every index but 0.

    Args:
        data: an index PNG at the class's resolution.
        model: the class.
        of: what messages call it.

    Raises:
        MaskError: no index PNG, another size, or nothing painted.
    """
    if len(data) > MAX_BRUSH_BYTES:
        raise MaskError(f"{of}: larger than {MAX_BRUSH_BYTES >> 20} MiB")
    mask = decode_mask(data, of=of)
    check_size(mask, model.resolution, model.resolution, of=of)
    painted: BoolArray = mask != 0
    if not painted.any():
        raise MaskError(f"{of}: nothing is painted, every pixel is 0 (keep)")
    return painted


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
        MaskError: it is no index PNG of the class's size, or nothing is painted.
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
