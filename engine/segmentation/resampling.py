"""Bilinear up-sampling in bands of rows.

It gives what `F.interpolate(mode="bilinear", align_corners=False)` of the whole map gives there,
without making the whole map. `editvec.cuda_ext.bilinear` does the same at single pixels.
"""

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from editvec.cuda_ext.bilinear import axis_taps
from editvec.engine.errors import ShapeError


class Scratch:
    """Buffers by name, of one dtype and device; each grows to the largest that was asked for.

    They are for results that are read before the next one is made: a large tensor is fresh memory
    of the system, and touching it first can take longer than the product that fills it.

    Args:
        like: Gives dtype and device.
    """

    def __init__(self, *, like: Tensor) -> None:
        self._like = like
        self._buffers: dict[Hashable, Tensor] = {}

    def take(self, name: Hashable, shape: Sequence[int]) -> Tensor:
        """A contiguous tensor with any content; what was taken by this name before is gone."""
        size = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.numel() < size:
            self._buffers[name] = buffer = torch.empty(
                size, dtype=self._like.dtype, device=self._like.device
            )
        return buffer[:size].view(*shape)


# Columns of a block, see `block_width`.
MIN_BLOCK_WIDTH = 16
MAX_BLOCK_WIDTH = 64


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

    A pixel's channels lie side by side, so that both directions are products of matrices without
    any gathering: a band is first interpolated down the columns, at the native widths, where it is
    narrow; then one product widens the maps of all sizes at once and sums them. It is cut into
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
        self.target = target
        self._down = [_interpolation_matrix(height, target[0], like=like) for height, _ in sources]
        across = [_interpolation_matrix(width, target[1], like=like) for _, width in sources]
        width = block_width(target[1])
        self._blocks = [
            _block(across, start, min(start + width, target[1]), target[1])
            for start in range(0, target[1], width)
        ]

    def add_(
        self,
        total: Tensor,
        maps: Sequence[Tensor],
        rows: slice,
        *,
        scratch: Scratch | None = None,
    ) -> None:
        """Add rows of the up-sampled maps, in place.

        Args:
            total: [N, rows, W, C], contiguous.
            maps: [N or 1, h, w, C] of each size, contiguous.
            rows: Of the target, with a start and a stop.
            scratch: Memory for what comes between; without it the sum has a gradient.
        """
        if not maps:
            return
        lines = total.flatten(0, 1)
        for block in self._blocks:
            narrow = self._narrow(maps, block, rows, scratch).expand(len(total), -1, -1)
            stacked = narrow.reshape(len(lines), block.matrix.shape[1], total.shape[3])
            matrix = block.matrix.expand(len(lines), -1, -1)
            lines[:, block.columns].baddbmm_(matrix, stacked)

    def _narrow(
        self, maps: Sequence[Tensor], block: "_ColumnBlock", rows: slice, scratch: Scratch | None
    ) -> Tensor:
        """What a block of a band is made from, [N or 1, rows, columns of all sources * C]."""
        count = max(len(one) for one in maps)
        products = []
        for one, down, part in zip(maps, self._down, block.parts, strict=True):
            span = _source_range(rows.start, rows.stop, source=one.shape[1], target=self.target[0])
            matrix = down[rows, span].expand(count, -1, -1)
            products.append((matrix, one[:, span, part].flatten(2).expand(count, -1, -1)))
        if scratch is None:
            return torch.cat([torch.bmm(*product) for product in products], dim=2)
        widths = [native.shape[2] for _, native in products]
        narrow = scratch.take("narrow", (count, rows.stop - rows.start, sum(widths)))
        for product, place in zip(products, torch.split(narrow, widths, dim=2), strict=True):
            torch.bmm(*product, out=place)
        return narrow


def block_width(width: int) -> int:
    """Columns of a target that one product widens maps to.

    A wider block multiplies more zeros, a narrower one is a less efficient product.
    """
    return min(max(width // 4, MIN_BLOCK_WIDTH), MAX_BLOCK_WIDTH)


class _ColumnBlock(NamedTuple):
    """A block of columns of the target."""

    columns: slice
    parts: list[slice]  # the columns of each source that it is made from
    matrix: Tensor  # [columns, sum of their lengths]


def _block(across: Sequence[Tensor], start: int, stop: int, width: int) -> _ColumnBlock:
    parts = [_source_range(start, stop, source=one.shape[1], target=width) for one in across]
    columns = [one[start:stop, part] for one, part in zip(across, parts, strict=True)]
    matrix = torch.cat(columns, dim=1) if columns else torch.empty(0)
    return _ColumnBlock(slice(start, stop), parts, matrix)


def _source_range(start: int, stop: int, *, source: int, target: int) -> slice:
    """The source positions that the target positions [start, stop) are made from."""
    scale = source / target
    low = min(math.floor(max((start + 0.5) * scale - 0.5, 0)), source - 1)
    high = min(math.floor(max((stop - 0.5) * scale - 0.5, 0)) + 1, source - 1)
    return slice(low, high + 1)


def _interpolation_matrix(source: int, target: int, *, like: Tensor) -> Tensor:
    """The matrix that up-samples lines of `source` pixels to `target`: [target, source]."""
    positions = torch.arange(target, device=like.device)
    dtype = torch.promote_types(like.dtype, torch.float32)  # 16 bits do not hold a position
    taps = axis_taps(positions, source=source, target=target, dtype=dtype)
    matrix = taps.weight.new_zeros(target, source)
    matrix[positions, taps.low] = 1 - taps.weight
    matrix[positions, taps.high] += taps.weight
    return matrix.to(like.dtype)
