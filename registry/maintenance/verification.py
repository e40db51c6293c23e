"""Reads everything that a library holds, and names what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Select, func, select

from editvec.registry import codec
from editvec.registry.blobs.opening import at_once
from editvec.registry.composition.compose import recompute
from editvec.registry.entities.vectors import Kind
from editvec.registry.errors import BlobError, CodecError, CompositionError
from editvec.registry.library.embeddings import batches
from editvec.registry.library.recipes import touched_rows
from editvec.registry.library.references import referenced, require_store, users_of
from editvec.registry.maintenance.consistency import find_inconsistencies
from editvec.registry.tables.database import reading
from editvec.registry.tables.models import EmbeddingRow, VectorRow
from editvec.whole_files import digest_of

if TYPE_CHECKING:
    from editvec.registry.entities.vectors import EditingVector
    from editvec.registry.library.library import Library

_BLOBS_AT_ONCE = 1000
_LARGE = 16 << 20
_ATTEMPTS = 4


class FaultKind(StrEnum):
    """What can be wrong."""

    ALTERED = "altered"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    UNFIT = "unfit"
    INCONSISTENT = "inconsistent"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that is wrong.

    Attributes:
        kind: altered: a blob whose bytes are not those of its digest. missing: a blob that a row
            names and that is not there. unreadable: a blob that cannot be read. unfit: a blob
            that is whole, and no delta of its vector. inconsistent: rows that contradict each
            other.
        subject: the digest of the blob, or the address of what is inconsistent.
        text: what is wrong, in words.
        place: where the blob lies; None of rows.
        users: who names the blob, such as `vector avatars/smile@2: delta`.
    """

    kind: FaultKind
    subject: str
    text: str
    place: str | None = None
    users: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """What was looked at, and what is wrong.

    Attributes:
        faults: those of blobs first, by digest.
        blob_count, blob_bytes: every stored blob, each of which was read.
        unreferenced_count, unreferenced_bytes: those that no row names, which is no fault: `gc`
            deletes them.
        vector_count: every version, retired or not.
    """

    faults: tuple[Fault, ...]
    blob_count: int
    blob_bytes: int
    unreferenced_count: int
    unreferenced_bytes: int
    vector_count: int

    @property
    def is_clean(self) -> bool:
        """True when nothing is wrong."""
        return not self.faults


def verify(
    library: Library, *, on_progress: Callable[[int, int], None] | None = None
) -> VerifyReport:
    """Re-hashes every stored blob, and checks what rows say of blobs and of each other.

    Others may add and run gc meanwhile.

    Args:
        library: what to verify.
        on_progress: called with the number of blobs done and of all.

    Raises:
        BlobError: the store vanished, or cannot be listed.
        DatabaseError: the database cannot be reached.

    Example:
        >>> for fault in verify(library).faults:
        ...     print(fault.kind, fault.users, fault.text)
    """
    require_store(library.engine, library.blobs)
    sizes = {entry.name: entry.size for entry in library.blobs.entries()}
    suspects = list(_suspects(library, sizes, on_progress))
    gone = {one.digest for one in suspects if one.kind is FaultKind.MISSING}
    with reading(library.engine) as session:
        # after the listing: what was added meanwhile is in it, or is looked for one by one
        named = referenced(session)
        vector_count = session.scalar(select(func.count()).select_from(VectorRow)) or 0
        inconsistencies = list(find_inconsistencies(session))
        composed = list(session.execute(_compositions()))
    suspects = [one for one in suspects if one.kind is not FaultKind.MISSING]
    suspects += _missing(library, named - (sizes.keys() - gone))
    unnamed = [size for digest, size in sizes.items() if digest not in named]
    return VerifyReport(
        faults=(
            *_named_faults(library, suspects),
            *(
                Fault(kind=FaultKind.INCONSISTENT, subject=one.subject, text=one.text)
                for one in inconsistencies
            ),
            *_wrong_sums(
                library, [f"{one.class_name}/{one.name}@{one.version}" for one in composed]
            ),
        ),
        blob_count=len(sizes),
        blob_bytes=sum(sizes.values()),
        unreferenced_count=len(unnamed),
        unreferenced_bytes=sum(unnamed),
        vector_count=vector_count,
    )


def _compositions() -> Select[str, str, int]:
    """The addresses of all compositions, in parts."""
    return (
        select(VectorRow.class_name, VectorRow.name, VectorRow.version)
        .where(VectorRow.kind == Kind.COMPOSED)
        .order_by(VectorRow.id)
    )


def _wrong_sums(library: Library, addresses: Sequence[str]) -> Iterator[Fault]:
    """Compositions that are not what their recipe gives."""
    for address in addresses:
        text = recipe_fault(library, library.get_vector(address))
        if text is not None:
            yield Fault(kind=FaultKind.INCONSISTENT, subject=address, text=text)


