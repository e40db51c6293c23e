"""Bilinear up-sampling in bands of rows.

It gives what `F.interpolate(mode="bilinear", align_corners=False)` of the whole map gives there,
without making the whole map. `cuda_ext.bilinear` does the same at single pixels.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from cuda_ext.bilinear import AxisTaps, axis_taps
from engine.errors import ShapeError

# Columns of the target that one product widens maps to: a wider block multiplies more zeros, a
# narrower one is a less efficient product.
BLOCK_WIDTH = 64


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


class BandSum:
    """Sums maps of several native sizes, up-sampled to one target size, band by band.

    A band is first interpolated down the columns, at the native widths, where it is narrow. Then
    one product of matrices widens the maps of all sizes at once and sums them; it is cut into
    blocks of columns, because a block is made from few columns of the sources.

    Args:
        sources: Sizes (h, w) of the maps.
        target: (H, W).
        like: Gives dtype and device.
    """

    def __init__(
        self, sources: Sequence[tuple[int, int]], target: tuple[int, int], *, like: Tensor
    ) -> None:
        self.sources = list(sources)
        rows, columns = (torch.arange(length, device=like.device) for length in target)
        self._down = [
            axis_taps(rows, source=height, target=target[0], dtype=like.dtype)
            for height, _ in sources
        ]
        whole = [_interpolation_matrix(columns, width, like=like) for _, width in sources]
        self._blocks = [
            _block(whole, start, min(start + BLOCK_WIDTH, target[1]), target[1])
            for start in range(0, target[1], BLOCK_WIDTH)
        ]

    def add_(self, total: Tensor, maps: Sequence[Tensor], rows: slice) -> None:
        """Add rows of the up-sampled maps, in place.

        Args:
            total: [N, C, rows, W], contiguous.
            maps: [N or 1, C, h, w] of each size.
            rows: Of the target, with a start and a stop.
        """
        if not maps:
            return
        count, channels, height, width = total.shape
        bands = [
            _interpolate_down(one, taps, rows).expand(count, -1, -1, -1)
            for one, taps in zip(maps, self._down, strict=True)
        ]
        lines = total.view(count, channels * height, width)
        for block in self._blocks:
            parts = [band[..., part] for band, part in zip(bands, block.parts, strict=True)]
            stacked = torch.cat(parts, dim=3).flatten(1, 2)
            matrix = block.matrix.expand(count, -1, -1)
            lines[..., block.columns].baddbmm_(stacked, matrix)


class _Block(NamedTuple):
    """A block of columns of the target."""

    columns: slice
    parts: list[slice]  # the columns of each source that it is made from
    matrix: Tensor  # [sum of their lengths, columns]


def _block(whole: Sequence[Tensor], start: int, stop: int, width: int) -> _Block:
    parts = [_source_range(start, stop, source=len(one), target=width) for one in whole]
    rows = [one[part, start:stop] for one, part in zip(whole, parts, strict=True)]
    return _Block(slice(start, stop), parts, torch.cat(rows) if rows else torch.empty(0))


def _source_range(start: int, stop: int, *, source: int, target: int) -> slice:
    """The source positions that the target positions [start, stop) are made from."""
    scale = source / target
    low = min(math.floor(max((start + 0.5) * scale - 0.5, 0)), source - 1)
    high = min(math.floor(max((stop - 0.5) * scale - 0.5, 0)) + 1, source - 1)
    return slice(low, high + 1)


def _interpolate_down(maps: Tensor, taps: AxisTaps, rows: slice) -> Tensor:
    """Rows of maps [N, C, h, w], interpolated between theirs: [N, C, rows, w]."""
    low, high = taps.low[rows], taps.high[rows]
    weight = taps.weight[rows, None]
    return torch.lerp(maps.index_select(2, low), maps.index_select(2, high), weight)


def _interpolation_matrix(columns: Tensor, source: int, *, like: Tensor) -> Tensor:
    """The matrix that up-samples rows of `source` pixels to all columns: [source, W]."""
    taps = axis_taps(columns, source=source, target=len(columns), dtype=like.dtype)
    matrix = like.new_zeros(source, len(columns))
    matrix[taps.low, columns] = 1 - taps.weight
    matrix[taps.high, columns] += taps.weight
    return matrix
