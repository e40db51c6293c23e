"""Which vectors point the same way as one: by their sketches, and by their deltas at the end."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sqlalchemy import Engine, Executable, Select, select
from sqlalchemy.orm import Session

from editvec.registry import codec
from editvec.registry.addresses import parse_class_address
from editvec.registry.blobs.opening import at_once
from editvec.registry.blobs.store import BlobStore
from editvec.registry.entities.queries import BY_TIME, VectorQuery
from editvec.registry.entities.vectors import FloatArray
from editvec.registry.errors import (
    BlobError,
    CodecError,
    CompatibilityError,
    DatabaseError,
    LibraryDiskFullError,
    RecordError,
)
from editvec.registry.library import selects
from editvec.registry.library.selects_search import page_of_ids
from editvec.registry.tables.database import reading, transaction
from editvec.registry.tables.models import SketchRow, VectorRow

MIN_CANDIDATES = 200
CANDIDATES_PER_RESULT = 10
"""How many of the best sketches are compared exactly, so many for each vector that is wanted."""

ROWS_AT_ONCE = 20_000
SKETCHES_PER_TRANSACTION = 500
IDS_PER_STATEMENT = 10_000

logger = logging.getLogger(__name__)


class Neighbour(NamedTuple):
    """A vector's id, and the cosine between it and the one that was asked for."""

    id: int
    cosine: float


class _SearchTarget(NamedTuple):
    """What others are compared with."""

    id: int
    class_name: str
    direction: npt.NDArray[np.float64]
    sketch: bytes


def neighbours(
    engine: Engine, blobs: BlobStore, address: str, query: VectorQuery, *, limit: int
) -> list[Neighbour]:
    """The vectors that pass a query and point most nearly the same way, nearest first.

    Args:
        engine: the database.
        blobs: the deltas.
        address: of the vector; it is left out itself.
        query: filters; without a class, of the vector's own. Only deltas of the same generator,
            space and shape are compared.
        limit: at most so many.

    Raises:
        RecordError: a limit below 1, or a query that has an order or a page of its own.
        CompatibilityError: the query asks for another class.
        VectorNotFoundError: no such vector.
        BlobError: its delta is missing or was altered.
    """
    _check(query, limit)
    with reading(engine) as session:
        row = selects.find_vector_text(session, address, query.class_name)
    target = _target(row, blobs)
    query = _within_class(query, row)
    with reading(engine) as session:
        identities, cosines, unsketched = _scan(session, query, target)
    for ids, sketches in _fill(engine, blobs, unsketched):
        identities.append(np.array(ids, np.int64))
        cosines.append(estimated_cosines(target.sketch, sketches))
    count = max(CANDIDATES_PER_RESULT * limit, MIN_CANDIDATES)
    candidates = _best(np.concatenate(identities), np.concatenate(cosines), count, target.id)
    with reading(engine) as session:
        digests = _delta_digests(session, candidates)
    exact = _exact_cosines(blobs, target, digests)
    return sorted(exact, key=lambda one: (-one.cosine, one.id))[:limit]


def _check(query: VectorQuery, limit: int) -> None:
    if limit < 1:
        raise RecordError(f"similar vectors: expected a limit of 1 or more, got {limit}")
    unpaged = replace(query, sort=VectorQuery.sort, descending=False, after=None, limit=None)
    if query != unpaged:
        raise RecordError(
            "similar vectors: they come nearest first, so the query takes no sort, descending, "
            "after or limit"
        )


def _target(row: VectorRow, blobs: BlobStore) -> _SearchTarget:
    of = f"delta of {row.class_name}/{row.name}@{row.version}"
    delta = codec.decode_latent(blobs.get(row.delta_digest), of=of)
    sketch = sketch_of(delta, generator_digest=row.generator_digest, latent_space=row.latent_space)
    return _SearchTarget(row.id, row.class_name, _direction(delta), sketch)


def _within_class(query: VectorQuery, row: VectorRow) -> VectorQuery:
    """The query, of the vector's class."""
    if query.class_name is None:
        return replace(query, class_name=row.class_name)
    if (name := parse_class_address(query.class_name)[0]) != row.class_name:
        raise CompatibilityError(
            f"similar vectors: {row.class_name}/{row.name}@{row.version} has no angle with "
            f"vectors of class {name}"
        )
    return query


# --- by sketch ---


