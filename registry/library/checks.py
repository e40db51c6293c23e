"""What the values of a record must be: each check names the value that it refuses."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from editvec.registry.addresses import MAX_VERSION
from editvec.registry.entities.classes import ClassModel
from editvec.registry.entities.vectors import NewVector, RoiPolicy
from editvec.registry.errors import CompatibilityError, LabelNotFoundError, RecordError
from editvec.registry.values import refuse_text, row_mask_text

if TYPE_CHECKING:
    from editvec.registry.entities.vectors import ParcelDigests


def content_digest_of(
    new: NewVector, model: ClassModel, digests: ParcelDigests, *, rows: int
) -> str:
    """What makes two vectors the same: generator, space, delta, rows and ROI; not their story."""
    content = [
        model.generator_digest,
        str(new.latent_space),
        digests.delta,
        row_mask_text(new.row_mask, num_ws=rows),
        list(new.roi_labels),
        str(new.roi_policy),
        dilation_of(new, model),
    ]
    if digests.brush is not None:  # only then: what has none keeps the digest that it always had
        content.append(digests.brush)
    canonical = json.dumps(content, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def check_ranges(new: NewVector) -> None:
    """Refuses a version that cannot be one, scales that contradict each other, and text as tags.

    Raises:
        RecordError: says which.
    """
    if new.version is not None and not 1 <= new.version <= MAX_VERSION:
        raise RecordError(
            f"vector {new.name}: expected a version of 1 or more, up to {MAX_VERSION}, "
            f"got {new.version}"
        )
    if new.scale_min is not None and new.scale_max is not None and new.scale_min > new.scale_max:
        raise RecordError(
            f"vector {new.name}: scale range from {new.scale_min} to {new.scale_max} is upside down"
        )
    below = new.scale_min is not None and new.default_scale < new.scale_min
    above = new.scale_max is not None and new.default_scale > new.scale_max
    if below or above:
        raise RecordError(
            f"vector {new.name}: default scale {new.default_scale} is outside of its usable range, "
            f"{new.scale_min} to {new.scale_max}"
        )
    refuse_text(new.tags, of="tags")


def dilation_of(new: NewVector, model: ClassModel) -> int:
    """The ROI buffer in pixels; by default 3 at 512 px, scaled with the resolution, at least 1.

    Raises:
        RecordError: negative.
    """
    if new.dilation is None:
        return max(1, round(3 * model.resolution / 512))
    if new.dilation < 0:
        raise RecordError(f"dilation: expected 0 pixels or more, got {new.dilation}")
    return new.dilation


def check_origin(new: NewVector, model: ClassModel) -> None:
    """Refuses a vector of another generator.

    Raises:
        CompatibilityError: shows both digests.
    """
    if new.generator_digest is not None and new.generator_digest != model.generator_digest:
        raise CompatibilityError(
            f"vector {new.name}: it belongs to generator {new.generator_digest}, class "
            f"{model.address} has generator {model.generator_digest}"
        )


def checked_roi(new: NewVector, model: ClassModel) -> list[str]:
    """The ROI part names, every one known to the class and none twice; groups become their parts.

    Of a class whose parts nobody has named there is one, and nothing to choose.

    Raises:
        LabelNotFoundError: a part that the class does not have, or none where no brush stands in.
    """
    names: Sequence[str] = new.roi_labels
    if not names and len(model.labels) == 1 and new.roi_policy != RoiPolicy.BRUSH:
        names = model.label_names
    if isinstance(names, str) or not (names or new.roi_policy == RoiPolicy.BRUSH):
        raise LabelNotFoundError(
            f"ROI: expected at least one part of class {model.address}: "
            f"{', '.join(model.label_names)}"
        )
    if len(set(names)) != len(names):
        raise LabelNotFoundError(f"ROI: a part is named twice in {', '.join(names)}")
    return list(model.parts(names))
