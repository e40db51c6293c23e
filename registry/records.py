"""Rows to entities and back: the store's translation, without a query of its own."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar

from registry.bundles import BundleManifest
from registry.database import now
from registry.entities import (
    MAX_NAME_LENGTH,
    BundleFile,
    ClassModel,
    Direction,
    EditingVector,
    HistoryEntry,
    Kind,
    Label,
    LatentSpace,
    MaskPair,
    Metric,
    NewMetric,
    NewVector,
    RoiPolicy,
    Term,
    check_name,
)
from registry.errors import CompatibilityError, LabelNotFoundError, RecordError
from registry.models import (
    ClassFileRow,
    ClassLabelRow,
    ClassRow,
    HistoryRow,
    MetricRow,
    RoiLabelRow,
    TagRow,
    VectorRow,
)

_Value = TypeVar("_Value", Kind, LatentSpace, RoiPolicy, Direction)


# --- class models ---


def class_row(manifest: BundleManifest, *, name: str, version: int, created_by: str) -> ClassRow:
    """The rows of a new version of a class."""
    return ClassRow(
        name=name,
        version=version,
        generator_digest=manifest.generator_digest,
        bundle_digest=manifest.bundle_digest,
        resolution=manifest.resolution,
        num_ws=manifest.num_ws,
        w_dim=manifest.w_dim,
        z_dim=manifest.z_dim,
        valid_rectangle=list(manifest.valid_rectangle),
        license=manifest.license,
        description=manifest.description,
        created_at=now(),
        created_by=created_by,
        labels=[
            ClassLabelRow(
                label_index=label.index,
                name=label.name,
                red=label.color[0],
                green=label.color[1],
                blue=label.color[2],
            )
            for label in manifest.labels
        ],
        files=[
            ClassFileRow(name=file.name, digest=file.digest, size=file.size)
            for file in sorted(manifest.files, key=lambda file: file.name)
        ],
    )


def class_model(row: ClassRow) -> ClassModel:
    """The entity of a class row."""
    top, left, bottom, right = row.valid_rectangle
    return ClassModel(
        id=row.id,
        name=row.name,
        version=row.version,
        generator_digest=row.generator_digest,
        bundle_digest=row.bundle_digest,
        resolution=row.resolution,
        num_ws=row.num_ws,
        w_dim=row.w_dim,
        z_dim=row.z_dim,
        valid_rectangle=(top, left, bottom, right),
        labels=tuple(
            Label(label.label_index, label.name, (label.red, label.green, label.blue))
            for label in row.labels
        ),
        files=tuple(BundleFile(file.name, file.digest, file.size) for file in row.files),
        license=row.license,
        description=row.description,
        created_at=row.created_at,
        created_by=row.created_by,
    )


# --- vectors ---


def vector_row(
    new: NewVector, model: ClassModel, *, delta_digest: str, version: int, created_by: str
) -> VectorRow:
    """The rows of a new version of a vector, without pairs, terms and metrics.

    Raises:
        LabelNotFoundError: an ROI part that the class does not have.
        CompatibilityError: another generator's vector, or a row mask of another length.
        RecordError: a value that is none of the allowed words or numbers.
    """
    check_origin(new, model)
    check_ranges(new)
    return VectorRow(
        class_id=model.id,
        class_name=model.name,
        name=check_name(new.name, of="vector name"),
        version=version,
        kind=one_of(Kind, new.kind, of="kind"),
        latent_space=one_of(LatentSpace, new.latent_space, of="latent space"),
        num_ws=model.num_ws,
        w_dim=model.w_dim,
        generator_digest=model.generator_digest,
        delta_digest=delta_digest,
        content_digest=content_digest_of(new, model, delta_digest=delta_digest),
        row_mask=row_mask_text(new.row_mask, num_ws=model.num_ws),
        roi_policy=one_of(RoiPolicy, new.roi_policy, of="ROI policy"),
        dilation=dilation_of(new, model),
        settings=checked_json(new.settings, of="settings"),
        default_scale=checked_number(new.default_scale, of="default scale"),
        scale_min=optional_number(new.scale_min, of="scale minimum"),
        scale_max=optional_number(new.scale_max, of="scale maximum"),
        license=checked_text(new.license, of="license"),
        description=checked_text(new.description, of="description"),
        created_at=new.created_at or now(),
        created_by=checked_text(new.created_by or created_by, of="created by", max_length=200),
        roi=[
            RoiLabelRow(position=position, label_name=name)
            for position, name in enumerate(checked_roi(new.roi_labels, model))
        ],
        tags=[TagRow(tag=check_name(tag, of="tag")) for tag in sorted(set(new.tags))],
    )


def editing_vector(row: VectorRow) -> EditingVector:
    """The entity of a vector row."""
    return EditingVector(
        id=row.id,
        class_name=row.class_name,
        class_version=row.class_model.version,
        name=row.name,
        version=row.version,
        kind=Kind(row.kind),
        latent_space=LatentSpace(row.latent_space),
        num_ws=row.num_ws,
        w_dim=row.w_dim,
        generator_digest=row.generator_digest,
        bundle_digest=row.class_model.bundle_digest,
        delta_digest=row.delta_digest,
        row_mask=parse_row_mask(row.row_mask),
        roi_labels=tuple(label.label_name for label in row.roi),
        roi_policy=RoiPolicy(row.roi_policy),
        dilation=row.dilation,
        settings=row.settings,
        default_scale=row.default_scale,
        scale_min=row.scale_min,
        scale_max=row.scale_max,
        license=row.license,
        description=row.description,
        tags=tuple(tag.tag for tag in row.tags),
        created_at=row.created_at,
        created_by=row.created_by,
        metrics=tuple(_metric(metric) for metric in row.metrics),
        terms=tuple(
            Term(
                address=f"{term.term_vector.class_name}/{term.term_vector.name}"
                f"@{term.term_vector.version}",
                scale=term.scale,
                row_mask=parse_row_mask(term.row_mask),
            )
            for term in row.terms
        ),
        pairs=tuple(
            MaskPair(
                image_digest=pair.image_digest,
                mask_before_digest=pair.mask_before_digest,
                mask_after_digest=pair.mask_after_digest,
                source_ws_digest=pair.source_ws_digest,
            )
            for pair in row.pairs
        ),
    )


def metric_row(metric: NewMetric) -> MetricRow:
    """The row of a new metric; a metric that was stored elsewhere keeps its time.

    Raises:
        RecordError: a value that no database keeps, or a count of no samples.
    """
    if metric.sample_count < 1:
        raise RecordError(f"metric {metric.name}: expected one sample at least")
    return MetricRow(
        name=check_name(metric.name, of="metric name"),
        value=checked_number(metric.value, of=f"metric {metric.name}"),
        direction=one_of(Direction, metric.direction, of=f"direction of metric {metric.name}"),
        backbone=optional_text(metric.backbone, of="backbone", max_length=MAX_NAME_LENGTH),
        sample_count=metric.sample_count,
        probe_set=optional_text(metric.probe_set, of="probe set", max_length=200),
        settings=checked_json(metric.settings, of=f"settings of metric {metric.name}"),
        measured_at=metric.measured_at if isinstance(metric, Metric) else now(),
    )


def _metric(row: MetricRow) -> Metric:
    return Metric(
        name=row.name,
        value=row.value,
        direction=Direction(row.direction),
        backbone=row.backbone,
        sample_count=row.sample_count,
        probe_set=row.probe_set,
        settings=row.settings,
        measured_at=row.measured_at,
    )


def history_entry(row: HistoryRow) -> HistoryEntry:
    """The entity of a history row."""
    return HistoryEntry(
        at=row.at, by=row.by, action=row.action, subject=row.subject, reason=row.reason
    )


def as_json(value: Any) -> Any:
    """Any entity as JSON knows it: objects, lists, texts; an address where it has one."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        content = {field.name: as_json(getattr(value, field.name)) for field in fields(value)}
        address = getattr(value, "address", None)
        return content if address is None else {"address": address, **content}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): as_json(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(entry) for entry in value]
    return value.value if isinstance(value, Enum) else value


