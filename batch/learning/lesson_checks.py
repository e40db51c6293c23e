"""Lessons that can teach nothing: what is wrong with them, and what to do.

A class whose networks are weak fails here: its delta stays zero, which no library takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from editvec.batch.errors import SettingsError

if TYPE_CHECKING:
    from typing import Any

    from editvec.batch.learning.lesson import AskedPair
    from editvec.batch.learning.request import LearnRequest
    from editvec.engine.editing.editing import EditResult
    from editvec.registry.entities.vectors import ClassModel

    Mask = npt.NDArray[np.integer[Any]]


def check_asked(pair: AskedPair, model: ClassModel, roi_labels: Sequence[str]) -> None:
    """Refuse two masks between which nothing changes; without a mask before nobody knows yet.

    Args:
        pair: The masks.
        model: Whose labels they have.
        roi_labels: Parts that may change.

    Raises:
        SettingsError: They are equal, or equal as far as those parts go.
    """
    if pair.mask_before is None:
        return
    changed = pair.mask_before != pair.mask_after
    if not changed.any():
        raise SettingsError(
            "mask after: it equals the mask before, there is nothing to learn; repaint a part, or "
            "say what shall change by --from-operation"
        )
    was, becomes = pair.mask_before[changed], pair.mask_after[changed]
    roi = [label.index for label in model.labels if label.name in roi_labels]
    if not (np.isin(was, roi) | np.isin(becomes, roi)).any():
        repainted = [model.labels[index].name for index in np.unique([was, becomes])]
        raise SettingsError(
            f"mask after: it repaints no pixel of {', '.join(roi_labels)}; what it repaints is "
            f"{', '.join(repainted)}: --roi names the parts that shall change"
        )


def unseen(request: LearnRequest, model: ClassModel, parts: Sequence[str]) -> SettingsError:
    """The error for parts that the segmentation branch does not find in the picture.

    Args:
        request: The lesson.
        model: Of the branch.
        parts: Of which it finds no pixel.
    """
    way = "" if request.mask_before is not None else " --mask-before gives a mask of your own;"
    return SettingsError(
        f"{', '.join(parts)}: the segmentation branch of class {model.address} finds no pixel of "
        f"{', '.join(parts)} in {request.image.name}, so it cannot tell what to change;{way} "
        f"`editvec train segmentation --class {model.name} PAIRS`, on images that show it, makes a "
        "better one"
    )


def check_taught(
    learned: EditResult,
    seen: Mask,
    request: LearnRequest,
    model: ClassModel,
    roi_labels: Sequence[str],
) -> None:
    """Refuse a delta that is zero: the best that was found is to change nothing.

    Args:
        learned: Of one picture.
        seen: What the segmentation branch finds in its reconstruction, [H, W].
        request: The lesson.
        model: The class.
        roi_labels: Parts that may change.

    Raises:
        SettingsError: Says why, as far as the masks tell it.
    """
    if learned.deltas.any():
        return
    roi = learned.roi[0, 0].cpu().numpy()
    target = learned.mask_target[0].cpu().numpy()
    if np.array_equal(seen[roi], target[roi]):
        raise SettingsError(
            f"mask after: no change was asked for: class {model.address} finds "
            f"{', '.join(roi_labels)} in {request.image.name} just where the mask has them; "
            "repaint the part, or say what shall change by --from-operation"
        )
    labels = {label.name: label.index for label in model.labels}
    wanted = [name for name in roi_labels if (target[roi] == labels[name]).any()]
    missing = [name for name in wanted if not (seen == labels[name]).any()]
    if missing:
        raise unseen(request, model, missing)
    losses = learned.losses[:, 0]
    raise SettingsError(
        f"learn: none of {learned.num_steps} steps came closer to the mask than the picture as it "
        f"is (loss {losses[0]:.4g}, after a step {losses[1:].min():.4g} at best); more --steps "
        "may, or ask for less; if other pictures fail alike, the class is too weak: `editvec "
        f"model sample {model.name} samples.png` shows its generator"
    )
