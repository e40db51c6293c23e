"""The SELECTs of a search: the ids of one page of vectors; used by the store only.

A page is found in indexes alone. One index is walked in the order that is wanted, and every
filter is a list of ids that another index gives in ascending order. So a page out of 100,000
vectors takes about the same time whatever the filters are and however few pass them; only what
a page shows is read from the tables. SQLite is told which index to walk, because it keeps no
statistics to choose by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, exists, select, tuple_
from sqlalchemy.orm import Session, aliased

from editvec.registry.addresses import LATEST
from editvec.registry.entities.queries import BY_NAME, MetricBound, VectorQuery
from editvec.registry.entities.vectors import Kind
from editvec.registry.errors import MetricNotFoundError, RecordError
from editvec.registry.library import selects
from editvec.registry.tables.models import (
    LISTING_BY_NAME,
    LISTING_BY_TIME,
    METRICS_BY_VALUE,
    METRICS_BY_VECTOR,
    AliasRow,
    ClassRow,
    MetricRow,
    RoiLabelRow,
    TagRow,
    VectorRow,
)


def page_of_ids(session: Session, query: VectorQuery) -> Select[int]:
    """The ids of the vectors that a query asks for, in its order.

    Raises:
        ClassNotFoundError: no such class.
        LabelNotFoundError: no class, or not that one, has such a part.
        MetricNotFoundError: no vector has a metric that is asked for.
        VectorNotFoundError: the page cannot begin after a vector that there is not.
        RecordError: it has not the metric that the page is sorted by.
    """
    model = None if query.class_name is None else selects.find_class(session, query.class_name)
    query = replace(query, roi_labels=_parts(session, query.roi_labels, model))
    for metric in {bound.name for bound in query.bounds} | {query.sort_metric}:
        if metric is not None:
            _check_metric(session, metric)
    search = _Search(query, model, session.get_bind().dialect.name)
    after = None
    if query.after is not None:
        after = selects.find_vector_text(
            session, query.after, None if model is None else model.name
        )
    if query.sort_metric is not None:
        key = None if after is None else _metric_key(session, after, query.sort_metric)
        return _by_metric(search, query.sort_metric, key)
    return _by_column(search, after)


class _Search(NamedTuple):
    """A query, the class that it names, and the database that it goes to."""

    query: VectorQuery
    model: ClassRow | None
    dialect: str


def _by_column(search: _Search, after: VectorRow | None) -> Select[int]:
    """By name, or by time."""
    query, vector = search.query, VectorRow
    order: tuple[Any, ...]
    key: tuple[Any, ...] | None
    if query.sort == BY_NAME:
        index, order = LISTING_BY_NAME, (vector.class_name, vector.name, vector.version)
        key = None if after is None else (after.class_name, after.name, after.version)
    else:
        index, order = LISTING_BY_TIME, (vector.created_at, vector.id)
        key = None if after is None else (after.created_at, after.id)
    page = _indexed(select(vector.id), vector, index).where(*_own_conditions(search))
    page = _listed_in(page, vector.id, search)
    if _is_latest_only(query):
        page = page.where(_is_latest(query))
    return _paged(page, order, key, query)


def _by_metric(search: _Search, metric: str, key: tuple[Any, ...] | None) -> Select[int]:
    """By the newest value of a metric; vectors without it are left out."""
    query = search.query
    bounds = [bound for bound in query.bounds if bound.name == metric]
    page = _indexed(select(MetricRow.vector_id), MetricRow, METRICS_BY_VALUE).where(
        MetricRow.name == metric, MetricRow.is_latest, *(_keeps(bound) for bound in bounds)
    )
    page = _listed_in(page, MetricRow.vector_id, search)
    conditions = _own_conditions(search)
    if conditions:  # the longest list comes last: it is asked for what all others hold only
        passing = _indexed(select(VectorRow.id), VectorRow, LISTING_BY_TIME).where(*conditions)
        page = page.where(MetricRow.vector_id.in_(passing))
    if _is_latest_only(query):
        page = page.join(VectorRow).where(_is_latest(query))
    return _paged(page, (MetricRow.value, MetricRow.vector_id), key, query)


def _paged(
    page: Select[int], order: tuple[Any, ...], key: tuple[Any, ...] | None, query: VectorQuery
) -> Select[int]:
    """Orders a page, begins it behind a key, and ends it."""
    if key is not None:
        place, last = tuple_(*order), tuple_(*key)
        page = page.where(place < last if query.descending else place > last)
    page = page.order_by(*(column.desc() if query.descending else column for column in order))
    return page if query.limit is None else page.limit(min(query.limit, selects.MAX_ROWS))


def _own_conditions(search: _Search) -> list[ColumnElement[bool]]:
    """What the vector's own row says, or rather both listing indexes."""
    query, vector = search.query, VectorRow
    conditions: list[ColumnElement[bool]] = []
    if search.model is not None:
        conditions.append(vector.class_name == search.model.name)
    if query.name_glob is not None:
        conditions.append(_matches(query.name_glob, search.dialect))
    if query.kind is not None:
        conditions.append(vector.kind == Kind(query.kind))
    if query.retired is not None:
        conditions.append(_has_state(vector.retired_at, retired=query.retired))
    return conditions