# --- checks ---


def content_digest_of(new: NewVector, model: ClassModel, *, delta_digest: str) -> str:
    """What makes two vectors the same: generator, space, delta, rows and ROI; not their story."""
    content = [
        model.generator_digest,
        str(new.latent_space),
        delta_digest,
        row_mask_text(new.row_mask, num_ws=model.num_ws),
        list(new.roi_labels),
        str(new.roi_policy),
        dilation_of(new, model),
    ]
    canonical = json.dumps(content, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def check_ranges(new: NewVector) -> None:
    """Refuses a version below 1 and a scale range that is upside down.

    Raises:
        RecordError: says which.
    """
    if new.version is not None and new.version < 1:
        raise RecordError(f"vector {new.name}: expected a version of 1 or more, got {new.version}")
    if new.scale_min is not None and new.scale_max is not None and new.scale_min > new.scale_max:
        raise RecordError(
            f"vector {new.name}: scale range from {new.scale_min} to {new.scale_max} is upside down"
        )


def dilation_of(new: NewVector, model: ClassModel) -> int:
    """The ROI buffer in pixels; by default 3 at 512 px, scaled with the resolution, at least 1.

    Raises:
        RecordError: negative.
    """
    if new.dilation is None:
        return max(1, round(3 * model.resolution / 512))
    if new.dilation < 0:
        raise RecordError(f"dilation: expected 0 pixels or more, got {new.dilation}")
    return new.dilation


def check_origin(new: NewVector, model: ClassModel) -> None:
    """Refuses a vector of another generator.

    Raises:
        CompatibilityError: shows both digests.
    """
    if new.generator_digest is not None and new.generator_digest != model.generator_digest:
        raise CompatibilityError(
            f"vector {new.name}: it belongs to generator {new.generator_digest}, class "
            f"{model.address} has generator {model.generator_digest}"
        )


def checked_roi(names: Sequence[str], model: ClassModel) -> list[str]:
    """The ROI part names, every one known to the class and none twice.

    Raises:
        LabelNotFoundError: a part that the class does not have, or none at all.
    """
    if isinstance(names, str) or not names:
        raise LabelNotFoundError(
            f"ROI: expected at least one part of class {model.address}: "
            f"{', '.join(model.label_names)}"
        )
    for name in names:
        model.label(name)
    if len(set(names)) != len(names):
        raise LabelNotFoundError(f"ROI: a part is named twice in {', '.join(names)}")
    return list(names)


def row_mask_text(row_mask: Sequence[bool] | None, *, num_ws: int) -> str:
    """A row mask as one character per row of `ws`; None means all rows.

    Raises:
        CompatibilityError: another length, or no row at all.
    """
    if row_mask is None:
        return "1" * num_ws
    if len(row_mask) != num_ws or not any(row_mask):
        raise CompatibilityError(
            f"row mask: expected {num_ws} values with one true at least, got {list(row_mask)}"
        )
    return "".join("1" if touched else "0" for touched in row_mask)


def parse_row_mask(text: str) -> tuple[bool, ...]:
    """The inverse of `row_mask_text`."""
    return tuple(character == "1" for character in text)


def one_of(kind: type[_Value], value: str, *, of: str) -> _Value:
    """The member of an enumeration.

    Raises:
        RecordError: lists the members.
    """
    try:
        return kind(value)
    except ValueError as exc:
        raise RecordError(f"{of}: expected one of {', '.join(kind)}, got {value!r}") from exc


def checked_number(value: float, *, of: str) -> float:
    """A finite float.

    Raises:
        RecordError: NaN or infinity, which no database keeps faithfully.
    """
    number = float(value)
    if not math.isfinite(number):
        raise RecordError(f"{of}: expected a finite number, got {value!r}")
    return number


def checked_text(value: str, *, of: str, max_length: int = 10_000) -> str:
    """A text that every database keeps faithfully.

    Raises:
        RecordError: too long, a NUL, or bytes that are not UTF-8.
    """
    if len(value) > max_length:
        raise RecordError(f"{of}: expected at most {max_length} characters, got {len(value)}")
    if "\0" in value or any("\ud800" <= one <= "\udfff" for one in value):
        raise RecordError(f"{of}: expected text, got {value[:60]!r}")
    return value


def optional_text(value: str | None, *, of: str, max_length: int) -> str | None:
    """A text as `checked_text` allows it, or None."""
    return None if value is None else checked_text(value, of=of, max_length=max_length)


def optional_number(value: float | None, *, of: str) -> float | None:
    """A finite float, or None."""
    return None if value is None else checked_number(value, of=of)


def checked_json(value: Mapping[str, Any], *, of: str) -> dict[str, Any]:
    """A dictionary that JSON can hold exactly.

    Raises:
        RecordError: NaN, or a type that JSON does not have.
    """
    try:
        copy: dict[str, Any] = json.loads(json.dumps(dict(value), allow_nan=False))
    except (TypeError, ValueError) as exc:
        raise RecordError(f"{of}: not JSON ({exc})") from exc
    return copy
