"""Regions of interest against a pixel-by-pixel reference."""

import pytest
import torch
from torch import Tensor

from editvec.engine.errors import EngineSettingsError, ShapeError
from editvec.engine.images.roi import default_dilation, dilate, erode, roi_from_masks


def _reference_dilate(region: Tensor, dilation: int) -> Tensor:
    """A pixel is in when any pixel within the Chebyshev distance is."""
    grown = torch.zeros_like(region)
    for n, _, y, x in region.nonzero().tolist():
        rows = slice(max(0, y - dilation), y + dilation + 1)
        columns = slice(max(0, x - dilation), x + dilation + 1)
        grown[n, 0, rows, columns] = True
    return grown


def random_region(*, share: float = 0.05) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(3, 1, 17, 23, generator=generator) < share


@pytest.mark.parametrize("dilation", [0, 1, 2, 5, 30])
def test_dilation_grows_by_chebyshev_distance(dilation: int) -> None:
    region = random_region()

    assert torch.equal(dilate(region, dilation), _reference_dilate(region, dilation))


def test_dilation_leaves_its_argument_alone() -> None:
    region = random_region()
    before = region.clone()

    dilate(region, 0)[:] = True

    assert torch.equal(region, before)


def test_one_dilation_equals_several_of_one_pixel() -> None:
    region = random_region()

    assert torch.equal(dilate(dilate(dilate(region, 1), 1), 1), dilate(region, 3))


def test_erosion_does_not_start_at_the_border_of_the_image() -> None:
    whole = torch.ones(1, 1, 6, 6, dtype=torch.bool)
    half = whole.clone()
    half[..., 3:] = False

    assert erode(whole, 2).all()
    assert erode(half, 1)[0, 0].sum(dim=0).tolist() == [6, 6, 0, 0, 0, 0]


def test_default_dilation_follows_the_resolution() -> None:
    sizes = (16, 64, 128, 256, 512, 1024)

    assert [default_dilation(size) for size in sizes] == [1, 1, 1, 2, 3, 6]


def test_roi_holds_labels_of_both_masks() -> None:
    before = torch.zeros(2, 9, 9, dtype=torch.long)
    after = torch.zeros(2, 9, 9, dtype=torch.long)
    before[0, 1, 1] = 3
    after[0, 7, 7] = 5
    after[1, 4, 4] = 2  # of no interest

    roi = roi_from_masks(before, after, [3, 5], dilation=1)

    expected = torch.zeros(2, 1, 9, 9, dtype=torch.bool)
    expected[0, 0, 0:3, 0:3] = True
    expected[0, 0, 6:9, 6:9] = True
    assert roi.dtype == torch.bool
    assert torch.equal(roi, expected)


def test_wrong_arguments_are_refused_by_name() -> None:
    mask = torch.zeros(2, 4, 4, dtype=torch.long)

    with pytest.raises(ShapeError, match=r"mask_after: expected \[2, 4, 4\] as before"):
        roi_from_masks(mask, mask[:1], [0], dilation=1)
    with pytest.raises(ShapeError, match="mask_before: expected integers"):
        roi_from_masks(mask.float(), mask, [0], dilation=1)
    with pytest.raises(EngineSettingsError, match="roi_labels: expected at least one"):
        roi_from_masks(mask, mask, [], dilation=1)
    with pytest.raises(EngineSettingsError, match="dilation: expected 0 or more pixels, got -1"):
        roi_from_masks(mask, mask, [0], dilation=-1)
    with pytest.raises(ShapeError, match=r"region: expected bool \[N, 1, H, W\]"):
        dilate(mask == 0, 1)


def test_painted_pixels_belong_to_the_region_whatever_their_labels_are() -> None:
    mask = torch.zeros(2, 9, 9, dtype=torch.long)
    mask[0, 7, 7] = 3
    brush = torch.zeros(9, 9, dtype=torch.bool)
    brush[1, 1] = True

    union = roi_from_masks(mask, mask, [3], dilation=1, brush=brush)
    alone = roi_from_masks(mask, mask, [], dilation=1, brush=brush)

    assert union.flatten(1).sum(dim=1).tolist() == [18, 9]
    assert alone.flatten(1).sum(dim=1).tolist() == [9, 9]
    assert torch.equal(alone[1], union[1])
    assert bool(alone[0, 0, 0:3, 0:3].all())


@pytest.mark.parametrize(
    "brush",
    [
        torch.zeros(9, 9),
        torch.zeros(9, 8, dtype=torch.bool),
        torch.zeros(1, 9, 9, dtype=torch.bool),
    ],
)
def test_brush_of_another_shape_or_dtype_is_refused(brush: Tensor) -> None:
    mask = torch.zeros(2, 9, 9, dtype=torch.long)

    with pytest.raises(ShapeError, match=r"brush: expected bool \[9, 9\]"):
        roi_from_masks(mask, mask, [1], dilation=0, brush=brush)
