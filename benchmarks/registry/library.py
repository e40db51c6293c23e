"""Libraries of many vectors, to measure on: what a team would have after years.

The rows go into the tables in bulk, past `Library.add_vectors`, which would take hours for
100,000 vectors; they are complete and keep to the tables' constraints. The deltas and their
sketches are real, though that of a composition is not the sum of its terms. Their files are
written without the syncs that make a blob safe, and slow.
"""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import insert, text
from sqlalchemy.orm import Session

from editvec.avatars import default
from editvec.registry.blobs.local import LocalBlobStore
from editvec.registry.codec import encode_latent
from editvec.registry.entities.classes import ClassModel
from editvec.registry.library.library import Library
from editvec.registry.library.similar import sketch_of
from editvec.registry.tables.database import transaction
from editvec.registry.tables.models import (
    AliasRow,
    HistoryRow,
    MetricRow,
    RoiLabelRow,
    SketchRow,
    TagRow,
    TermRow,
    VectorRow,
)

VERSIONS_PER_NAME = 5
ROWS_AT_ONCE = 2000
BEGINNING = datetime(2024, 1, 1, tzinfo=UTC)
SUBJECTS = (
    "smile", "frown", "look-left", "look-right", "blink", "surprise", "pout", "wink",
    "raise-brow", "lower-brow", "wide-nose", "small-mouth", "long-hair", "short-hair", "tan",
    "ears-out",
)  # fmt: skip
PARTS = ("mouth", "eye", "iris", "brow", "nose", "hair", "ear", "skin")

Rows = dict[type[Any], list[dict[str, Any]]]


def name_of(place: int, *, versions: int = VERSIONS_PER_NAME) -> str:
    """The name of the vector at a place, such as `smile-210000`; their order is not by place."""
    number = place // versions
    return f"{SUBJECTS[number % len(SUBJECTS)]}-{f'{number:06d}'[::-1]}"


class StoredDelta(NamedTuple):
    """A delta whose blob is there, and its sketch."""

    digest: str
    sketch: bytes


def write_deltas(library: Library, model: ClassModel, count: int) -> list[StoredDelta]:
    """Writes the blobs of `count` deltas: those of one name point about the same way."""
    store = library.blobs
    assert isinstance(store, LocalBlobStore)
    generator = np.random.default_rng(1)
    shape = (model.num_ws, model.w_dim)
    stored = []
    for place in range(count):
        if place % VERSIONS_PER_NAME == 0:
            direction = generator.normal(size=shape)
        delta = (direction + 0.5 * generator.normal(size=shape)).astype(np.float32)
        data = encode_latent(delta)
        digest = hashlib.sha256(data).hexdigest()
        path = store.path(digest)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        sketch = sketch_of(delta, generator_digest=model.generator_digest, latent_space="W+")
        stored.append(StoredDelta(digest, sketch))
    return stored


def fill(
    library: Library,
    count: int,
    deltas: Sequence[StoredDelta],
    *,
    versions: int = VERSIONS_PER_NAME,
) -> None:
    """Fills a library that holds class avatars only with `count` vectors of it.

    Tag `common` is on every second vector, `some` on every 20th, `rare` on ten, and `late` on the
    last ones by name; ten vectors are marked as composed; every 20th is retired. Metric `leakage`
    was measured on every vector (on every fifth twice), `realism` on half of them. Alias `stable`
    points to the third version of every second name, `golden` to that of ten names.

    Args:
        library: what to fill.
        count: how many vectors, 30 at least.
        deltas: theirs, in turn.
        versions: how many of each name.
    """
    model = library.get_class(default.CLASS_NAME)
    generator = np.random.default_rng(0)
    places = iter(range(count))
    while chunk := list(islice(places, ROWS_AT_ONCE)):
        rows: Rows = {
            table: []
            for table in (
                VectorRow, RoiLabelRow, TermRow, TagRow, MetricRow, AliasRow, SketchRow, HistoryRow,
            )
        }  # fmt: skip
        for place in chunk:
            name = name_of(place, versions=versions)
            _describe(rows, place, name, place % versions + 1, model, deltas[place % len(deltas)])
            _mark(rows, place, count, name, versions, model.name)
            rows[MetricRow] += _metrics(place, generator)
        with transaction(library.engine) as session:
            _insert(session, rows)
    if library.engine.dialect.name == "postgresql":
        outside = library.engine.execution_options(isolation_level="AUTOCOMMIT")
        with outside.connect() as connection:
            connection.execute(text("SELECT setval('vectors_id_seq', max(id)) FROM vectors"))
            connection.execute(text("VACUUM ANALYZE"))  # as autovacuum does within minutes


