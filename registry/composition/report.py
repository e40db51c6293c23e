"""How the terms of a composition work together: measured, and said in sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

import numpy as np

from editvec.registry.composition.pair_metrics import FEWEST_IMAGES, Together, measured_together
from editvec.registry.composition.sums import Float64Array
from editvec.registry.entities.vectors import EditingVector, NewTerm
from editvec.registry.text_tables import range_text

OPPOSING_COSINE = -0.5
"""Terms that oppose each other more than this: of two equally long ones, the sum is shorter than
either of them."""

DUPLICATE_COSINE = 0.9
"""Terms that agree more than this: they differ by less than 0.45 of their length, so their sum is
one edit at a larger scale rather than two edits."""

TAKEN_SHARE = 0.5
"""A projection that takes more than this of the sum's length: what is left is another edit."""


KEPT_SHARE = 0.8
"""A term that keeps less than this of its success beside another one is disturbed by it."""

MOVED_SHARE = 0.5
"""1 - IoU of a part: beyond this, less of it stays where it was than is new or gone."""


class ScaleFit(StrEnum):
    """A scale against the usable range of its vector."""

    INSIDE = "inside"
    OUTSIDE = "outside"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class TermReport:
    """One summand.

    Attributes:
        address: the vector, its version pinned.
        scale: its factor.
        scale_min, scale_max: the usable range of the vector, where it was measured.
        fit: the scale against that range.
        norm: the length of what the term adds, after scale and row mask.
        norm_at_min, norm_at_max: what that length would be at the ends of the range.
        roi_labels: the parts that it may change.
    """

    address: str
    scale: float
    scale_min: float | None
    scale_max: float | None
    fit: ScaleFit
    norm: float
    norm_at_min: float | None
    norm_at_max: float | None
    roi_labels: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PairReport:
    """Two summands.

    Attributes:
        first, second: their addresses.
        cosine: the angle between what they add; 0 where one adds nothing.
        shared_labels: the parts that both may change, in the order of the first.
        overlap: the Jaccard index of their ROI labels, 0 to 1.
        first_beside: the first beside the second, where these versions were measured together; at
            other scales than these where nothing else is known.
        second_beside: the second beside the first, likewise.
    """

    first: str
    second: str
    cosine: float
    shared_labels: tuple[str, ...]
    overlap: float
    first_beside: Together | None = None
    second_beside: Together | None = None


@dataclass(frozen=True, kw_only=True)
class ConditionReport:
    """One vector that was projected out.

    Attributes:
        address: the vector, its version pinned.
        cosine: the angle between it and the sum before the projection, on the rows of both.
        scale: the factor that the projection gave it.
        norm: the length of what it took.
    """

    address: str
    cosine: float
    scale: float
    norm: float


@dataclass(frozen=True, kw_only=True)
class CompositionReport:
    """What a composition is made of, before it is stored.

    Attributes:
        terms: the summands, as given.
        pairs: every two of them: (1, 2), (1, 3), ..., (2, 3), ...
        conditions: what was projected out.
        norm: the length of the result.
        norm_before: the length of the sum, before the projection.
        roi_labels: the ROI that the composition gets.
        conflicts: what to think about before it is stored, one sentence each.
    """

    terms: tuple[TermReport, ...]
    pairs: tuple[PairReport, ...]
    conditions: tuple[ConditionReport, ...]
    norm: float
    norm_before: float
    roi_labels: tuple[str, ...]
    conflicts: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """A summand or a condition.

    Attributes:
        vector: the vector.
        term: its version pinned, its rows named.
        array: what a summand adds, or the delta of a condition on the rows that count, float64
            [num_ws, w_dim].
    """

    vector: EditingVector
    term: NewTerm
    array: Float64Array


