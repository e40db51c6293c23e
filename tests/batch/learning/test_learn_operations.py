"""Learning from operations on a mask, instead of one that somebody painted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import editvec.cli
from editvec.batch.errors import SettingsError
from editvec.batch.learning.learn import learn_vector
from editvec.batch.learning.request import LearnRequest, LearnSettings
from editvec.batch.recipes.settings import Mode, RunSettings
from editvec.batch.runs.planning import RunRequest, open_run
from editvec.batch.workbench import Workbench
from editvec.engine.editor import Editor
from editvec.registry.config import RegistryConfig
from editvec.registry.entities.vectors import EditingVector
from editvec.registry.errors import LabelNotFoundError, MaskError, OperationError
from editvec.registry.masks.png import MaskArray, decode_mask

FAST = LearnSettings(num_steps=2, embed="steps:2")


@pytest.fixture
def bench(tmp_path: Path, tiny_bundle: Path) -> Iterator[Workbench]:
    config = RegistryConfig.for_home(tmp_path / "home")
    with Workbench.open(config, device="cpu") as bench:
        bench.library.add_bundle(tiny_bundle)
        yield bench


@pytest.fixture
def image(tmp_path: Path, tiny_bundle: Path) -> Path:
    """A picture that the class can make, and beside it a mask of its own: before.png."""
    editor = Editor.open(tiny_bundle)
    made = editor.synthesize_with_mask(editor.sample(1, seed=1))
    pixels = ((made.images[0].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(tmp_path / "i.png")
    mask = np.zeros(made.mask.shape[1:], np.uint8)
    mask[4:28, 4:28] = 1
    mask[18:24, 8:24] = 4
    Image.fromarray(mask).save(tmp_path / "before.png")
    return tmp_path / "i.png"


def _masks(bench: Workbench, vector: EditingVector) -> tuple[MaskArray, MaskArray]:
    (pair,) = vector.pairs
    get = bench.library.blobs.get
    return decode_mask(get(pair.mask_before_digest)), decode_mask(get(pair.mask_after_digest))


def _learn(bench: Workbench, image: Path, operation: str, **changes: object) -> EditingVector:
    values = {"mask_before": image.parent / "before.png", "settings": FAST, **changes}
    request = LearnRequest(address="tiny/x", image=image, operation=operation, **values)  # type: ignore[arg-type]
    return learn_vector(bench.library, bench.editor_for("tiny/x"), request).vector


def test_given_mask_is_edited_and_stored_with_what_was_asked(bench: Workbench, image: Path) -> None:
    vector = _learn(bench, image, "mouth: shift 2,-4")

    before, after = _masks(bench, vector)
    assert (before[18:24, 8:24] == 4).all()
    assert (after[14:20, 10:26] == 4).all()
    assert (after == 4).sum() == (before == 4).sum()
    assert vector.roi_labels == ("mouth",)
    assert vector.settings["operation"] == "mouth: shift 2,-4"


def test_predicted_mask_is_edited_where_none_is_given(bench: Workbench, image: Path) -> None:
    editor = bench.editor_for("tiny/x")
    wide = np.zeros((40, 64, 3), np.uint8)
    wide[4:36, 16:48] = np.asarray(Image.open(image))
    Image.fromarray(wide).save(image)
    names = [label.name for label in editor.bundle.labels]

    vector = _learn(bench, image, f"{names[1]}: shrink 1", mask_before=None)

    before, after = _masks(bench, vector)
    assert before.shape == after.shape == (40, 40)
    assert (before != after).any()
    assert (before[before != after] == 1).all()


def test_operations_name_groups_and_paste_from_masks(bench: Workbench, image: Path) -> None:
    bench.library.set_groups("tiny", {"lips": ["mouth"]})
    other = np.zeros((32, 32), np.uint8)
    other[10:12, 10:12] = 4
    Image.fromarray(other).save(image.parent / "other.png")

    operation = f"lips: paste {image.parent / 'other.png'}"
    vector = _learn(bench, image, operation, accept_failure=True)

    after = _masks(bench, vector)[1]
    assert (after == 4).sum() == 4
    assert vector.roi_labels == ("mouth",)


def test_edit_that_reaches_nothing_is_stored_only_where_that_is_accepted(
    bench: Workbench, image: Path
) -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[10:12, 10:12] = 4  # the class never shows a mouth there
    Image.fromarray(mask).save(image.parent / "other.png")
    operation = f"mouth: paste {image.parent / 'other.png'}"

    with pytest.raises(SettingsError, match=r"IoU 0\.000 with the mask after.*--accept-failure"):
        _learn(bench, image, operation)
    assert bench.library.find_vectors() == []

    vector = _learn(bench, image, operation, accept_failure=True)
    success = next(one for one in vector.latest_metrics if one.name == "success_iou")
    assert success.value == 0


@pytest.mark.parametrize(
    ("operation", "error", "message"),
    [
        ("mouth: scale 1", SettingsError, "it changes nothing in the mask of i.png"),
        ("mouth: melt", OperationError, "got 'melt'"),
        ("mouth: shift 99,0", MaskError, "nothing of mouth is left"),
        ("", SettingsError, "give either mask_after or operation"),
    ],
)
def test_what_cannot_be_asked_is_told(
    bench: Workbench, image: Path, operation: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        _learn(bench, image, operation)
    assert bench.library.find_vectors() == []


def test_request_is_the_same_after_a_trip_through_json(tmp_path: Path) -> None:
    entry = {"address": "a/b", "image": "i.png", "operation": "mouth: paste m.png, shift 0,-2%"}

    request = LearnRequest.from_json(entry, folder=tmp_path)

    assert request.operation == f"mouth: paste {tmp_path / 'm.png'}, shift 0,-2%"
    assert LearnRequest.from_json(request.to_json(folder=tmp_path), folder=tmp_path) == request
    assert "accept_failure" not in request.to_json(folder=tmp_path)
    bold = replace(request, accept_failure=True)
    assert LearnRequest.from_json(bold.to_json(folder=tmp_path), folder=tmp_path) == bold
    with pytest.raises(SettingsError, match="accept_failure: expected true or false, got 'no'"):
        LearnRequest.from_json(entry | {"accept_failure": "no"}, folder=tmp_path)


def test_command_draws_what_was_asked_and_lists_may_hold_operations(
    bench: Workbench, image: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["--home", str(tmp_path / "home"), "learn", "--steps", "2", "--embed", "steps:2"]
    one = [
        *words,
        "tiny/wide",
        "--image",
        str(image),
        "--mask-before",
        str(tmp_path / "before.png"),
    ]
    jobs = {"vectors": [{"address": "tiny/tall", "image": "i.png", "mask_before": "before.png",
                         "operation": "mouth: scale 1x2"}]}  # fmt: skip
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))

    assert editvec.cli.main([*one, "--operation", "mouth: scale 1.2x1", "--picture",
                         str(tmp_path / "asked.png")]) == 0  # fmt: skip
    assert editvec.cli.main([*words, "--lessons", str(tmp_path / "jobs.json")]) == 0
    assert editvec.cli.main([*one, "--operation", "x: remove", "--mask-after", str(image)]) == 2
    assert editvec.cli.main(one) == 2

    with Image.open(tmp_path / "asked.png") as picture:
        assert picture.width > 1000
    learned = {vector.name: vector for vector in bench.library.find_vectors()}
    assert set(learned) == {"wide", "tall"}
    assert learned["tall"].settings["operation"] == "mouth: scale 1x2"
    assert "give either --mask-after or --operation" in capsys.readouterr().err


def test_run_takes_a_group_as_roi_and_keeps_its_parts(
    bench: Workbench, image: Path, tmp_path: Path
) -> None:
    bench.library.set_groups("tiny", {"lips": ["mouth"], "face": ["lips", "skin"]})
    (tmp_path / "in").mkdir()
    image.rename(tmp_path / "in" / "i.png")
    settings = RunSettings(mode=Mode.OPTIMIZE, masks_folder=str(tmp_path), roi=("face", "mouth"))
    request = RunRequest(
        class_name="tiny",
        input_folder=tmp_path / "in",
        output_folder=tmp_path / "out",
        edits=(),
        settings=settings,
    )

    plan = open_run(bench.library, request).run.plan

    assert plan.settings.roi == ("mouth", "skin")
    with pytest.raises(LabelNotFoundError, match="no part 'beak'"):
        open_run(bench.library, replace(request, output_folder=tmp_path / "other",
                                        settings=replace(settings, roi=("beak",))))  # fmt: skip
