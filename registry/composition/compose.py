"""Compositions: weighted sums of vectors, from which other vectors may be projected out.

A composition is the weighted sum of its terms, and nothing else. A projection is stored as terms
too (role `condition`), so that the recipe gives the very same delta again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from editvec.registry.addresses import parse_new_address
from editvec.registry.composition.projection import project_out
from editvec.registry.composition.report import CompositionReport, Part, report_on
from editvec.registry.composition.sums import (
    Float64Array,
    Recall,
    VectorSource,
    WeightedDelta,
    contribution,
    sum_of_terms,
    to_float32,
)
from editvec.registry.entities.classes import ClassModel
from editvec.registry.entities.vectors import (
    Condition,
    EditingVector,
    FloatArray,
    Kind,
    LatentSpace,
    NewTerm,
    NewVector,
    RoiPolicy,
    TermRole,
    VectorParcel,
    require_active,
)
from editvec.registry.errors import CompatibilityError, CompositionError
from editvec.registry.labels.label import Label
from editvec.registry.masks.brushes import decode_brush, union_of_brushes
from editvec.registry.release import engine_version

MAX_SCALE = 1e9
"""Larger scales mean nothing."""

CANCELLED = 1e-6
"""Shorter than this part of what went in, a result is what float32 rounded, and no edit."""

Rows = tuple[bool, ...]


@dataclass(frozen=True, kw_only=True)
class PlannedComposition:
    """A composition that could be stored.

    Attributes:
        model: the class model, the newest of the terms'.
        latent_space: that of the terms; W+ where the rows of a sum in W differ.
        terms: as they were given, versions pinned; then what was projected out.
        delta: the result, [num_ws, w_dim].
        row_mask: the rows that it touches.
        roi_policy: by labels, by brush, or both, as the terms have it.
        brush_png: what one of the terms' brushes paints; None without any.
        dilation: the largest of the terms' ROI buffers.
        made_of: the addresses of all vectors that it is made of, through however many others.
        report: how the terms work together.
    """

    model: ClassModel
    latent_space: LatentSpace
    terms: tuple[NewTerm, ...]
    delta: FloatArray
    row_mask: Rows
    roi_policy: RoiPolicy
    brush_png: bytes | None
    dilation: int
    made_of: frozenset[str]
    report: CompositionReport


def plan(
    source: VectorSource,
    terms: Sequence[NewTerm],
    *,
    conditions: Sequence[Condition] = (),
    class_name: str | None = None,
    roi_labels: Sequence[str] | None = None,
) -> PlannedComposition:
    """Sums terms from a library, projects the conditions out, and measures how all work together.

    Args:
        source: the library.
        terms: at least one; a composition among them counts as its own terms, scaled.
        conditions: what the result shall be orthogonal to.
        class_name: the class for addresses without one.
        roi_labels: None means the union of the terms' ROIs, in the order of the scheme. Conditions
            add nothing to it: what they do is taken out.

    Raises:
        CompositionError: no terms, a bad scale, or a result that cancels to zero.
        CompatibilityError: terms of different classes, generators or latent spaces.
        RetiredVectorError: a retired term.
        LabelNotFoundError: an ROI part that the class does not have.
    """
    if not terms:
        raise CompositionError("composition: expected one term at least")
    recall = Recall(source)
    summands = [_summand(recall, term, class_name) for term in terms]
    exclusions = [_exclusion(recall, condition, class_name) for condition in conditions]
    check_compatible([one.vector for one in (*summands, *exclusions)])
    vectors = [one.vector for one in summands]
    before = _sum_of(recall, summands)
    exclusions = _solve(before, exclusions)
    pinned = tuple(one.term for one in (*summands, *exclusions))
    delta = to_float32(sum_of_terms(recall, pinned))
    _check_remainder(delta, before)
    model = max(
        (source.get_class(f"{one.class_name}@{one.class_version}") for one in vectors),
        key=lambda model: model.version,
    )
    region = _region_of(source, vectors, model, roi_labels)
    row_mask = tuple((delta != 0).any(axis=1).tolist())
    return PlannedComposition(
        model=model,
        latent_space=_space_of(vectors[0], delta, row_mask),
        terms=pinned,
        delta=delta,
        row_mask=row_mask,
        roi_policy=region.policy,
        brush_png=region.brush_png,
        dilation=max(vector.dilation for vector in vectors),
        made_of=recall.addresses,
        report=report_on(
            summands,
            exclusions,
            before=before,
            after=delta.astype(np.float64),
            roi_labels=region.labels,
        ),
    )


def parcel_of(
    planned: PlannedComposition,
    address: str,
    *,
    license: str = "",  # noqa: A002 (the record's word)
    description: str = "",
    tags: Sequence[str] = (),
) -> VectorParcel:
    """What is to be stored of a composition.

    Raises:
        InvalidNameError: not the address of a new vector.
        CompatibilityError: the address names another class than the terms'.
        CompositionError: a version that would be made of itself.
    """
    wanted, class_name = parse_new_address(address), planned.model.name
    if wanted.class_name not in (None, class_name):
        raise CompatibilityError(
            f"composition {address}: expected terms of class {wanted.class_name}, got class "
            f"{class_name}"
        )
    if f"{class_name}/{wanted.name}@{wanted.version}" in planned.made_of:
        raise CompositionError(
            f"composition {address}: a version cannot be made of itself; without '@"
            f"{wanted.version}' it becomes the next version"
        )
    new = NewVector(
        class_name=planned.model.address,
        name=wanted.name,
        version=wanted.version,
        kind=Kind.COMPOSED,
        latent_space=planned.latent_space,
        roi_labels=planned.report.roi_labels,
        roi_policy=planned.roi_policy,
        row_mask=planned.row_mask,
        dilation=planned.dilation,
        engine_version=engine_version(),  # no kernel: a sum is exact on every device
        license=license,
        description=description,
        tags=tuple(tags),
    )
    return VectorParcel(
        new=new, delta=planned.delta, terms=planned.terms, brush_png=planned.brush_png
    )


def recompute(source: VectorSource, vector: EditingVector) -> FloatArray:
    """The delta of a composition from its recipe: the bytes that were stored.

    Raises:
        CompositionError: the vector has no terms.
    """
    terms = [
        NewTerm(address=term.address, scale=term.scale, row_mask=term.row_mask, role=term.role)
        for term in vector.terms
    ]
    if not terms:
        raise CompositionError(f"vector {vector.address}: it is no composition")
    return to_float32(sum_of_terms(Recall(source), terms))


def union_roi(roi_lists: Sequence[Sequence[str]], labels: Sequence[Label]) -> tuple[str, ...]:
    """Every part that one of the lists names, in the order of the label scheme.

    Raises:
        CompositionError: a part that the scheme does not have.
    """
    wanted = {name for names in roi_lists for name in names}
    if unknown := sorted(wanted - {label.name for label in labels}):
        raise CompositionError(
            f"composition: the newest class of the terms has no part {', '.join(unknown)}"
        )
    return tuple(label.name for label in labels if label.name in wanted)


def check_compatible(vectors: Sequence[EditingVector]) -> None:
    """Refuses terms of different classes, generators, latent spaces or shapes.

    Raises:
        CompatibilityError: names the first two that do not go together.
    """
    first = vectors[0]
    for other in vectors[1:]:
        for what, mine, theirs in (
            ("class", first.class_name, other.class_name),
            ("generator", first.generator_digest, other.generator_digest),
            ("latent space", first.latent_space, other.latent_space),
            ("shape", [first.num_ws, first.w_dim], [other.num_ws, other.w_dim]),
        ):
            if mine != theirs:
                raise CompatibilityError(
                    f"composition: {first.address} and {other.address} differ in {what}: "
                    f"{mine} and {theirs}"
                )


# --- terms and conditions ---


def _summand(recall: Recall, term: NewTerm, class_name: str | None) -> Part:
    """A term with its version pinned and its rows named."""
    of = f"term {term.address}"
    if term.role is not TermRole.SUM:
        raise CompositionError(f"{of}: expected a summand; give what to project out as a condition")
    if not abs(term.scale) <= MAX_SCALE:
        raise CompositionError(f"{of}: scale {term.scale:g} is beyond {MAX_SCALE:g}")
    vector = recall.vector(term.address, class_name)
    require_active(vector, of=of)
    pinned = NewTerm(
        address=vector.address,
        scale=float(term.scale),
        row_mask=_rows_of(vector, term.row_mask, of=of),
    )
    adds = WeightedDelta(recall.delta(vector.address), pinned.scale, pinned.row_mask)
    return Part(vector, pinned, contribution(adds))


def _exclusion(recall: Recall, condition: Condition, class_name: str | None) -> Part:
    """A condition before it is solved."""
    of = f"condition {condition.address}"
    vector = recall.vector(condition.address, class_name)
    require_active(vector, of=of)
    rows = _rows_of(vector, condition.row_mask, of=of)
    term = NewTerm(address=vector.address, scale=1.0, row_mask=rows, role=TermRole.CONDITION)
    # from its leaves as the result is, not from its stored delta: where conditions are nearly
    # dependent, large coefficients would blow up the rounding between the two
    return Part(vector, term, sum_of_terms(recall, [term]))


def _rows_of(vector: EditingVector, row_mask: Rows | None, *, of: str) -> Rows:
    if row_mask is None:
        return (True,) * vector.num_ws
    if len(row_mask) != vector.num_ws or not any(row_mask):
        raise CompositionError(
            f"{of}: expected a row mask of {vector.num_ws} rows with one true at least, got "
            f"{list(row_mask)}"
        )
    return tuple(bool(row) for row in row_mask)


def _sum_of(recall: Recall, summands: Sequence[Part]) -> Float64Array:
    total = sum_of_terms(recall, [one.term for one in summands])
    longest = max(np.linalg.norm(one.array) for one in summands)
    if np.linalg.norm(total) <= CANCELLED * longest:
        raise CompositionError("composition: the terms cancel to zero")
    return total


def _solve(total: Float64Array, exclusions: Sequence[Part]) -> list[Part]:
    """The conditions with the scales that project them out of a sum; one named twice counts once.

    Only the rows count that the sum touches: elsewhere it is 0, so that what is orthogonal there
    is orthogonal to the whole condition, and the result touches no row that the sum does not.
    """
    touched = (total != 0).any(axis=1)
    # in an order of their own: rounding must not depend on how they were given
    unique = {
        (one.vector.address, one.term.row_mask or ()): one
        for one in (_narrowed(exclusion, touched.tolist()) for exclusion in exclusions)
    }
    solved = dict(sorted(unique.items()))
    if not solved:
        return []
    conditions = np.stack([one.array.ravel() for one in solved.values()])
    taken = dict(zip(solved, project_out(total, conditions).coefficients.tolist(), strict=True))
    return [
        replace(one, term=replace(one.term, scale=0.0 - taken[key])) for key, one in unique.items()
    ]


def _narrowed(exclusion: Part, touched: Sequence[bool]) -> Part:
    """A condition on the rows of the sum; where they share none, it keeps its rows and is zero."""
    rows = exclusion.term.row_mask or ()
    kept = tuple(mine and theirs for mine, theirs in zip(rows, touched, strict=True))
    delta = np.where(np.array(kept)[:, None], exclusion.array, 0.0)
    term = replace(exclusion.term, row_mask=kept if any(kept) else rows)
    return Part(exclusion.vector, term, delta)


def _check_remainder(delta: FloatArray, before: Float64Array) -> None:
    length_before = np.linalg.norm(before)
    if not delta.any() and length_before < np.finfo(np.float32).tiny:
        raise CompositionError("composition: the sum is too small for float32")
    if np.linalg.norm(delta.astype(np.float64)) <= CANCELLED * length_before:
        raise CompositionError(
            "composition: the terms cancel to zero, because nothing of them is left without the "
            "conditions"
        )


# --- the record ---


def _space_of(first: EditingVector, delta: FloatArray, row_mask: Rows) -> LatentSpace:
    """A sum in W is in W+ as soon as its rows differ, which row masks make them do."""
    touched = delta[np.array(row_mask)]
    if first.latent_space is LatentSpace.W and (touched != touched[0]).any():
        return LatentSpace.W_PLUS
    return first.latent_space


class Region(NamedTuple):
    """What a composition may change."""

    labels: tuple[str, ...]
    policy: RoiPolicy
    brush_png: bytes | None


def _region_of(
    source: VectorSource,
    vectors: Sequence[EditingVector],
    model: ClassModel,
    roi_labels: Sequence[str] | None,
) -> Region:
    """The given parts; or the union of the terms': by brush, by labels, or by both."""
    if roi_labels:
        return Region(model.parts(roi_labels), RoiPolicy.LABELS, None)
    labels = union_roi([vector.roi_labels for vector in vectors], model.labels)
    brushes = [
        decode_brush(source.blobs.get(one.brush_digest), model, of=f"brush of {one.address}")
        for one in vectors
        if one.brush_digest is not None
    ]
    if not brushes:
        return Region(labels, RoiPolicy.LABELS, None)
    by_brush = all(one.roi_policy is RoiPolicy.BRUSH for one in vectors)
    policy = RoiPolicy.BRUSH if by_brush else RoiPolicy.UNION
    return Region(labels, policy, union_of_brushes(brushes))
