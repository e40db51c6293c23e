"""Checks that a class has the networks that a request needs, before anything is planned."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection
from typing import TYPE_CHECKING

from editvec.batch.errors import PlanError
from editvec.batch.recipes.settings import Composite, Mode, Output, RunSettings
from editvec.registry.bundles.manifest import BUNDLE_FILE

if TYPE_CHECKING:
    from editvec.batch.recipes.recipe import EditPlan
    from editvec.registry.entities.classes import ClassModel
    from editvec.registry.library.library import Library


def networks_of(library: Library, model: ClassModel) -> frozenset[str]:
    """Names of the networks in a class's bundle: generator, segmentation, encoder...

    Raises:
        BlobError: its bundle.json is missing from the blob store.
    """
    digest = next(file.digest for file in model.files if file.name == BUNDLE_FILE)
    return frozenset(json.loads(library.blobs.get(digest)).get("networks", {}))


def require_segmentation(library: Library, model: ClassModel) -> None:
    """Refuse a class that cannot make masks; generators are imported without that.

    Raises:
        PlanError: names the command that makes a segmentation branch.
    """
    if "segmentation" not in networks_of(library, model):
        raise PlanError(
            f"class {model.address} has no segmentation branch, which masks and edits of parts "
            f"need; `editvec train segmentation --class {model.name} PAIRS` makes one"
        )


def fitting_settings(
    settings: RunSettings, model: ClassModel, networks: Collection[str]
) -> tuple[RunSettings, list[str]]:
    """The settings of a run as far as they follow from the networks of its class.

    Sampled images of a class without a segmentation branch are edited as wholes: there is no part
    to composite.

    Args:
        settings: what was asked for; `count` is 0 in a run over a folder.
        model: the class.
        networks: names of the networks it has.

    Returns:
        The settings, and notes for the user, one line each.
    """
    if "segmentation" in networks:
        return settings, []
    if settings.count:
        settings = dataclasses.replace(settings, composite=Composite.NONE)
    note = f"class {model.address} has no segmentation branch: no masks, edits change whole images"
    return settings, [note]


def what_needs_masks(plan: EditPlan) -> str | None:
    """What a plan asks for that only a segmentation branch makes possible; None for nothing."""
    settings = plan.settings
    modes = {plan.mode_of(recipe) for recipe in plan.recipes}
    needing = {
        f"--composite {settings.composite.value}": settings.composite is not Composite.NONE,
        "--mode optimize": Mode.OPTIMIZE in modes | {settings.mode},
        "--mode refine": Mode.REFINE in modes,
        "--write coco": settings.output is Output.COCO,
        "--max-leakage": settings.max_leakage is not None,
        "--max-uncertainty": settings.max_uncertainty is not None,
        "--roi": bool(settings.roi),
    }
    return next((name for name, is_needing in needing.items() if is_needing), None)


def require_networks(plan: EditPlan, model: ClassModel, networks: Collection[str]) -> None:
    """Refuse a run that needs what its class has not: masks, or an encoder.

    Raises:
        PlanError: names what needs it, and what to do.
    """
    needing = what_needs_masks(plan)
    if "segmentation" not in networks and needing is not None:
        way = "; --composite none edits whole pictures" if needing.startswith("--composite") else ""
        raise PlanError(
            f"class {model.address} has no segmentation branch, which {needing} needs: `editvec "
            f"train segmentation --class {model.name} PAIRS` makes one{way}"
        )
    by_encoder = not (plan.settings.count or plan.settings.embedding.num_steps)
    if by_encoder and "encoder" not in networks:
        raise PlanError(
            f"class {model.address} has no encoder; --embed steps:N embeds without one, and "
            f"`editvec train encoder --class {model.name}` makes one"
        )
