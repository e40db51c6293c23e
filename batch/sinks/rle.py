"""Run-length encoding of masks, as COCO defines it: column by column, zeros first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_BITS = 5
_MORE = 1 << _BITS
_SIGN = 1 << (_BITS - 1)
_FIRST_CHARACTER = 48


@dataclass(frozen=True)
class Part:
    """The pixels of one label in a mask.

    Attributes:
        label: its index.
        height: of the mask in pixels.
        width: of the mask in pixels.
        counts: int64, lengths of runs in column-major order: outside, inside, outside...
    """

    label: int
    height: int
    width: int
    counts: npt.NDArray[np.int64]

    @property
    def area(self) -> int:
        """Pixels inside."""
        return int(self.counts[1::2].sum())

    @property
    def bounding_box(self) -> tuple[int, int, int, int]:
        """Left, top, width, height, in pixels."""
        ends = np.cumsum(self.counts)
        first, last = ends[:-1:2], ends[1::2] - 1
        left, right = int(first[0] // self.height), int(last[-1] // self.height)
        if (first // self.height != last // self.height).any():
            # a run that goes on in the next column touches the bottom and the top
            top, bottom = 0, self.height - 1
        else:
            top, bottom = int((first % self.height).min()), int((last % self.height).max())
        return left, top, right - left + 1, bottom - top + 1

    @property
    def compressed(self) -> str:
        """The counts as COCO's text.

        From the fourth on, a count is written as its difference to the one before the last. Each
        number becomes groups of five bits, the lowest first, with a sixth that says whether more
        follow; the highest bit of the last group is the sign. 48 is added to make characters.
        """
        rest = self.counts.copy()
        rest[3:] -= self.counts[1:-2]
        columns, used = [], []
        is_open = np.ones(len(rest), dtype=bool)
        while is_open.any():
            group = rest & (_MORE - 1)
            rest = rest >> _BITS
            is_last = np.where(group & _SIGN, rest == -1, rest == 0)
            columns.append(np.where(is_last, group, group | _MORE) + _FIRST_CHARACTER)
            used.append(is_open)
            is_open = is_open & ~is_last
        characters = np.stack(columns, axis=1).astype(np.uint8)[np.stack(used, axis=1)]
        return str(characters.tobytes(), "ascii")

    def to_json(self) -> dict[str, Any]:
        """What COCO calls a segmentation."""
        return {"size": [self.height, self.width], "counts": self.compressed}


def parts_of(mask: npt.NDArray[np.integer[Any]]) -> Iterator[Part]:
    """Every label of a mask that has pixels, in the order of their indices.

    Args:
        mask: label indices, [H, W], not empty.
    """
    height, width = mask.shape
    flat = mask.ravel(order="F")
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    ends = np.append(starts[1:], flat.size)
    labels = flat[starts]
    for label in np.unique(labels):
        # runs of one label never touch, so their edges alternate between outside and inside
        chosen = labels == label
        edges = np.stack([starts[chosen], ends[chosen]], axis=1).ravel()
        if edges[-1] < flat.size:
            edges = np.append(edges, flat.size)
        counts = np.diff(edges, prepend=0).astype(np.int64)
        yield Part(label=int(label), height=height, width=width, counts=counts)
