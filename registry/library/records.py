"""Rows to entities and back: the store's translation, without a query of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from editvec.json_codec import as_json
from editvec.registry.addresses import MAX_NAME_LENGTH, check_name
from editvec.registry.entities.classes import BundleFile, ClassModel
from editvec.registry.entities.metrics import Direction, Metric, NewMetric, newest_of_each
from editvec.registry.entities.vectors import (
    EditingVector,
    HistoryEntry,
    Kind,
    LatentSpace,
    MaskPair,
    NewVector,
    RoiPolicy,
    Term,
    TermRole,
)
from editvec.registry.errors import RecordError
from editvec.registry.labels.label import Label
from editvec.registry.library.checks import (
    check_origin,
    check_ranges,
    checked_roi,
    content_digest_of,
    dilation_of,
)
from editvec.registry.tables.database import entity_of, now
from editvec.registry.tables.models import (
    ClassFileRow,
    ClassLabelRow,
    ClassRow,
    HistoryRow,
    MetricRow,
    RoiLabelRow,
    TagRow,
    VectorRow,
)
from editvec.registry.values import (
    checked_json,
    checked_number,
    checked_text,
    one_of,
    optional_number,
    optional_text,
    parse_row_mask,
    row_mask_text,
)

if TYPE_CHECKING:
    from editvec.registry.bundles.manifest import BundleManifest
    from editvec.registry.entities.spaces import DeltaShape
    from editvec.registry.entities.vectors import ParcelDigests


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
    return entity_of(
        ClassModel,
        row,
        valid_rectangle=tuple(row.valid_rectangle),
        labels=tuple(
            Label(label.label_index, label.name, (label.red, label.green, label.blue))
            for label in row.labels
        ),
        files=tuple(BundleFile(file.name, file.digest, file.size) for file in row.files),
        groups={group.name: tuple(group.members) for group in row.groups},
    )


# --- vectors ---


def vector_row(
    new: NewVector,
    model: ClassModel,
    digests: ParcelDigests,
    *,
    shape: DeltaShape,
    version: int,
    created_by: str,
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
        num_ws=shape.rows,
        w_dim=shape.columns,
        generator_digest=model.generator_digest,
        delta_digest=digests.delta,
        content_digest=content_digest_of(new, model, digests, rows=shape.rows),
        row_mask=row_mask_text(new.row_mask, num_ws=shape.rows),
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
        engine_version=checked_text(new.engine_version, of="engine version", max_length=64),
        kernel_version=checked_text(new.kernel_version, of="kernel version", max_length=64),
        brush_digest=digests.brush,
        original_digest=digests.original,
        original_name=digests.original_name,
        preview_digest=digests.preview,
        roi=[
            RoiLabelRow(position=position, label_name=name)
            for position, name in enumerate(checked_roi(new, model))
        ],
        tags=[TagRow(tag=check_name(tag, of="tag")) for tag in sorted(set(new.tags))],
    )


def editing_vector(row: VectorRow) -> EditingVector:
    """The entity of a vector row."""
    return entity_of(
        EditingVector,
        row,
        class_version=row.class_model.version,
        kind=Kind(row.kind),
        latent_space=LatentSpace(row.latent_space),
        bundle_digest=row.class_model.bundle_digest,
        row_mask=parse_row_mask(row.row_mask),
        roi_labels=tuple(label.label_name for label in row.roi),
        roi_policy=RoiPolicy(row.roi_policy),
        tags=tuple(tag.tag for tag in row.tags),
        metrics=tuple(
            entity_of(Metric, metric, direction=Direction(metric.direction))
            for metric in row.metrics
        ),
        terms=tuple(
            Term(
                address=term.term_vector.address,
                scale=term.scale,
                row_mask=parse_row_mask(term.row_mask),
                role=TermRole(term.role),
            )
            for term in row.terms
        ),
        pairs=tuple(entity_of(MaskPair, pair) for pair in row.pairs),
        aliases=tuple(alias.alias for alias in row.aliases),
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


def mark_latest(metrics: Sequence[MetricRow]) -> None:
    """Marks the newest row of every metric's name.

    Args:
        metrics: all rows of one vector, in the order of their ids.
    """
    newest = newest_of_each(metrics)
    for metric in metrics:
        metric.is_latest = newest[metric.name] is metric


def history_row(
    action: str,
    subject: str,
    *,
    by: str,
    reason: str = "",
    details: Mapping[str, Any] | None = None,
) -> HistoryRow:
    """The row of something that was done just now.

    Raises:
        RecordError: a reason or a user that the database does not keep.
    """
    return HistoryRow(
        at=now(),
        by=checked_text(by, of="user", max_length=200),
        action=action,
        subject=subject,
        reason=checked_text(reason, of="reason"),
        details=dict(details or {}),
    )


def history_entry(row: HistoryRow) -> HistoryEntry:
    """The entity of a history row."""
    return entity_of(HistoryEntry, row)


def told_json(value: Any) -> Any:
    """What `as_json` gives, with the keys of all commands: `class` is the name of a class."""
    return as_json(value, key_of=_told_key)


def _told_key(owner: object, name: str) -> str:
    is_class = name == "class_name" or (name == "name" and isinstance(owner, ClassModel))
    return "class" if is_class else name
