"""Weighted sums of deltas: pure functions of arrays, and the report of how terms conflict."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from registry.entities import (
    ClassModel,
    EditingVector,
    FloatArray,
    Label,
    NewTerm,
    parse_address,
)
from registry.errors import CompatibilityError, CompositionError

_TERM = re.compile(r"(?P<address>[^\[\]=]+)(\[(?P<first>\d+):(?P<last>\d+)\])?=(?P<scale>.+)\Z")


MAX_SCALE = 1e9
"""Larger scales mean nothing, and sums of them could overflow."""


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


@dataclass(frozen=True)
class CompositionReport:
    """What a composition is made of, before it is stored.

    Attributes:
        addresses: the terms, versions pinned.
        cosines: [terms, terms], the angle between every two of them, after scale and row mask.
        norms: [terms], the length of what each contributes.
        norm: the length of the sum.
        roi_labels: the union of the terms' ROIs, in the order of the label scheme.
    """

    addresses: tuple[str, ...]
    cosines: tuple[tuple[float, ...], ...]
    norms: tuple[float, ...]
    norm: float
    roi_labels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PlannedComposition:
    """A composition that could be stored.

    Attributes:
        model: the class model of the first term.
        terms: as they were given, versions pinned.
        delta: the sum, [num_ws, w_dim].
        row_mask: the rows that the sum touches.
        dilation: the largest of the terms' ROI buffers.
        report: how the terms work together.
    """

    model: ClassModel
    terms: tuple[NewTerm, ...]
    delta: FloatArray
    row_mask: tuple[bool, ...]
    dilation: int
    report: CompositionReport


class VectorSource(Protocol):
    """Where a composition finds its terms."""

    def get_class(self, address: str | None = None) -> ClassModel:
        """The class model at an address."""

    def get_vector(self, address: str, *, class_name: str | None = None) -> EditingVector:
        """The vector at an address."""

    def delta(self, vector: EditingVector) -> FloatArray:
        """The delta of a vector, [num_ws, w_dim]."""


Leaves = dict[tuple[str, tuple[bool, ...]], float]
"""Scale by (address, rows): every vector of a composition that is no composition itself."""


def plan(
    source: VectorSource, terms: Sequence[NewTerm], *, class_name: str | None = None
) -> PlannedComposition:
    """Sums terms from a library and measures how they work together.

    Args:
        source: the library.
        terms: at least one; a composition among them counts as its own terms, scaled.
        class_name: the class for addresses without one.

    Raises:
        CompositionError: no terms, a bad scale, or a sum that cancels to zero.
        CompatibilityError: terms of different classes or generators.
    """
    if not terms:
        raise CompositionError("composition: expected one term at least")
    vectors = [source.get_vector(term.address, class_name=class_name) for term in terms]
    check_compatible(vectors)
    model = source.get_class(f"{vectors[0].class_name}@{vectors[0].class_version}")
    pinned = tuple(
        NewTerm(address=vector.address, scale=term.scale, row_mask=term.row_mask)
        for vector, term in zip(vectors, terms, strict=True)
    )
    given = [
        WeightedDelta(source.delta(vector), term.scale, term.row_mask)
        for vector, term in zip(vectors, pinned, strict=True)
    ]
    leaves: Leaves = {}
    for vector, term in zip(vectors, pinned, strict=True):
        collect_leaves(source, vector, term.scale, term.row_mask or (True,) * vector.num_ws, leaves)
    flat = [
        WeightedDelta(source.delta(source.get_vector(address)), scale, rows)
        for (address, rows), scale in leaves.items()
    ]
    delta = weighted_sum(flat)
    if not delta.any():
        raise CompositionError("composition: the terms cancel to zero")
    roi_labels = union_roi([vector.roi_labels for vector in vectors], model.labels)
    return PlannedComposition(
        model=model,
        terms=pinned,
        delta=delta,
        row_mask=tuple((delta != 0).any(axis=1).tolist()),
        dilation=max(vector.dilation for vector in vectors),
        report=report_on([vector.address for vector in vectors], given, roi_labels),
    )


def collect_leaves(
    source: VectorSource,
    vector: EditingVector,
    scale: float,
    rows: tuple[bool, ...],
    leaves: Leaves,
) -> None:
    """Adds `scale` times a vector to `leaves`: its own terms, or itself when it has none."""
    if not vector.terms:
        key = (vector.address, rows)
        leaves[key] = leaves.get(key, 0.0) + scale
    for term in vector.terms:
        kept = tuple(mine and other for mine, other in zip(rows, term.row_mask, strict=True))
        collect_leaves(source, source.get_vector(term.address), scale * term.scale, kept, leaves)


def weighted_sum(terms: Sequence[WeightedDelta]) -> FloatArray:
    """Sum of scale * mask * delta, float32 [num_ws, w_dim].

    The sum is exact in any order: `math.fsum` rounds once, and then once more to float32.

    Raises:
        CompositionError: no term, different shapes, or a scale that is not finite.

    Example:
        >>> import numpy as np
        >>> one = np.ones((2, 3), np.float32)
        >>> weighted_sum([WeightedDelta(one, 0.5), WeightedDelta(one, -0.5)]).any()
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
    if np.abs(total).max() > np.finfo(np.float32).max:
        raise CompositionError("composition: the sum is too large for float32")
    summed: FloatArray = total.reshape(terms[0].delta.shape).astype(np.float32)
    return summed


