"""What metrics are called on a page, and which gate belongs to which."""

from typing import Any

import pytest

from editvec.batch.recipes.settings import Mode, RunSettings
from editvec.batch.reports.charts import Bound
from editvec.batch.reports.metrics import bound_of, in_order, metric_of


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("uncertainty", ("Label uncertainty in nats", "uncertainty", "less is better", False)),
        ("success_iou", ("Success: IoU with the wanted mask", "success", "more is better", False)),
        ("refined_steps", ("Steps of refinement", "refined steps", "", False)),
        ("leakage.psnr", ("Leakage: PSNR in dB", "leakage PSNR", "more is better", False)),
        ("leakage.lpips/vgg", ("Leakage: perceptual (vgg)", "leakage", "less is better", False)),
        (
            "reconstruction.perceptual/tiny",
            ("Reconstruction: perceptual (tiny)", "reconstruction", "less is better", True),
        ),
        ("reconstruction.psnr", ("Reconstruction: PSNR in dB", "reconstruction PSNR",
                                 "more is better", True)),
        ("leakage.other_one", ("Leakage other one", "leakage other one", "", False)),
        ("new", ("New", "new", "", False)),
    ],
)  # fmt: skip
def test_metrics_have_words(name: str, told: tuple[Any, ...]) -> None:
    assert tuple(metric_of(name)) == told


@pytest.mark.parametrize(
    ("name", "settings", "bound"),
    [
        ("leakage.lpips/vgg", {"max_leakage": 0.5}, Bound(0.5, True)),
        ("leakage.perceptual/x", {"max_leakage": 0}, Bound(0.0, True)),
        ("leakage.psnr", {"max_leakage": 0.5}, None),
        ("leakage.lpips/vgg", {"max_reconstruction": 0.5}, None),
        ("reconstruction.lpips/vgg", {"max_reconstruction": 0.2}, Bound(0.2, True)),
        ("reconstruction.psnr", {"max_reconstruction": 0.2}, None),
        ("uncertainty", {"max_uncertainty": 0.1}, Bound(0.1, True)),
        ("success_iou", {"min_success": 0.7}, Bound(0.7, False)),
        ("success_iou", {"min_success": None}, None),
        ("success_iou", {}, None),
        ("refined_steps", {"max_leakage": 1.0}, None),
    ],
)
def test_gates_belong_to_what_they_look_at(
    name: str, settings: dict[str, Any], bound: Bound | None
) -> None:
    masks = {"mode": Mode.OPTIMIZE} if "min_success" in settings else {}

    assert bound_of(name, RunSettings(**settings, **masks)) == bound


def test_metrics_have_an_order_and_come_once() -> None:
    names = ["other", "refined_steps", "reconstruction.psnr", "success_iou", "leakage.psnr",
             "uncertainty", "leakage.lpips", "leakage.psnr"]  # fmt: skip

    assert in_order(names) == [
        "leakage.psnr", "leakage.lpips", "success_iou", "uncertainty", "reconstruction.psnr",
        "other", "refined_steps",
    ]  # fmt: skip
