"""Values of vectors that were measured together, from what was measured image by image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from editvec.batch.evaluation.intervals import bootstrap, bootstrap_ratio, wilson
from editvec.batch.evaluation.pairs.measure import AloneRows, FloatArray, PairRows, Purpose, Rows
from editvec.batch.evaluation.targets import WantedAttribute
from editvec.registry.composition.pair_metrics import Kept

NO_MASKS = "the class has no segmentation branch; `train segmentation` makes one"


class Moved(NamedTuple):
    """How far a part moves: 1 - IoU before and after, the mean over images that show it.

    Attributes:
        value: 0 for a part that stays as it is, 1 for one that is elsewhere.
        images: that show it before or after.
        interval: of 95 %; None of too few images.
    """

    value: float
    images: int
    interval: tuple[float, float] | None


def success_of(rows: AloneRows, purpose: Purpose) -> Kept | None:
    """The share of images in which the attribute appears, or the mean IoU with the target."""
    if isinstance(purpose.attribute, WantedAttribute):
        lacking = rows.before.all <= 0
        if not lacking.any():
            return None
        share, count = float((rows.after.all[lacking] > 0).mean()), int(lacking.sum())
        return Kept(value=share, count=count, interval=wilson(share, count), against=str(purpose))
    reached = numbers(rows.reached)
    if not len(reached):
        return None
    return Kept(
        value=float(reached.mean()),
        count=len(reached),
        interval=bootstrap(reached.tolist(), "mean"),
        against=str(purpose),
    )


def why_no_success(rows: AloneRows, purpose: Purpose) -> str:
    """Why a vector alone has no `success_of`, and how to get one."""
    if isinstance(purpose.attribute, WantedAttribute):
        return f"every image is {purpose.attribute} before the edit; give others"
    if isinstance(purpose.target, str):
        return f"{purpose.attribute}; or --operation, what becomes of each image's own mask"
    if not rows.ious.parts:
        return NO_MASKS
    return "no image has its parts, or it has no part labels, only a brush"


def kept_success(
    alone: AloneRows, rows: PairRows, side: int, purpose: Purpose, *, seed: int
) -> Kept | None:
    """Of the images in which it succeeds alone, the share in which it does beside the other.

    Against a mask: the share of its gain in IoU over the unedited image. None where it has no
    success alone.
    """
    if isinstance(purpose.attribute, WantedAttribute):
        had = (alone.before.all <= 0) & (alone.after.all > 0)
        if not had.any():
            return None
        share, count = float((rows.after[side].all[had] > 0).mean()), int(had.sum())
        return Kept(value=share, count=count, interval=wilson(share, count), against=str(purpose))
    if not (rows.reached[side].parts and alone.reached.parts):
        return None
    unedited, reached, both = alone.unedited.all, alone.reached.all, rows.reached[side].all
    known = ~np.isnan(unedited + reached + both)
    gains, left = (reached - unedited)[known], (both - unedited)[known]
    if not len(gains) or gains.mean() <= 0:
        return None
    return Kept(
        value=float(left.mean() / gains.mean()),
        count=len(gains),
        interval=bootstrap_ratio(left.tolist(), gains.tolist(), seed=seed),
        against=str(purpose),
    )


def why_nothing_to_keep(purpose: Purpose) -> str:
    """Why a vector that has a `success_of` has no `kept_success`."""
    if isinstance(purpose.attribute, WantedAttribute):
        return f"no image in which it succeeds alone ({purpose})"
    return f"alone it comes no nearer to the masks that are wanted ({purpose})"


def kept_change(rows: Rows, *, seed: int) -> Kept | None:
    """The mean share of its pixels that a vector keeps; None where it changes none."""
    values = numbers(rows)
    if not len(values):
        return None
    return Kept(
        value=float(values.mean()),
        count=len(values),
        interval=bootstrap(values.tolist(), "mean", seed=seed),
    )


def moved_of(rows: Rows, names: Sequence[str], *, seed: int) -> dict[str, Moved]:
    """How far every part moves that some image shows, by its name, from IoUs [N, K]."""
    if not rows.parts:
        return {}
    found = {}
    for name, column in zip(names, (1 - rows.all).T, strict=True):
        values = column[~np.isnan(column)]
        if len(values):
            ends = bootstrap(values.tolist(), "mean", seed=seed)
            found[name] = Moved(float(values.mean()), len(values), ends)
    return found


def numbers(rows: Rows) -> FloatArray:
    """The values of the images that have one, [N]."""
    return rows.all[~np.isnan(rows.all)]
