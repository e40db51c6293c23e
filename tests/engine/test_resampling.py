"""Up-sampling in pieces against torch's up-sampling of whole maps."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import engine.resampling
from engine.resampling import gather_bilinear, pixel_rows, source_band, upsample_band

SHAPES = [
    ((4, 4), (64, 64)),
    ((8, 8), (8, 8)),
    ((5, 7), (23, 19)),
    ((6, 3), (6, 17)),
    ((1, 1), (9, 9)),
]


def upsample_whole(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def random_maps(size: tuple[int, int]) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, *size, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("source", "target"), SHAPES)
@pytest.mark.parametrize("dense_width", [0, 128])
@pytest.mark.parametrize("rows_per_band", [1, 4, 1000])
def test_bands_equal_the_whole(
    monkeypatch: pytest.MonkeyPatch,
    source: tuple[int, int],
    target: tuple[int, int],
    dense_width: int,
    rows_per_band: int,
) -> None:
    monkeypatch.setattr(engine.resampling, "DENSE_WIDTH", dense_width)
    maps, height = random_maps(source), target[0]
    bands = []
    for start in range(0, height, rows_per_band):
        rows = (start, min(start + rows_per_band, height))
        low, high = source_band(*rows, source=source[0], target=height)
        bands.append(
            upsample_band(maps[:, :, low:high], rows=rows, source_height=source[0], target=target)
        )

    torch.testing.assert_close(
        torch.cat(bands, dim=2), upsample_whole(maps, target), atol=1e-12, rtol=0
    )


@pytest.mark.parametrize(("source", "target"), SHAPES)
def test_gathered_pixels_equal_the_whole(source: tuple[int, int], target: tuple[int, int]) -> None:
    maps = random_maps(source)
    axes = [torch.arange(length) for length in (2, *target)]
    pixels = torch.cartesian_prod(*axes)

    rows = gather_bilinear(pixel_rows(maps), pixels, source=source, target=target)

    expected = pixel_rows(upsample_whole(maps, target))
    torch.testing.assert_close(rows, expected, atol=1e-12, rtol=0)
