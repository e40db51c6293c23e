"""A lesson: a picture and its masks, given as files or by operations, and whether it can teach.

A class whose networks are weak fails here: its delta stays zero, which no library takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from editvec.batch.errors import SettingsError
from editvec.batch.learning.repainted import changed_pixels, repainted_labels
from editvec.batch.learning.request import LearnRequest
from editvec.engine.images.images import crop_box, resize_mask
from editvec.registry.entities.classes import ClassModel
from editvec.registry.errors import MaskError
from editvec.registry.labels.label import IGNORED
from editvec.registry.labels.scheme import LabelScheme
from editvec.registry.masks.operation_text import parse_edits
from editvec.registry.masks.operations import edit_mask
from editvec.registry.masks.png import check_size
from editvec.registry.masks.sources import choose_mask, open_masks

if TYPE_CHECKING:
    from editvec.engine.editing.editing import EditResult

# an IoU that reads 0.000
_NO_SUCCESS = 0.0005

Mask = npt.NDArray[np.integer[Any]]
Pixels = npt.NDArray[np.uint8]


class AskedPair(NamedTuple):
    """A picture uint8 [H, W, 3] and its masks [H, W], all of one size.

    Attributes:
        pixels: The picture.
        mask_after: What it shall show; `IGNORED` where nothing is wanted.
        mask_before: What it shows, or `IGNORED`; None where nobody says it.
    """

    pixels: Pixels
    mask_after: Mask
    mask_before: Mask | None


def read_pair(request: LearnRequest, scheme: LabelScheme, pixels: Pixels) -> AskedPair | None:
    """Read the masks of a request, or make the second one from the first.

    Args:
        request: With its files.
        scheme: Of the class: its parts, and how files spell them.
        pixels: The picture, uint8 [H, W, 3].

    Returns:
        None where an operation is asked for and no mask is given to do it on.

    Raises:
        RegistryError: A mask is wrong, or the operation is not possible.
    """
    before = None
    if request.mask_before is not None:
        before = _read(request.mask_before, request, scheme, pixels)
    if request.mask_after is not None:
        return AskedPair(pixels, _read(request.mask_after, request, scheme, pixels), before)
    if before is None:
        return None
    return AskedPair(pixels, _operate(request, scheme, before, pixels), before)


def pair_of_prediction(
    request: LearnRequest,
    model: ClassModel,
    scheme: LabelScheme,
    pixels: Pixels,
    predicted: Mask,
) -> AskedPair:
    """Do the operations of a request on a predicted mask.

    Args:
        request: With operations.
        model: Whose branch predicted it.
        scheme: Of the class: its parts, and how files spell them.
        pixels: The picture, uint8 [H, W, 3].
        predicted: Labels of its middle square, [R, R], as the generator sees it.

    Returns:
        The middle square of the picture, with its masks.

    Raises:
        RegistryError: The operation is not possible.
        SettingsError: The prediction has no pixel of the parts to edit.
    """
    top, left, bottom, right = crop_box(pixels.shape[0], pixels.shape[1])
    square = pixels[top:bottom, left:right]
    before = resize_mask(predicted.astype(np.int32), bottom - top)
    try:
        after = _operate(request, scheme, before, square)
    except MaskError as exc:
        asked = model.parts(
            [name for edit in parse_edits(request.operation) for name in edit.parts]
        )
        missing = [label.name for label in model.labels if not (before == label.index).any()]
        if not set(asked) <= set(missing):
            raise
        raise unseen(request, model, asked) from exc
    return AskedPair(square, after, before)


def roi_of(request: LearnRequest, pair: AskedPair, model: ClassModel) -> list[str]:
    """The parts that the request names, by its operations too; or those that were repainted.

    Raises:
        LabelNotFoundError: A name is neither a part nor a group.
        SettingsError: The parts are neither given nor to be found.
    """
    if request.roi_labels:
        return list(model.parts(request.roi_labels))
    if request.operation:
        edits = parse_edits(request.operation)
        return list(model.parts([name for edit in edits for name in edit.parts]))
    if pair.mask_before is None:
        raise SettingsError(
            "roi: give --roi PART,... or --mask-before, so that the repainted parts can be found"
        )
    labels = repainted_labels(pair.mask_before, pair.mask_after)
    return [model.labels[label].name for label in labels]


def _read(
    path: Path, request: LearnRequest, scheme: LabelScheme, pixels: Pixels
) -> npt.NDArray[np.int32]:
    """A mask of any form; of a file with several, that of the picture's name."""
    found = open_masks(path, scheme)
    image = request.image.name if len(found) > 1 else None
    mask = choose_mask(found, image, of=f"masks {path}").read()
    check_size(mask, pixels.shape[0], pixels.shape[1], of=f"mask {path}")
    return mask


def _operate(
    request: LearnRequest, scheme: LabelScheme, before: npt.NDArray[np.int32], pixels: Pixels
) -> Mask:
    def read_other(path: Path) -> npt.NDArray[np.int32]:
        return _read(path, request, scheme, pixels)

    edits = parse_edits(request.operation)
    of = f"mask of {request.image.name}"
    after = edit_mask(before, edits, scheme, read_other=read_other, of=of)
    if (after == before).all():
        raise SettingsError(f"operation {request.operation!r}: it changes nothing in the {of}")
    return after


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
    changed = changed_pixels(pair.mask_before, pair.mask_after)
    if not changed.any():
        raise SettingsError(
            "mask after: it equals the mask before, there is nothing to learn; repaint a part, or "
            "say what shall change by --operation"
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


def check_success(
    edited: float, unedited: float, request: LearnRequest, roi_labels: Sequence[str]
) -> None:
    """Refuse a vector whose edit reaches nothing of the mask, unless the request accepts that.

    Args:
        edited: IoU of the parts in the ROI with the mask after the edit, [0, 1].
        unedited: The same before the edit.
        request: The lesson.
        roi_labels: Parts that may change.

    Raises:
        SettingsError: The IoU reads 0.000.
    """
    if request.accept_failure or not edited < _NO_SUCCESS:
        return
    raise SettingsError(
        f"learn: the edit failed: {', '.join(roi_labels)} of the edited picture have IoU "
        f"{edited:.3f} with the mask after, {unedited:.3f} before the edit, so no vector is "
        "stored; see whether the mask is that of the picture, or give more --steps; "
        "--accept-failure (in a list, accept_failure) stores the vector as it is"
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
    told = roi & (target != IGNORED)
    if np.array_equal(seen[told], target[told]):
        raise SettingsError(
            f"mask after: no change was asked for: class {model.address} finds "
            f"{', '.join(roi_labels)} in {request.image.name} just where the mask has them; "
            "repaint the part, or say what shall change by --operation"
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
