"""Scales that are shared out over a run: exact shares, and edits that are hardly correlated.

The items of a run are cut into blocks of neighbours, and each block gets the same mixture of scales
of every edit. Within a block, the scales of different edits are put in orders that are hardly
correlated. All follows from the seed, the names and the number of items, in whole numbers, so that
processes and machines agree.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from editvec.batch.recipes.scales import Choice, Drawn, Uniform

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Whole = npt.NDArray[np.int64]

_BLOCK = 64
# orders that are looked for; later blocks take the same ones, with their rows shuffled
_ORDERS = 16
# standard deviation of a column as whole numbers
_UNIT = 256


def draw_balanced(
    scales: Sequence[Drawn], *, names: Sequence[str], seed: int, position: int, count: int
) -> list[float]:
    """The scales of one item of a run.

    Of all items exactly the asked share gets each scale of a choice, up to one item where that
    is no whole number; a range is covered in equal steps. Edits are hardly correlated, also in a
    small run.

    Args:
        scales: what to draw from.
        names: one for each, which shifts it.
        seed: of the run.
        position: of the item's input in the run.
        count: inputs of the run.

    Returns:
        One scale for each.

    Example:
        >>> rare = Choice((1.0, 0.0), (0.1, 0.9))
        >>> [sum(draw_balanced([rare], names=["a"], seed=seed, position=i, count=10)[0]
        ...      for i in range(10)) for seed in range(3)]
        [1.0, 1.0, 1.0]
    """
    place = _place(position, count)
    order = _order(tuple(scales), tuple(names), seed, count, place.pattern)
    row = place.row
    if place.pattern != place.block:
        row = _shuffled(seed, place.block, place.size)[row]
    return [
        _column(scale, name, seed, count).value(rank, place.block)
        for scale, name, rank in zip(scales, names, order[row], strict=True)
    ]


# --- blocks ---


class _ItemPlace(NamedTuple):
    """Where an item is: its block, its row there, and the block whose order is taken."""

    block: int
    row: int
    size: int
    pattern: int


class _BlockCut(NamedTuple):
    """How items are cut into blocks: the first ones are one item larger."""

    number: int
    size: int
    larger: int

    def size_of(self, block: int) -> int:
        return self.size + (block < self.larger)

    def alike(self, block: int) -> range:
        """The blocks of the same size."""
        return range(self.larger) if block < self.larger else range(self.larger, self.number)


def _blocks(count: int) -> _BlockCut:
    number = -(-count // _BLOCK)
    return _BlockCut(number, *divmod(count, number))


def _place(position: int, count: int) -> _ItemPlace:
    blocks = _blocks(count)
    in_larger = blocks.larger * (blocks.size + 1)
    if position < in_larger:
        block, row = divmod(position, blocks.size + 1)
    else:
        block, row = divmod(position - in_larger, blocks.size)
        block += blocks.larger
    first = blocks.alike(block).start
    return _ItemPlace(block, row, blocks.size_of(block), first + (block - first) % _ORDERS)


@lru_cache(maxsize=64)
def _shuffled(seed: int, block: int, size: int) -> tuple[int, ...]:
    return tuple(sorted(range(size), key=lambda row: _number(seed, "rows", block, row)))


# --- columns ---


@dataclass(frozen=True)
class _DrawnColumn:
    """The values of one edit over a run, by rank.

    Attributes:
        scale: what they are drawn from.
        count: of items.
        ends: of a choice: the rank at which each of its scales ends.
        turn: ranks are counted from here, so that no block is the first for all seeds.
        within: where in its step of a range a value lies, 0 to 1.
        stride: by which blocks and their ranks are brought together.
    """

    scale: Drawn
    count: int
    ends: tuple[int, ...]
    turn: int
    within: float
    stride: int

    def value(self, rank: int, block: int) -> float:
        """The scale at a rank of a block."""
        blocks = _blocks(self.count)
        alike = blocks.alike(block)
        first = alike.start + (block - alike.start) * self._step(len(alike)) % len(alike)
        place = (rank * blocks.number + first + self.turn) % self.count
        if isinstance(self.scale, Uniform):
            return self.scale.at((place + self.within) / self.count)
        return self.scale.values[bisect_right(self.ends, place)]

    def _step(self, length: int) -> int:
        """A step that visits every block once."""
        step = self.stride % length or 1
        while math.gcd(step, length) > 1:
            step += 1
        return step


@lru_cache(maxsize=1024)
def _column(scale: Drawn, name: str, seed: int, count: int) -> _DrawnColumn:
    ends: tuple[int, ...] = ()
    if isinstance(scale, Choice):
        ends = tuple(accumulate(_shares(scale, name, seed, count)))
    return _DrawnColumn(
        scale=scale,
        count=count,
        ends=ends,
        turn=_number(seed, name, "turn") % count,
        within=(_number(seed, name, "within") % 2**32) / 2**32,
        stride=_number(seed, name, "stride") % 2**32,
    )


def _shares(scale: Choice, name: str, seed: int, count: int) -> list[int]:
    """How many items get each scale: what is left goes to the largest remainders."""
    total = math.fsum(scale.weights)
    wanted = [count * weight / total for weight in scale.weights]
    shares = [math.floor(one + 1e-9) for one in wanted]

    def remainder(place: int) -> tuple[float, int]:
        return -round(wanted[place] - shares[place], 9), _number(seed, name, "rest", place)

    for place in sorted(range(len(shares)), key=remainder)[: count - sum(shares)]:
        shares[place] += 1
    return shares


def _number(*parts: object) -> int:
    """A number that looks random and is the same everywhere."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big")


