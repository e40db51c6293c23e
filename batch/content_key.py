"""What decides an item, as one digest."""

from __future__ import annotations

import hashlib
from typing import Any

from batch.plan import RunPlan, canonical_json
from batch.reading import Decoded
from batch.recipe import Recipe
from batch.settings import Mode, engine_version


def content_key(plan: RunPlan, recipe: Recipe, one: Decoded) -> str:
    """Digest of everything that decides an item: equal keys mean the same picture.

    Idempotency rests on it and not on the bytes of the file, which differ in the last bit between
    batch sizes and devices.
    """
    settings = plan.settings
    parts: dict[str, Any] = {
        "input": one.digest,
        "generator": plan.generator_digest,
        "edits": [[edit.vector.delta_digest, edit.scale] for edit in recipe.edits],
        "roi": list(settings.roi or recipe.roi_labels),
        "mode": settings.mode.value,
        "composite": settings.composite.value,
        "engine": engine_version(),
    }
    if plan.kind == "batch":
        parts |= {"embed": settings.embed, "space": settings.space.value, "fit": settings.fit.value}
    if settings.mode is Mode.REFINE:
        parts["refine_steps"] = settings.refine_steps
    if settings.mode is Mode.OPTIMIZE and one.wanted_mask is not None:
        parts["optimize_steps"] = settings.optimize_steps
        parts["wanted_mask"] = hashlib.sha256(one.wanted_mask.tobytes()).hexdigest()
    return hashlib.sha256(canonical_json(parts)).hexdigest()
