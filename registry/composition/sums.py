"""Weighted sums of deltas: pure functions of arrays, exact in any order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from editvec.registry.entities.classes import ClassModel
from editvec.registry.entities.vectors import EditingVector, FloatArray, NewTerm, Term
from editvec.registry.errors import CompositionError

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class WeightedDelta:
    """One summand: scale times the rows of a delta that the mask keeps.

    Attributes:
        delta: [num_ws, w_dim].
        scale: finite.
        row_mask: [num_ws]; None keeps all rows.
    """

    delta: FloatArray
    scale: float
    row_mask: tuple[bool, ...] | None = None


def exact_sum(terms: Sequence[WeightedDelta]) -> Float64Array:
    """The sum before it is rounded to float32: `math.fsum` is exact in any order, and rounds once.

    Zeros of it are never negative. `to_float32` makes a delta of it.

    Raises:
        CompositionError: no term, different shapes, or a scale that is not finite or too large.

    Example:
        >>> import numpy as np
        >>> one = np.ones((2, 3), np.float32)
        >>> exact_sum([WeightedDelta(one, 0.5), WeightedDelta(one, -0.5)]).any()
        np.False_
    """
    if not terms:
        raise CompositionError("composition: expected one term at least")
    shapes = {term.delta.shape for term in terms}
    if len(shapes) > 1:
        raise CompositionError(f"composition: the deltas have different shapes: {sorted(shapes)}")
    contributions = np.stack([contribution(term) for term in terms])
    flat = contributions.reshape(len(terms), -1)
    total = np.array([math.fsum(column) for column in flat.T.tolist()])
    return total.reshape(terms[0].delta.shape)


def to_float32(total: Float64Array) -> FloatArray:
    """Rounds a sum to float32.

    Raises:
        CompositionError: a value that float32 cannot hold.
    """
    if np.abs(total).max() > np.finfo(np.float32).max:
        raise CompositionError("composition: the sum is too large for float32")
    with np.errstate(under="ignore"):
        rounded: FloatArray = total.astype(np.float32)
    return rounded + np.float32(0)  # what vanished in rounding keeps no sign


def contribution(term: WeightedDelta) -> Float64Array:
    """What one term adds, float64 [num_ws, w_dim].

    Raises:
        CompositionError: a scale that is not finite or too large, or a row mask of another length.
    """
    if not math.isfinite(term.scale):
        raise CompositionError(f"composition: expected a finite scale, got {term.scale}")
    with np.errstate(over="ignore", under="ignore"):
        scaled: Float64Array = term.delta.astype(np.float64) * term.scale
    if not np.isfinite(scaled).all():
        raise CompositionError(f"composition: scale {term.scale:g} is too large for its delta")
    if term.row_mask is not None:
        if len(term.row_mask) != term.delta.shape[0]:
            raise CompositionError(
                f"composition: expected a row mask of {term.delta.shape[0]} rows, got "
                f"{len(term.row_mask)}"
            )
        scaled[~np.array(term.row_mask)] = 0.0
    return scaled


# --- what compositions are made of in the end: their terms' terms, down to vectors without any ---

MAX_LEAVES = 100_000
"""Compositions of compositions can double with every level."""

Rows = tuple[bool, ...]
Leaves = dict[tuple[str, Rows], list[float]]
"""Scales by (address, rows): every vector of a composition that is no composition itself."""


class ByteSource(Protocol):
    """Where blobs come from."""

    def get(self, digest: str) -> bytes:
        """The bytes of a digest."""


class VectorSource(Protocol):
    """Where a composition finds its terms."""

    @property
    def blobs(self) -> ByteSource:
        """The blobs of the vectors."""

    def get_class(self, address: str | None = None) -> ClassModel:
        """The class model at an address."""

    def get_vector(self, address: str, *, class_name: str | None = None) -> EditingVector:
        """The vector at an address."""

    def delta(self, vector: EditingVector) -> FloatArray:
        """The delta of a vector, [num_ws, w_dim]."""


class Recall:
    """The vectors and deltas of one composition, each read once."""

    def __init__(self, source: VectorSource) -> None:
        self._source = source
        self._vectors: dict[str, EditingVector] = {}
        self._deltas: dict[str, FloatArray] = {}

    @property
    def addresses(self) -> frozenset[str]:
        """Every vector that was asked for."""
        return frozenset(vector.address for vector in self._vectors.values())

    def vector(self, address: str, class_name: str | None = None) -> EditingVector:
        """The vector at an address."""
        if address not in self._vectors:
            vector = self._source.get_vector(address, class_name=class_name)
            self._vectors[address] = self._vectors[vector.address] = vector
        return self._vectors[address]

    def delta(self, address: str) -> FloatArray:
        """The delta of the vector at an address."""
        if address not in self._deltas:
            self._deltas[address] = self._source.delta(self.vector(address))
        return self._deltas[address]


class Summed(Protocol):
    """A vector as a sum sees it."""

    @property
    def address(self) -> str:
        """`class/name@version`."""

    @property
    def num_ws(self) -> int:
        """Rows of its delta."""

    @property
    def terms(self) -> Sequence[NewTerm | Term]:
        """What it is the sum of, with pinned versions; empty for what is no composition."""


class Summands(Protocol):
    """Where the terms of a sum come from."""

    def vector(self, address: str, /) -> Summed:
        """The vector at an address."""

    def delta(self, address: str, /) -> FloatArray:
        """The delta of the vector at an address."""


def sum_of_terms(recall: Summands, terms: Sequence[NewTerm | Term]) -> Float64Array:
    """The exact sum of terms with pinned versions; compositions among them count as their own."""
    leaves = weighted_leaves(recall, terms)
    if not leaves:  # the row masks of compositions can leave nothing of their terms
        return np.zeros(recall.delta(terms[0].address).shape)
    return exact_sum(leaves)


def weighted_leaves(recall: Summands, terms: Sequence[NewTerm | Term]) -> list[WeightedDelta]:
    """What terms add in the end: the deltas that are no compositions, each with its total scale.

    A row mask that a composition has itself says nothing here: only those of terms cut rows.

    Raises:
        CompositionError: too many terms of terms, or scales that are too large.
    """
    leaves: Leaves = {}
    for term in terms:
        _collect_leaves(recall, term, leaves)
    return [
        WeightedDelta(recall.delta(address), _total(scales, of=address), rows)
        for (address, rows), scales in leaves.items()
    ]


def _collect_leaves(recall: Summands, term: NewTerm | Term, leaves: Leaves) -> None:
    """Adds a term to `leaves`: as its own terms, down to what is no composition."""
    vector = recall.vector(term.address)
    waiting = [(vector, term.scale, term.row_mask or (True,) * vector.num_ws)]
    seen = 0
    while waiting:
        vector, scale, rows = waiting.pop()
        seen += 1
        if seen > MAX_LEAVES:
            raise CompositionError(
                f"composition: {term.address} is made of more than {MAX_LEAVES} terms of terms"
            )
        if not vector.terms:
            leaves.setdefault((vector.address, rows), []).append(scale)
        for part in vector.terms:
            own = part.row_mask or (True,) * vector.num_ws
            kept = tuple(mine and other for mine, other in zip(rows, own, strict=True))
            if any(kept):
                waiting.append((recall.vector(part.address), scale * part.scale, kept))


def _total(scales: Sequence[float], *, of: str) -> float:
    try:
        return math.fsum(scales)
    except (OverflowError, ValueError) as exc:  # beyond float64, or infinity minus infinity
        raise CompositionError(f"composition: the scales of {of} are too large") from exc
