"""The gate before the disk: pictures that no edit can have meant."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

_LEAST_SPREAD = 1.0


def rejection(images: npt.NDArray[np.float32]) -> list[str | None]:
    """Why each picture is rejected; None for those that pass.

    Args:
        images: [N, 3, H, W] in [-1, 1], before they are rounded.
    """
    return [_reason(image) for image in images]


def _reason(image: npt.NDArray[np.float32]) -> str | None:
    spread = float(image.max()) - float(image.min())
    if not math.isfinite(spread):
        return "the picture has values that are no numbers"
    if spread * 127.5 < _LEAST_SPREAD:
        return "the picture is of one colour"
    return None
