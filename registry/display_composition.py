"""What people see of a composition before it is stored."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING

from registry.tables import Cell, format_table, range_text

if TYPE_CHECKING:
    from registry.composition_report import CompositionReport


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
    if report.conditions:
        conditions = [(one.address, one.cosine, one.scale, one.norm) for one in report.conditions]
        parts.append(format_table(["without", "cos", "scale", "norm"], conditions))
    before = f" ({report.norm_before:.4g} before projecting)" if report.conditions else ""
    roi = ", ".join(report.roi_labels) or "by brush"
    lines = [f"sum: norm {report.norm:.4g}{before}, roi {roi}"]
    lines += [f"conflict: {conflict}" for conflict in report.conflicts]
    return "\n\n".join([*parts, "\n".join(lines)])


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