# --- the order of the columns in a block ---


@lru_cache(maxsize=256)
def _order(
    scales: tuple[Drawn, ...], names: tuple[str, ...], seed: int, count: int, block: int
) -> tuple[tuple[int, ...], ...]:
    """The rank that each row of a block has in each column."""
    size = _blocks(count).size_of(block)
    columns: list[list[int]] = []
    placed: list[list[int]] = []
    for scale, name in zip(scales, names, strict=True):
        column = _column(scale, name, seed, count)
        ranks = sorted(range(size), key=lambda rank: _number(seed, name, block, rank))
        units = _in_units([column.value(rank, block) for rank in range(size)])
        if units is not None:
            if placed:
                ranks = _uncorrelated(ranks, units, placed)
            placed.append([units[rank] for rank in ranks])
        columns.append(ranks)
    return tuple(zip(*columns, strict=True))


def _in_units(values: Sequence[float]) -> list[int] | None:
    """Values about their mean, by their standard deviation; None where all are equal."""
    if min(values) == max(values):
        return None
    mean = math.fsum(values) / len(values)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
    return [round(_UNIT * (value - mean) / deviation) for value in values]


def _uncorrelated(
    ranks: Sequence[int], units: Sequence[int], placed: Sequence[Sequence[int]]
) -> list[int]:
    """Swaps rows of a column until no swap makes its correlations with the others smaller.

    Args:
        ranks: an order to begin with, one for each row.
        units: the column by rank.
        placed: the columns before it, by row.
    """
    import numpy as np

    ranks = list(ranks)
    others = _with_products(np.array(placed, dtype=np.int64).T)
    likeness = others @ others.T
    own = np.diag(likeness)
    apart = own[:, None] + own[None, :] - 2 * likeness  # |x_i - x_j|^2
    mine = np.array([units[rank] for rank in ranks], dtype=np.int64)
    for _ in range(4 * len(ranks)):
        pull = others @ (others.T @ mine)
        step = mine[None, :] - mine[:, None]  # what row i gains by a swap with j
        gain = step * (2 * (pull[:, None] - pull[None, :]) + step * apart)
        best = int(gain.argmin())
        if gain.flat[best] >= 0:
            break
        i, j = divmod(best, len(ranks))
        ranks[i], ranks[j] = ranks[j], ranks[i]
        mine[[i, j]] = mine[[j, i]]
    return ranks


def _with_products(columns: Whole) -> Whole:
    """Columns with the products of every two, where rows suffice: they make combinations even."""
    import numpy as np

    rows, number = columns.shape
    if number < 2 or number * (number + 1) // 2 > rows // 4:
        return columns
    first, second = np.triu_indices(number, k=1)
    products = columns[:, first] * columns[:, second] // (2 * _UNIT)
    return np.concatenate([columns, products - products.sum(axis=0) // rows], axis=1)
