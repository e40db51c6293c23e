"""How many images of a run are computed at a time: as many as memory has room for."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from editvec.batch.errors import SettingsError
from editvec.batch.recipes.recipe import EditPlan
from editvec.batch.recipes.settings import MINI_BATCH, Mode
from editvec.batch.runs.plan import RunPlan
from editvec.engine.memory import Demand, free_bytes, image_bytes
from editvec.registry.errors import RecordError
from editvec.registry.quantities import parse_size, size_text

if TYPE_CHECKING:
    from editvec.engine.editor import Editor
    from editvec.engine.networks.config import GeneratorConfig

_LOG = logging.getLogger(__name__)
_AT_A_TIME: WeakKeyDictionary[Editor, dict[Demand, int]] = WeakKeyDictionary()
_SHARE = 0.8
"""Of what is free: others want some as well, and how much an image takes is an estimate."""


def images_that_fit(
    config: GeneratorConfig,
    demand: Demand,
    *,
    device: str,
    most: int,
    max_memory: int | None = None,
) -> int:
    """Images to compute at a time, at least one; tells where that is fewer than wanted.

    Args:
        config: of the class's generator.
        demand: what is done with an image.
        device: where they are computed.
        most: as many as are wanted.
        max_memory: bytes for all images together, beside the networks; None takes
            EDITVEC_MAX_MEMORY, or four fifths of what is free.

    Raises:
        SettingsError: the variable holds no size.
    """
    limit = max_memory if max_memory is not None else _limit_of_environment()
    if limit is None:
        free = free_bytes(device)
        if free is None:
            return most
        limit = int(_SHARE * free)
    each = image_bytes(config, demand)
    fitting = min(max(limit // each, 1), most)
    if fitting < most:
        _LOG.warning(
            "%d instead of %d images at a time: one takes about %s, and %s may be used",
            fitting, most, size_text(each), size_text(limit),
        )  # fmt: skip
    return fitting


def images_at_a_time(editor: Editor, demand: Demand) -> int:
    """How many images to compute at a time outside of runs, found once for a loaded class.

    See `images_that_fit`.
    """
    known = _AT_A_TIME.setdefault(editor, {})
    if demand not in known:
        config, device = editor.generator.config, str(editor.device)
        known[demand] = images_that_fit(config, demand, device=device, most=MINI_BATCH)
    return known[demand]


def demand_of_run(plan: RunPlan) -> Demand:
    """What the most demanding part of a run does with an image."""
    if plan.kind in ("learn", "evaluate"):
        return Demand.EDITING
    demand = demand_of_edits(plan)
    is_short = plan.kind == "embed" and demand is Demand.SEGMENTATION
    return Demand.SYNTHESIS if is_short else demand


def demand_of_edits(plan: EditPlan) -> Demand:
    """What the most demanding of some edits does with an image."""
    settings = plan.settings
    modes = {plan.mode_of(recipe) for recipe in plan.recipes}
    if settings.refine_auto or modes & {Mode.REFINE, Mode.OPTIMIZE}:
        return Demand.EDITING
    is_fitted = settings.embedding.num_steps and not settings.count
    return Demand.EMBEDDING if is_fitted else Demand.SEGMENTATION


def _limit_of_environment() -> int | None:
    text = os.environ.get("EDITVEC_MAX_MEMORY")
    if not text:
        return None
    try:
        return parse_size(text)
    except RecordError as exc:
        raise SettingsError(f"EDITVEC_MAX_MEMORY: {exc}") from exc
