"""Pixels of a wanted mask that count nowhere: no loss, no region, no silence about it."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from editvec.engine.editing.editing import EditSettings, learn, optimize
from editvec.engine.editing.losses import LossWeights, Networks, Objective
from editvec.engine.errors import EngineMaskError
from editvec.engine.shapes import IGNORED
from tests.support.edited_masks import ROI_LABELS, edited_masks


def test_ignored_pixels_have_no_cross_entropy(networks: Networks, ws: Tensor) -> None:
    _, wanted = edited_masks(networks, ws)
    roi = torch.zeros_like(wanted[:, None], dtype=torch.bool)
    roi[..., 4:20, 4:20] = True
    holey = wanted.clone()
    holey[:, ::2] = IGNORED
    weights = LossWeights(cross_entropy_weight=1.0, mse_weight=1.0)
    with torch.no_grad():
        images, features = networks.synthesis.with_features(ws)
        assert networks.segmentation is not None
        losses = F.cross_entropy(networks.segmentation(features), wanted, reduction="none")

    objective = Objective(networks, weights, images=images, roi=roi, target_mask=holey)

    counted = roi[:, 0] & (holey != IGNORED)
    expected = [float(row[mask].mean()) for row, mask in zip(losses, counted, strict=True)]
    for found in (objective(ws), objective.select(torch.tensor([0]))(ws[:1])):
        assert found.cross_entropy.tolist() == pytest.approx(expected[: len(found.mse)], rel=1e-4)
    assert torch.equal(objective.keep, (~roi).to(images.dtype))


def test_roi_never_grows_from_ignored_pixels(networks: Networks, ws: Tensor) -> None:
    before, wanted = edited_masks(networks, ws)
    untouched = torch.zeros_like(wanted)
    holey = torch.full_like(wanted, IGNORED)
    holey[:, 0] = 0
    settings = EditSettings(2, dilation=0)

    result = optimize(
        networks, ws, holey, mask_before=untouched, roi_labels=ROI_LABELS, settings=settings
    )
    seen = optimize(
        networks, ws, holey, mask_before=before, roi_labels=ROI_LABELS, settings=settings
    )

    assert not result.roi.any()
    assert torch.equal(result.deltas, torch.zeros_like(ws))
    assert torch.equal(seen.roi[:, 0], before == ROI_LABELS[0])


def test_region_that_is_all_ignored_says_nothing(networks: Networks, ws: Tensor) -> None:
    before, _ = edited_masks(networks, ws)
    holey = torch.where(before == ROI_LABELS[0], IGNORED, before)
    settings = EditSettings(2, dilation=0)

    with pytest.raises(EngineMaskError, match="every pixel of the region of roi_labels"):
        learn(networks, ws, holey, mask_before=before, roi_labels=ROI_LABELS, settings=settings)
    kept = optimize(
        networks, ws, holey, mask_before=before, roi_labels=ROI_LABELS, settings=settings
    )
    assert torch.equal(kept.deltas, torch.zeros_like(ws))
