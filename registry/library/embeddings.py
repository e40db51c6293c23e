"""The cache of embeddings: image -> ws, by image, bundle, settings. Losing it costs time only."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from sqlalchemy import ColumnElement, Engine, Executable, delete, func, select

from editvec.registry import codec
from editvec.registry.blobs.store import BlobStore
from editvec.registry.entities.vectors import Embedding, EmbeddingUsage, FloatArray
from editvec.registry.errors import BlobError, CodecError, RecordError
from editvec.registry.files import is_digest
from editvec.registry.library import selects
from editvec.registry.library.references import storing
from editvec.registry.tables.database import now, reading, transaction
from editvec.registry.tables.models import EmbeddingRow

_LOG = logging.getLogger(__name__)
_ROWS_PER_STATEMENT = 200
_PACKS_PER_STATEMENT = 1000
_KEY = ("image_digest", "generator_digest", "settings_key")


def read_embeddings(
    engine: Engine,
    blobs: BlobStore,
    image_digests: Sequence[str],
    *,
    generator_digest: str,
    settings_key: str,
) -> dict[str, Embedding]:
    """What the cache holds for these images; a lost or altered blob counts as not held."""
    rows: list[EmbeddingRow] = []
    with reading(engine) as session:
        for some in batches(image_digests, _ROWS_PER_STATEMENT):
            rows.extend(session.scalars(selects.embeddings(some, generator_digest, settings_key)))
    packs = _Packs(blobs)
    found = {row.image_digest: packs.embedding(row) for row in rows}
    return {digest: embedding for digest, embedding in found.items() if embedding is not None}


def write_embeddings(engine: Engine, blobs: BlobStore, embeddings: Iterable[Embedding]) -> None:
    """Adds to the cache; an embedding that is there already, under the same key, is replaced.

    All ws of one call go into one blob: a synced file per image would cost more time than the
    encoder takes to embed it.

    Raises:
        RecordError: a key that is no digest, or a measure that is NaN.
        CodecError: ws of different shapes, of another dtype, or with NaN.
    """
    batch = {_key(embedding): embedding for embedding in embeddings}
    if not batch:
        return
    shape = next(iter(batch.values())).ws.shape
    pack = np.stack([codec.check_shape(one.ws, shape, of="ws") for one in batch.values()])
    rows = [
        {
            "image_digest": embedding.image_digest,
            "generator_digest": embedding.generator_digest,
            "settings_key": embedding.settings_key,
            "ws_row": place,
            "size": pack[place].nbytes,
            "perceptual_name": embedding.perceptual_name,
            "perceptual_value": _number(embedding.perceptual_value, of="perceptual value"),
            "psnr": _number(embedding.psnr, of="psnr"),
            "num_steps": embedding.num_steps,
            "created_at": now(),
        }
        for place, embedding in enumerate(batch.values())
    ]
    with storing(engine, blobs, [codec.encode_latent(pack)]) as (session, (ws_digest,)):
        for some in batches(rows, _ROWS_PER_STATEMENT):
            statement = _upsert(
                engine.dialect.name, [{**row, "ws_digest": ws_digest} for row in some]
            )
            session.execute(statement)


def usage(engine: Engine) -> EmbeddingUsage:
    """How many embeddings the cache holds, and the bytes of their ws."""
    with reading(engine) as session:
        count, size = session.execute(select(func.count(), _total_size())).one()
        return EmbeddingUsage(count, int(size))


def packs_beyond(engine: Engine, limit: int) -> tuple[list[str], EmbeddingUsage]:
    """The oldest packs without which the cache is within a limit of bytes, and what they hold.

    What one call wrote shares a blob, its pack: only whole packs make room.
    """
    age = func.max(EmbeddingRow.created_at)
    query = (
        select(EmbeddingRow.ws_digest, func.count(), _total_size())
        .group_by(EmbeddingRow.ws_digest)
        .order_by(age, EmbeddingRow.ws_digest)
    )
    surplus = usage(engine).bytes - limit
    packs: list[str] = []
    count = size = 0
    with reading(engine) as session:
        for digest, rows, of_rows in session.execute(query):
            if size >= surplus:
                break
            packs.append(digest)
            count, size = count + rows, size + int(of_rows)
    return packs, EmbeddingUsage(count, size)


def evict(engine: Engine, packs: Sequence[str]) -> EmbeddingUsage:
    """Forgets the embeddings of these packs; gc deletes their blobs. Returns what went."""
    count = size = 0
    for some in batches(packs, _PACKS_PER_STATEMENT):
        with transaction(engine) as session:
            gone = delete(EmbeddingRow).where(EmbeddingRow.ws_digest.in_(some))
            sizes = session.scalars(gone.returning(EmbeddingRow.size)).all()
        count, size = count + len(sizes), size + sum(sizes)
    return EmbeddingUsage(count, size)


def _total_size() -> ColumnElement[int]:
    return func.coalesce(func.sum(EmbeddingRow.size), 0)


def _upsert(dialect: str, rows: Sequence[dict[str, Any]]) -> Executable:
    """Both databases have the same statement, each with a construct of its own."""
    if dialect == "postgresql":
        # imported only here: it takes a tenth of a second, which every command would pay
        from sqlalchemy.dialects import postgresql

        theirs = postgresql.insert(EmbeddingRow).values(rows)
        others = {name: theirs.excluded[name] for name in rows[0] if name not in _KEY}
        return theirs.on_conflict_do_update(index_elements=_KEY, set_=others)
    from sqlalchemy.dialects import sqlite

    ours = sqlite.insert(EmbeddingRow).values(rows)
    others = {name: ours.excluded[name] for name in rows[0] if name not in _KEY}
    return ours.on_conflict_do_update(index_elements=_KEY, set_=others)


class _Packs:
    """The blobs that hold ws, each read once."""

    def __init__(self, blobs: BlobStore) -> None:
        self.blobs = blobs
        self.held: dict[str, FloatArray | None] = {}

    def embedding(self, row: EmbeddingRow) -> Embedding | None:
        """The entity of a row; None when its ws are lost."""
        if row.ws_digest not in self.held:
            self.held[row.ws_digest] = self._read(row.ws_digest)
        pack = self.held[row.ws_digest]
        if pack is None or pack.ndim != 3 or row.ws_row >= len(pack):
            return None
        return Embedding(
            image_digest=row.image_digest,
            generator_digest=row.generator_digest,
            settings_key=row.settings_key,
            ws=pack[row.ws_row],
            perceptual_name=row.perceptual_name,
            perceptual_value=row.perceptual_value,
            psnr=row.psnr,
            num_steps=row.num_steps,
        )

    def _read(self, digest: str) -> FloatArray | None:
        try:
            return codec.decode_latent(self.blobs.get(digest), of="cached ws")
        except (BlobError, CodecError) as exc:
            _LOG.warning("some images are embedded anew: %s", exc)
            return None


def _key(embedding: Embedding) -> tuple[str, ...]:
    key = (embedding.image_digest, embedding.generator_digest, embedding.settings_key)
    for digest in key:
        if not is_digest(digest):
            raise RecordError(f"embedding: expected a SHA-256 in hex, got {digest!r}")
    return key


def _number(value: float | None, *, of: str) -> float | None:
    if value is not None and math.isnan(value):
        raise RecordError(f"embedding: {of}: expected a number, got {value}")
    return value


# --- a stream in pieces ---

_T = TypeVar("_T")


def batches(values: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Lists of `size` values each; the last may be shorter.

    Example:
        >>> list(batches("abcde", 2))
        [['a', 'b'], ['c', 'd'], ['e']]
    """
    iterator = iter(values)
    while batch := list(islice(iterator, size)):
        yield batch
