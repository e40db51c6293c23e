"""What an output image says of itself: who made it, from what, with which vectors."""

from __future__ import annotations

from typing import Any

from editvec.batch.runs.plan import RunPlan
from editvec.registry.release import engine_version


def provenance(
    plan: RunPlan,
    recipe_position: int,
    input_position: int,
    *,
    source_digest: str,
    content_key: str,
) -> dict[str, Any]:
    """The record that goes into the metadata of an image; equal for equal content keys.

    Args:
        plan: the plan of the run.
        recipe_position: which recipe made the image.
        input_position: from which input of the run.
        source_digest: of the input file, or of what stands for a sampled one.
        content_key: of the item.
    """
    return {
        "edited_by": engine_version(),
        "vectors": [
            edit.to_json() | {"delta_digest": edit.vector.delta_digest}
            for edit in plan.edits_of(recipe_position, input_position)
        ],
        "source_digest": source_digest,
        "generator_digest": plan.generator_digest,
        "content_key": content_key,
    }
