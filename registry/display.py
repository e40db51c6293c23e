"""What people see of entities: texts, printed by the commands."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from registry.tables import Cell, format_record, format_table

if TYPE_CHECKING:
    from registry.composition import PlannedComposition
    from registry.entities import ClassModel, EditingVector
    from registry.exchange import ImportedVector


def classes_text(found: Sequence[ClassModel]) -> str:
    """A table of class models."""
    rows = [
        (one.address, one.resolution, len(one.labels), one.generator_digest[:12], one.description)
        for one in found
    ]
    return format_table(["class", "resolution", "parts", "generator", "description"], rows)


def vectors_text(found: Sequence[EditingVector]) -> str:
    """A table of vectors."""
    rows = [
        (
            vector.address,
            vector.kind.value,
            ",".join(vector.roi_labels),
            ",".join(vector.tags),
            f"{vector.created_at:%Y-%m-%d}",
            vector.description,
        )
        for vector in found
    ]
    return format_table(["vector", "kind", "roi", "tags", "created", "description"], rows)


def vector_text(vector: EditingVector) -> str:
    """Everything about a vector."""
    metrics = [
        (metric.name, metric.value, metric.sample_count, metric.backbone, metric.probe_set)
        for metric in vector.metrics
    ]
    terms = [(term.address, term.scale, _rows_text(term.row_mask)) for term in vector.terms]
    pairs = [
        (pair.image_digest[:12], pair.mask_before_digest[:12], pair.mask_after_digest[:12])
        for pair in vector.pairs
    ]
    parts = [format_record(_vector_record(vector))]
    if metrics:
        parts.append(format_table(["metric", "value", "n", "backbone", "probe set"], metrics))
    if terms:
        parts.append(format_table(["term", "scale", "rows"], terms))
    if pairs:
        parts.append(format_table(["image", "mask before", "mask after"], pairs))
    return "\n\n".join(parts)


def _vector_record(vector: EditingVector) -> list[tuple[str, Cell]]:
    scales = None
    if vector.scale_min is not None and vector.scale_max is not None:
        scales = f"{vector.scale_min:g} to {vector.scale_max:g}"
    shape = f"[{vector.num_ws}, {vector.w_dim}], rows {_rows_text(vector.row_mask)}"
    return [
        ("vector", vector.address),
        ("kind", vector.kind.value),
        ("description", vector.description),
        ("roi", ", ".join(vector.roi_labels)),
        ("dilation", f"{vector.dilation} px"),
        ("default scale", vector.default_scale),
        ("usable scales", scales),
        ("space", f"{vector.latent_space.value} {shape}"),
        ("tags", ", ".join(vector.tags)),
        ("license", vector.license),
        ("created", f"{vector.created_at:%Y-%m-%d %H:%M} UTC by {vector.created_by}"),
        ("class", f"{vector.class_name}@{vector.class_version}"),
        ("generator", vector.generator_digest),
        ("delta", vector.delta_digest),
        ("settings", json.dumps(dict(vector.settings)) if vector.settings else None),
    ]


def _rows_text(row_mask: Sequence[bool]) -> str:
    return "".join("1" if touched else "0" for touched in row_mask)


def composition_text(planned: PlannedComposition) -> str:
    """The terms of a composition and how they work together."""
    report = planned.report
    headers = ["term", "scale", "norm", *(f"cos {place + 1}" for place in range(len(report.norms)))]
    rows: list[tuple[Cell, ...]] = [
        (address, term.scale, norm, *cosines)
        for address, term, norm, cosines in zip(
            report.addresses, planned.terms, report.norms, report.cosines, strict=True
        )
    ]
    summary = f"sum: norm {report.norm:.4g}, roi {', '.join(report.roi_labels)}"
    return f"{format_table(headers, rows)}\n{summary}"


def imported_text(imported: Sequence[ImportedVector]) -> str:
    """What became of the vectors of an archive."""
    rows = [
        (one.archived_as, one.vector.address, "new" if one.is_new else "held already")
        for one in imported
    ]
    return format_table(["in the archive", "here", "status"], rows)


def class_text(found: ClassModel) -> str:
    """Everything about a class model."""
    record = [
        ("class", found.address),
        ("description", found.description),
        ("license", found.license),
        ("resolution", f"{found.resolution} x {found.resolution}"),
        ("ws", f"[{found.num_ws}, {found.w_dim}]"),
        ("generator", found.generator_digest),
        ("bundle", found.bundle_digest),
        ("created", f"{found.created_at:%Y-%m-%d %H:%M} UTC by {found.created_by}"),
    ]
    labels = [
        (label.index, label.name, "#{:02x}{:02x}{:02x}".format(*label.color))
        for label in found.labels
    ]
    files = [(file.name, file.size, file.digest[:12]) for file in found.files]
    parts = [
        format_record(record),
        format_table(["label", "part", "color"], labels),
        format_table(["file", "bytes", "digest"], files),
    ]
    return "\n\n".join(parts)
