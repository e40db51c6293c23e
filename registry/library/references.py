"""Which rows name which blobs, and the one door through which such rows are written.

A blob is stored before the row that names it, and gc deletes what no row names. Between the two,
gc could take a blob that is about to be named. So every transaction that names blobs shares a
lock that gc takes alone, and looks under it whether they are still there; what is gone is put
again. SQLite has one writer at a time, which is that lock.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Engine, Select, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from editvec.registry.blobs.opening import at_once, open_blob_store, put_all
from editvec.registry.blobs.store import BlobStore, vanished
from editvec.registry.errors import BlobError
from editvec.registry.tables.database import (
    open_engine,
    place_of,
    reading,
    serialise,
    transaction,
)
from editvec.registry.tables.models import (
    ClassFileRow,
    ClassRow,
    EmbeddingRow,
    MaskPairRow,
    VectorRow,
)

if TYPE_CHECKING:
    from editvec.registry.config import RegistryConfig

BLOB_LOCK = "blobs"


class BlobColumn(NamedTuple):
    """A column that names blobs, and what it holds, for people."""

    column: InstrumentedAttribute[Any]
    part: str


BLOB_COLUMNS = (
    BlobColumn(ClassFileRow.digest, "file"),
    BlobColumn(VectorRow.delta_digest, "delta"),
    BlobColumn(VectorRow.brush_digest, "brush"),
    BlobColumn(VectorRow.original_digest, "original file"),
    BlobColumn(VectorRow.preview_digest, "preview"),
    BlobColumn(MaskPairRow.image_digest, "image"),
    BlobColumn(MaskPairRow.mask_before_digest, "mask before"),
    BlobColumn(MaskPairRow.mask_after_digest, "mask after"),
    BlobColumn(MaskPairRow.source_ws_digest, "source ws"),
    BlobColumn(EmbeddingRow.ws_digest, "ws"),
)

Contents = Sequence[bytes | Path]


class Storing(NamedTuple):
    """A write transaction, and the digests of the blobs that its rows may name."""

    session: Session
    digests: list[str]


@contextmanager
def storing(engine: Engine, blobs: BlobStore, contents: Contents) -> Iterator[Storing]:
    """Stores blobs, then opens the write transaction whose rows name them.

    Every row that names a blob is written in such a transaction, and it takes no lock of its own
    before this one: then no two wait for each other.

    Args:
        engine: the database.
        blobs: the store.
        contents: bytes or files; their digests come in the same order.

    Raises:
        BlobError: a blob cannot be stored; DiskFullError when no space is left.
        DatabaseError: the database cannot be reached or refuses.
    """
    require_store(engine, blobs)
    digests = put_all(blobs, contents)
    with transaction(engine) as session:
        serialise(session, BLOB_LOCK, shared=True)
        _put_again(blobs, dict(zip(digests, contents, strict=True)))
        yield Storing(session, digests)
        session.flush()
        mark_store(session, blobs)


def referenced(
    session: Session,
    digests: Collection[str] | None = None,
    *,
    columns: Sequence[BlobColumn] = BLOB_COLUMNS,
) -> set[str]:
    """The digests that rows name; of these digests only, unless None."""
    found: set[str] = set()
    for column, _part in columns:
        query = select(column).where(column.is_not(None)).distinct()
        if digests is not None:
            query = query.where(column.in_(digests))
        found.update(session.scalars(query))
    return found


def users_of(session: Session, digests: Collection[str]) -> dict[str, list[str]]:
    """Who names these blobs, such as `vector avatars/smile@2: delta`, by digest."""
    found: dict[str, list[str]] = defaultdict(list)
    for column, part in BLOB_COLUMNS:
        for digest, *names in session.execute(_users_query(column).where(column.in_(digests))):
            found[digest].append(_user(column, part, names))
    return {digest: sorted(names) for digest, names in found.items()}


# --- the store as a whole ---


def require_store(engine: Engine, blobs: BlobStore) -> None:
    """Makes the store of a new library; refuses to make that of one that holds a class already.

    Raises:
        BlobError: the store vanished.
    """
    absence = blobs.absence()
    if absence is None:
        return
    with reading(engine) as session:
        is_new = session.scalar(select(ClassRow.id).limit(1)) is None
    if is_new:
        blobs.create()
    elif blobs.absence() is not None:  # else another made it meanwhile, with the first class
        raise vanished(blobs.url, absence)


def make_store(config: RegistryConfig) -> str | None:
    """Makes the blob store of a library whose tables are current, new or not.

    Returns:
        What was wrong with the store of a library that is not new; None when all was well.

    Raises:
        BlobError: it cannot be made.
    """
    engine = open_engine(config.database_url)
    try:
        blobs = open_blob_store(config.blob_url)
        absence = blobs.absence()
        if absence is not None:
            blobs.create()
        with reading(engine) as session:
            is_new = _identity(session) is None
            mark_store(session, blobs)
        return None if is_new else absence
    finally:
        engine.dispose()


def mark_store(session: Session, blobs: BlobStore) -> None:
    """Notes in the store that this library keeps its blobs there, so that no other's gc runs."""
    if blobs.is_marked:
        return
    identity = _identity(session)
    if identity is not None:
        blobs.add_library(identity, place_of(session.get_bind().engine.url))
        blobs.is_marked = True