def _scan(
    session: Session, query: VectorQuery, target: _SearchTarget
) -> tuple[list[npt.NDArray[np.int64]], list[npt.NDArray[np.float32]], list[int]]:
    """Ids and estimated cosines in chunks, and the ids of vectors without a sketch."""
    identities: list[npt.NDArray[np.int64]] = [np.zeros(0, np.int64)]
    cosines: list[npt.NDArray[np.float32]] = [np.zeros(0, np.float32)]
    unsketched: list[int] = []
    # past the session, whose handling of rows takes longer than reading and comparing them
    found = session.connection().execute(
        _sketches(session, query), execution_options={"yield_per": ROWS_AT_ONCE}
    )
    for rows in found.partitions():
        if None in (sketches := [row[1] for row in rows]):
            unsketched += [identity for identity, sketch in rows if sketch is None]
            rows = [row for row in rows if row[1] is not None]
            sketches = [row[1] for row in rows]
        ids = [row[0] for row in rows]
        identities.append(np.array(ids, np.int64))
        cosines.append(estimated_cosines(target.sketch, sketches))
    return identities, cosines, unsketched


def _sketches(session: Session, query: VectorQuery) -> Select[Any]:
    """Id and sketch of what passes a query; NULL where there is no sketch."""
    # by time, as the sketches lie, though nobody wants an order
    ids = page_of_ids(session, replace(query, sort=BY_TIME)).order_by(None).subquery()
    identity = ids.c[0]
    return select(identity, SketchRow.sketch).select_from(
        ids.outerjoin(SketchRow, SketchRow.vector_id == identity)
    )


def _best(
    ids: npt.NDArray[np.int64], cosines: npt.NDArray[np.float32], count: int, own: int
) -> list[int]:
    """The ids of the highest cosines, without those that cannot be compared and the own one."""
    kept = (ids != own) & (cosines >= -1.0)
    ids, cosines = ids[kept], cosines[kept]
    if len(ids) > count:
        ids = ids[np.argpartition(-cosines, count - 1)[:count]]
    return [int(identity) for identity in ids]


# --- by delta ---


def _delta_digests(session: Session, ids: Sequence[int]) -> dict[int, str]:
    digests: dict[int, str] = {}
    for chunk in _chunks(ids, IDS_PER_STATEMENT):
        query = select(VectorRow.id, VectorRow.delta_digest).where(VectorRow.id.in_(chunk))
        digests |= {row.id: row.delta_digest for row in session.execute(query)}
    return digests


def _exact_cosines(
    blobs: BlobStore, target: _SearchTarget, digests: dict[int, str]
) -> list[Neighbour]:
    """Reads every delta once; one that cannot be read is left out, and named."""

    def cosine(digest: str) -> float | None:
        delta = _read_delta(blobs, digest)
        return None if delta is None else float(_direction(delta) @ target.direction)

    unique = sorted(set(digests.values()))
    cosines = dict(zip(unique, at_once(blobs, cosine, unique), strict=True))
    found = ((identity, cosines[digest]) for identity, digest in digests.items())
    return [Neighbour(identity, value) for identity, value in found if value is not None]


def _read_delta(blobs: BlobStore, digest: str) -> npt.NDArray[np.float32] | None:
    try:
        return codec.decode_latent(blobs.get(digest), of=f"delta {digest}")
    except (BlobError, CodecError) as exc:
        logger.warning("left out of the search: %s; `editvec registry verify` says more", exc)
        return None


