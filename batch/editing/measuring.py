"""What is measured of an edited mini-batch, before it is composited."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from editvec.engine.editor import Editor
from editvec.engine.metrics.edits import leakage, success
from editvec.engine.segmentation.uncertainty import image_uncertainty


def leakage_rows(
    editor: Editor, images: Tensor, before: Tensor, roi: Tensor, *, with_perceptual: bool
) -> list[dict[str, float | None]]:
    """Change outside the ROI against the reconstruction: `psnr`, and a distance by its name.

    Args:
        editor: the loaded class.
        images: edited, [N, 3, H, W].
        before: G(ws), [N, 3, H, W].
        roi: bool [N, 1, H, W].
        with_perceptual: also the perceptual distance, which takes a network's pass.
    """
    perceptual = editor.perceptual if with_perceptual else None
    measured = leakage(images.clamp(-1, 1), before, roi, perceptual=perceptual)
    rows: list[dict[str, float | None]] = [{"psnr": number(one)} for one in measured.psnr.tolist()]
    if measured.perceptual is not None and measured.perceptual_name is not None:
        for row, value in zip(rows, measured.perceptual.tolist(), strict=True):
            row[measured.perceptual_name] = number(value)
    return rows


def success_rows(
    editor: Editor, mask: Tensor, wanted: Tensor, roi: Tensor, roi_labels: Sequence[str]
) -> list[float | None]:
    """IoU of the edited parts inside the ROI against the masks that the user painted."""
    indices = editor.bundle.label_indices(roi_labels)
    return [number(one) for one in success(mask, wanted, roi, roi_labels=indices).tolist()]


def uncertainty_rows(uncertainty: Tensor) -> list[float | None]:
    """Label uncertainty of each image in nats: the mean of its most uncertain tenth."""
    return [number(one) for one in image_uncertainty(uncertainty).tolist()]


def rows_beyond(rows: Sequence[dict[str, Any]], limit: float) -> Tensor:
    """The places of the rows whose perceptual leakage is beyond a limit, or no number."""
    beyond = [
        place
        for place, row in enumerate(rows)
        if (distance := perceptual_value(row)) is None or distance > limit
    ]
    return torch.tensor(beyond, dtype=torch.long)


def perceptual_value(row: dict[str, Any]) -> float | None:
    """The perceptual distance among the measures of a row; None where there is none."""
    names = [name for name in row if name.startswith(("perceptual/", "lpips"))]
    return row[names[0]] if names else None


def number(value: float) -> float | None:
    """A number that JSON can hold; None for the infinite and for what is none."""
    return round(value, 6) if math.isfinite(value) else None
