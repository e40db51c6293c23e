from typing import Any

import numpy as np
import pytest

from editvec.batch.editing.gate import rejection
from editvec.batch.recipes.settings import Mode, RunSettings


def test_pictures_without_content_are_rejected_with_their_reason() -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (4, 3, 8, 8)).astype(np.float32)
    images[1] = 0.25
    images[2, 0, 3, 3] = np.nan
    images[3, 1, 0, 0] = np.inf

    reasons = rejection(images, [{}] * 4, RunSettings())

    assert reasons[0] is None
    assert reasons[1] == "the picture is of one colour"
    assert reasons[2] == reasons[3] == "the picture has values that are no numbers"


OPTIMIZED = {"min_success": 0.5, "mode": Mode.OPTIMIZE, "masks_folder": "masks"}


@pytest.mark.parametrize(
    ("bound", "row", "is_kept"),
    [
        ({"max_leakage": 0.25}, {"leakage": {"psnr": 1.0, "perceptual/tiny": 0.25}}, True),
        ({"max_leakage": 0.25}, {"leakage": {"psnr": 1.0, "perceptual/tiny": 0.250001}}, False),
        ({"max_leakage": 0.25}, {"leakage": {"lpips/vgg": 0.3}}, False),
        ({"max_leakage": 0.25}, {"leakage": {"psnr": 1.0}}, True),
        ({"max_leakage": 0.25}, {}, True),
        ({"max_leakage": 0.25}, {"reconstruction": {"lpips/vgg": 0.9}}, True),
        ({"max_reconstruction": 0.0}, {"reconstruction": {"lpips/vgg": 0.0}}, True),
        ({"max_reconstruction": 0.0}, {"reconstruction": {"lpips/vgg": 1e-6}}, False),
        ({"max_uncertainty": 0.1}, {"uncertainty": 0.1}, True),
        ({"max_uncertainty": 0.1}, {"uncertainty": 0.100001}, False),
        ({"max_uncertainty": 0.1}, {"uncertainty": None}, True),
        (OPTIMIZED, {"success_iou": 0.5}, True),
        (OPTIMIZED, {"success_iou": 0.499999}, False),
        (OPTIMIZED, {"success_iou": None}, True),
    ],
)
def test_what_is_at_its_bound_is_kept(
    bound: dict[str, Any], row: dict[str, Any], is_kept: bool
) -> None:
    image = np.random.default_rng(0).uniform(-1, 1, (1, 3, 8, 8)).astype(np.float32)

    [reason] = rejection(image, [row], RunSettings(**bound))

    assert (reason is None) == is_kept


def test_a_picture_of_two_levels_of_a_file_is_not_of_one_colour() -> None:
    level = np.float32(2 / 255)
    images = np.full((2, 3, 8, 8), -0.5, np.float32)
    images[0, :, 4:] += level * 1.01
    images[1, :, 4:] += level * 0.99

    assert rejection(images, [{}] * 2, RunSettings()) == [None, "the picture is of one colour"]
