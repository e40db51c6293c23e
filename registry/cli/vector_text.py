"""What people see of entities: texts, printed by the commands."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from editvec.registry.cli.compose_text import kept_text, moved_text
from editvec.registry.composition.pair_metrics import all_together, is_of_pair
from editvec.registry.text_tables import Cell, format_record, format_table

if TYPE_CHECKING:
    from editvec.registry.composition.pair_metrics import Together
    from editvec.registry.entities.classes import ClassModel
    from editvec.registry.entities.vectors import EditingVector, HistoryEntry
    from editvec.registry.sharing.exchange import ImportedVector


def classes_text(found: Sequence[ClassModel]) -> str:
    """A table of class models."""
    rows = [
        (one.address, one.resolution, len(one.labels), one.generator_digest[:12], one.description)
        for one in found
    ]
    return format_table(["class", "resolution", "parts", "generator", "description"], rows)


def vector_text(
    vector: EditingVector,
    *,
    preview: str | None = None,
    used_by: Sequence[str] = (),
    history: Sequence[HistoryEntry] = (),
) -> str:
    """Everything about a vector; of its metrics the newest of every name.

    Args:
        vector: what is told of.
        preview: where its preview lies.
        used_by: addresses of the compositions that it is a term of.
        history: of this version, oldest first.
    """
    metrics = [
        (
            metric.name,
            metric.value,
            None if metric.direction == "none" else f"{metric.direction} is better",
            metric.sample_count,
            metric.backbone,
            metric.probe_set,
            f"{metric.measured_at:%Y-%m-%d}",
        )
        for metric in vector.latest_metrics
        if not is_of_pair(metric)
    ]
    terms = [
        (
            term.address,
            term.scale,
            _rows_text(term.row_mask),
            "projected out" if term.role == "condition" else None,
        )
        for term in vector.terms
    ]
    pairs = [
        (pair.image_digest[:12], pair.mask_before_digest[:12], pair.mask_after_digest[:12])
        for pair in vector.pairs
    ]
    parts = [
        format_record(
            [*_vector_record(vector), ("preview", preview), *_story(vector, used_by, history)]
        )
    ]
    if metrics:
        headers = ["metric", "value", "", "n", "backbone", "probe set", "measured"]
        parts.append(format_table(headers, metrics))
    if beside := all_together(vector):
        headers = ["beside", "together at", "n", "keeps", "overlap", "both move", "probe set"]
        parts.append(format_table(headers, [_beside_row(one) for one in beside]))
    if terms:
        parts.append(format_table(["term", "scale", "rows", ""], terms))
    if pairs:
        parts.append(format_table(["image", "mask before", "mask after"], pairs))
    return "\n\n".join(parts)


def _beside_row(beside: Together) -> tuple[Cell, ...]:
    """What was measured of a vector beside another."""
    return (
        beside.partner,
        f"{beside.scale:g}, {beside.partner_scale:g}",
        beside.count,
        kept_text(beside),
        beside.overlap,
        moved_text(beside),
        beside.probe_set,
    )


def _vector_record(vector: EditingVector) -> list[tuple[str, Cell]]:
    scales = None
    if vector.scale_min is not None and vector.scale_max is not None:
        scales = f"{vector.scale_min:g} to {vector.scale_max:g}"
    shape = f"[{vector.num_ws}, {vector.w_dim}], rows {_rows_text(vector.row_mask)}"
    return [
        ("vector", vector.address),
        ("kind", vector.kind.value),
        ("description", vector.description),
        ("aliases", ", ".join(vector.aliases)),
        ("roi", ", ".join(vector.roi_labels)),
        ("roi policy", _policy_text(vector)),
        ("dilation", f"{vector.dilation} px"),
        ("default scale", vector.default_scale),
        ("usable scales", scales),
        ("space", f"{vector.latent_space.value} {shape}"),
        ("tags", ", ".join(vector.tags)),
        ("license", vector.license),
        ("class", f"{vector.class_name}@{vector.class_version}"),
        ("generator", vector.generator_digest),
        ("delta", vector.delta_digest),
        ("settings", json.dumps(dict(vector.settings)) if vector.settings else None),
        ("engine", vector.engine_version),
        ("kernels", vector.kernel_version),
        ("original file", _file_text(vector.original_name, vector.original_digest)),
    ]


def _policy_text(vector: EditingVector) -> str | None:
    """How the ROI is found, where it is not by the parts alone."""
    if vector.brush_digest is None:
        return None
    return _file_text(vector.roi_policy.value, vector.brush_digest)


def _file_text(name: str | None, digest: str | None) -> str | None:
    return None if digest is None else f"{name} ({digest[:12]})"


def _story(
    vector: EditingVector, used_by: Sequence[str], history: Sequence[HistoryEntry]
) -> list[tuple[str, Cell]]:
    """Who made, added and retired a vector, when and why; and what is made of it."""
    told = {
        entry.action: f"{_when_text(entry.at, entry.by)}{f': {entry.reason}' * bool(entry.reason)}"
        for entry in history
    }
    created, added = _when_text(vector.created_at, vector.created_by), told.get("add", "")
    if added.startswith(created):  # not brought from elsewhere
        created, added = added, ""
    return [
        ("created", created),
        ("added", added),
        ("retired", told.get("retire") if vector.is_retired else None),
        ("used by", ", ".join(used_by)),
    ]


def _when_text(at: datetime, by: str) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC by {by}"


def history_text(entries: Sequence[HistoryEntry]) -> str:
    """A table of what was done."""
    rows = [
        (
            f"{entry.at:%Y-%m-%d %H:%M}",
            entry.by,
            entry.action,
            entry.subject,
            details_text(entry.details),
            entry.reason,
        )
        for entry in entries
    ]
    return format_table(["when (UTC)", "who", "what", "subject", "details", "why"], rows)


def details_text(details: Mapping[str, Any]) -> str:
    """What else is known of a change, in words.

    Example:
        >>> details_text({"alias": "stable", "from": 1, "to": 2})
        'stable: 1 -> 2'
        >>> details_text({"added": ["face"], "removed": ["draft"]})
        '+face -draft'
        >>> details_text({"scale_range": {"from": [None, None], "to": [-0.5, 1.5]}})
        'none -> -0.5 to 1.5'
    """
    if "alias" in details:
        places = (details.get("from"), details.get("to"))
        before, after = ("none" if place is None else place for place in places)
        return f"{details['alias']}: {before} -> {after}"
    if "metrics" in details:
        return ", ".join(f"{one['name']} {one['value']:.4g}" for one in details["metrics"])
    if "digest" in details:
        return str(details["digest"])[:12]
    if "scale_range" in details:
        before, after = (details["scale_range"][which] for which in ("from", "to"))
        return f"{_ends_text(before)} -> {_ends_text(after)}"
    signs = {"+": details.get("added", ()), "-": details.get("removed", ())}
    return " ".join(f"{sign}{tag}" for sign, tags in signs.items() for tag in tags)


def _ends_text(ends: Sequence[float | None]) -> str:
    low, high = ("open" if end is None else f"{end:g}" for end in ends)
    return "none" if low == high == "open" else f"{low} to {high}"


def _rows_text(row_mask: Sequence[bool]) -> str:
    return "".join("1" if touched else "0" for touched in row_mask)


def imported_text(imported: Sequence[ImportedVector]) -> str:
    """What became of the vectors of an archive."""
    rows = [(one.archived_as, one.vector.address, _outcome_text(one)) for one in imported]
    return format_table(["in the archive", "here", "status"], rows)


def _outcome_text(one: ImportedVector) -> str:
    if not one.is_new:
        return "held already, retired" if one.vector.is_retired else "held already"
    return "renumbered, its version is taken" if one.is_renumbered else "new"
