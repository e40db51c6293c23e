"""Gates: reject pictures that no edit can have meant, and items beyond the bounds of a run.

A rejected item is recorded with its numbers and the reason.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from editvec.batch.editing.measuring import perceptual_value
from editvec.batch.recipes.settings import RunSettings

_LEAST_SPREAD = 1.0


def rejection(
    images: npt.NDArray[np.float32], metrics: Sequence[dict[str, Any]], settings: RunSettings
) -> list[str | None]:
    """Why each picture is rejected; None for those that pass.

    Args:
        images: [N, 3, H, W] in [-1, 1], before they are rounded.
        metrics: what was measured of each.
        settings: the bounds.
    """
    return [
        _reason(image) or _beyond(row, settings) for image, row in zip(images, metrics, strict=True)
    ]


def _beyond(row: dict[str, Any], settings: RunSettings) -> str | None:
    """The first bound that a row of measures breaks."""
    for name, value, limit in (
        ("reconstruction", _distance(row.get("reconstruction")), settings.max_reconstruction),
        ("leakage", _distance(row.get("leakage")), settings.max_leakage),
        ("uncertainty", row.get("uncertainty"), settings.max_uncertainty),
    ):
        if limit is not None and value is not None and value > limit:
            return f"{name} {value:g} is over {limit:g}"
    lowest, reached = settings.min_success, row.get("success_iou")
    if lowest is not None and reached is not None and reached < lowest:
        return f"success {reached:g} is under {lowest:g}"
    return None


def _distance(measures: dict[str, Any] | None) -> float | None:
    return None if measures is None else perceptual_value(measures)


def _reason(image: npt.NDArray[np.float32]) -> str | None:
    spread = float(image.max()) - float(image.min())
    if not math.isfinite(spread):
        return "the picture has values that are no numbers"
    if spread * 127.5 < _LEAST_SPREAD:
        return "the picture is of one colour"
    return None
