"""The picture of a stored vector's mask pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from editvec.registry.entities.vectors import EditingVector, NewMaskPair
from editvec.registry.errors import MaskError
from editvec.registry.masks.pictures import draw_mask_pairs

if TYPE_CHECKING:
    from editvec.registry.library.library import Library


def picture_of_pairs(library: Library, vector: EditingVector) -> bytes:
    """Draws what a vector was learned from; a PNG.

    Args:
        library: where it is.
        vector: with at least one mask pair.

    Raises:
        MaskError: it has no mask pair.
        BlobError: a picture of the pair is missing or was altered.
    """
    if not vector.pairs:
        raise MaskError(f"vector {vector.address} has no mask pair: it is {vector.kind.value}")
    get = library.blobs.get
    pairs = [
        NewMaskPair(
            image_png=get(pair.image_digest),
            mask_before_png=get(pair.mask_before_digest),
            mask_after_png=get(pair.mask_after_digest),
        )
        for pair in vector.pairs
    ]
    model = library.get_class(f"{vector.class_name}@{vector.class_version}")
    told = vector.description or str(vector.settings.get("operation", "mask pair"))
    return draw_mask_pairs(pairs, model.labels, title=vector.address, subtitle=told)
