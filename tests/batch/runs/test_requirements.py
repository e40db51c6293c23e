"""What a class without a branch or an encoder cannot do, told before anything is made."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from editvec.batch.errors import PlanError
from editvec.batch.recipes.recipe import Recipe
from editvec.batch.recipes.settings import Composite, Mode, Output, RunSettings
from editvec.batch.runs.plan import RunPlan, build_request
from editvec.batch.runs.requirements import fitting_settings, require_networks, what_needs_masks
from editvec.registry.entities.classes import ClassModel

MODEL = cast(ClassModel, SimpleNamespace(address="faces@2", name="faces"))
PLAIN = {"composite": Composite.NONE}


def plan(*, recipe_mode: Mode | None = None, **settings: Any) -> RunPlan:
    chosen = RunSettings(**{**PLAIN, **settings})
    return RunPlan(
        kind="generate" if chosen.count else "batch",
        class_address="faces@2",
        generator_digest="1" * 64,
        bundle_digest="2" * 64,
        input_folder=None,
        output_folder=Path("/out"),
        request=build_request("faces", [], None, chosen),
        recipes=(Recipe(name="a", edits=(), mode=recipe_mode),),
        settings=chosen,
    )


NEEDING = [
    ({"composite": Composite.FEATHER}, "--composite feather"),
    ({"composite": Composite.GRADIENT}, "--composite gradient"),
    ({"mode": Mode.OPTIMIZE, "masks_folder": "/m"}, "--mode optimize"),
    ({"mode": Mode.REFINE}, "--mode refine"),
    ({"recipe_mode": Mode.REFINE}, "--mode refine"),
    ({"output": Output.COCO}, "--write coco"),
    ({"max_leakage": 0.0}, "--max-leakage"),
    ({"max_uncertainty": 0.0}, "--max-uncertainty"),
    ({"roi": ("mouth",)}, "--roi"),
]


@pytest.mark.parametrize(("settings", "name"), NEEDING)
def test_what_needs_masks_is_named(settings: dict[str, Any], name: str) -> None:
    wanted = plan(**settings)

    assert what_needs_masks(wanted) == name
    require_networks(wanted, MODEL, {"segmentation", "encoder"})
    with pytest.raises(PlanError, match=rf"class faces@2 has no segmentation branch, .* {name} "):
        require_networks(wanted, MODEL, {"encoder"})


@pytest.mark.parametrize(
    "settings", [{}, {"output": Output.WEBDATASET}, {"max_reconstruction": 0.5}]
)
def test_what_needs_no_masks_is_done_without(settings: dict[str, Any]) -> None:
    wanted = plan(**settings)

    assert what_needs_masks(wanted) is None
    require_networks(wanted, MODEL, {"encoder"})


def test_only_compositing_has_a_way_around() -> None:
    for settings, name in NEEDING:
        with pytest.raises(PlanError) as caught:
            require_networks(plan(**settings), MODEL, {"encoder"})
        is_told = "--composite none edits whole pictures" in str(caught.value)
        assert is_told == name.startswith("--composite")


@pytest.mark.parametrize(
    ("settings", "needs_encoder"),
    [({}, True), ({"embed": "steps:3"}, False), ({"embed": "target:26"}, False),
     ({"count": 4}, False)],
)  # fmt: skip
def test_photographs_without_steps_need_an_encoder(
    settings: dict[str, Any], needs_encoder: bool
) -> None:
    wanted = plan(**settings)

    require_networks(wanted, MODEL, {"encoder"})
    if needs_encoder:
        with pytest.raises(PlanError, match="class faces@2 has no encoder; --embed steps:N"):
            require_networks(wanted, MODEL, {"segmentation"})
    else:
        require_networks(wanted, MODEL, {"segmentation"})


def test_samples_of_a_class_without_masks_are_edited_as_wholes() -> None:
    samples = RunSettings(count=3, composite=Composite.FEATHER)
    photographs = RunSettings(composite=Composite.FEATHER)

    assert fitting_settings(samples, MODEL, {"segmentation"}) == (samples, [])
    fitted, notes = fitting_settings(samples, MODEL, {"encoder"})
    assert (fitted.composite, fitted.count) == (Composite.NONE, 3)
    assert notes == [
        "class faces@2 has no segmentation branch: no masks, edits change whole images"
    ]
    assert fitting_settings(photographs, MODEL, set())[0] == photographs
