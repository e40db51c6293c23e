"""How well a segmentation branch finds the parts of annotated images that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from editvec.batch.classes.storing import Rectangle
from editvec.batch.quality.annotated_embeddings import MeasuredLatents
from editvec.batch.quality.pairs import Pairs
from editvec.engine.metrics.edits import label_table, mean_iou
from editvec.engine.segmentation.uncertainty import image_uncertainty
from editvec.engine.shapes import IGNORED
from editvec.engine.training.segmentation import SegmentationTrainee
from editvec.json_codec import JsonFields


@dataclass(frozen=True)
class PartQuality:
    """One part, over all annotated images.

    Attributes:
        name: Of the part.
        images: How many show it.
        pixels: Its pixels in the annotations.
        iou: Of held-out images, pixels pooled; None without cross-validation, or where neither
            annotation nor prediction has it.
        uncertainty: Mean Jensen-Shannon divergence of its pixels in nats; None likewise.
    """

    name: str
    images: int
    pixels: int
    iou: float | None
    uncertainty: float | None


@dataclass(frozen=True)
class ImageQuality:
    """One annotated image.

    Attributes:
        name: Of its file.
        psnr: Of the reconstruction, in dB.
        perceptual: Distance of the reconstruction; None without a network.
        mean_iou: Mean over its parts, held out; None without cross-validation.
        uncertainty: Mean of its most uncertain tenth of the pixels, in nats; None likewise.
    """

    name: str
    psnr: float
    perceptual: float | None
    mean_iou: float | None
    uncertainty: float | None


@dataclass(frozen=True)
class SegmentationQuality(JsonFields):
    """What a cross-validation measured.

    Attributes:
        folds: Rounds, each of which left out so many of the images; 0 for none.
        mean_iou: Mean over the parts that occur; None without cross-validation.
        uncertainty: Mean Jensen-Shannon divergence of all pixels in nats; None likewise.
        parts: In the scheme's order.
        images: In the order of the pairs.
        perceptual_name: What the perceptual distances were measured with.
    """

    folds: int
    mean_iou: float | None
    uncertainty: float | None
    parts: tuple[PartQuality, ...]
    images: tuple[ImageQuality, ...]
    perceptual_name: str | None


def judge(
    pairs: Pairs,
    parts: Sequence[str],
    trainee: SegmentationTrainee,
    *,
    embedded: MeasuredLatents,
    rows: Sequence[int],
    rectangle: Rectangle,
) -> SegmentationQuality:
    """Compare what each round said of its fold with the annotations.

    Args:
        pairs: The annotated images that were trained on.
        parts: Names of the parts, in the scheme's order.
        trainee: After its last step.
        embedded: Embeddings of more images than these.
        rows: Which of them these are.
        rectangle: Pixels that count.
    """
    top, left, bottom, right = rectangle
    target = torch.from_numpy(pairs.masks.astype(np.int64))[:, top:bottom, left:right]
    held_out = trainee.held_out
    mask, uncertainty = (one[:, top:bottom, left:right] for one in held_out)
    folds = int(trainee.folds.max()) + 1
    counted = target != IGNORED
    shown = [int((target == label).flatten(1).any(dim=1).sum()) for label in range(len(parts))]
    reconstructions = [(float(embedded.psnr[row]), _distance(embedded, row)) for row in rows]
    if not folds:
        pixels = target[counted].bincount(minlength=len(parts)).tolist()
        named = zip(parts, shown, pixels, strict=True)
        return SegmentationQuality(
            0,
            None,
            None,
            tuple(PartQuality(name, images, count, None, None) for name, images, count in named),
            tuple(
                ImageQuality(name, *errors, None, None)
                for name, errors in zip(pairs.names, reconstructions, strict=True)
            ),
            embedded.perceptual_name,
        )
    scores = label_table(mask, target, names=parts)
    # a row of those that count, which has no shape of a picture
    worst = [
        float(image_uncertainty(one[is_counted][None, None]))
        for one, is_counted in zip(uncertainty, counted, strict=True)
    ]
    own = [
        mean_iou(mask[row : row + 1], target[row : row + 1], num_labels=len(parts))
        for row in range(len(mask))
    ]
    return SegmentationQuality(
        folds,
        mean_iou(mask, target, num_labels=len(parts)),
        float(uncertainty[counted].mean()),
        tuple(
            PartQuality(
                score.name,
                shown[score.label],
                score.target_pixels,
                score.iou,
                float(uncertainty[target == score.label].mean()) if score.target_pixels else None,
            )
            for score in scores
        ),
        tuple(
            ImageQuality(name, *errors, iou, most)
            for name, errors, iou, most in zip(
                pairs.names, reconstructions, own, worst, strict=True
            )
        ),
        embedded.perceptual_name,
    )


def _distance(embedded: MeasuredLatents, row: int) -> float | None:
    return None if embedded.perceptual is None else float(embedded.perceptual[row])
