"""Bilinear up-sampling in pieces: at single pixels and in bands of rows.

Both give what `F.interpolate(mode="bilinear", align_corners=False)` of the whole map gives there,
without making the whole map.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.errors import ShapeError

# Up to this width a row is up-sampled by a dense product. On a CPU that is three to fifty times
# faster than `F.interpolate`, which walks over single values where there are many channels.
DENSE_WIDTH = 128


class AxisTaps(NamedTuple):
    """The two source positions that a target position lies between.

    Attributes:
        low: First position, long [P].
        high: Second position, long [P]; equal to `low` at the far edge.
        weight: Share of the second one, in [0, 1), [P].
    """

    low: Tensor
    high: Tensor
    weight: Tensor


def axis_taps(positions: Tensor, *, source: int, target: int, dtype: torch.dtype) -> AxisTaps:
    """Locate target positions on the source axis.

    Args:
        positions: Target positions, integers in [0, target), [P].
        source: Length of the source axis in pixels.
        target: Length of the target axis in pixels.
        dtype: Type of the weights.

    Returns:
        The taps, by the half-pixel convention (`align_corners=False`).
    """
    coordinates = ((positions.to(dtype) + 0.5) * (source / target) - 0.5).clamp(min=0)
    low = coordinates.floor().long().clamp(max=source - 1)
    high = (low + 1).clamp(max=source - 1)
    return AxisTaps(low, high, coordinates - low)


def check_pixels(pixels: Tensor, *, extent: tuple[int, int, int]) -> None:
    """Check that pixels are integers (n, y, x), [P, 3], inside `extent` = (N, H, W).

    Raises:
        ShapeError: They are not.
    """
    integer = not pixels.is_floating_point() and pixels.dtype != torch.bool
    if pixels.ndim != 2 or pixels.shape[1] != 3 or not integer:
        raise ShapeError(
            f"pixels: expected integers [P, 3], got {pixels.dtype} {list(pixels.shape)}"
        )
    bound = torch.tensor(extent, device=pixels.device)
    if bool(((pixels < 0) | (pixels >= bound)).any()):
        raise ShapeError(f"pixels: expected (n, y, x) inside {extent}, got one outside")


def pixel_rows(maps: Tensor) -> Tensor:
    """Lay maps [N, C, h, w] out as one row per pixel: [N*h*w, C]."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])


def gather_bilinear(
    rows: Tensor,  # [N*h*w, C], see `pixel_rows`.
    pixels: Tensor,  # long [P, 3]: (n, y, x) on the target.
    *,
    source: tuple[int, int],  # (h, w) of the maps.
    target: tuple[int, int],  # (H, W) of the target.
) -> Tensor:
    """Values of the up-sampled maps at a list of pixels: [P, C]; float32 of float16 rows.

    Example:
        >>> maps = torch.rand(1, 3, 4, 4)
        >>> pixels = torch.tensor([[0, 5, 2]])
        >>> row = gather_bilinear(pixel_rows(maps), pixels, source=(4, 4), target=(8, 8))
        >>> whole = F.interpolate(maps, size=(8, 8), mode="bilinear", align_corners=False)
        >>> torch.allclose(row[0], whole[0, :, 5, 2])
        True
    """
    height, width = source
    n, y, x = pixels.unbind(dim=1)
    dtype = torch.float32 if rows.dtype == torch.float16 else rows.dtype
    if source == target:
        return rows.index_select(0, (n * height + y) * width + x).to(dtype)
    down = axis_taps(y, source=height, target=target[0], dtype=dtype)
    across = axis_taps(x, source=width, target=target[1], dtype=dtype)
    total: Tensor | None = None
    for line, line_weight in ((down.low, 1 - down.weight), (down.high, down.weight)):
        for column, column_weight in (
            (across.low, 1 - across.weight),
            (across.high, across.weight),
        ):
            tap = rows.index_select(0, (n * height + line) * width + column).to(dtype)
            tap = tap * (line_weight * column_weight)[:, None]
            total = tap if total is None else total + tap
    assert total is not None
    return total


def source_band(start: int, stop: int, *, source: int, target: int) -> tuple[int, int]:
    """Source rows [low, high) that the target rows [start, stop) are made from."""
    if source == target:
        return start, stop
    scale = source / target
    low = min(math.floor(max((start + 0.5) * scale - 0.5, 0)), source - 1)
    high = min(math.floor(max((stop - 0.5) * scale - 0.5, 0)) + 1, source - 1)
    return low, high + 1


def upsample_band(
    band: Tensor,  # [N, C, high - low, w]: the rows that `source_band` names.
    *,
    rows: tuple[int, int],  # [start, stop) on the target.
    source_height: int,  # Height of the whole map.
    target: tuple[int, int],  # (H, W) of the target.
) -> Tensor:
    """Target rows [start, stop) of the up-sampled maps: [N, C, stop - start, W]."""
    start, stop = rows
    height, width = target
    if source_height != height:
        low, _ = source_band(start, stop, source=source_height, target=height)
        positions = torch.arange(start, stop, device=band.device)
        taps = axis_taps(positions, source=source_height, target=height, dtype=band.dtype)
        band = torch.lerp(
            band.index_select(2, taps.low - low),
            band.index_select(2, taps.high - low),
            taps.weight[:, None],
        )
    if band.shape[3] == width:
        return band
    if band.shape[3] <= DENSE_WIDTH:
        return band @ _interpolation_matrix(band, width)
    return F.interpolate(band, size=(stop - start, width), mode="bilinear", align_corners=False)


def _interpolation_matrix(band: Tensor, width: int) -> Tensor:
    """The matrix that up-samples rows of `band` to `width` pixels: [w, width]."""
    source = band.shape[3]
    positions = torch.arange(width, device=band.device)
    taps = axis_taps(positions, source=source, target=width, dtype=band.dtype)
    matrix = band.new_zeros(source, width)
    matrix[taps.low, positions] = 1 - taps.weight
    matrix[taps.high, positions] += taps.weight
    return matrix
