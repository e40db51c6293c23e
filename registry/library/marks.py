"""What people say of vectors once they are stored: aliases, retirement, tags, previews.

Every change is one transaction with its own line in the history. While it runs, no other process
can work on the same name. A change that changes nothing writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine

from editvec.registry.addresses import check_alias, check_name
from editvec.registry.blobs.store import BlobStore
from editvec.registry.entities.vectors import Alias, EditingVector, HistoryEntry, require_active
from editvec.registry.errors import AliasNotFoundError, ConflictError, RecordError
from editvec.registry.library import selects
from editvec.registry.library.changes import changing, changing_with_blob, without_version
from editvec.registry.library.records import history_entry
from editvec.registry.tables.database import now, reading
from editvec.registry.tables.models import AliasRow, TagRow, VectorRow
from editvec.registry.values import refuse_text

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class VectorMarks:
    """The part of the library that marks vectors and keeps the history.

    Addresses are `class/name@version`, `class/name@alias` or `class/name` for the newest version;
    the class may be left out where `class_name` gives it, or where the library holds one only.
    """

    engine: Engine
    blobs: BlobStore

    # --- aliases ---

    def aliases(self, address: str | None = None, *, class_name: str | None = None) -> list[Alias]:
        """The aliases of one vector, of a class, or of all, in order.

        Args:
            address: `class/name`; None means every vector.
            class_name: the class for an address without one, and of every vector.

        Raises:
            VectorNotFoundError: no such vector.
            ClassNotFoundError: no such class.
            InvalidNameError: not an address, or one with a version.
        """
        with reading(self.engine) as session:
            if class_name is not None:
                class_name = selects.find_class(session, class_name).name
            name = None
            if address is not None:
                found = without_version(
                    selects.full_address(session, address, class_name), of="aliases"
                )
                selects.check_vector_name(session, found)
                class_name, name = found.class_name, found.name
            rows = session.execute(selects.aliases(class_name, name))
            return [
                Alias(
                    vector=f"{row.class_name}/{row.name}@{version}",
                    alias=row.alias,
                    set_at=row.set_at,
                    set_by=row.set_by,
                )
                for row, version in rows
            ]

    def set_alias(
        self, address: str, alias: str, *, reason: str = "", class_name: str | None = None
    ) -> EditingVector:
        """Lets an alias stand for a version, wherever it stood before.

        Args:
            address: the version; without one, the newest that is not retired.
            alias: begins with a letter; `latest` is built in.
            reason: why, for the history.
            class_name: the class for an address without one.

        Returns:
            The version that the alias stands for now.

        Raises:
            VectorNotFoundError: no such vector or version.
            RetiredVectorError: the version is retired.
            InvalidNameError: not an address, or not an alias.

        Example:
            >>> library.set_alias("smile@1", "stable", reason="reviewed").aliases
            ('stable',)
            >>> library.get_vector("smile@stable").address
            'avatars/smile@1'
        """
        check_alias(alias)
        with changing(self.engine, [address], class_name) as change:
            (row,) = change.rows()
            require_active(row, of=f"alias {alias}")
            held = change.session.get(AliasRow, (row.class_name, row.name, alias))
            before = None if held is None else change.session.get_one(VectorRow, held.vector_id)
            if before is not row:
                if held is None:
                    held = AliasRow(class_name=row.class_name, name=row.name, alias=alias)
                    change.session.add(held)
                held.vector_id, held.set_at, held.set_by = row.id, now(), change.by
                moved = {"from": None if before is None else before.version, "to": row.version}
                change.record("set alias", _name_of(row), reason, {"alias": alias, **moved})
            return change.result(row)

    def remove_alias(
        self, name: str, alias: str, *, reason: str = "", class_name: str | None = None
    ) -> EditingVector:
        """Removes an alias of a vector; the version that it stood for stays.

        Args:
            name: `class/name`.
            alias: one of the vector's.
            reason: why, for the history.
            class_name: the class for a name without one.

        Returns:
            The version that the alias stood for.

        Raises:
            VectorNotFoundError: no such vector.
            AliasNotFoundError: no such alias; the vector's own are listed.
            InvalidNameError: not a name, one with a version, or not an alias.
        """
        check_alias(alias)
        with changing(self.engine, [name], class_name) as change:
            address = without_version(change.addresses[0], of="alias")
            selects.check_vector_name(change.session, address)
            held = change.session.get(AliasRow, (address.class_name, address.name, alias))
            if held is None:
                problem = selects.no_alias(
                    change.session, address.class_name or "", address.name, alias
                )
                raise AliasNotFoundError(problem)
            row = change.session.get_one(VectorRow, held.vector_id)
            change.session.delete(held)
            moved = {"from": row.version, "to": None}
            change.record("remove alias", _name_of(row), reason, {"alias": alias, **moved})
            return change.result(row)

    # --- retirement ---

    def retire(self, address: str, *, reason: str, class_name: str | None = None) -> EditingVector:
        """Retires a version: listed and found only by its own number, and refused for new work.

        Raises:
            RegistryError: as `retire_vectors` does.

        Example:
            >>> library.retire("frown@1", reason="too strong").is_retired
            True
            >>> library.restore("frown@1").is_retired
            False
        """
        return self.retire_vectors([address], reason=reason, class_name=class_name)[0]

    def retire_vectors(
        self, addresses: Sequence[str], *, reason: str, class_name: str | None = None
    ) -> list[EditingVector]:
        """Retires several versions, all of them or none; what is retired already stays so.

        Args:
            addresses: each with its version: the newest one would be another the next time.
            reason: why, for the history; not empty.
            class_name: the class for addresses without one.

        Raises:
            VectorNotFoundError: no such vector or version.
            ConflictError: an alias stands for one of them.
            InvalidNameError: not an address, or one without a version.
            RecordError: no reason.
        """
        if not reason.strip():
            raise RecordError("retire: expected a reason, for the history")
        with changing(self.engine, addresses, class_name) as change:
            rows = change.rows_at_versions(of="retire")
            for row in rows:
                if row.retired_at is None:
                    if row.aliases:
                        listed = ", ".join(held.alias for held in row.aliases)
                        raise ConflictError(
                            f"retire: {row.address} has the alias {listed}; let it stand for "
                            "another version (`editvec registry alias`), or remove it (`unalias`)"
                        )
                    row.retired_at = now()
                    change.record("retire", row.address, reason)
            return [change.result(row) for row in rows]

    def restore(
        self, address: str, *, reason: str = "", class_name: str | None = None
    ) -> EditingVector:
        """Takes a version's retirement back.

        Raises:
            RegistryError: as `restore_vectors` does.
        """
        return self.restore_vectors([address], reason=reason, class_name=class_name)[0]

    def restore_vectors(
        self, addresses: Sequence[str], *, reason: str = "", class_name: str | None = None
    ) -> list[EditingVector]:
        """Takes the retirement of several versions back, of all or of none.

        Args:
            addresses: each with its version.
            reason: why, for the history.
            class_name: the class for addresses without one.

        Raises:
            VectorNotFoundError: no such vector or version.
            InvalidNameError: not an address, or one without a version.
        """
        with changing(self.engine, addresses, class_name) as change:
            rows = change.rows_at_versions(of="restore")
            for row in rows:
                if row.retired_at is not None:
                    row.retired_at = None
                    change.record("restore", row.address, reason)
            return [change.result(row) for row in rows]

    # --- tags, preview ---

    def tag(
        self,
        address: str,
        *,
        add: Sequence[str] = (),
        remove: Sequence[str] = (),
        reason: str = "",
        class_name: str | None = None,
    ) -> EditingVector:
        """Adds tags to a version and removes others; what is so already stays so.

        Args:
            address: without a version, the newest that is not retired.
            add: tags that it shall have.
            remove: tags that it shall not have.
            reason: why, for the history.
            class_name: the class for an address without one.

        Raises:
            VectorNotFoundError: no such vector or version.
            InvalidNameError: not an address, or not a tag.
            RecordError: a tag to be added and removed at once.

        Example:
            >>> library.tag("smile", add=["face", "draft"]).tags
            ('draft', 'face')
            >>> library.tag("smile", remove=["draft"]).tags
            ('face',)
        """
        refuse_text(add, of="add")
        refuse_text(remove, of="remove")
        wanted, unwanted = ({check_name(tag, of="tag") for tag in tags} for tags in (add, remove))
        if both := sorted(wanted & unwanted):
            raise RecordError(f"tag: {both[0]} cannot be added and removed at once")
        with changing(self.engine, [address], class_name) as change:
            (row,) = change.rows()
            there = {tag.tag: tag for tag in row.tags}
            added, removed = sorted(wanted - there.keys()), sorted(unwanted & there.keys())
            change.session.add_all(TagRow(vector_id=row.id, tag=tag) for tag in added)
            for tag in removed:
                change.session.delete(there[tag])
            if added or removed:
                details = {"added": added, "removed": removed}
                change.record("tag", row.address, reason, details)
            return change.result(row)

    def set_preview(
        self, address: str, png: bytes, *, reason: str = "", class_name: str | None = None
    ) -> EditingVector:
        """Stores a picture of what a version does, in the place of an older one.

        Args:
            address: without a version, the newest that is not retired.
            png: the bytes of a PNG file.
            reason: why, for the history.
            class_name: the class for an address without one.

        Raises:
            VectorNotFoundError: no such vector or version.
            RecordError: not a PNG.
            BlobError: it cannot be stored.
        """
        if not png.startswith(PNG_SIGNATURE):
            raise RecordError(f"preview of {address}: expected a PNG")
        with reading(self.engine) as session:  # before its bytes are stored for nothing
            address = selects.find_vector_text(session, address, class_name).address
        with changing_with_blob(self.engine, self.blobs, png, [address], None) as changed:
            change, digest = changed
            (row,) = change.rows()
            if row.preview_digest != digest:
                row.preview_digest = digest
                change.record("preview", row.address, reason, {"digest": digest})
            return change.result(row)

    # --- what hangs together ---

    def dependents(self, address: str, *, class_name: str | None = None) -> list[str]:
        """The addresses of the compositions that a version is a term of, in order.

        Raises:
            VectorNotFoundError: no such vector or version.
        """
        with reading(self.engine) as session:
            row = selects.find_vector_text(session, address, class_name)
            found = session.execute(selects.dependents(row.id))
            return [f"{class_name}/{name}@{version}" for class_name, name, version in found]

    def history(
        self,
        subject: str | None = None,
        *,
        class_name: str | None = None,
        limit: int | None = None,
    ) -> list[HistoryEntry]:
        """Who did what, when and why, oldest first.

        Args:
            subject: `class` with all its vectors, `class@version`, `class/name` with all versions
                and aliases, or `class/name@version`; None means everything.
            class_name: the class of a vector's name that has none, or of everything.
            limit: only the newest so many.

        Raises:
            ClassNotFoundError: no such class.
            VectorNotFoundError: no such vector.
            InvalidNameError: neither a class nor an address.
            RecordError: a limit below 1.

        Example:
            >>> vector = library.retire("frown@1", reason="too strong")
            >>> [(entry.action, entry.reason) for entry in library.history("avatars/frown")]
            [('add', ''), ('retire', 'too strong')]
        """
        if limit is not None and limit < 1:
            raise RecordError(f"history: expected a limit of 1 or more, got {limit}")
        with reading(self.engine) as session:
            if subject is None:
                of = None if class_name is None else selects.find_class(session, class_name).name
            else:
                of = selects.history_subject(session, subject, class_name)
            newest_first = list(session.scalars(selects.history(of, limit=limit)))
            return [history_entry(row) for row in reversed(newest_first)]


def _name_of(row: VectorRow) -> str:
    return f"{row.class_name}/{row.name}"
