"""The INSERTs of the library, as functions of a session; used by the store only."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from editvec.registry.addresses import MAX_VERSION, parse_address
from editvec.registry.entities.vectors import (
    MaskPair,
    NewTerm,
    StoredVector,
    Term,
    TermRole,
    require_active,
)
from editvec.registry.errors import ConflictError
from editvec.registry.library import selects
from editvec.registry.library.checks import content_digest_of
from editvec.registry.library.records import (
    class_row,
    editing_vector,
    history_row,
    mark_latest,
    metric_row,
    vector_row,
)
from editvec.registry.tables.database import serialise
from editvec.registry.tables.models import (
    ClassGroupRow,
    ClassRow,
    MaskPairRow,
    SketchRow,
    TermRow,
    VectorRow,
)
from editvec.registry.values import checked_number, one_of, row_mask_text

if TYPE_CHECKING:
    from editvec.registry.bundles.manifest import BundleManifest
    from editvec.registry.entities.vectors import ParcelDigests
    from editvec.registry.library.parcels import CheckedParcel


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
    former = selects.find_class(session, f"{row.name}@{last}") if last else None
    row.groups = groups_of_new(row, manifest.groups, former)
    session.add(row)
    session.add(history_row("add class", f"{row.name}@{row.version}", by=by))
    session.flush()
    return row


def add_vectors(
    session: Session, parcels: Sequence[CheckedParcel], digests: Sequence[str], *, reason: str
) -> list[StoredVector]:
    """Adds several vectors, in this order, in one write transaction.

    Args:
        session: inside it.
        parcels: what to store.
        digests: of the blobs of all parcels, in the order of `contents_of`.
        reason: why.

    Raises:
        ConflictError: a wanted version holds other content.
    """
    from editvec.registry.library.parcels import name_digests  # it loads numpy

    for subject in sorted({f"{one.model.name}/{one.new.name}" for one in parcels}):
        serialise(session, f"vector {subject}")
    following = iter(digests)
    named = [name_digests(one, following) for one in parcels]
    stored: dict[str, VectorRow] = {}
    user = current_user()
    return [
        add_vector(session, one, blobs, stored=stored, by=user, reason=reason)
        for one, blobs in zip(parcels, named, strict=True)
    ]


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
        VectorNotFoundError: a term that the library does not hold.
        RetiredVectorError: a retired term of a new composition.
    """
    new, model = checked.new, checked.model
    shape = checked.shape
    content = content_digest_of(new, model, digests, rows=shape.rows)
    row = session.scalar(selects.vector_with_content(model.name, new.name, content))
    is_new = row is None
    if row is None:
        version = _free_version(session, checked)
        row = vector_row(new, model, digests, shape=shape, version=version, created_by=by)
        row.pairs = [_pair_row(pair, place) for place, pair in enumerate(digests.pairs)]
        row.metrics = [metric_row(metric) for metric in checked.parcel.metrics]
        mark_latest(row.metrics)
        row.terms = [
            _term_row(session, term, place, checked, stored)
            for place, term in enumerate(checked.parcel.terms)
        ]
        session.add(row)
        subject = f"{model.name}/{new.name}@{version}"
        session.add(history_row("add", subject, by=by, reason=reason))
        session.flush()
        session.add(_sketch_row(row, checked))
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
    if wanted is not None:
        if session.scalar(selects.vector_version(name, new.name, wanted)) is None:
            return wanted
        if new.version is not None:
            raise ConflictError(
                f"vector {name}/{new.name}@{wanted}: that version holds other content; the next "
                f"free one is {last + 1}"
            )
    if last >= MAX_VERSION:
        raise ConflictError(f"vector {name}/{new.name}: no version is left after {last}")
    return last + 1


def _sketch_row(row: VectorRow, checked: CheckedParcel) -> SketchRow:
    from editvec.registry.library.similar import sketch_of

    sketch = sketch_of(
        checked.delta, generator_digest=row.generator_digest, latent_space=row.latent_space
    )
    return SketchRow(vector_id=row.id, sketch=sketch)


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
    checked: CheckedParcel,
    stored: dict[str, VectorRow],
) -> TermRow:
    """The row of a term, which `recipes.settle` has checked."""
    class_name = checked.model.name
    vector = stored.get(term.address) or selects.find_vector_text(session, term.address, class_name)
    if checked.parcel.archived_as is None:  # it may have been retired since it was checked
        require_active(vector, of=f"composition {class_name}/{checked.new.name}")
    return TermRow(
        position=position,
        term_vector=vector,
        scale=checked_number(term.scale, of=f"scale of term {term.address}"),
        row_mask=row_mask_text(term.row_mask, num_ws=vector.num_ws),
        role=one_of(TermRole, term.role, of=f"role of term {term.address}"),
    )


def current_user() -> str:
    """Who is using the library; the number where the system has no name for it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())


def groups_of_new(
    row: ClassRow, brought: Mapping[str, Sequence[str]], former: ClassRow | None
) -> list[ClassGroupRow]:
    """The groups of a new version: those that its bundle brings, or else those of the former one.

    Args:
        row: of the new version.
        brought: by the bundle.
        former: the version before; its groups are kept if it has the same parts.
    """
    groups = brought
    if not groups and former is not None:
        names, former_names = ([label.name for label in one.labels] for one in (row, former))
        if names == former_names:
            groups = {group.name: group.members for group in former.groups}
    return [ClassGroupRow(name=name, members=list(groups[name])) for name in sorted(groups)]
