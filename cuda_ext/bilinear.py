"""Bilinear up-sampling at single pixels.

What `F.interpolate(mode="bilinear", align_corners=False)` of a whole map gives there, without
making the whole map: where a pixel lies on the map's axes, and the weighted sum of its neighbours.
"""

from typing import NamedTuple

import torch
from torch import Tensor


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
    """Values of the up-sampled maps at a list of pixels: [P, C]; float32 of 16-bit rows.

    Example:
        >>> import torch.nn.functional as F
        >>> maps = torch.rand(1, 3, 4, 4)
        >>> pixels = torch.tensor([[0, 5, 2]])
        >>> row = gather_bilinear(pixel_rows(maps), pixels, source=(4, 4), target=(8, 8))
        >>> whole = F.interpolate(maps, size=(8, 8), mode="bilinear", align_corners=False)
        >>> torch.allclose(row[0], whole[0, :, 5, 2])
        True
    """
    height, width = source
    n, y, x = pixels.unbind(dim=1)
    dtype = torch.promote_types(rows.dtype, torch.float32)  # 16 bits do not hold a position
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
