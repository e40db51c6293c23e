"""The picture of a cross-validation: annotations beside what was predicted of images left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from editvec.batch.quality.pairs import Pairs
from editvec.batch.quality.segmentation import ImageQuality, SegmentationQuality
from editvec.engine.images.images import Pixels
from editvec.engine.training.segmentation import HeldOut
from editvec.registry.drawing import (
    MUTED,
    PAPER,
    Swatch,
    draw_legend,
    fitted,
    legend_height,
    paste_panel,
    png_bytes,
    write_line,
)
from editvec.registry.labels.label import Label
from editvec.registry.masks.pictures import colored_mask

SIDE = 128
MOST_IMAGES = 32

_MARGIN, _GAP, _HEADER, _CAPTION, _ROW_GAP = 32, 8, 84, 20, 16
_BETWEEN_COLUMNS = 36
_PANELS = ("image", "reconstructed", "annotated", "predicted", "uncertain")
_GROUP = len(_PANELS) * SIDE + (len(_PANELS) - 1) * _GAP
_ROW = _CAPTION + SIDE + _ROW_GAP
_WHITE_SHARE = 0.999  # of the pixels are less uncertain than what is drawn white
_LEAST_WHITE = 0.02  # nats


def draw_predictions(
    pairs: Pairs,
    reconstructed: Pixels,
    held_out: HeldOut,
    quality: SegmentationQuality,
    labels: Sequence[Label],
    *,
    title: str,
) -> bytes:
    """Draw the images with the lowest IoU first, 32 at most; a PNG.

    Args:
        pairs: Images and annotations.
        reconstructed: What the generator makes of the images, uint8 [N, H, W, 3].
        held_out: Predictions for each image.
        quality: Of the same images.
        labels: The label scheme.
        title: First line.
    """
    order = sorted(range(len(pairs.names)), key=lambda row: quality.images[row].mean_iou or 0.0)
    shown = order[:MOST_IMAGES]
    columns = 1 if len(shown) <= 4 else 2
    width = columns * _GROUP + (columns - 1) * _BETWEEN_COLUMNS
    masks, uncertainty = held_out.masks.numpy(), held_out.uncertainty.numpy()
    present = set(np.unique(pairs.masks).tolist()) | set(np.unique(masks).tolist())
    white = max(_LEAST_WHITE, float(np.quantile(uncertainty[shown], _WHITE_SHARE)))
    legend = [Swatch(one.color, one.name) for one in labels if one.index in present]
    rows = -(-len(shown) // columns)
    below = _MARGIN + _HEADER + rows * _ROW
    height = below + legend_height(legend, width=width) + _MARGIN
    sheet = Image.new("RGB", (width + 2 * _MARGIN, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    write_line(pen, (_MARGIN, _MARGIN - 8), title, size=26, width=width)
    write_line(pen, (_MARGIN, _MARGIN + 26), _subtitle(quality, shown, white), size=14, fill=MUTED)
    for column in range(columns):
        for place, name in enumerate(_PANELS):
            left = _MARGIN + column * (_GROUP + _BETWEEN_COLUMNS) + place * (SIDE + _GAP)
            write_line(pen, (left, _MARGIN + 54), name, size=14)
    for number, row in enumerate(shown):
        left = _MARGIN + number % columns * (_GROUP + _BETWEEN_COLUMNS)
        top = _MARGIN + _HEADER + number // columns * _ROW
        write_line(pen, (left, top), _caption(quality.images[row]), size=13, width=_GROUP)
        panels = (
            fitted(Image.fromarray(pairs.pixels[row]), SIDE),
            fitted(Image.fromarray(reconstructed[row]), SIDE),
            fitted(colored_mask(pairs.masks[row], labels), SIDE, is_mask=True),
            fitted(colored_mask(masks[row], labels), SIDE, is_mask=True),
            fitted(_grey(uncertainty[row] / white), SIDE),
        )
        for place, panel in enumerate(panels):
            paste_panel(sheet, panel, (left + place * (SIDE + _GAP), top + _CAPTION))
    draw_legend(pen, (_MARGIN, below), legend, width=width)
    return png_bytes(sheet)


def _subtitle(quality: SegmentationQuality, shown: Sequence[int], white: float) -> str:
    count = len(quality.images)
    told = f"mean IoU {quality.mean_iou:.3f}, {quality.folds} folds of {count} images"
    if len(shown) < count:
        told += f"; the {len(shown)} worst"
    return f"{told}; uncertainty is white from {white:.2g} nats on"


def _caption(one: ImageQuality) -> str:
    iou = "" if one.mean_iou is None else f"   IoU {one.mean_iou:.2f}"
    unsure = "" if one.uncertainty is None else f"   uncertainty {one.uncertainty:.2f}"
    return f"{one.name}   {one.psnr:.1f} dB{iou}{unsure}"


def _grey(shares: npt.NDArray[np.float32]) -> Image.Image:
    """Black for 0, white from 1 on."""
    return Image.fromarray((np.clip(shares, 0, 1) * 255).astype(np.uint8)).convert("RGB")
