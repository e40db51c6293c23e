"""Lessons that can teach nothing say what is wrong, and what to do."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from editvec.batch.errors import SettingsError
from editvec.batch.learning.learn import learn_vector
from editvec.batch.learning.lesson import check_taught
from editvec.batch.learning.request import LearnRequest, LearnSettings
from editvec.batch.workbench import Workbench
from editvec.engine.bundle.bundle import NetworkState, read_networks, write_bundle
from editvec.engine.editing.editing import EditSettings
from editvec.engine.editor import Editor
from editvec.engine.images.images import to_pixels
from editvec.registry.config import RegistryConfig

HAIR, MOUTH = 2, 4
FAST = LearnSettings(num_steps=2, embed="steps:1")


@pytest.fixture
def bench(tmp_path: Path, tiny_bundle: Path) -> Iterator[Workbench]:
    """`tiny@1`, and `tiny@2` whose segmentation branch takes everything for hair."""
    bundle, networks = read_networks(tiny_bundle)
    config, state = networks["segmentation"]
    blind = {name: tensor.clone() for name, tensor in state.items()}
    for name, tensor in blind.items():
        if name.endswith(("layers.6.weight", "layers.6.bias")):
            tensor.zero_()
        if name.endswith("layers.6.bias"):
            tensor[HAIR] = 1
    write_bundle(
        tmp_path / "blind",
        class_name="tiny",
        description="",
        license="",
        labels=bundle.labels,
        networks={**networks, "segmentation": NetworkState(config, blind)},
        built={},
    )
    with Workbench.open(RegistryConfig.for_home(tmp_path / "home"), device="cpu") as bench:
        bench.library.add_bundle(tiny_bundle)
        bench.library.add_bundle(tmp_path / "blind")
        yield bench


@pytest.fixture
def ask(tmp_path: Path, tiny_bundle: Path) -> Callable[..., LearnRequest]:
    """Makes requests about one sample, `i.png`; masks are painted by rows."""
    editor = Editor.open(tiny_bundle)
    made = editor.synthesize_with_mask(editor.sample(1, seed=1))
    Image.fromarray(to_pixels(made.images)[0]).save(tmp_path / "i.png")

    def request(address: str, **changes: Any) -> LearnRequest:
        for name in ("mask_before", "mask_after"):
            if isinstance(changes.get(name), slice):
                mask = np.ones((32, 32), np.uint8)
                mask[changes[name], 8:24] = MOUTH
                mask[:6] = changes.get("top", HAIR) if name == "mask_after" else HAIR
                Image.fromarray(mask).save(tmp_path / f"{name}.png")
                changes[name] = tmp_path / f"{name}.png"
        changes.pop("top", None)
        return LearnRequest(address=address, image=tmp_path / "i.png", settings=FAST, **changes)

    return request


def _refusal(bench: Workbench, request: LearnRequest) -> str:
    with pytest.raises(SettingsError) as caught:
        learn_vector(bench.library, bench.editor_for(request.address), request)
    assert bench.library.find_vectors() == []
    return str(caught.value)


def test_branch_that_does_not_see_the_part_is_told(
    bench: Workbench, ask: Callable[..., LearnRequest]
) -> None:
    """Its logits are the same everywhere, so no step can bring the mask closer."""
    request = ask("tiny/x", mask_before=slice(20, 22), mask_after=slice(20, 26))

    message = _refusal(bench, request)

    assert "the segmentation branch of class tiny@2 finds no pixel of mouth in i.png" in message
    assert "`editvec train segmentation --class tiny PAIRS`" in message
    assert "\n" not in message


def test_operation_on_a_part_that_the_branch_does_not_see_is_told(
    bench: Workbench, ask: Callable[..., LearnRequest]
) -> None:
    message = _refusal(bench, ask("tiny/x", operation="mouth: scale 1.5"))

    assert "the segmentation branch of class tiny@2 finds no pixel of mouth in i.png" in message
    assert "--mask-before" in message


def test_prediction_that_is_what_was_asked_for_is_told(
    bench: Workbench, ask: Callable[..., LearnRequest], tmp_path: Path
) -> None:
    Image.fromarray(np.full((32, 32), HAIR, np.uint8)).save(tmp_path / "all.png")
    request = ask("tiny/x", roi_labels=("hair",), mask_after=tmp_path / "all.png")

    message = _refusal(bench, request)

    assert "no change was asked for" in message
    assert "hair" in message


@pytest.mark.parametrize("roi_labels", [(), ("mouth",)])
def test_equal_masks_are_refused_before_anything_is_embedded(
    bench: Workbench, ask: Callable[..., LearnRequest], roi_labels: tuple[str, ...]
) -> None:
    rows = slice(20, 26)
    request = ask("tiny/x", mask_before=rows, mask_after=rows, roi_labels=roi_labels)
    told: list[str] = []

    with pytest.raises(SettingsError, match="equals the mask before, there is nothing to learn"):
        learn_vector(
            bench.library,
            bench.editor_for("tiny/x"),
            request,
            on_progress=lambda name, step, steps: told.append(name),
        )
    assert told == []


def test_masks_that_differ_elsewhere_only_are_refused(
    bench: Workbench, ask: Callable[..., LearnRequest]
) -> None:
    rows = slice(20, 26)
    request = ask("tiny/x", mask_before=rows, mask_after=rows, top=0, roi_labels=("mouth",))

    message = _refusal(bench, request)

    assert "it repaints no pixel of mouth" in message


def test_steps_that_only_lead_away_are_told(
    bench: Workbench, ask: Callable[..., LearnRequest], tmp_path: Path
) -> None:
    """The branch sees the parts, and yet the delta that fits best is none."""
    request, model = ask("tiny@1/x", mask_after=slice(20, 26)), bench.library.get_class("tiny@1")
    editor = Editor.open(bench.library.materialise_bundle(model))
    ws = editor.sample(1, seed=1)
    seen = editor.synthesize_with_mask(ws).mask
    wanted = seen.flip(2)
    names = [model.labels[label].name for label in seen.unique()]
    settings = EditSettings(num_steps=2, learning_rate=1e3)  # far beyond any minimum
    learned = editor.learn(None, wanted, roi_labels=names, ws=ws, settings=settings)

    with pytest.raises(SettingsError, match=r"none of 2 steps came closer .* --steps") as caught:
        check_taught(learned, seen[0].numpy(), request, model, names)

    assert not learned.deltas.any()
    assert "editvec model sample tiny" in str(caught.value)
