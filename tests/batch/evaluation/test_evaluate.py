"""Evaluating vectors of class `tiny`: what is stored, what is named as missing, against what."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from editvec.batch.errors import SettingsError
from editvec.batch.evaluation.evaluate import (
    Evaluation,
    evaluate_vector,
    evaluation_key,
    store_evaluation,
)
from editvec.batch.evaluation.sets import SetNetworks
from editvec.batch.evaluation.settings import EvaluateSettings
from editvec.engine.editor import Editor
from editvec.registry.entities.vectors import NewVector, VectorParcel
from editvec.registry.library.library import Library
from editvec.registry.masks.brushes import encode_brush
from tests.support.folder_runs import do, request, rows

MakePictures = Callable[..., Path]
Editvec = Callable[..., int]


@pytest.fixture
def editor(library: Library) -> Editor:
    return Editor.open(library.materialise_bundle(library.get_class("tiny")))


@pytest.fixture
def evaluate(library: Library, editor: Editor) -> Callable[..., Evaluation]:
    def run(address: str = "smile", **settings: Any) -> Evaluation:
        vector = library.get_vector(address, class_name="tiny")
        return evaluate_vector(library, editor, vector, EvaluateSettings(**settings))

    return run


def values(found: Evaluation) -> dict[str, float]:
    return {one.name: one.value for one in found.table.measures}


def reasons(found: Evaluation) -> dict[str, str]:
    return {one.name: one.reason for one in found.table.missing}


def test_the_command_stores_every_measure_with_its_count_and_interval(
    run_editvec: Editvec, library: Library, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--samples", 16, "--attribute", "smiling", "--device", "cpu", "--json")
    assert run_editvec("evaluate", "smile", *words) == 0

    said = json.loads(capsys.readouterr().out)
    stored = {one.name: one for one in library.get_vector("smile").latest_metrics}
    assert {one["name"] for one in said["measures"]} == set(stored)
    leaked = stored["leakage_perceptual"]
    assert (leaked.backbone, leaked.sample_count) == ("perceptual/tiny", 16)
    assert leaked.probe_set == "samples, seed 0"
    low, high = leaked.settings["interval"]
    assert low <= leaked.value <= high
    assert leaked.settings["scale"] == 1.0
    assert stored["fid_trunk-tiny"].settings["statistic"] == "set"
    assert len(said["items"]["vector"]) == 16


def test_the_table_names_what_is_missing_and_how_to_get_it(
    run_editvec: Editvec, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_editvec("evaluate", "smile", "--samples", 2, "--device", "cpu") == 0

    shown = capsys.readouterr().out
    assert "success_iou: nobody said" in shown
    assert "--operation" in shown
    assert "success_attribute: nobody said" in shown
    assert "smiling, eyes_open" in shown
    assert "2 images, at least 16 are needed" in shown
    assert "reconstruction: sampled images" in shown
    assert "leakage_psnr" in shown


@pytest.mark.parametrize("command", ["evaluate smile", "disentangle smile frown"])
def test_a_page_that_cannot_be_written_is_refused_before_the_work(
    command: str, run_editvec: Callable[..., int], library: Library, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    page = tmp_path / "none" / "page.html"
    known = library.get_vector("smile").metrics

    words = (*command.split(), "--samples", 2, "--device", "cpu", "--html", page)
    assert run_editvec(*words) == 2

    assert f"the folder {page.parent} does not exist" in capsys.readouterr().err
    assert library.get_vector("smile").metrics == known


def test_gates_of_a_run_and_an_evaluation_measure_the_same(
    library: Library, evaluate: Callable[..., Evaluation], make_pictures: MakePictures,
    tmp_path: Path,
) -> None:  # fmt: skip
    source = make_pictures(6)
    found = evaluate(probe=source, modes=("vector", "refine:2"))
    ours = dict(zip(found.measured.names, found.measured.modes[0].rows, strict=True))
    distances = [row["leakage"]["perceptual/tiny"] for row in ours.values()]
    limit = float(np.median(distances))

    gates = {"max_leakage": limit, "max_uncertainty": 1e9}
    do(library, request(source, tmp_path / "out", "smile=1", **gates), device="cpu")

    kept = rows(tmp_path / "out")
    rejected = rows(tmp_path / "out", "rejected.jsonl")
    assert len(kept) + len(rejected) == 6
    assert kept
    assert rejected
    for row in [*kept, *rejected]:
        mine = ours[row["source"]]
        for name in ("leakage", "uncertainty", "reconstruction"):
            assert row["metrics"][name] == mine[name]
        assert (row in rejected) == (mine["leakage"]["perceptual/tiny"] > limit)


def test_success_of_a_mask_is_measured_against_an_operation_on_the_images_own(
    evaluate: Callable[..., Evaluation],
) -> None:
    edited = evaluate(samples=8, operation="mouth: grow 1")
    nothing = evaluate(samples=8, operation="mouth: grow 1", scale=0.0)

    # a vector at scale 0 reaches what the unedited images reach, and that is not everything
    assert values(nothing)["success_iou"] == values(nothing)["success_iou_unedited"] < 1
    assert values(edited)["success_iou"] != values(edited)["success_iou_unedited"]
    assert edited.measured.target == "operation mouth: grow 1"


def test_only_images_that_lack_the_attribute_count_as_success(
    evaluate: Callable[..., Evaluation],
) -> None:
    found = [evaluate(samples=8, attribute=name) for name in ("smiling", "not smiling")]

    lacking = [
        sum(row["attribute_unedited"] <= 0 for row in one.measured.modes[0].rows) for one in found
    ]
    assert sum(lacking) == 8
    for count, one in zip(lacking, found, strict=True):
        counts = {each.name: each.count for each in one.table.measures}
        assert counts.get("success_attribute", 0) == count
        assert ("success_attribute" in reasons(one)) == (count == 0)


def test_modes_are_measured_side_by_side(evaluate: Callable[..., Evaluation]) -> None:
    found = values(
        evaluate(
            samples=4, modes=("vector", "refine:3", "optimize:2"), operation="mouth: grow 1"
        )
    )  # fmt: skip

    for name in ("leakage_psnr", "success_iou", "identity_similarity", "seconds_per_image"):
        assert {name, f"{name}.refine-3", f"{name}.optimize-2"} <= found.keys()
    assert found["leakage_psnr.refine-3"] != found["leakage_psnr"]


def test_what_a_painted_vector_leaks_is_measured_and_its_success_is_missing(
    library: Library, evaluate: Callable[..., Evaluation]
) -> None:
    painted = np.zeros((32, 32), bool)
    painted[8:20, 8:20] = True
    new = NewVector(class_name="tiny", name="dot", roi_labels=(), roi_policy="brush")
    delta = library.delta(library.get_vector("smile"))
    library.add_vectors([VectorParcel(new=new, delta=delta, brush_png=encode_brush(painted))])

    found = evaluate("dot", samples=2, operation="mouth: grow 1")

    assert "leakage_psnr" in values(found)
    assert "no part labels" in reasons(found)["success_iou"]


def test_a_picture_that_cannot_be_read_is_named_and_the_others_are_measured(
    library: Library, editor: Editor, evaluate: Callable[..., Evaluation],
    make_pictures: MakePictures,
) -> None:  # fmt: skip
    source = make_pictures(3)
    (source / "torn.png").write_bytes((source / "0.png").read_bytes()[:60])

    found = evaluate(probe=source)
    stored = store_evaluation(library, editor, found)

    assert list(found.measured.skipped) == ["torn.png"]
    newest = {one.name: one for one in stored.vector.latest_metrics}
    assert newest["reconstruction_psnr"].sample_count == 3
    assert newest["reconstruction_psnr"].probe_set == "folder in, encoder"


def test_wanted_masks_of_a_folder_are_the_target(
    evaluate: Callable[..., Evaluation], make_pictures: MakePictures, tmp_path: Path
) -> None:
    source, masks = make_pictures(4), tmp_path / "wanted"
    masks.mkdir()
    mine = evaluate(probe=source).measured.modes[0].pictures
    for place in range(3):  # of the last picture there is none
        mask_after = mine[place].mask_after
        assert mask_after is not None
        Image.fromarray(mask_after.astype(np.uint8)).save(masks / f"{place}.png")

    found = evaluate(probe=source, masks=masks, modes=("vector", "optimize:2"))

    assert found.measured.target == "the masks of wanted"
    # what the edit itself makes of the masks is reached by the edit, and by nothing else
    assert values(found)["success_iou"] == 1 > values(found)["success_iou_unedited"]
    assert 0 < values(found)["success_iou.optimize-2"] < 1
    assert "no mask: expected 3.png" in found.measured.skipped["3.png"]


def test_the_command_takes_masks_and_a_reference(
    run_editvec: Editvec,
    make_pictures: MakePictures,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, other, masks = make_pictures(1), make_pictures(2, folder="other"), tmp_path / "wanted"
    masks.mkdir()
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(masks / "0.png")

    folders = ("--probe", source, "--masks", masks, "--reference", other)
    assert run_editvec("evaluate", "smile", *folders, "--device", "cpu", "--json") == 0

    said = json.loads(capsys.readouterr().out)
    assert said["settings"]["reference"] == str(other)
    assert said["settings"]["masks"] == str(masks)
    assert "success_iou" in said["items"]["vector"]["0.png"]


def test_fid_and_kid_compare_with_the_reference_that_is_given(
    evaluate: Callable[..., Evaluation], make_pictures: MakePictures
) -> None:
    source, other = make_pictures(16), make_pictures(24, folder="other")

    with_itself = evaluate(probe=source)
    named = evaluate(probe=source, reference=source)
    with_other = evaluate(probe=source, reference=other)

    by_name = {one.name: one for one in with_other.table.measures}
    assert by_name["fid_trunk-tiny"].against == "the images of other, n=24"
    assert values(named)["fid_trunk-tiny"] == values(with_itself)["fid_trunk-tiny"]
    assert values(with_other)["fid_trunk-tiny"] != values(with_itself)["fid_trunk-tiny"]


def test_several_evaluations_may_share_what_they_compare_with(
    library: Library, editor: Editor, make_pictures: MakePictures
) -> None:
    vector = library.get_vector("smile", class_name="tiny")
    settings = EvaluateSettings(samples=16, reference=make_pictures(16))
    sets = SetNetworks(editor, settings)
    reference = sets.reference("trunk/tiny")

    found = evaluate_vector(library, editor, vector, settings, sets=sets)

    assert found.measured.sets.reference("trunk/tiny") is reference
    assert values(found) == {
        **values(evaluate_vector(library, editor, vector, settings)),
        "seconds_per_image": values(found)["seconds_per_image"],
    }


def test_what_makes_steps_is_timed_on_one_mini_batch(evaluate: Callable[..., Evaluation]) -> None:
    found = evaluate(samples=20, modes=("vector", "refine:1"))

    counts = {one.name: one.count for one in found.table.measures}
    assert counts["seconds_per_image"] == 20
    assert counts["seconds_per_image.refine-1"] == 16


def test_other_files_of_masks_or_reference_make_another_evaluation(
    library: Library, editor: Editor, make_pictures: MakePictures
) -> None:
    vector = library.get_vector("smile", class_name="tiny")
    folders = {"probe": make_pictures(1), "reference": make_pictures(1, folder="other")}
    settings = EvaluateSettings(**folders, masks=make_pictures(1, folder="masks"))
    keys = [evaluation_key(editor, vector, settings)]

    for folder in ("other", "masks"):
        make_pictures(2, folder=folder)
        keys.append(evaluation_key(editor, vector, settings))

    assert len(set(keys)) == 3
    assert EvaluateSettings.from_json(settings.absolute().to_json()) == settings.absolute()


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"modes": ("optimize:3",)}, "optimize needs a wanted mask"),
        ({"modes": ("vector", "vector")}, "each once"),
        ({"modes": ("fast",)}, "expected vector, refine"),
        ({"attribute": "sad"}, "expected one of smiling, eyes_open"),
        ({"renders": 4}, "the renderer draws avatars"),
        ({"masks": Path("masks")}, "only pictures of a folder have them"),
        (
            {"probe": Path("in"), "masks": Path("masks"), "operation": "mouth: grow 1"},
            "masks, operation: expected one of them",
        ),
    ],
)
def test_what_cannot_be_done_is_refused(
    settings: dict[str, Any], complaint: str, evaluate: Callable[..., Evaluation]
) -> None:
    with pytest.raises(SettingsError, match=complaint):
        evaluate(**settings)


def test_the_weights_that_are_asked_for_are_those_of_torch_fidelity() -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    from editvec.batch.evaluation.sets import INCEPTION_URL

    assert INCEPTION_URL == URL_INCEPTION_V3


def test_ignored_pixels_of_wanted_masks_are_left_out_of_the_success(
    evaluate: Callable[..., Evaluation], make_pictures: MakePictures, tmp_path: Path
) -> None:
    """Half of each mask is wrong, and ignored: the rest is what the edit makes, and reached."""
    source, masks = make_pictures(3), tmp_path / "wanted"
    masks.mkdir()
    for place, shown in enumerate(evaluate(probe=source).measured.modes[0].pictures):
        assert shown.mask_after is not None
        wanted = shown.mask_after.astype(np.uint8)
        wanted[:, ::2] = 255
        Image.fromarray(wanted).save(masks / f"{place}.png")

    found = evaluate(probe=source, masks=masks)

    assert values(found)["success_iou"] == 1 > values(found)["success_iou_unedited"]
