"""Up-sampling in pieces against torch's up-sampling of whole maps."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import editvec.engine.segmentation.resampling
from editvec.cuda_ext.bilinear import gather_bilinear, pixel_rows
from editvec.engine.segmentation.resampling import BandSum

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


SOURCES = [
    ([(4, 4), (8, 8), (16, 16)], (64, 64)),
    ([(5, 7), (6, 7)], (23, 19)),
    ([(6, 3)], (6, 17)),
    ([(1, 1), (9, 4)], (9, 9)),
    ([], (8, 8)),
]


@pytest.mark.parametrize(("sources", "target"), SOURCES)
@pytest.mark.parametrize("block_width", [1, 10, 128])
@pytest.mark.parametrize("rows_per_band", [1, 4, 1000])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("is_inference", [False, True])
def test_bands_equal_the_sum_of_whole_maps(
    monkeypatch: pytest.MonkeyPatch,
    sources: list[tuple[int, int]],
    target: tuple[int, int],
    block_width: int,
    rows_per_band: int,
    count: int,
    is_inference: bool,
) -> None:
    monkeypatch.setattr(editvec.engine.segmentation.resampling, "MIN_BLOCK_WIDTH", block_width)
    monkeypatch.setattr(editvec.engine.segmentation.resampling, "MAX_BLOCK_WIDTH", block_width)
    maps = [random_maps(source)[:count] for source in sources]
    total = random_maps(target)
    expected = total + sum(upsample_whole(one, target) for one in maps)
    bands = BandSum(sources, target, like=total)
    side_by_side = [one.permute(0, 2, 3, 1).contiguous() for one in maps]

    found = []
    for start in range(0, target[0], rows_per_band):
        rows = slice(start, min(start + rows_per_band, target[0]))
        band = total[:, :, rows].permute(0, 2, 3, 1).contiguous()
        with torch.inference_mode(is_inference):
            bands.add_(band, side_by_side, rows)
        found.append(band.permute(0, 3, 1, 2))

    torch.testing.assert_close(torch.cat(found, dim=2), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize(("source", "target"), SHAPES)
def test_gathered_pixels_equal_the_whole(source: tuple[int, int], target: tuple[int, int]) -> None:
    maps = random_maps(source)
    axes = [torch.arange(length) for length in (2, *target)]
    pixels = torch.cartesian_prod(*axes)

    rows = gather_bilinear(pixel_rows(maps), pixels, source=source, target=target)

    expected = pixel_rows(upsample_whole(maps, target))
    torch.testing.assert_close(rows, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_positions_are_exact_in_16_bits(dtype: torch.dtype) -> None:
    column = torch.linspace(-1, 1, 512)[None, None, :, None]
    column = column.expand(1, 1, 512, 4)
    whole = F.interpolate(column, size=(1024, 4), mode="bilinear")
    bands = BandSum([(512, 4)], (1024, 4), like=torch.zeros(1, dtype=dtype))
    total = torch.zeros(1, 1024, 4, 1, dtype=dtype)
    source = column.permute(0, 2, 3, 1).contiguous().to(dtype)

    bands.add_(total, [source], slice(0, 1024))

    rounding = 4 * torch.finfo(dtype).eps
    torch.testing.assert_close(total[0, :, 0, 0].float(), whole[0, 0, :, 0], atol=rounding, rtol=0)
