"""The cache of embeddings: image -> ws, by image, bundle, settings. Losing it costs time only."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from sqlalchemy import Engine, Executable

from registry import codec, selects
from registry.blobs import BlobStore, is_digest
from registry.database import now, reading, transaction
from registry.entities import Embedding, FloatArray
from registry.errors import BlobError, CodecError, RecordError
from registry.models import EmbeddingRow

_LOG = logging.getLogger(__name__)
_ROWS_PER_STATEMENT = 200
_KEY = ("image_digest", "bundle_digest", "settings_key")

_T = TypeVar("_T")


def read_embeddings(
    engine: Engine,
    blobs: BlobStore,
    image_digests: Sequence[str],
    *,
    bundle_digest: str,
    settings_key: str,
) -> dict[str, Embedding]:
    """What the cache holds for these images; a lost or altered blob counts as not held."""
    rows: list[EmbeddingRow] = []
    with reading(engine) as session:
        for some in _batches(image_digests, _ROWS_PER_STATEMENT):
            rows.extend(session.scalars(selects.embeddings(some, bundle_digest, settings_key)))
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
    ws_digest = blobs.put(codec.encode_latent(pack))
    rows = [
        {
            "image_digest": embedding.image_digest,
            "bundle_digest": embedding.bundle_digest,
            "settings_key": embedding.settings_key,
            "ws_digest": ws_digest,
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
    with transaction(engine) as session:
        for some in _batches(rows, _ROWS_PER_STATEMENT):
            session.execute(_upsert(engine.dialect.name, some))


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
            bundle_digest=row.bundle_digest,
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
    key = (embedding.image_digest, embedding.bundle_digest, embedding.settings_key)
    for digest in key:
        if not is_digest(digest):
            raise RecordError(f"embedding: expected a SHA-256 in hex, got {digest!r}")
    return key


def _number(value: float | None, *, of: str) -> float | None:
    if value is not None and math.isnan(value):
        raise RecordError(f"embedding: {of}: expected a number, got {value}")
    return value


def _batches(values: Iterable[_T], size: int) -> Iterator[list[_T]]:
    iterator = iter(values)
    while batch := list(islice(iterator, size)):
        yield batch