def require_own_store(session: Session, blobs: BlobStore) -> None:
    """Refuses a store that another library uses too: its blobs have no names in this database.

    Raises:
        BlobError: names the other library, and the file that says so.
    """
    identity = _identity(session)
    if identity is None:
        raise BlobError(
            f"blob store {blobs.url}: the library holds no class, so nothing tells which blobs "
            "are its own"
        )
    for other, place in blobs.libraries().items():
        if other != identity:
            raise BlobError(
                f"blob store {blobs.url}: the library in {place} keeps its blobs there too, and gc "
                f"would delete them; if it is no more, remove libraries/{other} from the store"
            )


def _identity(session: Session) -> str | None:
    """What tells this library from others: its first class, which stays; None without one."""
    first = session.scalar(select(ClassRow).order_by(ClassRow.id).limit(1))
    if first is None:
        return None
    facts = [first.name, first.bundle_digest, first.created_at.isoformat(), first.created_by]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


# --- blobs that gc took while they were about to be named ---


def _put_again(blobs: BlobStore, contents: Mapping[str, bytes | Path]) -> None:
    held = at_once(blobs, blobs.has, list(contents))
    put_all(
        blobs, [one for one, is_held in zip(contents.values(), held, strict=True) if not is_held]
    )


# --- names ---


def _users_query(column: InstrumentedAttribute[Any]) -> Select[Any]:
    """Each digest of a column with what names its row."""
    table = column.class_
    if table is ClassFileRow:
        query = select(column, ClassRow.name, ClassRow.version, ClassFileRow.name)
        return query.join(ClassRow, ClassRow.id == ClassFileRow.class_id)
    if table is EmbeddingRow:
        return select(column, func.count()).group_by(column)
    vector = (VectorRow.class_name, VectorRow.name, VectorRow.version)
    if table is MaskPairRow:
        query = select(column, *vector, MaskPairRow.position)
        return query.join(VectorRow, VectorRow.id == MaskPairRow.vector_id)
    return select(column, *vector)


def _user(column: InstrumentedAttribute[Any], part: str, names: Sequence[Any]) -> str:
    table = column.class_
    if table is ClassFileRow:
        return f"class {names[0]}@{names[1]}: {names[2]}"
    if table is EmbeddingRow:
        return f"embeddings of {names[0]} images"
    address = f"vector {names[0]}/{names[1]}@{names[2]}"
    return f"{address}: pair {names[3]}: {part}" if table is MaskPairRow else f"{address}: {part}"