def _parts(session: Session, names: Sequence[str], model: ClassRow | None) -> tuple[str, ...]:
    """The parts of an ROI that is asked for, groups taken apart."""
    class_name = None if model is None else model.name
    found: dict[str, None] = {}
    for name in names:
        parts = selects.parts_of_group(session, name, class_name)
        if not parts:
            selects.check_label(session, name, class_name)
        found.update(dict.fromkeys(parts or (name,)))
    return tuple(found)


def _listed_in(page: Select[int], identity: Any, search: _Search) -> Select[int]:
    """Keeps the vectors whose ids other tables list."""
    query = search.query
    lists = [
        *(select(RoiLabelRow.vector_id).where(RoiLabelRow.label_name == label)
          for label in query.roi_labels),
        *(select(TagRow.vector_id).where(TagRow.tag == tag) for tag in query.tags),
    ]  # fmt: skip
    if query.alias not in (None, LATEST):
        lists.append(select(AliasRow.vector_id).where(AliasRow.alias == query.alias))
    bounded = dict.fromkeys(bound.name for bound in query.bounds)
    for name in [name for name in bounded if name != query.sort_metric]:
        bounds = [bound for bound in query.bounds if bound.name == name]
        lists.append(
            _indexed(select(MetricRow.vector_id), MetricRow, METRICS_BY_VECTOR).where(
                MetricRow.name == name, MetricRow.is_latest, *(_keeps(bound) for bound in bounds)
            )
        )
    if search.model is not None and "@" in (query.class_name or ""):
        lists.append(select(VectorRow.id).where(VectorRow.class_id == search.model.id))
    return page.where(*(identity.in_(ids) for ids in lists))


def _keeps(bound: MetricBound) -> ColumnElement[bool]:
    comparison: ColumnElement[bool] = MetricRow.value.op(bound.comparison)(bound.value)
    return comparison


def _is_latest_only(query: VectorQuery) -> bool:
    return query.latest_only or query.alias == LATEST


def _is_latest(query: VectorQuery) -> ColumnElement[bool]:
    """No newer version of the name is in the state that the query asks for."""
    newer = aliased(VectorRow)
    found = _indexed(select(newer.id), newer, LISTING_BY_NAME).where(
        newer.class_name == VectorRow.class_name,
        newer.name == VectorRow.name,
        newer.version > VectorRow.version,
    )
    if query.retired is not None:
        found = found.where(_has_state(newer.retired_at, retired=query.retired))
    return ~exists(found.correlate(VectorRow))


def _has_state(retired_at: Any, *, retired: bool) -> ColumnElement[bool]:
    state: ColumnElement[bool] = retired_at.is_not(None) if retired else retired_at.is_(None)
    return state


def _indexed(page: Select[int], table: Any, index: str) -> Select[int]:
    return page.with_hint(table, f"INDEXED BY {index}", "sqlite")


def _matches(glob: str, dialect: str) -> ColumnElement[bool]:
    """A glob with `*` and `?`; of the letters of names, `_` means more to LIKE than itself."""
    if not {"*", "?"} & set(glob):
        return VectorRow.name == glob
    if dialect == "sqlite":
        matches: ColumnElement[bool] = VectorRow.name.op("GLOB")(glob)
        return matches
    pattern = glob.replace("_", "\\_").replace("*", "%").replace("?", "_")
    return VectorRow.name.like(pattern, escape="\\")


def _metric_key(session: Session, vector: VectorRow, metric: str) -> tuple[float, int]:
    """Where a vector stands in the order of a metric.

    Raises:
        RecordError: nowhere.
    """
    value = session.scalar(
        select(MetricRow.value).where(
            MetricRow.vector_id == vector.id, MetricRow.name == metric, MetricRow.is_latest
        )
    )
    if value is None:
        raise RecordError(
            f"page after {vector.class_name}/{vector.name}@{vector.version}: that vector has no "
            f"metric {metric}, which the vectors are sorted by"
        )
    return value, vector.id


def _check_metric(session: Session, name: str) -> None:
    """Refuses a metric that nobody measured: a bound or an order by it would find nothing.

    Raises:
        MetricNotFoundError: close names are suggested.
    """
    one = select(MetricRow.id).where(MetricRow.name == name, MetricRow.is_latest).limit(1)
    if session.scalar(one) is None:
        known = sorted(session.scalars(select(MetricRow.name).distinct()))
        hint = selects.suggestion(name, known) or f"; there is {', '.join(known) or 'none'}"
        raise MetricNotFoundError(f"no vector has metric {name!r}{hint}")