def contribution(term: WeightedDelta) -> npt.NDArray[np.float64]:
    """What one term adds, float64 [num_ws, w_dim].

    Raises:
        CompositionError: a scale that is not finite or huge, or a row mask of another length.
    """
    if not math.isfinite(term.scale):
        raise CompositionError(f"composition: expected a finite scale, got {term.scale}")
    if abs(term.scale) > MAX_SCALE:
        raise CompositionError(f"composition: scale {term.scale:g} is beyond {MAX_SCALE:g}")
    scaled: npt.NDArray[np.float64] = term.delta.astype(np.float64) * term.scale
    if term.row_mask is not None:
        if len(term.row_mask) != term.delta.shape[0]:
            raise CompositionError(
                f"composition: expected a row mask of {term.delta.shape[0]} rows, got "
                f"{len(term.row_mask)}"
            )
        scaled[~np.array(term.row_mask)] = 0.0
    return scaled


def union_roi(roi_lists: Sequence[Sequence[str]], labels: Sequence[Label]) -> tuple[str, ...]:
    """Every part that one of the lists names, in the order of the label scheme.

    Raises:
        CompositionError: a part that the scheme does not have.
    """
    wanted = {name for names in roi_lists for name in names}
    if unknown := sorted(wanted - {label.name for label in labels}):
        raise CompositionError(
            f"composition: the class of the first term has no part {', '.join(unknown)}"
        )
    return tuple(label.name for label in labels if label.name in wanted)


def check_compatible(vectors: Sequence[EditingVector]) -> None:
    """Refuses terms of different classes, generators or latent spaces.

    Raises:
        CompatibilityError: names the first two that do not go together.
    """
    first = vectors[0]
    for other in vectors[1:]:
        for what, mine, theirs in (
            ("class", first.class_name, other.class_name),
            ("generator", first.generator_digest, other.generator_digest),
            ("latent space", first.latent_space, other.latent_space),
        ):
            if mine != theirs:
                raise CompatibilityError(
                    f"composition: {first.address} and {other.address} differ in {what}: "
                    f"{mine} and {theirs}"
                )


def report_on(
    addresses: Sequence[str], terms: Sequence[WeightedDelta], roi_labels: Sequence[str]
) -> CompositionReport:
    """Measures how the terms work together; a cosine with a term of length 0 is 0."""
    flat = np.stack([contribution(term).ravel() for term in terms])
    norms = np.linalg.norm(flat, axis=1)
    units = flat / np.where(norms > 0, norms, 1.0)[:, None]
    cosines = np.clip(units @ units.T, -1.0, 1.0)
    return CompositionReport(
        addresses=tuple(addresses),
        cosines=tuple(tuple(float(value) for value in row) for row in cosines),
        norms=tuple(float(norm) for norm in norms),
        norm=float(np.linalg.norm(weighted_sum(terms))),
        roi_labels=tuple(roi_labels),
    )


def parse_term(text: str, *, num_ws: int | None = None) -> NewTerm:
    """Parses `smile=0.5`, `avatars/smile@2=1` or `smile[4:9]=0.8` (rows 4 to 8).

    Args:
        text: address, rows and scale.
        num_ws: rows of `ws` in the class; needed where rows are given.

    Raises:
        CompositionError: not a term, a scale that is not finite, or rows outside of `ws`.
        InvalidNameError: not an address.
    """
    match = _TERM.match(text.strip())
    if match is None:
        raise CompositionError(f"term {text!r}: expected NAME=SCALE or NAME[FIRST:LAST]=SCALE")
    parse_address(match["address"])
    try:
        scale = float(match["scale"])
    except ValueError as exc:
        raise CompositionError(
            f"term {text!r}: expected a number after '=', got {match['scale']!r}"
        ) from exc
    if not math.isfinite(scale):
        raise CompositionError(f"term {text!r}: expected a finite scale")
    if match["first"] is None:
        return NewTerm(address=match["address"], scale=scale)
    return NewTerm(
        address=match["address"],
        scale=scale,
        row_mask=_rows(int(match["first"]), int(match["last"]), num_ws, of=f"term {text!r}"),
    )


def _rows(first: int, last: int, num_ws: int | None, *, of: str) -> tuple[bool, ...]:
    if num_ws is None:
        raise CompositionError(f"{of}: rows need a class")
    if not first < last <= num_ws:
        raise CompositionError(f"{of}: expected rows inside 0:{num_ws}, got {first}:{last}")
    return tuple(first <= row < last for row in range(num_ws))
