"""Metrics against plain loops over pixels and labels."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from editvec.engine.errors import EngineSettingsError, ShapeError
from editvec.engine.metrics.edits import (
    image_label_ious,
    label_ious,
    label_table,
    leakage,
    leakage_psnr,
    masked_psnr,
    mean_iou,
    psnr,
    success,
)
from editvec.engine.networks.config import PerceptualConfig
from editvec.engine.networks.perceptual import build_perceptual
from editvec.engine.shapes import IGNORED


def _reference_psnr(image: Tensor, reference: Tensor, region: Tensor) -> float:
    errors = []
    for y, x in region.nonzero().tolist():
        for channel in range(3):
            difference = float(image[channel, y, x]) - float(reference[channel, y, x])
            errors.append((difference / 2) ** 2)
    return 10 * math.log10(1 / np.mean(errors))


def _reference_ious(mask: Tensor, target: Tensor, num_labels: int) -> list[float]:
    ious = []
    for label in range(num_labels):
        found, wanted = mask.numpy() == label, target.numpy() == label
        either = np.logical_or(found, wanted).sum()
        ious.append(np.logical_and(found, wanted).sum() / either if either else math.nan)
    return ious


def random_images(seed: int) -> Tensor:
    return torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def random_mask(seed: int, *, high: int = 4) -> Tensor:
    return torch.randint(high, (3, 8, 8), generator=torch.Generator().manual_seed(seed))


def random_roi(seed: int) -> Tensor:
    return torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(seed)) < 0.4


def test_psnr_equals_the_reference() -> None:
    images, reference, region = random_images(0), random_images(1), random_roi(2)

    whole, inside = psnr(images, reference), masked_psnr(images, reference, region)

    for n in range(3):
        everything = torch.ones(8, 8, dtype=torch.bool)
        expected = _reference_psnr(images[n], reference[n], everything)
        assert float(whole[n]) == pytest.approx(expected, rel=1e-5)
        expected = _reference_psnr(images[n], reference[n], region[n, 0])
        assert float(inside[n]) == pytest.approx(expected, rel=1e-5)


def test_psnr_of_equal_images_is_infinite_and_of_nothing_is_no_number() -> None:
    images, region = random_images(0), random_roi(1)
    region[1] = False

    values = masked_psnr(images, images, region).tolist()

    assert values[0] == values[2] == math.inf
    assert math.isnan(values[1])


def test_leakage_ignores_what_happens_inside_the_roi() -> None:
    reconstructed, roi = random_images(0), random_roi(1)
    images = reconstructed + 0.1
    images = torch.where(roi, torch.full_like(images, torch.nan), images)

    assert leakage_psnr(images, reconstructed, roi).tolist() == pytest.approx([26.0206] * 3)


def test_leakage_names_its_perceptual_network() -> None:
    torch.manual_seed(0)
    network = build_perceptual(PerceptualConfig("tiny", channels=(4, 6))).eval()
    generator = torch.Generator().manual_seed(3)
    reconstructed = torch.rand(2, 3, 32, 32, generator=generator) * 2 - 1
    roi = torch.zeros(2, 1, 32, 32, dtype=torch.bool)
    roi[..., 8:24] = True
    images = torch.where(roi, -reconstructed, reconstructed)
    images[1, :, :, 0] = 1.0

    result = leakage(images, reconstructed, roi, perceptual=network)

    assert result.perceptual_name == network.name
    assert result.perceptual is not None
    assert float(result.perceptual[0]) == pytest.approx(0, abs=1e-7)
    assert float(result.perceptual[1]) > 1e-5
    assert leakage(images, reconstructed, roi).perceptual is None


def test_ious_equal_the_reference() -> None:
    mask, target = random_mask(0), random_mask(1)

    ious = label_ious(mask, target, num_labels=4)

    assert ious.tolist() == pytest.approx(_reference_ious(mask, target, 4))
    assert mean_iou(mask, target, num_labels=4) == pytest.approx(
        np.mean(_reference_ious(mask, target, 4))
    )


def test_ious_of_each_image_are_those_of_the_image_alone() -> None:
    mask, target = random_mask(0), random_mask(1)
    mask[0][mask[0] == 3] = 0
    target[0][target[0] == 3] = 0

    ious = image_label_ious(mask, target, num_labels=4)

    assert math.isnan(ious[0, 3])
    for image, row in enumerate(ious):
        alone = label_ious(mask[image : image + 1], target[image : image + 1], num_labels=4)
        torch.testing.assert_close(row, alone, equal_nan=True)


def test_pixels_are_pooled_over_the_set() -> None:
    """Not the mean of 1 and 0, which images of different content would give."""
    mask = torch.tensor([[[1, 1, 1]], [[0, 0, 0]]])
    target = torch.tensor([[[1, 1, 1]], [[0, 0, 1]]])

    assert label_ious(mask, target, num_labels=2).tolist() == pytest.approx([2 / 3, 3 / 4])


def test_absent_labels_earn_no_credit_and_false_ones_cost() -> None:
    mask = torch.tensor([[[0, 0, 2, 2]]])
    target = torch.tensor([[[0, 0, 0, 0]]])

    ious = label_ious(mask, target, num_labels=4).tolist()

    assert ious[0] == 0.5
    assert ious[2] == 0.0
    assert math.isnan(ious[1])
    assert math.isnan(ious[3])
    assert mean_iou(mask, target, num_labels=4) == 0.25


def test_table_has_a_row_for_every_label() -> None:
    mask = torch.tensor([[[0, 0, 2, 2]]])
    target = torch.tensor([[[0, 0, 0, 2]]])

    table = label_table(mask, target, names=["skin", "hair", "mouth"])

    assert [row.name for row in table] == ["skin", "hair", "mouth"]
    assert [row.iou for row in table] == [pytest.approx(2 / 3), None, 0.5]
    assert [row.target_pixels for row in table] == [3, 0, 1]
    assert [row.mask_pixels for row in table] == [2, 0, 2]


def test_success_looks_inside_the_roi_only() -> None:
    target = torch.tensor([[[0, 3, 3, 0], [0, 0, 0, 3]]])
    mask = torch.tensor([[[0, 3, 0, 0], [3, 0, 0, 0]]])
    roi = torch.zeros(1, 1, 2, 4, dtype=torch.bool)
    roi[0, 0, 0] = True

    assert success(mask, target, roi, roi_labels=[3]).tolist() == [0.5]


def test_success_is_the_mean_over_edited_parts_that_occur() -> None:
    target = torch.tensor([[[3, 3, 4, 0]], [[0, 0, 0, 0]]])
    mask = torch.tensor([[[3, 0, 4, 5]], [[0, 0, 0, 0]]])
    roi = torch.ones(2, 1, 1, 4, dtype=torch.bool)

    values = success(mask, target, roi, roi_labels=[3, 4, 5, 6, 3]).tolist()

    assert values[0] == pytest.approx((0.5 + 1 + 0) / 3)
    assert math.isnan(values[1])


def test_wrong_arguments_are_refused_by_name() -> None:
    images, mask, roi = random_images(0), random_mask(0), random_roi(0)

    with pytest.raises(ShapeError, match="reference: expected"):
        psnr(images, images[:1])
    with pytest.raises(ShapeError, match="region: expected bool"):
        masked_psnr(images, images, roi.float())
    with pytest.raises(ShapeError, match="target: expected"):
        label_ious(mask, mask[:1], num_labels=4)
    with pytest.raises(ShapeError, match="mask: expected labels 0 to 2, got 0 to 3"):
        label_ious(mask, mask, num_labels=3)
    with pytest.raises(ShapeError, match="mask: expected integers"):
        label_ious(mask.float(), mask, num_labels=4)
    with pytest.raises(EngineSettingsError, match="roi_labels: expected at least one"):
        success(mask, mask, roi, roi_labels=[])


def test_ignored_pixels_count_for_nothing() -> None:
    mask, target, roi = random_mask(0), random_mask(1), random_roi(2)
    ignored = random_roi(3)[:, 0]
    holey = target.masked_fill(ignored, IGNORED)
    rows = [(~ignored)[place] for place in range(3)]

    pooled = _reference_ious(mask[~ignored], target[~ignored], 4)
    assert label_ious(mask, holey, num_labels=4).tolist() == pytest.approx(pooled)
    assert mean_iou(mask, holey, num_labels=4) == pytest.approx(np.mean(pooled))
    table = label_table(mask, holey, names=list("abcd"))
    assert sum(score.target_pixels for score in table) == int((~ignored).sum())
    assert sum(score.mask_pixels for score in table) == int((~ignored).sum())
    each = [_reference_ious(mask[n][rows[n]], target[n][rows[n]], 4) for n in range(3)]
    found = image_label_ious(mask, holey, num_labels=4)
    assert np.allclose(found.numpy(), np.array(each), equal_nan=True)
    inside = [rows[n] & roi[n, 0] for n in range(3)]
    reached = [
        np.nanmean(_reference_ious(mask[n][inside[n]], target[n][inside[n]], 4)[1:3])
        for n in range(3)
    ]
    assert success(mask, holey, roi, roi_labels=[1, 2]).tolist() == pytest.approx(reached)
    with pytest.raises(ShapeError, match="mask: expected labels 0 to 3, got -1"):
        label_ious(holey, target, num_labels=4)