def _describe(
    rows: Rows, place: int, name: str, version: int, model: ClassModel, delta: StoredDelta
) -> None:
    """Adds the row of the vector at a place, which becomes its id too."""
    rows[VectorRow].append(
        {
            "id": place + 1,
            "class_id": model.id,
            "class_name": model.name,
            "name": name,
            "version": version,
            "kind": "imported" if place % 10 == 3 else "learned",
            "latent_space": "W+",
            "num_ws": model.num_ws,
            "w_dim": model.w_dim,
            "generator_digest": model.generator_digest,
            "delta_digest": delta.digest,
            "content_digest": hashlib.sha256(f"{place}".encode()).hexdigest(),
            "row_mask": "1" * model.num_ws,
            "roi_policy": "labels",
            "dilation": 3,
            "settings": {"weights": {"rgb": 10.0, "mask": 1.0, "lpips": 2.5}, "steps": 100},
            "default_scale": 1.0,
            "scale_min": -2.0,
            "scale_max": 2.0,
            "license": "CC-BY-4.0",
            "description": f"{name.replace('-', ' ')}, as learned from the pair {place}",
            "created_at": _instant(place),
            "created_by": "ada",
            "engine_version": "0.1.0",
            "kernel_version": "reference",
            "retired_at": _instant(place) if place % 20 == 11 else None,
        }
    )
    rows[SketchRow].append({"vector_id": place + 1, "sketch": delta.sketch})
    rows[HistoryRow].append(
        {
            "at": _instant(place),
            "by": "ada",
            "action": "add",
            "subject": f"{model.name}/{name}@{version}",
            "reason": "",
        }
    )


def _mark(rows: Rows, place: int, count: int, name: str, versions: int, class_name: str) -> None:
    """Adds the parts, tags and aliases of a vector."""
    identity, number = place + 1, place // versions
    is_rare = (place + 1) % (count // 10) == 0
    if is_rare:
        rows[VectorRow][-1]["kind"] = "composed"
        rows[TermRow] += [
            {
                "vector_id": identity,
                "position": position,
                "term_vector_id": identity - 1 - position,
                "scale": 0.5,
                "row_mask": "1" * rows[VectorRow][-1]["num_ws"],
            }
            for position in range(2)
        ]
    rows[RoiLabelRow] += [
        {"vector_id": identity, "position": position, "label_name": PARTS[label]}
        for position, label in enumerate(sorted({place % len(PARTS), place % 5, place % 3}))
    ]
    tags = {
        "common": place % 2 == 0,
        "some": place % 20 == 7,
        "rare": is_rare,
        "late": name >= "wink-8",
    }
    rows[TagRow] += [{"vector_id": identity, "tag": tag} for tag, has in tags.items() if has]
    aliases = {"stable": number % 2 == 0, "golden": number % max(1, count // versions // 10) == 0}
    if place % versions != 2:
        return
    rows[AliasRow] += [
        {
            "class_name": class_name,
            "name": name,
            "alias": alias,
            "vector_id": identity,
            "set_at": _instant(place),
            "set_by": "ada",
        }
        for alias, has in aliases.items()
        if has
    ]


def _metrics(place: int, generator: np.random.Generator) -> Iterator[dict[str, Any]]:
    """The measurements of one vector, oldest first."""
    wanted = [("leakage", "lower", True)]
    if place % 5 == 0:
        wanted.insert(0, ("leakage", "lower", False))
    if place % 2 == 0:
        wanted.append(("realism", "higher", True))
    for name, direction, is_latest in wanted:
        yield {
            "vector_id": place + 1,
            "name": name,
            "value": round(float(generator.uniform()), 4),
            "direction": direction,
            "backbone": None,
            "sample_count": 16,
            "probe_set": "avatars-16",
            "settings": {},
            "measured_at": _instant(place),
            "is_latest": is_latest,
        }


def _instant(place: int) -> datetime:
    return BEGINNING + timedelta(minutes=place)


def _insert(session: Session, rows: Rows) -> None:
    for table, values in rows.items():
        if values:
            session.execute(insert(table), values)
