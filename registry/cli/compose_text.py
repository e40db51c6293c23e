"""What people see of a composition before it is stored."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import combinations
from typing import TYPE_CHECKING

from editvec.registry.text_tables import Cell, format_table, range_text

if TYPE_CHECKING:
    from editvec.registry.composition.pair_metrics import Together
    from editvec.registry.composition.report import CompositionReport, PairReport


def composition_text(report: CompositionReport) -> str:
    """The terms of a composition, how they work together, and what speaks against it."""
    parts = [_terms_table(report)]
    shared: list[tuple[Cell, ...]] = [
        (f"{place}, {other}", ",".join(pair.shared_labels), pair.overlap)
        for (place, other), pair in zip(_places(report), report.pairs, strict=True)
        if pair.shared_labels
    ]
    if shared:
        parts.append(format_table(["terms", "shared parts", "overlap"], shared))
    if measured := _measured_rows(report):
        headers = [
            "terms",
            "together at",
            "n",
            "first keeps",
            "second keeps",
            "overlap",
            "moves elsewhere",
        ]
        parts.append(format_table(headers, measured))
    if report.conditions:
        conditions = [(one.address, one.cosine, one.scale, one.norm) for one in report.conditions]
        parts.append(format_table(["without", "cos", "scale", "norm"], conditions))
    before = f" ({report.norm_before:.4g} before projecting)" if report.conditions else ""
    roi = ", ".join(report.roi_labels) or "by brush"
    lines = [f"sum: norm {report.norm:.4g}{before}, roi {roi}"]
    lines += [f"conflict: {conflict}" for conflict in report.conflicts]
    return "\n\n".join([*parts, "\n".join(lines)])


def _measured_rows(report: CompositionReport) -> list[tuple[Cell, ...]]:
    """One row per pair that was measured together; two where its sides are of two measurements."""
    return [
        (
            f"{place}, {other}",
            _scales_text(first, second),
            beside.count,
            kept_text(first),
            kept_text(second),
            beside.overlap,
            moved_text(beside, inside=(*_roi(report, place), *_roi(report, other))),
        )
        for (place, other), pair in zip(_places(report), report.pairs, strict=True)
        for first, second in _sides(pair)
        if (beside := first or second) is not None
    ]


def _sides(pair: PairReport) -> list[tuple[Together | None, Together | None]]:
    """What was measured of both, side by side where it was measured at once."""
    first, second = pair.first_beside, pair.second_beside
    if first is None or second is None or first.is_with(second):
        return [(first, second)]
    return [(first, None), (None, second)]


def _roi(report: CompositionReport, place: int) -> tuple[str, ...]:
    return report.terms[place - 1].roi_labels


def _scales_text(first: Together | None, second: Together | None) -> str:
    """The scales that both had, in the order of the pair."""
    if first is not None:
        return f"{first.scale:g}, {first.partner_scale:g}"
    return "" if second is None else f"{second.partner_scale:g}, {second.scale:g}"


def kept_text(beside: Together | None) -> str:
    """What a vector keeps beside another: of its success, or else of its change.

    Example:
        >>> from editvec.registry.composition.pair_metrics import Kept, Together
        >>> kept_text(Together(partner="avatars/frown@1", scale=1, partner_scale=1, probe_set="",
        ...                    success=Kept(value=0.625, count=40, against="smiling")))
        '62 % (smiling)'
    """
    kept = None if beside is None else beside.kept
    if beside is None or kept is None:
        return ""
    of = f"({kept.against})" if kept is beside.success and kept.against else ""
    return f"{100 * kept.value:.0f} % {of or 'of its change'}"


def moved_text(beside: Together, *, inside: Collection[str] = ()) -> str:
    """The three parts that move most, each with 1 - IoU; those inside do not count."""
    moved = list(beside.moved_beyond(inside).items())[:3]
    return ", ".join(f"{part} {value:.2f}" for part, value in moved)


def _places(report: CompositionReport) -> Iterator[tuple[int, int]]:
    """The numbers of the terms of every pair, from 1."""
    return combinations(range(1, len(report.terms) + 1), 2)


def _terms_table(report: CompositionReport) -> str:
    """One row per term; its cosine with every term stands under that term's number."""
    count = len(report.terms)
    cosines = [[1.0 if term.norm else 0.0] * count for term in report.terms]
    for (place, other), pair in zip(_places(report), report.pairs, strict=True):
        cosines[place - 1][other - 1] = cosines[other - 1][place - 1] = pair.cosine
    rows: list[tuple[Cell, ...]] = [
        (
            term.address,
            term.scale,
            range_text(term.scale_min, term.scale_max),
            term.fit.value,
            term.norm,
            range_text(term.norm_at_min, term.norm_at_max),
            *row,
        )
        for term, row in zip(report.terms, cosines, strict=True)
    ]
    headers = ["term", "scale", "usable", "fit", "norm", "norm at ends"]
    return format_table([*headers, *(f"cos {place + 1}" for place in range(count))], rows)
