"""The tables of the library. Every constraint has a name: batch migrations drop unnamed CHECKs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from editvec.registry.addresses import MAX_NAME_LENGTH
from editvec.registry.entities.metrics import Direction
from editvec.registry.entities.vectors import Kind, LatentSpace, RoiPolicy, TermRole
from editvec.registry.tables.database import Base, UtcDateTime

Digest = String(64)
# "C": names sort by code points everywhere, as SQLite does it, whatever a database's locale says
Name = String(MAX_NAME_LENGTH).with_variant(String(MAX_NAME_LENGTH, collation="C"), "postgresql")
FileName = String(255).with_variant(String(255, collation="C"), "postgresql")
PersonName = String(200)
EngineVersion = String(64)

LISTING_BY_NAME = "ix_vectors_listing_by_name"
LISTING_BY_TIME = "ix_vectors_listing_by_time"
METRICS_BY_VALUE = "ix_metrics_latest"
METRICS_BY_VECTOR = "ix_metrics_latest_by_vector"


def one_of(column: str, values: type[StrEnum] | Iterable[str], *, name: str) -> CheckConstraint:
    """A named CHECK that a text column holds one of the values."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=name)


class ClassRow(Base):
    """A version of a class model."""

    __tablename__ = "classes"
    __table_args__ = (
        UniqueConstraint("name", "version"),
        UniqueConstraint("bundle_digest"),
        UniqueConstraint("id", "name"),
        CheckConstraint("version >= 1", name="version_positive"),
        CheckConstraint("num_ws >= 1 AND w_dim >= 1 AND z_dim >= 1", name="shape_positive"),
        CheckConstraint("resolution >= 4", name="resolution_minimum"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(Name)
    version: Mapped[int] = mapped_column(Integer)
    generator_digest: Mapped[str] = mapped_column(Digest, index=True)
    bundle_digest: Mapped[str] = mapped_column(Digest)
    resolution: Mapped[int] = mapped_column(Integer)
    num_ws: Mapped[int] = mapped_column(Integer)
    w_dim: Mapped[int] = mapped_column(Integer)
    z_dim: Mapped[int] = mapped_column(Integer)
    valid_rectangle: Mapped[list[int]] = mapped_column(JSON)
    license: Mapped[str] = mapped_column(Text)
    description: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(PersonName)

    labels: Mapped[list[ClassLabelRow]] = relationship(order_by="ClassLabelRow.label_index")
    files: Mapped[list[ClassFileRow]] = relationship(order_by="ClassFileRow.name")
    groups: Mapped[list[ClassGroupRow]] = relationship(order_by="ClassGroupRow.name")


class ClassLabelRow(Base):
    """One part of a class's label scheme."""

    __tablename__ = "class_labels"
    __table_args__ = (
        UniqueConstraint("class_id", "name"),
        CheckConstraint("label_index >= 0", name="index_not_negative"),
        CheckConstraint(
            "red BETWEEN 0 AND 255 AND green BETWEEN 0 AND 255 AND blue BETWEEN 0 AND 255",
            name="color_range",
        ),
    )

    class_id: Mapped[int] = mapped_column(ForeignKey("classes.id"), primary_key=True)
    label_index: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(Name)
    red: Mapped[int] = mapped_column(Integer)
    green: Mapped[int] = mapped_column(Integer)
    blue: Mapped[int] = mapped_column(Integer)


class ClassGroupRow(Base):
    """A name for several parts of a class; members are parts or other groups."""

    __tablename__ = "class_groups"

    class_id: Mapped[int] = mapped_column(ForeignKey("classes.id"), primary_key=True)
    name: Mapped[str] = mapped_column(Name, primary_key=True)
    members: Mapped[list[str]] = mapped_column(JSON)


class ClassFileRow(Base):
    """One file of a bundle, held as a blob."""

    __tablename__ = "class_files"
    __table_args__ = (CheckConstraint("size >= 0", name="size_not_negative"),)

    class_id: Mapped[int] = mapped_column(ForeignKey("classes.id"), primary_key=True)
    name: Mapped[str] = mapped_column(FileName, primary_key=True)
    digest: Mapped[str] = mapped_column(Digest)
    size: Mapped[int] = mapped_column(BigInteger)


class VectorRow(Base):
    """A version of an editing vector; `num_ws`, `w_dim`: rows and columns of its delta."""

    __tablename__ = "vectors"
    __table_args__ = (
        ForeignKeyConstraint(["class_id", "class_name"], ["classes.id", "classes.name"]),
        UniqueConstraint("class_name", "name", "version"),
        UniqueConstraint("class_name", "name", "content_digest"),
        one_of("kind", Kind, name="kind"),
        one_of("latent_space", LatentSpace, name="latent_space"),
        one_of("roi_policy", RoiPolicy, name="roi_policy"),
        CheckConstraint("version >= 1", name="version_positive"),
        CheckConstraint("num_ws >= 1 AND w_dim >= 1", name="shape_positive"),
        CheckConstraint("dilation >= 0", name="dilation_not_negative"),
        CheckConstraint("length(row_mask) = num_ws", name="row_mask_length"),
        CheckConstraint(
            "scale_min IS NULL OR scale_max IS NULL OR scale_min <= scale_max", name="scale_range"
        ),
        # each holds all that a listing asks of a vector, so that only a page's rows are read
        Index(LISTING_BY_NAME, "class_name", "name", "version", "retired_at", "kind", "id"),
        Index(
            LISTING_BY_TIME,
            *("created_at", "id", "retired_at", "kind", "class_name", "name", "version"),
        ),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    class_id: Mapped[int] = mapped_column(Integer, index=True)
    class_name: Mapped[str] = mapped_column(Name)
    name: Mapped[str] = mapped_column(Name)
    version: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str] = mapped_column(String(16))
    latent_space: Mapped[str] = mapped_column(String(4))
    num_ws: Mapped[int] = mapped_column(Integer)
    w_dim: Mapped[int] = mapped_column(Integer)
    generator_digest: Mapped[str] = mapped_column(Digest)
    delta_digest: Mapped[str] = mapped_column(Digest)
    content_digest: Mapped[str] = mapped_column(Digest)
    row_mask: Mapped[str] = mapped_column(String(64))
    roi_policy: Mapped[str] = mapped_column(String(16))
    dilation: Mapped[int] = mapped_column(Integer)
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    default_scale: Mapped[float] = mapped_column(Float(53))
    scale_min: Mapped[float | None] = mapped_column(Float(53))
    scale_max: Mapped[float | None] = mapped_column(Float(53))
    license: Mapped[str] = mapped_column(Text)
    description: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(PersonName)
    engine_version: Mapped[str] = mapped_column(EngineVersion, server_default="")
    kernel_version: Mapped[str] = mapped_column(EngineVersion, server_default="")
    brush_digest: Mapped[str | None] = mapped_column(Digest)
    original_digest: Mapped[str | None] = mapped_column(Digest)
    original_name: Mapped[str | None] = mapped_column(String(255))
    preview_digest: Mapped[str | None] = mapped_column(Digest)
    retired_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    class_model: Mapped[ClassRow] = relationship()
    roi: Mapped[list[RoiLabelRow]] = relationship(order_by="RoiLabelRow.position")
    pairs: Mapped[list[MaskPairRow]] = relationship(order_by="MaskPairRow.position")
    terms: Mapped[list[TermRow]] = relationship(
        order_by="TermRow.position", foreign_keys="TermRow.vector_id"
    )
    metrics: Mapped[list[MetricRow]] = relationship(order_by="MetricRow.id")
    tags: Mapped[list[TagRow]] = relationship(order_by="TagRow.tag")
    aliases: Mapped[list[AliasRow]] = relationship(order_by="AliasRow.alias")

    @property
    def address(self) -> str:
        """`class/name@version`."""
        return f"{self.class_name}/{self.name}@{self.version}"


class RoiLabelRow(Base):
    """One part that a vector may change; the order is the user's."""

    __tablename__ = "vector_roi_labels"
    __table_args__ = (
        UniqueConstraint("vector_id", "label_name"),
        Index(None, "label_name", "vector_id"),
    )

    vector_id: Mapped[int] = mapped_column(ForeignKey("vectors.id"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    label_name: Mapped[str] = mapped_column(Name)


class MaskPairRow(Base):
    """An image, its mask before and after, and its ws: all blobs."""

    __tablename__ = "mask_pairs"

    vector_id: Mapped[int] = mapped_column(ForeignKey("vectors.id"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    image_digest: Mapped[str] = mapped_column(Digest)
    mask_before_digest: Mapped[str] = mapped_column(Digest)
    mask_after_digest: Mapped[str] = mapped_column(Digest)
    source_ws_digest: Mapped[str | None] = mapped_column(Digest)


class TermRow(Base):
    """One summand of a composition: as it was given, or as it was projected out."""

    __tablename__ = "composition_terms"
    __table_args__ = (
        CheckConstraint("vector_id <> term_vector_id", name="not_itself"),
        one_of("role", TermRole, name="role"),
    )

    vector_id: Mapped[int] = mapped_column(ForeignKey("vectors.id"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    term_vector_id: Mapped[int] = mapped_column(ForeignKey("vectors.id"), index=True)
    scale: Mapped[float] = mapped_column(Float(53))
    row_mask: Mapped[str] = mapped_column(String(64))
    role: Mapped[str] = mapped_column(String(16), server_default="sum")

    term_vector: Mapped[VectorRow] = relationship(foreign_keys=[term_vector_id])


class MetricRow(Base):
    """One measured quality of a vector."""

    __tablename__ = "metrics"
    __table_args__ = (
        one_of("direction", Direction, name="direction"),
        CheckConstraint("sample_count >= 1", name="sample_count_positive"),
        # not a partial index: its options would load both dialects at every start
        Index(METRICS_BY_VALUE, "name", "is_latest", "value", "vector_id"),
        Index(METRICS_BY_VECTOR, "name", "is_latest", "vector_id", "value"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    vector_id: Mapped[int] = mapped_column(ForeignKey("vectors.id"), index=True)
    name: Mapped[str] = mapped_column(Name)
    value: Mapped[float] = mapped_column(Float(53))
    direction: Mapped[str] = mapped_column(String(8))
    backbone: Mapped[str | None] = mapped_column(Name)
    sample_count: Mapped[int] = mapped_column(Integer)
    probe_set: Mapped[str | None] = mapped_column(String(200))
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    measured_at: Mapped[datetime] = mapped_column(UtcDateTime)
    is_latest: Mapped[bool] = mapped_column(Boolean, server_default=false())


class TagRow(Base):
    """One tag of a vector."""

    __tablename__ = "vector_tags"
    __table_args__ = (Index(None, "tag", "vector_id"),)

    vector_id: Mapped[int] = mapped_column(ForeignKey("vectors.id"), primary_key=True)
    tag: Mapped[str] = mapped_column(Name, primary_key=True)


class AliasRow(Base):
    """A name for one version of a vector, such as `stable`; it may move to another one."""

    __tablename__ = "aliases"
    __table_args__ = (
        UniqueConstraint("vector_id", "alias"),
        Index(None, "alias", "vector_id"),
    )

    class_name: Mapped[str] = mapped_column(Name, primary_key=True)
    name: Mapped[str] = mapped_column(Name, primary_key=True)
    alias: Mapped[str] = mapped_column(Name, primary_key=True)
    vector_id: Mapped[int] = mapped_column(ForeignKey("vectors.id"))
    set_at: Mapped[datetime] = mapped_column(UtcDateTime)
    set_by: Mapped[str] = mapped_column(PersonName)


class SketchRow(Base):
    """A few bytes that tell which deltas point the same way, without reading them."""

    __tablename__ = "vector_sketches"

    vector_id: Mapped[int] = mapped_column(ForeignKey("vectors.id"), primary_key=True)
    sketch: Mapped[bytes] = mapped_column(LargeBinary)


class EmbeddingRow(Base):
    """A cached embedding of an image: row `ws_row` of the blob `ws_digest`."""

    __tablename__ = "embeddings"
    __table_args__ = (
        CheckConstraint("num_steps >= 0", name="num_steps_not_negative"),
        CheckConstraint("ws_row >= 0", name="ws_row_not_negative"),
        Index(None, "created_at"),
    )

    image_digest: Mapped[str] = mapped_column(Digest, primary_key=True)
    generator_digest: Mapped[str] = mapped_column(Digest, primary_key=True)
    settings_key: Mapped[str] = mapped_column(Digest, primary_key=True)
    ws_digest: Mapped[str] = mapped_column(Digest)
    ws_row: Mapped[int] = mapped_column(Integer)
    size: Mapped[int] = mapped_column(BigInteger)
    perceptual_name: Mapped[str | None] = mapped_column(Name)
    perceptual_value: Mapped[float | None] = mapped_column(Float(53))
    psnr: Mapped[float] = mapped_column(Float(53))
    num_steps: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class HistoryRow(Base):
    """Who did what to which address, when and why."""

    __tablename__ = "history"
    __table_args__ = (Index(None, "subject", "id"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    by: Mapped[str] = mapped_column(PersonName)
    action: Mapped[str] = mapped_column(String(32))
    subject: Mapped[str] = mapped_column(String(255))
    reason: Mapped[str] = mapped_column(Text)
    details: Mapped[dict[str, Any]] = mapped_column(JSON, server_default="{}")
