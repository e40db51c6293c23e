"""Compositing: what stays, what changes, and the edge between."""

import pytest
import torch
from torch import Tensor

from editvec.engine.errors import EngineSettingsError, ShapeError
from editvec.engine.images.compositing import composite, feather_alpha
from editvec.engine.images.images import to_images, to_pixels
from editvec.engine.images.roi import dilate


def _reference_alpha(roi: Tensor, feather: int) -> Tensor:
    """Chebyshev distance to the nearest pixel outside, by looking at all of them."""
    alpha = torch.zeros(roi.shape)
    for n, _, y, x in roi.nonzero().tolist():
        outside = (~roi[n, 0]).nonzero()
        distances = (outside - torch.tensor([y, x])).abs().amax(dim=1)
        nearest = int(distances.min()) if len(outside) else feather + 1
        alpha[n, 0, y, x] = min(nearest / (feather + 1), 1)
    return alpha


def random_pixels(count: int, height: int, width: int, *, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, height, width, 3), generator=generator, dtype=torch.uint8)


def random_core(count: int = 2, size: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.rand(count, 1, size, size, generator=generator) < 0.02


def test_every_8_bit_value_outside_the_roi_stays() -> None:
    """All 256 values, so that no rounding on the way to floats and back can hide."""
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).expand(-1, -1, -1, 3)
    original = to_images([one.numpy() for one in pixels])
    edited = torch.full_like(original, torch.nan)
    roi = torch.zeros(1, 1, 16, 16, dtype=torch.bool)
    roi[..., 4:9, 4:9] = True
    edited = torch.where(roi, torch.rand(original.shape), edited)  # broken outside the ROI

    result = torch.from_numpy(to_pixels(composite(original, edited, roi)))

    outside = ~roi[:, 0]
    assert torch.equal(result[outside], pixels[outside])
    assert not torch.equal(result, pixels)


def test_the_undilated_region_takes_the_edit_as_it_is() -> None:
    core = random_core()
    roi = dilate(core, 3)
    original, edited = torch.rand(2, 3, 32, 32), -torch.rand(2, 3, 32, 32)

    result = composite(original, edited, roi, feather=3)

    inside = core.expand_as(result)
    torch.testing.assert_close(result[inside], edited[inside])


@pytest.mark.parametrize("feather", [0, 1, 3])
def test_the_edge_falls_with_the_distance_to_the_border(feather: int) -> None:
    roi = dilate(random_core(), 4)

    alpha = feather_alpha(roi, feather)

    torch.testing.assert_close(alpha, _reference_alpha(roi, feather))
    assert bool(((alpha > 0) == roi).all())


def test_width_follows_the_resolution_by_default() -> None:
    roi = torch.zeros(1, 1, 512, 512, dtype=torch.bool)
    roi[..., 100:200] = True

    assert feather_alpha(roi)[0, 0, 0, 99:105].tolist() == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]


def test_a_region_without_outside_is_all_edit() -> None:
    roi = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    original, edited = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)

    assert torch.equal(composite(original, edited, roi), edited)
    assert torch.equal(composite(original, edited, ~roi), original)


def test_without_compositing_the_edit_comes_out() -> None:
    original, edited = torch.zeros(1, 3, 8, 8), torch.rand(1, 3, 8, 8)
    roi = torch.zeros(1, 1, 8, 8, dtype=torch.bool)

    assert torch.equal(composite(original, edited, roi, mode="none"), edited)


@pytest.mark.parametrize("beyond", [9.0, -9.0])
def test_edits_beyond_the_range_do_not_shift_the_edge(beyond: float) -> None:
    end = 1.0 if beyond > 0 else -1.0
    original = torch.full((1, 3, 8, 8), -end)
    roi = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    roi[..., 0] = False

    result = composite(original, torch.full_like(original, beyond), roi, feather=1)

    assert result[0, 0, 0, :3].tolist() == [-end, 0.0, end]


def test_wrong_arguments_are_refused_by_name() -> None:
    images = torch.zeros(2, 3, 8, 8)
    roi = torch.zeros(2, 1, 8, 8, dtype=torch.bool)

    with pytest.raises(ShapeError, match="edited: expected"):
        composite(images, images[:1], roi)
    with pytest.raises(ShapeError, match=r"roi: expected bool \[2, 1, 8, 8\]"):
        composite(images, images, roi[:1])
    with pytest.raises(ShapeError, match=r"roi: expected bool"):
        composite(images, images, roi.float())
    with pytest.raises(
        EngineSettingsError, match="mode: expected none, feather or gradient, got 'poisson'"
    ):
        composite(images, images, roi, mode="poisson")  # type: ignore[arg-type]
    with pytest.raises(EngineSettingsError, match="feather: expected 0 or more pixels, got -1"):
        composite(images, images, roi, feather=-1)