def recipe_fault(library: Library, vector: EditingVector) -> str | None:
    """What is wrong with a composition: its delta and its rows must follow from its terms.

    Returns:
        None where nothing is, and where it cannot be told: blobs that are missing or altered, and
        compositions without terms, are faults of their own.
    """
    try:
        delta = recompute(library, vector)
        is_right = bool((delta == library.delta(vector)).all())
    except (BlobError, CodecError, CompositionError):
        return None
    if not is_right:
        return "its delta is not the sum of its terms"
    if vector.row_mask != touched_rows(delta):
        return "its row mask is not that of the sum of its terms"
    return None


# --- blobs ---


class _Suspect(NamedTuple):
    kind: FaultKind
    digest: str
    text: str


class _Shape(NamedTuple):
    """What a blob of latents must hold: [rows, columns], or at least `packed` times that."""

    rows: int
    columns: int
    packed: int = 0


def _suspects(
    library: Library, sizes: Mapping[str, int], on_progress: Callable[[int, int], None] | None
) -> Iterator[_Suspect]:
    """Reads every blob, in threads: hashing and waiting for a disk let each other run."""
    shapes = _shapes(library)

    def check(digest: str) -> _Suspect | None:
        return _check(library, digest, sizes[digest], shapes.get(digest))

    done = 0
    with ThreadPoolExecutor(max(library.blobs.threads, os.cpu_count() or 1)) as threads:
        for some in batches(sizes, _BLOBS_AT_ONCE):
            yield from (suspect for suspect in threads.map(check, some) if suspect is not None)
            done += len(some)
            if on_progress is not None:
                on_progress(done, len(sizes))


def _check(library: Library, digest: str, size: int, shape: _Shape | None) -> _Suspect | None:
    """What is wrong with a blob; None when nothing is. It is missing where gc took it."""
    try:
        data, found = _read(library, digest, size, shape)
    except BlobError as exc:
        kind = FaultKind.UNREADABLE if _has(library, digest) else FaultKind.MISSING
        return _Suspect(kind, digest, str(exc))
    if found != digest:
        return _Suspect(FaultKind.ALTERED, digest, f"its bytes are those of {found}")
    if shape is None or data is None:
        return None
    try:
        _check_latent(data, shape)
    except CodecError as exc:
        return _Suspect(FaultKind.UNFIT, digest, str(exc))
    return None


def _read(
    library: Library, digest: str, size: int, shape: _Shape | None
) -> tuple[bytes | None, str]:
    """A blob's bytes, unless they are many, and their digest."""
    blobs = library.blobs
    for attempt in range(_ATTEMPTS):
        try:
            if shape is None and size > _LARGE:
                return None, blobs.rehash(digest)
            data = blobs.read(digest)
        except BlobError:
            # gc may have taken it, and who was about to name it may have put it again
            if attempt == _ATTEMPTS - 1 or not _has(library, digest):
                raise
        else:
            return data, digest_of(data)
    raise AssertionError("the last attempt returns or raises")


def _check_latent(data: bytes, shape: _Shape) -> None:
    array = codec.decode_latent(data, of="blob")
    if shape.packed == 0:
        codec.check_delta(array, num_ws=shape.rows, w_dim=shape.columns, of="delta")
    elif array.ndim != 3 or len(array) < shape.packed:
        raise CodecError(f"ws: expected {shape.packed} or more, got shape {list(array.shape)}")


def _shapes(library: Library) -> dict[str, _Shape]:
    """What rows expect of deltas and of packs of embeddings, by digest."""
    deltas = select(VectorRow.delta_digest, VectorRow.num_ws, VectorRow.w_dim).distinct()
    last_row = func.max(EmbeddingRow.ws_row)
    packs = select(EmbeddingRow.ws_digest, last_row).group_by(EmbeddingRow.ws_digest)
    with reading(library.engine) as session:
        shapes = {digest: _Shape(0, 0, last + 1) for digest, last in session.execute(packs)}
        for digest, rows, columns in session.execute(deltas):
            shapes[digest] = _Shape(rows, columns)
    return shapes


def _missing(library: Library, digests: set[str]) -> list[_Suspect]:
    """Those of the digests that rows name, and that are not there."""
    absent = sorted(digests)
    # twice is not enough: a blob may lose its name, go, be put again and named again meanwhile
    for _attempt in range(_ATTEMPTS):
        held = at_once(library.blobs, library.blobs.has, absent)
        absent = [one for one, is_held in zip(absent, held, strict=True) if not is_held]
        if not absent:
            return []
        with reading(library.engine) as session:
            named = {one for some in batches(absent, 500) for one in referenced(session, some)}
        absent = [one for one in absent if one in named]
    return [_Suspect(FaultKind.MISSING, one, "it is not there") for one in absent]


def _named_faults(library: Library, suspects: Iterable[_Suspect]) -> Iterator[Fault]:
    """Faults of blobs by digest, with those who name them."""
    for some in batches(sorted(suspects, key=lambda one: one.digest), 500):
        with reading(library.engine) as session:
            users = users_of(session, [one.digest for one in some])
        for one in some:
            yield Fault(
                kind=one.kind,
                subject=one.digest,
                text=one.text,
                place=library.blobs.place(one.digest),
                users=tuple(users.get(one.digest, ())),
            )


def _has(library: Library, digest: str) -> bool:
    try:
        return library.blobs.has(digest)
    except BlobError:
        return True
