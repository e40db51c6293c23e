"""Features and labels of single pixels, against whole maps."""

import errno
import os
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from editvec.engine.errors import NonFiniteError, ShapeError
from editvec.engine.training.pixels import PixelFeatures, PixelSampler

SHAPES = [(3, 4, 4), (5, 8, 8), (2, 16, 16)]


def draw_maps(count: int, *, scale: float = 1.0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(count, *shape, generator=generator) * scale for shape in SHAPES]


def spread_out(maps: list[Tensor]) -> Tensor:
    """Features of every pixel, as published: [N, D, H, W]."""
    return torch.cat(
        [F.interpolate(one, size=(16, 16), mode="bilinear", align_corners=False) for one in maps],
        dim=1,
    )


@pytest.mark.parametrize("in_file", [False, True])
@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_rows_equal_the_features_of_the_whole_image(
    tmp_path: Path, *, in_file: bool, scale: float
) -> None:
    """Also of values that float16 does not hold."""
    maps = draw_maps(3, scale=scale)
    maps[1][2] /= scale  # images have scales of their own
    features = PixelFeatures(SHAPES, 3, folder=tmp_path if in_file else None)
    for image in range(3):
        features.put(image, [one[image : image + 1] for one in maps])
    pixels = torch.cartesian_prod(torch.arange(3), torch.arange(16), torch.arange(16))

    rows = features.rows(pixels)

    expected = spread_out(maps).permute(0, 2, 3, 1).reshape(-1, 10)
    assert rows.dtype == torch.float32
    torch.testing.assert_close(rows / scale, expected / scale, atol=2e-3, rtol=1e-3)
    for own, one in zip(features.maps(2), maps, strict=True):
        torch.testing.assert_close(own / scale, one[2:] / scale, atol=2e-3, rtol=1e-3)
    assert features.num_bytes == 2 * 3 * sum(c * h * w for c, h, w in SHAPES)


def test_maps_of_another_shape_or_without_a_number_are_refused() -> None:
    features = PixelFeatures(SHAPES, 2)
    maps = draw_maps(1)

    with pytest.raises(ShapeError, match="expected 3 maps, got 2"):
        features.put(0, maps[:2])
    with pytest.raises(ShapeError, match=r"features\[2\]: expected \[1, C, h, w\]"):
        features.put(0, [*maps[:2], maps[2][:, :, :8]])
    maps[1][0, 0, 0, 0] = torch.inf
    with pytest.raises(NonFiniteError, match=r"features\[1\]: expected finite values of image 1"):
        features.put(1, maps)


def test_full_disk_is_told_before_anything_is_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)

    with pytest.raises(OSError, match="No space left"):
        PixelFeatures(SHAPES, 2, folder=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("label_power", "share"), [(1.0, 1 / 16), (0.5, 0.2), (0.0, 0.5)])
def test_rare_labels_are_drawn_by_the_power_of_their_pixels(
    label_power: float, share: float
) -> None:
    masks = torch.zeros(2, 8, 16, dtype=torch.uint8)
    masks[0, 2, :] = 2
    sampler = PixelSampler(masks, torch.ones_like(masks, dtype=torch.bool), label_power=label_power)

    pixels = sampler.draw(20000, torch.Generator().manual_seed(0))

    labels = masks[tuple(pixels.t())]
    assert (labels == 2).double().mean() == pytest.approx(share, abs=0.02)
    assert len(pixels.unique(dim=0)) == 256


def test_only_allowed_pixels_are_drawn() -> None:
    masks = torch.arange(4, dtype=torch.uint8)[:, None, None].repeat(1, 4, 4)
    allowed = torch.zeros(4, 4, 4, dtype=torch.bool)
    allowed[1, :2] = allowed[3, 2:] = True

    pixels = PixelSampler(masks, allowed, label_power=0.5).draw(
        500, torch.Generator().manual_seed(0)
    )

    assert allowed[tuple(pixels.t())].all()
    assert set(masks[tuple(pixels.t())].tolist()) == {1, 3}
    assert len(pixels.unique(dim=0)) == 16
