"""What compositions are made of in the end: their terms' terms, down to vectors without any."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from editvec.registry.composition.sums import Float64Array, WeightedDelta, exact_sum
from editvec.registry.entities.vectors import ClassModel, EditingVector, FloatArray, NewTerm
from editvec.registry.errors import CompositionError

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


def sum_of_terms(recall: Recall, terms: Sequence[NewTerm]) -> Float64Array:
    """The exact sum of terms with pinned versions; compositions among them count as their own."""
    leaves: Leaves = {}
    for term in terms:
        _collect_leaves(recall, term, leaves)
    if not leaves:  # the row masks of compositions can leave nothing of their terms
        return np.zeros(recall.delta(terms[0].address).shape)
    return exact_sum(
        [
            WeightedDelta(recall.delta(address), _total(scales, of=address), rows)
            for (address, rows), scales in leaves.items()
        ]
    )


def _collect_leaves(recall: Recall, term: NewTerm, leaves: Leaves) -> None:
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
            kept = tuple(mine and other for mine, other in zip(rows, part.row_mask, strict=True))
            if any(kept):
                waiting.append((recall.vector(part.address), scale * part.scale, kept))


def _total(scales: Sequence[float], *, of: str) -> float:
    try:
        return math.fsum(scales)
    except (OverflowError, ValueError) as exc:  # beyond float64, or infinity minus infinity
        raise CompositionError(f"composition: the scales of {of} are too large") from exc
