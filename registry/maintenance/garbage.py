"""Deletes the blobs that no row names: gc. Safe while others add, whatever the grace time.

If gc takes a blob that a command is about to name, the command stores it again (see references.py).
The grace time only saves running commands that work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from editvec.registry.blobs.opening import at_once
from editvec.registry.blobs.store import StoredFile
from editvec.registry.entities.vectors import EmbeddingUsage
from editvec.registry.errors import RecordError
from editvec.registry.library import embeddings
from editvec.registry.library.references import (
    BLOB_COLUMNS,
    BLOB_LOCK,
    mark_store,
    referenced,
    require_own_store,
    require_store,
)
from editvec.registry.tables.database import now, reading, serialise, transaction
from editvec.registry.tables.models import EmbeddingRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from editvec.registry.library.library import Library

DEFAULT_GRACE = timedelta(hours=24)
LEFTOVER_GRACE = timedelta(hours=1)
"""Temporary files belong to a running command for at least so long, whatever the grace time."""

_BLOBS_PER_TRANSACTION = 500


@dataclass(frozen=True)
class Tally:
    """A number of things and their bytes."""

    count: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class GcReport:
    """What went, or would go.

    Attributes:
        is_dry_run: nothing was deleted.
        blobs: that no row names, and older than the grace time.
        leftovers: temporary files of commands that were killed.
        young: what no row names either, and is spared this time.
        evicted: embeddings beyond the limit.
    """

    is_dry_run: bool
    blobs: tuple[StoredFile, ...]
    leftovers: tuple[StoredFile, ...]
    young: Tally
    evicted: EmbeddingUsage

    @property
    def size(self) -> int:
        """Bytes of all that went, or would go."""
        return sum(one.size for one in (*self.blobs, *self.leftovers))


def gc(
    library: Library,
    *,
    grace: timedelta = DEFAULT_GRACE,
    dry_run: bool = False,
    embeddings_limit: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> GcReport:
    """Deletes what no row names; before that, the oldest embeddings beyond a limit.

    Args:
        library: whose blobs; it must be the only one that keeps any in its store.
        grace: spares what was put within this time.
        dry_run: only tells what would go.
        embeddings_limit: bytes that the cached embeddings may take; None keeps all of them.
        on_progress: called with the number of blobs done and of all.

    Raises:
        BlobError: the store vanished, cannot be written, or another library keeps its blobs there.
        RecordError: a negative grace time or limit.

    Example:
        >>> report = gc(library, grace=timedelta(days=7), dry_run=True)
        >>> len(report.blobs), report.size
        (0, 0)
    """
    if grace < timedelta(0) or (embeddings_limit or 0) < 0:
        raise RecordError(f"gc: expected no negative values, got {grace}, {embeddings_limit}")
    _check_store(library)
    packs: list[str] = []
    evicted = EmbeddingUsage(0, 0)
    if embeddings_limit is not None:
        packs, evicted = embeddings.packs_beyond(library.engine, embeddings_limit)
        if not dry_run:
            evicted = embeddings.evict(library.engine, packs)
    began = now()
    named = _named_without(library, packs if dry_run else [])
    orphans = [one for one in library.blobs.entries() if one.name not in named]
    old = [one for one in orphans if one.modified <= began - grace]
    young = [one for one in orphans if one.modified > began - grace]
    left_before = began - max(grace, LEFTOVER_GRACE)
    leftovers = [one for one in library.blobs.leftovers() if one.modified <= left_before]
    if not dry_run:
        old = _sweep(library, old, on_progress)
        for one in leftovers:
            library.blobs.remove_leftover(one.name)
    return GcReport(
        is_dry_run=dry_run,
        blobs=tuple(sorted(old, key=lambda one: one.name)),
        leftovers=tuple(sorted(leftovers, key=lambda one: one.name)),
        young=Tally(len(young), sum(one.size for one in young)),
        evicted=evicted,
    )


def _check_store(library: Library) -> None:
    """Refuses a store that is not there, or not this library's alone."""
    require_store(library.engine, library.blobs)
    if next(library.blobs.entries(), None) is None:
        return  # nothing of anybody's
    with reading(library.engine) as session:
        require_own_store(session, library.blobs)
        mark_store(session, library.blobs)


def _named_without(library: Library, packs: Sequence[str]) -> set[str]:
    """The digests that rows name, had these packs of embeddings been evicted."""
    others = [one for one in BLOB_COLUMNS if one.column is not EmbeddingRow.ws_digest]
    ws = [one for one in BLOB_COLUMNS if one.column is EmbeddingRow.ws_digest]
    with reading(library.engine) as session:
        kept = referenced(session, columns=ws).difference(packs)
        return referenced(session, columns=others) | kept


def _sweep(
    library: Library,
    orphans: Sequence[StoredFile],
    on_progress: Callable[[int, int], None] | None,
) -> list[StoredFile]:
    """Deletes what is still not named, a batch at a time: others add in between."""
    deleted: list[StoredFile] = []
    for start in range(0, len(orphans), _BLOBS_PER_TRANSACTION):
        batch = orphans[start : start + _BLOBS_PER_TRANSACTION]
        with transaction(library.engine) as session:
            serialise(session, BLOB_LOCK)
            named = referenced(session, [one.name for one in batch])
            gone = [one for one in batch if one.name not in named]
            at_once(library.blobs, library.blobs.delete, [one.name for one in gone])
        deleted += gone
        if on_progress is not None:
            on_progress(start + len(batch), len(orphans))
    return deleted
