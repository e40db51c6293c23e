"""The cache of embeddings: image -> ws, by image, bundle, settings. Losing it costs time only."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Engine
from sqlalchemy.dialects import postgresql, sqlite

from registry import codec, selects
from registry.blobs import BlobStore, is_digest
from registry.database import now, reading, transaction
from registry.entities import Embedding
from registry.errors import BlobError, CodecError, RecordError
from registry.models import EmbeddingRow

_LOG = logging.getLogger(__name__)
_ROWS_PER_STATEMENT = 200

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
    found = {}
    for row in rows:
        try:
            ws = codec.decode_latent(blobs.get(row.ws_digest), of="cached ws")
        except (BlobError, CodecError) as exc:
            _LOG.warning("embedding of image %s is embedded anew: %s", row.image_digest, exc)
            continue
        found[row.image_digest] = Embedding(
            image_digest=row.image_digest,
            bundle_digest=row.bundle_digest,
            settings_key=row.settings_key,
            ws=ws,
            perceptual_name=row.perceptual_name,
            perceptual_value=row.perceptual_value,
            psnr=row.psnr,
            num_steps=row.num_steps,
        )
    return found


def write_embeddings(engine: Engine, blobs: BlobStore, embeddings: Iterable[Embedding]) -> None:
    """Adds to the cache; an embedding that is there already, under the same key, is replaced.

    Raises:
        RecordError: a key that is no digest, or ws with NaN.
    """
    rows = [_row(embedding, blobs) for embedding in embeddings]
    insert = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
    with transaction(engine) as session:
        for some in _batches(rows, _ROWS_PER_STATEMENT):
            statement = insert(EmbeddingRow).values(some)
            keys = ["image_digest", "bundle_digest", "settings_key"]
            others = {name: statement.excluded[name] for name in some[0] if name not in keys}
            session.execute(statement.on_conflict_do_update(index_elements=keys, set_=others))


def _row(embedding: Embedding, blobs: BlobStore) -> dict[str, Any]:
    for key in (embedding.image_digest, embedding.bundle_digest, embedding.settings_key):
        if not is_digest(key):
            raise RecordError(f"embedding: expected a SHA-256 in hex, got {key!r}")
    data = codec.encode_latent(codec.finite_float32(embedding.ws, of="ws"))
    return {
        "image_digest": embedding.image_digest,
        "bundle_digest": embedding.bundle_digest,
        "settings_key": embedding.settings_key,
        "ws_digest": blobs.put(data),
        "size": len(data),
        "perceptual_name": embedding.perceptual_name,
        "perceptual_value": embedding.perceptual_value,
        "psnr": embedding.psnr,
        "num_steps": embedding.num_steps,
        "created_at": now(),
    }


def _batches(values: Iterable[_T], size: int) -> Iterator[list[_T]]:
    iterator = iter(values)
    while batch := list(islice(iterator, size)):
        yield batch