def report_on(
    summands: Sequence[Part],
    exclusions: Sequence[Part],
    *,
    before: Float64Array,
    after: Float64Array,
    roi_labels: Sequence[str],
) -> CompositionReport:
    """Measures how terms and conditions work together.

    Args:
        summands: at least one.
        exclusions: what was projected out.
        before: the sum, [num_ws, w_dim].
        after: the result of the projection; `before` again without one.
        roi_labels: the ROI that the composition gets.
    """
    terms = tuple(_term_report(one) for one in summands)
    pairs = tuple(_pair_report(one, other) for one, other in combinations(summands, 2))
    conditions = tuple(_condition_report(one, before) for one in exclusions)
    norm, norm_before = _norm(after), _norm(before)
    return CompositionReport(
        terms=terms,
        pairs=pairs,
        conditions=conditions,
        norm=norm,
        norm_before=norm_before,
        roi_labels=tuple(roi_labels),
        conflicts=(
            *(line for term in terms for line in _scale_conflicts(term)),
            *(
                line
                for (one, other), pair in zip(combinations(summands, 2), pairs, strict=True)
                for line in _pair_conflicts(one, other, pair)
            ),
            *_bundle_conflicts([one.vector for one in (*summands, *exclusions)]),
            *(line for condition in conditions for line in _condition_conflicts(condition)),
            *_projection_conflicts(norm, norm_before),
        ),
    )


def cosine_between(one: Float64Array, other: Float64Array) -> float:
    """The cosine of the angle between two arrays; 0 where one of them is zero."""
    lengths = _norm(one), _norm(other)
    if not all(lengths):
        return 0.0
    units = one.ravel() / lengths[0], other.ravel() / lengths[1]
    return float(np.clip(units[0] @ units[1], -1.0, 1.0))


def scale_fit(scale: float, scale_min: float | None, scale_max: float | None) -> ScaleFit:
    """A scale against a range that may be known at one end only."""
    lowest = -math.inf if scale_min is None else scale_min
    highest = math.inf if scale_max is None else scale_max
    if not lowest <= scale <= highest:
        return ScaleFit.OUTSIDE
    return ScaleFit.UNKNOWN if scale_min is None or scale_max is None else ScaleFit.INSIDE


# --- measuring ---


def _term_report(summand: Part) -> TermReport:
    vector, scale, norm = summand.vector, summand.term.scale, _norm(summand.array)

    def norm_at(end: float | None) -> float | None:
        return None if end is None or scale == 0 else norm / abs(scale) * abs(end)

    return TermReport(
        address=vector.address,
        scale=scale,
        scale_min=vector.scale_min,
        scale_max=vector.scale_max,
        fit=scale_fit(scale, vector.scale_min, vector.scale_max),
        norm=norm,
        norm_at_min=norm_at(vector.scale_min),
        norm_at_max=norm_at(vector.scale_max),
        roi_labels=vector.roi_labels,
    )


def _pair_report(one: Part, other: Part) -> PairReport:
    first, second = one.vector.roi_labels, other.vector.roi_labels
    scales = one.term.scale, other.term.scale
    shared = tuple(label for label in first if label in second)
    either = len({*first, *second})
    return PairReport(
        first=one.vector.address,
        second=other.vector.address,
        cosine=cosine_between(one.array, other.array),
        shared_labels=shared,
        overlap=len(shared) / either if either else 0.0,
        first_beside=measured_together(one.vector, other.vector, scales=scales),
        second_beside=measured_together(other.vector, one.vector, scales=scales[::-1]),
    )


def _condition_report(exclusion: Part, before: Float64Array) -> ConditionReport:
    scale = exclusion.term.scale
    return ConditionReport(
        address=exclusion.vector.address,
        cosine=cosine_between(exclusion.array, before),
        scale=scale,
        norm=abs(scale) * _norm(exclusion.array),
    )


def _norm(array: Float64Array) -> float:
    return float(np.linalg.norm(array))


# --- saying ---


def _scale_conflicts(term: TermReport) -> list[str]:
    if term.fit is not ScaleFit.OUTSIDE:
        return []
    return [
        f"{term.address}: scale {term.scale:g} is outside of its usable range, "
        f"{range_text(term.scale_min, term.scale_max)}"
    ]


