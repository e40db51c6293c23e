"""Changes of stored vectors: one transaction that has their names for itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from editvec.registry.addresses import Address
from editvec.registry.blobs.store import BlobStore
from editvec.registry.entities.vectors import EditingVector
from editvec.registry.errors import InvalidNameError
from editvec.registry.library import inserts, selects
from editvec.registry.library.records import editing_vector, history_row
from editvec.registry.library.references import storing
from editvec.registry.tables.database import serialise, transaction
from editvec.registry.tables.models import VectorRow


@contextmanager
def changing(engine: Engine, texts: Sequence[str], class_name: str | None) -> Iterator[Change]:
    """A write transaction that shares the names at these addresses with no other process.

    Args:
        engine: the database.
        texts: addresses of vectors.
        class_name: the class for addresses without one.

    Raises:
        InvalidNameError: not an address.
        ClassNotFoundError: the class must be named.
    """
    with transaction(engine) as session:
        yield _begin(session, texts, class_name)


@contextmanager
def changing_with_blob(
    engine: Engine, blobs: BlobStore, data: bytes, texts: Sequence[str], class_name: str | None
) -> Iterator[tuple[Change, str]]:
    """As `changing`, for a change that names a blob; yields its digest too.

    Raises:
        BlobError: it cannot be stored.
    """
    with storing(engine, blobs, [data]) as (session, (digest,)):
        yield _begin(session, texts, class_name), digest


def _begin(session: Session, texts: Sequence[str], class_name: str | None) -> Change:
    addresses = [selects.full_address(session, text, class_name) for text in texts]
    for name in sorted({f"{one.class_name}/{one.name}" for one in addresses}):
        serialise(session, f"vector {name}")
    # from here on reads see what the previous change has left
    return Change(session, addresses, inserts.current_user())


@dataclass(frozen=True)
class Change:
    """A change in progress.

    Attributes:
        session: inside the transaction.
        addresses: of the vectors, with their class.
        by: who changes them.
    """

    session: Session
    addresses: list[Address]
    by: str

    def rows(self) -> list[VectorRow]:
        """The vectors at the addresses.

        Raises:
            VectorNotFoundError: no such vector, version or alias.
        """
        return [selects.find_vector(self.session, address) for address in self.addresses]

    def rows_at_versions(self, *, of: str) -> list[VectorRow]:
        """The vectors at the addresses, where a name alone could mean another one tomorrow.

        Raises:
            VectorNotFoundError: no such vector or version.
            InvalidNameError: an address without a version.
        """
        for address in self.addresses:
            if address.version is None:
                raise InvalidNameError(
                    f"{of}: expected a version, such as {address.class_name}/{address.name}@1, "
                    f"got {str(address)!r}"
                )
        return self.rows()

    def record(
        self, action: str, subject: str, reason: str, details: dict[str, Any] | None = None
    ) -> None:
        """Adds a line to the history.

        Raises:
            RecordError: a reason that the database does not keep.
        """
        row = history_row(action, subject, by=self.by, reason=reason, details=details)
        self.session.add(row)

    def result(self, row: VectorRow) -> EditingVector:
        """A vector as it is after the change."""
        self.session.flush()
        self.session.expire(row, ["aliases", "tags", "metrics"])
        return editing_vector(row)


def without_version(address: Address, *, of: str) -> Address:
    """Refuses an address with a version or an alias where all versions are meant.

    Raises:
        InvalidNameError: shows what was expected.
    """
    if address.version is not None or address.alias is not None:
        raise InvalidNameError(
            f"{of}: expected a name without a version, such as "
            f"{address.class_name}/{address.name}, got {str(address)!r}"
        )
    return address
