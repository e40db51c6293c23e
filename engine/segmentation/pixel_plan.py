"""Which pixels of feature maps a list of output pixels is made from, found once for many steps.

A pixel of an up-sampled map is a weighted sum of four native ones. An ROI needs few pixels of each
map, its own share of them: only those are read, projected and summed.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from editvec.cuda_ext.bilinear import axis_taps


class Bags(NamedTuple):
    """A sparse matrix with B rows, as lists of columns and weights.

    Attributes:
        columns: int32 [T], row after row.
        offsets: int32 [B + 1], where each row's columns begin, and the end.
        weights: [T].
    """

    columns: Tensor
    offsets: Tensor
    weights: Tensor

    def sum(self, table: Tensor) -> Tensor:
        """The matrix times a table [columns, C]: [B, C]."""
        return F.embedding_bag(
            self.columns,
            table,
            self.offsets,
            mode="sum",
            per_sample_weights=self.weights,
            include_last_offset=True,
        )

    def transposed(self, num_columns: int) -> "Bags":
        """The transposed matrix; every column has an entry."""
        counts = self.offsets.diff()
        rows = torch.arange(len(counts), device=counts.device, dtype=torch.int32)
        order = self.columns.argsort(stable=True)
        lengths = torch.bincount(self.columns, minlength=num_columns)
        offsets = F.pad(lengths.cumsum(0), (1, 0)).int()
        return Bags(rows.repeat_interleave(counts)[order], offsets, self.weights[order])


class NativePixels(NamedTuple):
    """Pixels of the maps of one size.

    Attributes:
        inside: Of each image, long [R_n]: y * w + x.
        spans: Where each image's pixels stand among all R of them.
    """

    inside: list[Tensor]
    spans: list[slice]

    @property
    def total(self) -> int:
        """R, of all images."""
        return int(self.spans[-1].stop)


class PlanPart(NamedTuple):
    """Some of the output pixels, P of them.

    Attributes:
        pixels: Which ones of the list.
        native: Of each size, coarse to fine, the pixels that are needed.
        gather: From them, R of all sizes, to the output pixels: [P, R].
        scatter: The other way: [R, P].
    """

    pixels: slice
    native: list[NativePixels]
    gather: Bags
    scatter: Bags

    @property
    def num_native(self) -> int:
        """R, of all sizes."""
        return sum(native.total for native in self.native)


class PixelPlan(NamedTuple):
    """How logits of a list of pixels are made; see `plan_pixels`.

    Attributes:
        pixels: long [P, 3]: (n, y, x).
        sizes: (h, w) of the maps, coarse to fine; the last one is that of the output.
        num_images: N.
        parts: In the order of the pixels.
    """

    pixels: Tensor
    sizes: list[tuple[int, int]]
    num_images: int
    parts: list[PlanPart]


def plan_pixels(
    pixels: Tensor,
    sizes: Sequence[tuple[int, int]],
    *,
    num_images: int,
    dtype: torch.dtype,
    part_size: int,
) -> PixelPlan:
    """Find what output pixels are made from.

    Args:
        pixels: long [P, 3]: (n, y, x), inside the output.
        sizes: (h, w) of the maps, coarse to fine; the last one is that of the output.
        num_images: N.
        dtype: Type of the weights.
        part_size: Most pixels of a part. Neighbours in the list should be neighbours in the image.
    """
    parts = [
        _plan_part(pixels[start : start + part_size], start, sizes, num_images, dtype)
        for start in range(0, len(pixels), part_size)
    ]
    return PixelPlan(pixels, list(sizes), num_images, parts)


def _plan_part(
    pixels: Tensor,
    start: int,
    sizes: Sequence[tuple[int, int]],
    num_images: int,
    dtype: torch.dtype,
) -> PlanPart:
    native, columns, weights = [], [], []
    exact = torch.promote_types(dtype, torch.float32)  # 16 bits do not hold a position
    first = 0
    for size in sizes:
        taps, shares = _taps(pixels, size, sizes[-1], dtype=exact)
        needed, places = torch.unique(taps, return_inverse=True)
        native.append(_by_image(needed, size, num_images))
        columns.append(places + first)
        weights.append(shares.to(dtype))
        first += len(needed)
    column = torch.cat(columns, dim=1).int()  # [P, taps of all sizes]
    ends = torch.arange(len(pixels) + 1, device=pixels.device, dtype=torch.int32)
    gather = Bags(column.flatten(), ends * column.shape[1], torch.cat(weights, dim=1).flatten())
    return PlanPart(
        slice(start, start + len(pixels)), native, gather, gather.transposed(num_columns=first)
    )


def _taps(
    pixels: Tensor, source: tuple[int, int], target: tuple[int, int], *, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Native pixels (n * h + y) * w + x of each output pixel, and their weights: [P, 1 or 4]."""
    n, y, x = pixels.unbind(dim=1)
    if source == target:
        own = ((n * source[0] + y) * source[1] + x)[:, None]
        return own, torch.ones(own.shape, device=pixels.device, dtype=dtype)
    down = axis_taps(y, source=source[0], target=target[0], dtype=dtype)
    across = axis_taps(x, source=source[1], target=target[1], dtype=dtype)
    places, weights = [], []
    for line, line_weight in ((down.low, 1 - down.weight), (down.high, down.weight)):
        for column, weight in ((across.low, 1 - across.weight), (across.high, across.weight)):
            places.append((n * source[0] + line) * source[1] + column)
            weights.append(line_weight * weight)
    return torch.stack(places, dim=1), torch.stack(weights, dim=1)


def _by_image(needed: Tensor, size: tuple[int, int], num_images: int) -> NativePixels:
    """Ascending native pixels of all images, apart."""
    area = size[0] * size[1]
    images = torch.arange(num_images + 1, device=needed.device)
    ends = torch.searchsorted(needed, images * area).tolist()
    spans = [slice(*pair) for pair in itertools.pairwise(ends)]
    return NativePixels([needed[span] % area for span in spans], spans)
