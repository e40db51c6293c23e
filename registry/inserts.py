"""The INSERTs of the library, as functions of a session; used by the store only."""

from __future__ import annotations

import getpass
import os

from sqlalchemy.orm import Session

from registry import selects
from registry.bundles import BundleManifest
from registry.database import now
from registry.entities import (
    ClassModel,
    MaskPair,
    NewTerm,
    StoredVector,
    Term,
    parse_address,
)
from registry.errors import ConflictError
from registry.models import ClassRow, HistoryRow, MaskPairRow, TermRow, VectorRow
from registry.parcels import CheckedParcel, ParcelDigests
from registry.records import (
    checked_number,
    checked_text,
    class_row,
    content_digest_of,
    editing_vector,
    metric_row,
    row_mask_text,
    vector_row,
)


def add_class(session: Session, manifest: BundleManifest, *, by: str) -> ClassRow:
    """The version that holds this bundle, or a new one; the caller has serialised the classes.

    Raises:
        ConflictError: another class holds this very bundle.
    """
    existing = session.scalar(selects.class_with_bundle(manifest.bundle_digest))
    if existing is not None:
        return existing
    last = session.scalar(selects.last_class_version(manifest.class_name)) or 0
    row = class_row(manifest, name=manifest.class_name, version=last + 1, created_by=by)
    session.add(row)
    _record(session, by, "add class", f"{row.name}@{row.version}", "")
    session.flush()
    return row


def add_vector(
    session: Session,
    checked: CheckedParcel,
    digests: ParcelDigests,
    *,
    stored: dict[str, VectorRow],
    by: str,
    reason: str,
) -> StoredVector:
    """The version that holds this content, or a new one; the caller has serialised the name.

    Args:
        session: inside a write transaction.
        checked: what to store.
        digests: its blobs.
        stored: vectors of the same call by the address that they were archived as; grows.
        by: who adds it.
        reason: why.

    Raises:
        ConflictError: the wanted version holds other content.
    """
    new, model = checked.new, checked.model
    content = content_digest_of(new, model, delta_digest=digests.delta_digest)
    row = session.scalar(selects.vector_with_content(model.name, new.name, content))
    is_new = row is None
    if row is None:
        version = _free_version(session, checked)
        row = vector_row(
            new, model, delta_digest=digests.delta_digest, version=version, created_by=by
        )
        row.pairs = [_pair_row(pair, place) for place, pair in enumerate(digests.pairs)]
        row.metrics = [metric_row(metric) for metric in checked.parcel.metrics]
        row.terms = [
            _term_row(session, term, place, model, stored)
            for place, term in enumerate(checked.parcel.terms)
        ]
        session.add(row)
        _record(session, by, "add", f"{model.name}/{new.name}@{version}", reason)
        session.flush()
    elif new.version not in (None, row.version):
        raise ConflictError(
            f"vector {model.name}/{new.name}@{new.version}: version {row.version} holds this "
            "very content"
        )
    if checked.parcel.archived_as is not None:
        stored[checked.parcel.archived_as] = row
    return StoredVector(editing_vector(row), is_new)


def _free_version(session: Session, checked: CheckedParcel) -> int:
    """The version to take: the wanted one, the archived one where it is free, or the next."""
    new, name = checked.new, checked.model.name
    last = session.scalar(selects.last_vector_version(name, new.name)) or 0
    archived = checked.parcel.archived_as
    wanted = new.version if archived is None else parse_address(archived).version
    if wanted is None:
        return last + 1
    if session.scalar(selects.vector_version(name, new.name, wanted)) is None:
        return wanted
    if new.version is not None:
        raise ConflictError(
            f"vector {name}/{new.name}@{wanted}: that version holds other content; the next "
            f"free one is {last + 1}"
        )
    return last + 1


def _pair_row(pair: MaskPair, position: int) -> MaskPairRow:
    return MaskPairRow(
        position=position,
        image_digest=pair.image_digest,
        mask_before_digest=pair.mask_before_digest,
        mask_after_digest=pair.mask_after_digest,
        source_ws_digest=pair.source_ws_digest,
    )


def _term_row(
    session: Session,
    term: NewTerm | Term,
    position: int,
    model: ClassModel,
    stored: dict[str, VectorRow],
) -> TermRow:
    vector = stored.get(term.address) or selects.find_vector_text(session, term.address, model.name)
    return TermRow(
        position=position,
        term_vector=vector,
        scale=checked_number(term.scale, of=f"scale of term {term.address}"),
        row_mask=row_mask_text(term.row_mask, num_ws=model.num_ws),
    )


def _record(session: Session, by: str, action: str, subject: str, reason: str) -> None:
    why = checked_text(reason, of="reason")
    session.add(HistoryRow(at=now(), by=by, action=action, subject=subject, reason=why))


def current_user() -> str:
    """Who is using the library; the number where the system has no name for it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())
