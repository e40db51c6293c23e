"""The benchmark of training with edited images: its sets, its measures, and a small run of it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from editvec.avatars.drawing.render import LABELS
from studies.augmentation.__main__ import ARMS, main
from studies.augmentation.report import Comparison, estimate, paired, write_grid, write_report
from studies.augmentation.sets import (
    Examples,
    further_positives,
    held_out_set,
    own_masks_outside,
    rare_set,
)
from studies.augmentation.training import (
    Way,
    classifier_scores,
    jittered,
    scores_of_logits,
    scores_of_masks,
)


def _examples(masks: list[list[list[int]]], positive: list[bool]) -> Examples:
    mask = np.array(masks, np.uint8)
    return Examples(np.zeros((*mask.shape, 3), np.uint8), mask, np.array(positive))


def test_exactly_a_twentieth_of_a_rare_set_shows_the_attribute() -> None:
    for attribute in ("smiling", "eyes_closed"):
        rare = rare_set(attribute, seed=1, count=40, share=0.05)

        assert rare.positive.sum() == 2
        assert rare.pixels.shape == (40, 64, 64, 3)
    eyes = np.isin(rare.mask, LABELS.index("iris")).sum(axis=(1, 2))
    assert eyes[rare.positive].max() < eyes[~rare.positive].mean()


def test_sets_are_the_same_for_a_seed_and_share_no_picture() -> None:
    rare = rare_set("smiling", seed=0, count=40, share=0.5)
    again = rare_set("smiling", seed=0, count=40, share=0.5)
    others = [
        rare_set("smiling", seed=1, count=40, share=0.5),
        further_positives("smiling", seed=0, count=20),
        held_out_set("smiling", count=40),
    ]

    assert (rare.pixels == again.pixels).all()
    assert [int(one.positive.sum()) for one in others] == [20, 20, 20]
    pictures = [picture.tobytes() for one in (rare, *others) for picture in one.pixels]
    assert len(set(pictures)) == 140


def test_an_interval_is_that_of_student() -> None:
    found = estimate([0.7, 0.8, 0.9, 0.8, 0.8])

    # deviation 0.0707, over the root of 5 seeds 0.03162; the quantile of 4 degrees is 2.776
    assert found.mean == pytest.approx(0.8)
    assert (found.low, found.high) == pytest.approx((0.8 - 0.08780, 0.8 + 0.08780), abs=1e-4)
    assert estimate([0.5]) == (0.5, None, None)


def test_arms_are_compared_on_the_seeds_that_both_have() -> None:
    arm = {0: {"scores": {"auc": 0.9}}, 2: {"scores": {"auc": 0.8}}}
    baseline = {0: {"scores": {"auc": 0.4}}, 1: {"scores": {"auc": 0.1}}}

    assert paired(arm, baseline, "auc") == (0.5, None, None)
    assert paired(arm, {1: baseline[1]}, "auc") is None


def test_a_classifier_is_measured_at_its_threshold_and_without_one() -> None:
    logits = torch.tensor([2.0, -1.0, -2.0, -3.0])
    positive = torch.tensor([True, True, False, False])

    found = scores_of_logits(logits, positive)

    assert found == {"recall": 0.5, "specificity": 1.0, "balanced_accuracy": 0.75, "auc": 1.0}


def test_parts_that_are_nowhere_earn_nothing() -> None:
    mouth, teeth = LABELS.index("mouth"), LABELS.index("teeth")
    held_out = _examples([[[mouth, mouth, 0, 0]], [[0, 0, 0, 0]]], [True, False])
    found = torch.tensor([[[mouth, 0, 0, 0]], [[0, 0, 0, teeth]]])

    scores = scores_of_masks(found, held_out, parts=("mouth", "teeth"))

    assert scores["parts_iou"] == 0.5  # of the mouth: there are no teeth among the positives
    assert scores["parts_iou_negative"] == 0
    assert scores["miou"] == pytest.approx((5 / 7 + 1 / 2 + 0) / 3)


def test_flips_take_the_mask_along_and_keep_pixels_in_range() -> None:
    images = torch.rand(64, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    images[:, :, :, 0] = 1
    masks = torch.zeros(64, 4, 4, dtype=torch.long)
    masks[:, :, 0] = 3

    shown, flipped = jittered(images, masks, torch.Generator().manual_seed(1))

    is_flipped = flipped[:, 0, 3] == 3
    assert 10 < is_flipped.sum() < 54
    brightest = shown.mean(dim=(1, 2)).argmax(dim=1)
    assert (brightest[is_flipped] == 3).all()
    assert (brightest[~is_flipped] == 0).all()
    assert shown.abs().max() <= 1
    assert not torch.equal(shown[~is_flipped], images[~is_flipped])


def test_a_training_is_repeated_exactly_and_learns_what_it_is_shown() -> None:
    train = rare_set("smiling", seed=0, count=32, share=0.5)
    way = Way(jitter=True, evenly=True, seed=3)

    first = classifier_scores(train, train, way, steps=12)

    assert classifier_scores(train, train, way, steps=12) == first
    assert classifier_scores(train, train, way._replace(seed=4), steps=12) != first
    assert first["auc"] > 0.8


def test_own_masks_stay_where_the_pixels_did(tmp_path: Path) -> None:
    rare = _examples([[[5, 5]], [[1, 1]], [[2, 2]]], [True, False, False])
    made = _examples([[[7, 7]]], [True])
    made.pixels[0, 0, 1] = 9
    row = {"source": "00001.png", "file_name": "images/a/00001.png"}
    (tmp_path / "metadata.jsonl").write_text(json.dumps(row))

    assert own_masks_outside(made, rare, tmp_path).mask.tolist() == [[[2, 7]]]


def test_the_report_has_every_arm_with_its_difference(tmp_path: Path) -> None:
    names = ("balanced_accuracy", "recall", "specificity", "auc")
    names += ("miou", "parts_iou", "parts_iou_negative")

    def found(value: float) -> dict[str, object]:
        return {"images": 4, "positives": 1, "settings": {}, "scores": dict.fromkeys(names, value)}

    arms = {"rare": {0: found(0.5), 1: found(0.6)}, "edited": {0: found(0.7), 1: found(0.9)}}
    titles = {"rare": "as it is", "edited": "edited", "oracle": "never run"}
    comparisons = [Comparison("arms", titles, "rare"), Comparison("others", {"rare": ""}, "rare")]

    write_report(tmp_path, {"smiling": arms}, comparisons)
    write_grid(tmp_path / "grid.png", {"edited": rare_set("smiling", seed=0, count=4, share=0.5)})

    summary = json.loads((tmp_path / "results.json").read_text())
    assert summary["smiling"]["arms"]["edited"]["difference"]["auc"][0] == pytest.approx(0.25)
    report = (tmp_path / "results.md").read_text()
    assert report.count("##") == 1
    assert "| as it is | 4 | 2 | 0.550 (" in report
    assert "| edited | 0.250 (" in report
    for name, size in (("grid.png", (12 * 64, 18 + 2 * 64)), ("results.png", (1100, 340))):
        with Image.open(tmp_path / name) as picture:
            assert picture.size == size


def test_an_unknown_arm_is_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, [str(tmp_path), "--arm", "magic"])

    assert done.exit_code == 2
    assert "magic" in done.output


@pytest.mark.slow
def test_quick_measures_every_arm_and_repeats_nothing(tmp_path: Path) -> None:
    words = [str(tmp_path), "--quick", "--seeds", "1", "--only", "smiling"]

    first = CliRunner().invoke(main, words, catch_exceptions=False)

    summary = json.loads((tmp_path / "results.json").read_text())["smiling"]["arms"]
    assert list(summary) == [arm.name for arm in ARMS]
    images = {name: of_arm["images"][0] for name, of_arm in summary.items()}
    assert images["edited"] == images["samples"] == images["oracle"] > 60
    assert summary["rare"]["positives"] == [2]
    assert (
        summary["edited"]["images"] == summary["samples"]["images"] == summary["oracle"]["images"]
    )
    assert summary["edited"]["positives"] == summary["oracle"]["positives"]
    masks = tmp_path / "sets/smiling/0/edited/masks"
    assert len(list(masks.rglob("*.png"))) >= images["edited"] - 40
    for name in ("results.png", "training-smiling.png"):
        assert (tmp_path / name).stat().st_size > 1000

    kept = tmp_path / "results/smiling/oracle/0.json"
    (tmp_path / "results/smiling/edited/0.json").unlink()
    before = kept.stat().st_mtime_ns
    again = CliRunner().invoke(main, words, catch_exceptions=False)

    assert kept.stat().st_mtime_ns == before
    assert again.stdout == first.stdout  # the arm that was done anew found the same
