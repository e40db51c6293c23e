"""What rows say about each other, checked in SQL: aliases, metrics, classes, terms, contents."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Integer, Row, Select, case, cast, func, or_, select
from sqlalchemy.orm import Session, aliased

from editvec.registry.entities.classes import ClassModel
from editvec.registry.entities.vectors import Kind, NewVector, ParcelDigests
from editvec.registry.library.checks import content_digest_of
from editvec.registry.library.records import class_model
from editvec.registry.library.similar import SKETCH_BYTES, sketch_key
from editvec.registry.tables.models import (
    AliasRow,
    ClassRow,
    MetricRow,
    RoiLabelRow,
    SketchRow,
    TermRow,
    VectorRow,
)
from editvec.registry.values import parse_row_mask

_ROWS_AT_ONCE = 1000


class Inconsistency(NamedTuple):
    """An address, and what is wrong there."""

    subject: str
    text: str


def find_inconsistencies(session: Session) -> Iterator[Inconsistency]:
    """Everything that rows say and that cannot be."""
    yield from _aliases(session)
    yield from _metrics(session)
    yield from _generators(session)
    yield from _terms(session)
    yield from _sketches(session)
    yield from _contents(session)


def _aliases(session: Session) -> Iterator[Inconsistency]:
    query = (
        select(AliasRow, VectorRow)
        .join(VectorRow, VectorRow.id == AliasRow.vector_id)
        .where(
            or_(
                AliasRow.class_name != VectorRow.class_name,
                AliasRow.name != VectorRow.name,
                VectorRow.retired_at.is_not(None),
            )
        )
    )
    for alias, vector in session.execute(query):
        retired = "retired " if vector.retired_at is not None else ""
        yield Inconsistency(
            f"alias {alias.class_name}/{alias.name}@{alias.alias}",
            f"it points to {retired}vector {_address(vector)}",
        )


def _metrics(session: Session) -> Iterator[Inconsistency]:
    latest = func.sum(case((MetricRow.is_latest, 1), else_=0))
    query = (
        select(VectorRow, MetricRow.name, cast(latest, Integer))
        .join(MetricRow, MetricRow.vector_id == VectorRow.id)
        .group_by(VectorRow.id, MetricRow.name)
        .having(latest != 1)
    )
    for vector, name, count in session.execute(query):
        yield Inconsistency(
            f"vector {_address(vector)}", f"{count} values of metric {name} are the latest one"
        )


def _generators(session: Session) -> Iterator[Inconsistency]:
    query = (
        select(VectorRow, ClassRow)
        .join(ClassRow, ClassRow.id == VectorRow.class_id)
        .where(VectorRow.generator_digest != ClassRow.generator_digest)
    )
    for vector, model in session.execute(query):
        yield Inconsistency(
            f"vector {_address(vector)}",
            f"its generator is {vector.generator_digest[:12]}, that of class {model.name}"
            f"@{model.version} is {model.generator_digest[:12]}",
        )


def _terms(session: Session) -> Iterator[Inconsistency]:
    has_terms = select(TermRow.vector_id).where(TermRow.vector_id == VectorRow.id).exists()
    odd = select(VectorRow).where((VectorRow.kind == Kind.COMPOSED) != has_terms)
    for vector in session.scalars(odd):
        what = "no terms" if vector.kind == Kind.COMPOSED else "terms"
        yield Inconsistency(f"vector {_address(vector)}", f"it is {vector.kind} and has {what}")
    whole, part = aliased(VectorRow), aliased(VectorRow)
    query = (
        select(whole, part)
        .select_from(TermRow)
        .join(whole, whole.id == TermRow.vector_id)
        .join(part, part.id == TermRow.term_vector_id)
        .where(
            or_(
                whole.class_name != part.class_name,
                whole.generator_digest != part.generator_digest,
            )
        )
    )
    for vector, term in session.execute(query):
        yield Inconsistency(
            f"vector {_address(vector)}", f"its term {_address(term)} has another generator"
        )


def _sketches(session: Session) -> Iterator[Inconsistency]:
    """A vector without a sketch gets one when it is looked for; a wrong one hides it."""
    owner = (VectorRow.num_ws, VectorRow.w_dim, VectorRow.generator_digest, VectorRow.latent_space)
    query = (
        select(VectorRow.class_name, VectorRow.name, VectorRow.version, *owner, SketchRow.sketch)
        .join(SketchRow, SketchRow.vector_id == VectorRow.id)
        .execution_options(yield_per=_ROWS_AT_ONCE)
    )
    key_of = lru_cache(maxsize=1000)(sketch_key)
    for row in session.execute(query):
        key = key_of((row.num_ws, row.w_dim), row.generator_digest, row.latent_space)
        if len(row.sketch) != SKETCH_BYTES or not row.sketch.startswith(key):
            yield Inconsistency(f"vector {_address(row)}", "its sketch is that of another vector")


def _contents(session: Session) -> Iterator[Inconsistency]:
    """The digest by which equal content is found, computed anew from what it is of."""
    last = 0
    # columns and no entities, which would take ten times as long
    while rows := session.execute(_vectors_after(last)).all():
        # each statement may see more than the one before
        models = {row.id: class_model(row) for row in session.scalars(select(ClassRow))}
        parts: dict[int, list[str]] = defaultdict(list)
        for vector_id, label in session.execute(_parts_of(rows[0].id, rows[-1].id)):
            parts[vector_id].append(label)
        for row in rows:
            digest = _content_digest(row, tuple(parts[row.id]), models[row.class_id])
            if digest != row.content_digest:
                yield Inconsistency(
                    f"vector {_address(row)}", "its record is not the one that was stored"
                )
        last = rows[-1].id


def _vectors_after(last: int) -> Select[*tuple[Any, ...]]:
    columns = (
        VectorRow.id,
        VectorRow.class_id,
        VectorRow.class_name,
        VectorRow.name,
        VectorRow.version,
        VectorRow.latent_space,
        VectorRow.num_ws,
        VectorRow.row_mask,
        VectorRow.roi_policy,
        VectorRow.dilation,
        VectorRow.delta_digest,
        VectorRow.brush_digest,
        VectorRow.content_digest,
    )
    query = select(*columns).where(VectorRow.id > last)
    return query.order_by(VectorRow.id).limit(_ROWS_AT_ONCE)


def _parts_of(first: int, last: int) -> Select[*tuple[Any, ...]]:
    """The ROI's parts of a stretch of vectors, in their order."""
    return (
        select(RoiLabelRow.vector_id, RoiLabelRow.label_name)
        .where(RoiLabelRow.vector_id.between(first, last))
        .order_by(RoiLabelRow.vector_id, RoiLabelRow.position)
    )


def _content_digest(
    row: Row[*tuple[Any, ...]], roi_labels: tuple[str, ...], model: ClassModel
) -> str:
    new = NewVector(
        class_name=row.class_name,
        name=row.name,
        latent_space=row.latent_space,
        row_mask=parse_row_mask(row.row_mask),
        roi_labels=roi_labels,
        roi_policy=row.roi_policy,
        dilation=row.dilation,
    )
    digests = ParcelDigests(row.delta_digest, brush=row.brush_digest)
    return content_digest_of(new, model, digests, rows=row.num_ws)


def _address(row: VectorRow | Row[*tuple[Any, ...]]) -> str:
    return f"{row.class_name}/{row.name}@{row.version}"
