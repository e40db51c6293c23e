"""Bilinear up-sampling in pieces: at single pixels and in bands of rows.

Both give what `F.interpolate(mode="bilinear", align_corners=False)` of the whole map gives there,
without making the whole map.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from engine.errors import ShapeError

# Columns of the target that one product widens maps to: a wider block multiplies more zeros, a
# narrower one is a less efficient product.
BLOCK_WIDTH = 64


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
