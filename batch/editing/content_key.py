"""What was asked of an item, as one digest."""

from __future__ import annotations

import hashlib
from typing import Any

from editvec.batch.editing.reading import Decoded
from editvec.batch.recipes.recipe import FixedEdit
from editvec.batch.recipes.settings import Mode, OutputSize
from editvec.batch.runs.plan import RunPlan, canonical_json
from editvec.registry.release import engine_version


def content_key(plan: RunPlan, recipe_position: int, one: Decoded) -> str:
    """Digest of all that was asked of an item: equal keys mean the same edit of the same input.

    Idempotency rests on it and not on the bytes of the file: which inputs are computed together,
    the device and its threads decide how numbers are rounded, and they follow from the memory, the
    time and the kills of a run. docs/batch.md says what is equal under one key.
    """
    settings, recipe = plan.settings, plan.recipes[recipe_position]
    edits = plan.edits_of(recipe_position, one.input.position)
    parts: dict[str, Any] = {
        "input": one.digest,
        "generator": plan.generator_digest,
        "edits": [_added(edit) for edit in edits],
        "roi": list(settings.roi or recipe.roi_labels),
        "mode": plan.mode_of(recipe).value,
        "composite": settings.composite.value,
        "engine": engine_version(),
    }
    if recipe.brush_digests and not settings.roi:
        parts["brushes"] = list(recipe.brush_digests)
    if plan.kind == "batch":
        parts |= {"embed": settings.embed, "space": settings.space.value, "fit": settings.fit.value}
    if (box := one.input.box) is not None:
        parts["box"] = [*box[:4], settings.box_margin]
    if settings.output_size is OutputSize.ORIGINAL:
        parts["output_size"] = settings.output_size.value
        if settings.keep_profile:
            parts["keep_profile"] = True
        if one.picture_mask_digest is not None:
            parts["picture_mask"] = one.picture_mask_digest
    if settings.image_format != "png":
        parts["format"] = settings.image_format
    if plan.mode_of(recipe) is Mode.REFINE:
        parts["refine_steps"] = plan.refine_steps_of(recipe)
    if settings.refine_auto:
        parts |= {"refine_over": settings.max_leakage, "refine_steps": plan.refine_steps_of(recipe)}
    if settings.mode is Mode.OPTIMIZE and one.wanted_mask is not None:
        parts["optimize_steps"] = settings.optimize_steps
        parts["wanted_mask"] = hashlib.sha256(one.wanted_mask.tobytes()).hexdigest()
    return hashlib.sha256(canonical_json(parts)).hexdigest()


def _added(edit: FixedEdit) -> list[Any]:
    """What an edit adds to the latents: the delta, how far, and to which rows if not to all."""
    rows = [] if edit.vector.rows is None else [list(edit.vector.rows)]
    return [edit.vector.delta_digest, edit.scale, *rows]