def _direction(delta: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The delta at length 1, float64 and flat."""
    flat = delta.ravel().astype(np.float64)
    direction: npt.NDArray[np.float64] = flat / np.linalg.norm(flat)
    return direction


# --- sketches that are missing ---


def _fill(
    engine: Engine, blobs: BlobStore, ids: Sequence[int]
) -> Iterator[tuple[list[int], list[bytes]]]:
    """Makes and keeps the sketches of vectors that an older release stored, batch by batch."""
    for chunk in _chunks(ids, SKETCHES_PER_TRANSACTION):
        with reading(engine) as session:
            rows = session.execute(
                select(
                    VectorRow.id,
                    VectorRow.delta_digest,
                    VectorRow.generator_digest,
                    VectorRow.latent_space,
                ).where(VectorRow.id.in_(chunk))
            ).all()
        digests = sorted({row.delta_digest for row in rows})
        deltas = dict(
            zip(digests, at_once(blobs, lambda one: _read_delta(blobs, one), digests), strict=True)
        )
        sketches = {
            row.id: sketch_of(
                delta, generator_digest=row.generator_digest, latent_space=row.latent_space
            )
            for row in rows
            if (delta := deltas[row.delta_digest]) is not None
        }
        if sketches:
            _keep(engine, sketches)
            yield list(sketches), list(sketches.values())


def _keep(engine: Engine, sketches: dict[int, bytes]) -> None:
    """Stores sketches; who may only read, or has no space left, searches without."""
    rows = [{"vector_id": identity, "sketch": sketch} for identity, sketch in sketches.items()]
    try:
        with transaction(engine) as session:
            session.execute(_insert(engine.dialect.name), rows)
    except (DatabaseError, LibraryDiskFullError) as exc:
        logger.info("sketches are not kept: %s", exc)


def _insert(dialect: str) -> Executable:
    """An INSERT that leaves alone what somebody else has inserted meanwhile."""
    if dialect == "postgresql":
        # imported only here: it takes a tenth of a second, which every command would pay
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(SketchRow).on_conflict_do_nothing()
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(SketchRow).on_conflict_do_nothing()


def _chunks(ids: Sequence[int], size: int) -> Iterator[list[int]]:
    remaining = iter(ids)
    while chunk := list(islice(remaining, size)):
        yield chunk


# --- sketches
#
# A few bytes of a delta that tell about the angle between it and others. A sketch holds the side of
# the delta on `BITS` fixed random hyperplanes (Charikar, "Similarity Estimation Techniques from
# Rounding Algorithms", STOC 2002): of two deltas at the angle a, each bit differs with the
# probability a / pi. In front of the bits stands a key, equal for deltas that can be compared at
# all.
#
# Measured with 100,000 deltas, the share of the 10 nearest that is among the best 200 sketches:
# 1.00 of deltas in clusters, 0.995 of deltas near a subspace of 64 dimensions, and 0.17 of random
# ones, whose nearest are as far as any other (cosine 0.12). At equal bytes the signs beat the
# projections themselves, kept as int8: of 20,000 deltas, 128 bytes of signs find 1.00, 1.00 and
# 0.10, of int8 1.00, 0.96 and 0.04.

BITS = 1024
KEY_BYTES = 8
SKETCH_BYTES = KEY_BYTES + BITS // 8
_LABEL = "editvec-sketch/1"
"""Another label makes other sketches: the migration that changes it empties their table."""


def sketch_of(delta: FloatArray, *, generator_digest: str, latent_space: str) -> bytes:
    """The sketch of a delta, `SKETCH_BYTES` long.

    Args:
        delta: float32 [num_ws, w_dim], not all zeros.
        generator_digest: whose latents it changes.
        latent_space: where it lives.
    """
    flat = delta.ravel().astype(np.float64)
    unit = (flat / np.abs(flat).max()).astype(np.float32)  # no sum of it can overflow
    sides = unit @ _hyperplanes(unit.size) > 0
    return sketch_key(delta.shape, generator_digest, latent_space) + np.packbits(sides).tobytes()


def estimated_cosines(sketch: bytes, others: Sequence[bytes]) -> npt.NDArray[np.float32]:
    """About the cosine of one delta with others, by their sketches; -2 where none is defined.

    Args:
        sketch: of the one.
        others: theirs.

    Returns:
        [len(others)]; the standard deviation is sin(a) * sqrt(a * (pi - a) / 1024) at the angle a,
        so 0.05 at most.
    """
    table = np.frombuffer(b"".join(others), np.uint8).reshape(len(others), SKETCH_BYTES)
    own = np.frombuffer(sketch, np.uint8)
    words = np.ascontiguousarray(table[:, KEY_BYTES:]).view(np.uint64)
    differing = np.bitwise_count(words ^ own[KEY_BYTES:].copy().view(np.uint64)).sum(
        axis=1, dtype=np.int32
    )
    cosines: npt.NDArray[np.float32] = np.cos(differing * (np.pi / BITS)).astype(np.float32)
    cosines[(table[:, :KEY_BYTES] != own[:KEY_BYTES]).any(axis=1)] = -2.0
    return cosines


def sketch_key(shape: tuple[int, ...], generator_digest: str, latent_space: str) -> bytes:
    """What a sketch begins with: equal for deltas of one generator, space and shape.

    Only these have an angle.
    """
    content = json.dumps([generator_digest, str(latent_space), *shape])
    return hashlib.sha256(content.encode()).digest()[:KEY_BYTES]


@lru_cache(maxsize=2)
def _hyperplanes(size: int) -> npt.NDArray[np.float32]:
    """Normals of the hyperplanes, [size, BITS], of -1 and 1.

    From a hash and not from a random generator: the same for ever, on every machine. (A delta that
    lies in a hyperplane but for rounding may fall on either side of it, where machines add up in
    different orders; that changes a bit, and no result: candidates are compared exactly.)
    """
    label = f"{_LABEL} {size}x{BITS}".encode()
    bits = np.frombuffer(hashlib.shake_256(label).digest(size * BITS // 8), np.uint8)
    signs = np.unpackbits(bits).astype(np.float32)
    signs *= 2.0
    signs -= 1.0
    return signs.reshape(size, BITS)