def _pair_conflicts(one: Part, other: Part, pair: PairReport) -> list[str]:
    if pair.first == pair.second:
        return _repetition_conflicts(one, other)
    lines = []
    if (one.vector.class_name, one.vector.name) == (other.vector.class_name, other.vector.name):
        lines.append(f"{pair.first} and {pair.second} are versions of one vector")
    if pair.cosine > DUPLICATE_COSINE:
        lines.append(
            f"{pair.first} and {pair.second} do nearly the same (cosine {pair.cosine:.2f}): "
            "together they are one edit at a larger scale"
        )
    if pair.cosine < OPPOSING_COSINE and pair.shared_labels:
        lines.append(
            f"{pair.first} and {pair.second} oppose each other (cosine {pair.cosine:.2f}) on "
            f"{', '.join(pair.shared_labels)}"
        )
    return [*lines, *_measured_conflicts(one, other, pair)]


def _measured_conflicts(one: Part, other: Part, pair: PairReport) -> list[str]:
    """What a measurement of both together, at these scales, speaks against them."""
    scales = one.term.scale, other.term.scale
    sides = (
        (pair.first, pair.second, _that_counts(pair.first_beside, scales)),
        (pair.second, pair.first, _that_counts(pair.second_beside, scales[::-1])),
    )
    lines = []
    for name, partner, beside in sides:
        kept = None if beside is None else beside.kept
        if beside is None or kept is None or kept.count < FEWEST_IMAGES:
            continue
        if kept.value < KEPT_SHARE:
            lines.append(
                f"measured together on {kept.count} images: {name} keeps {kept.value:.0%} of its "
                f"{'success' if kept is beside.success else 'change'} beside {partner}, at scales "
                f"{beside.scale:g} and {beside.partner_scale:g}"
            )
    inside = {*one.vector.roi_labels, *other.vector.roi_labels}
    either = next((beside for _, _, beside in sides if beside is not None), None)
    moved = {} if either is None else either.moved_beyond(inside, MOVED_SHARE)
    if either is not None and moved:
        lines.append(
            f"measured together on {either.count} images: {pair.first} and {pair.second} "
            f"change {', '.join(moved)}, which neither of them may"
        )
    return lines


def _that_counts(beside: Together | None, scales: tuple[float, float]) -> Together | None:
    """A measurement at the scales of the terms and of enough images; None for any other."""
    if beside is None or not beside.is_enough or not beside.is_at(*scales):
        return None
    return beside


def _repetition_conflicts(one: Part, other: Part) -> list[str]:
    """The same version twice is fine on different rows; on the same ones its scales add up."""
    rows = zip(one.term.row_mask or (), other.term.row_mask or (), strict=True)
    if not any(mine and theirs for mine, theirs in rows):
        return []
    total = one.term.scale + other.term.scale
    vector = one.vector
    fit = scale_fit(total, vector.scale_min, vector.scale_max)
    beyond = (
        f", outside of its usable range, {range_text(vector.scale_min, vector.scale_max)}"
        if fit is ScaleFit.OUTSIDE
        else ""
    )
    return [
        f"{vector.address} is there twice: its scale adds up to {total:g} on the rows that both "
        f"terms touch{beyond}"
    ]


def _bundle_conflicts(vectors: Sequence[EditingVector]) -> list[str]:
    """Terms of one generator, learned with different versions of the other networks."""
    first = vectors[0]
    other = next((one for one in vectors if one.bundle_digest != first.bundle_digest), None)
    if other is None:
        return []
    return [
        f"{first.address} is of class {first.class_name}@{first.class_version} and "
        f"{other.address} of {other.class_name}@{other.class_version}: one generator, but other "
        "networks or parts"
    ]


def _condition_conflicts(condition: ConditionReport) -> list[str]:
    if round(condition.cosine, 6) != 0.0:
        return []
    return [f"{condition.address}: there is nothing of it in the sum that could be projected out"]


def _projection_conflicts(norm: float, norm_before: float) -> list[str]:
    share = 1.0 - norm / norm_before
    if share <= TAKEN_SHARE:
        return []
    return [f"the projection takes {share:.0%} of the sum's length: what is left is another edit"]
