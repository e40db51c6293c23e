"""What a plan takes from the library: the deltas and the brushes of its vectors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from editvec.batch.errors import WorkerError
from editvec.batch.recipes.recipe import EditPlan
from editvec.registry.entities.classes import ClassModel
from editvec.registry.library.library import Library
from editvec.registry.masks.brushes import decode_brush


def load_deltas(library: Library, plan: EditPlan) -> dict[str, npt.NDArray[np.float32]]:
    """The deltas of all terms of a plan, by the terms; rows that a term leaves out are zero.

    Raises:
        WorkerError: a vector is not the one that was planned with.
    """
    deltas = {}
    for edit in (edit for recipe in plan.recipes for edit in recipe.edits):
        address, term = edit.vector.address, edit.vector.term
        if term in deltas:
            continue
        vector = library.get_vector(address)
        if vector.delta_digest != edit.vector.delta_digest:
            raise WorkerError(f"edit: {address} is not the vector that the run was planned with")
        delta = library.delta(vector)
        if edit.vector.rows is not None:
            first, last = edit.vector.rows
            kept = np.zeros_like(delta)
            kept[first:last] = delta[first:last]
            delta = kept
        deltas[term] = delta
    return deltas


def load_brushes(
    library: Library, plan: EditPlan, model: ClassModel
) -> dict[str, npt.NDArray[np.bool_]]:
    """The painted pixels of all brushes of a plan, bool [H, W], by digest.

    Raises:
        BlobError: a brush is missing or was altered.
    """
    digests = {digest for recipe in plan.recipes for digest in recipe.brush_digests}
    return {digest: decode_brush(library.blobs.get(digest), model) for digest in digests}
