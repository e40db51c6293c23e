"""The SELECTs of the library, as functions of a session; used by the store only."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import replace

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session, joinedload, selectinload

from editvec.registry.addresses import (
    LATEST,
    Address,
    is_name,
    parse_address,
    parse_class_address,
    quote,
)
from editvec.registry.errors import (
    AliasNotFoundError,
    ClassNotFoundError,
    LabelNotFoundError,
    VectorNotFoundError,
)
from editvec.registry.labels.label import expand_parts
from editvec.registry.tables.models import (
    AliasRow,
    ClassGroupRow,
    ClassLabelRow,
    ClassRow,
    EmbeddingRow,
    HistoryRow,
    TermRow,
    VectorRow,
)

MAX_ROWS = 2**63 - 1
"""The largest LIMIT that both databases take."""

# --- class models ---


def all_classes() -> Select[ClassRow]:
    """Every version of every class with its labels, files and groups, by name and version."""
    return (
        select(ClassRow)
        .options(
            selectinload(ClassRow.labels),
            selectinload(ClassRow.files),
            selectinload(ClassRow.groups),
        )
        .order_by(ClassRow.name, ClassRow.version)
    )


def find_class(session: Session, address: str | None) -> ClassRow:
    """The class row at `name@version`; without a version the latest, without a name the only one.

    Raises:
        ClassNotFoundError: there is none, or the class must be named.
    """
    if address is None:
        name, version = only_class_name(session), None
    else:
        name, version = parse_class_address(address)
    query = select(ClassRow).where(ClassRow.name == name).order_by(ClassRow.version.desc()).limit(1)
    if version is not None:
        query = query.where(ClassRow.version == version)
    row = session.scalar(query)
    if row is None:
        known = list(session.scalars(select(ClassRow.name).distinct().order_by(ClassRow.name)))
        if name in known:
            raise ClassNotFoundError(
                f"class {name} has no version {version}; the latest is "
                f"{find_class(session, name).version}"
            )
        raise ClassNotFoundError(f"no class {name!r}{_classes_hint(name, known)}")
    return row


def only_class_name(session: Session) -> str:
    """The name of the only class.

    Raises:
        ClassNotFoundError: there is none, or more than one.
    """
    names = list(session.scalars(select(ClassRow.name).distinct().order_by(ClassRow.name)))
    if not names:
        from editvec.registry.bundles.shipped import how_to_add

        raise ClassNotFoundError(f"the library holds no class yet; {how_to_add()} adds one")
    if len(names) > 1:
        raise ClassNotFoundError(f"the library holds several classes, name one of {_listed(names)}")
    return names[0]


def class_with_bundle(bundle_digest: str) -> Select[ClassRow]:
    """The class version that holds a bundle."""
    return select(ClassRow).where(ClassRow.bundle_digest == bundle_digest)


def classes_of_generator(name: str, generator_digest: str) -> Select[ClassRow]:
    """The versions of a class that hold a generator, latest first."""
    return (
        select(ClassRow)
        .where(ClassRow.name == name, ClassRow.generator_digest == generator_digest)
        .order_by(ClassRow.version.desc())
    )


def last_class_version(name: str) -> Select[int | None]:
    """The highest version of a class; None when there is none."""
    return select(func.max(ClassRow.version)).where(ClassRow.name == name)


def check_label(session: Session, name: str, class_name: str | None) -> None:
    """Refuses a part that no class has, or not the given one.

    Raises:
        LabelNotFoundError: close names are suggested.
    """
    query = select(ClassLabelRow.name).distinct().order_by(ClassLabelRow.name)
    if class_name is not None:
        query = query.join(ClassRow).where(ClassRow.name == class_name)
    known = list(session.scalars(query))
    if name not in known:
        where = "no class has" if class_name is None else f"class {class_name} has no"
        hint = suggestion(name, known) or f"; there is {_listed(known) or 'none'}"
        raise LabelNotFoundError(f"{where} part {quote(name)}{hint}")


def parts_of_group(session: Session, name: str, class_name: str | None) -> tuple[str, ...]:
    """The parts of a group of the newest version of a class, or of any; none if there is none.

    Raises:
        LabelNotFoundError: classes have groups of that name with other parts.
    """
    if not is_name(name):
        return ()  # and maybe nothing that a database can be asked for
    query = select(ClassRow).join(ClassGroupRow).where(ClassGroupRow.name == name)
    if class_name is not None:
        query = query.where(ClassRow.name == class_name)
    newest = {row.name: row for row in session.scalars(query.order_by(ClassRow.version))}
    meanings = {
        expand_parts(
            [name],
            [label.name for label in row.labels],
            {group.name: group.members for group in row.groups},
            of=f"class {row.name}",
        )
        for row in newest.values()
    }
    if len(meanings) > 1:
        raise LabelNotFoundError(
            f"group {quote(name)}: it has other parts in each of {', '.join(sorted(newest))}; "
            "give the class"
        )
    return next(iter(meanings), ())


# --- vectors ---


def find_vector(session: Session, address: Address) -> VectorRow:
    """The vector row at an address; without a class, of the only one.

    An explicit version and an alias answer with that very version. Without either, as with the
    built-in alias, it is the newest version that is not retired.

    Raises:
        ClassNotFoundError: no such class, or the class must be named.
        VectorNotFoundError: no such vector or version, or all versions are retired.
        AliasNotFoundError: no such alias; the vector's own are listed.
    """
    class_name = address.class_name or only_class_name(session)
    query = select(VectorRow).where(
        VectorRow.class_name == class_name, VectorRow.name == address.name
    )
    if address.version is not None:
        query = query.where(VectorRow.version == address.version)
    elif address.alias not in (None, LATEST):
        query = query.join(AliasRow).where(AliasRow.alias == address.alias)
    else:
        query = query.where(VectorRow.retired_at.is_(None)).order_by(VectorRow.version.desc())
    row = session.scalar(query.limit(1))
    if row is None:
        raise _no_vector(session, replace(address, class_name=class_name))
    return row


def find_vector_text(session: Session, text: str, class_name: str | None) -> VectorRow:
    """As `find_vector`, from text; `class_name` stands in where the text names no class."""
    return find_vector(session, full_address(session, text, class_name))


def full_address(session: Session, text: str, class_name: str | None) -> Address:
    """The address that a text means, with its class: the named one, the given one or the only one.

    Raises:
        InvalidNameError: not an address.
        ClassNotFoundError: the class must be named.
    """
    address = parse_address(text)
    if address.class_name is not None:
        return address
    if class_name is not None:
        return replace(address, class_name=parse_class_address(class_name)[0])
    return replace(address, class_name=only_class_name(session))


def _no_vector(session: Session, address: Address) -> VectorNotFoundError:
    """Says what an address with a class has wrong: class, name, version, alias or retirement."""
    class_name = find_class(session, address.class_name).name
    subject = f"{class_name}/{address.name}"
    last = session.scalar(last_vector_version(class_name, address.name))
    if last is None:
        names = select(VectorRow.name).where(VectorRow.class_name == class_name).distinct()
        close = suggestion(address.name, session.scalars(names))
        return VectorNotFoundError(f"class {class_name} has no vector {address.name!r}{close}")
    if address.version is not None:
        return VectorNotFoundError(
            f"vector {subject} has no version {address.version}; the latest is {last}"
        )
    if address.alias not in (None, LATEST):
        return AliasNotFoundError(no_alias(session, class_name, address.name, address.alias or ""))
    return VectorNotFoundError(
        f"vector {subject}: all of its versions are retired; name one, such as {subject}@{last}, "
        f"or bring one back with `editvec registry restore {subject}@{last}`"
    )


def no_alias(session: Session, class_name: str, name: str, alias: str) -> str:
    """Says that a vector has no such alias, and which it has."""
    known = [row.alias for row, _ in session.execute(aliases(class_name, name))]
    there = f"its aliases are {_listed([*known, LATEST])}" if known else "it has none yet"
    return f"vector {class_name}/{name} has no alias {alias!r}; {there}"


def aliases(class_name: str | None, name: str | None) -> Select[AliasRow, int]:
    """The aliases of a vector, a class or the library, in order, each with its version."""
    query = select(AliasRow, VectorRow.version).join(VectorRow)
    if class_name is not None:
        query = query.where(AliasRow.class_name == class_name)
    if name is not None:
        query = query.where(AliasRow.name == name)
    return query.order_by(AliasRow.class_name, AliasRow.name, AliasRow.alias)


def check_vector_name(session: Session, address: Address) -> None:
    """Refuses a vector that the library does not hold in any version; the address has a class.

    Raises:
        VectorNotFoundError: close names are suggested.
    """
    if session.scalar(last_vector_version(address.class_name or "", address.name)) is None:
        raise _no_vector(session, address)


def dependents(vector_id: int) -> Select[str, str, int]:
    """Class, name and version of every composition that a vector is a term of."""
    return (
        select(VectorRow.class_name, VectorRow.name, VectorRow.version)
        .join(TermRow, TermRow.vector_id == VectorRow.id)
        .where(TermRow.term_vector_id == vector_id)
        .distinct()
        .order_by(VectorRow.class_name, VectorRow.name, VectorRow.version)
    )


def last_vector_version(class_name: str, name: str) -> Select[int | None]:
    """The highest version of a vector; None when there is none."""
    return select(func.max(VectorRow.version)).where(
        VectorRow.class_name == class_name, VectorRow.name == name
    )


def vector_version(class_name: str, name: str, version: int) -> Select[int]:
    """The id of one version of a vector."""
    return select(VectorRow.id).where(
        VectorRow.class_name == class_name, VectorRow.name == name, VectorRow.version == version
    )


def vector_with_content(class_name: str, name: str, content: str) -> Select[VectorRow]:
    """The version of a vector that holds this very content."""
    return select(VectorRow).where(
        VectorRow.class_name == class_name,
        VectorRow.name == name,
        VectorRow.content_digest == content,
    )


def vectors_with_everything(ids: Sequence[int]) -> Select[VectorRow]:
    """Some vectors, in no order, with all that an entity needs: a fixed number of queries."""
    return (
        select(VectorRow)
        .where(VectorRow.id.in_(ids))
        .options(
            joinedload(VectorRow.class_model),
            selectinload(VectorRow.roi),
            selectinload(VectorRow.pairs),
            selectinload(VectorRow.metrics),
            selectinload(VectorRow.tags),
            selectinload(VectorRow.aliases),
            selectinload(VectorRow.terms).joinedload(TermRow.term_vector),
        )
    )


# --- embeddings and history ---


def embeddings(
    image_digests: Iterable[str], generator_digest: str, settings_key: str
) -> Select[EmbeddingRow]:
    """The cached embeddings of some images."""
    return select(EmbeddingRow).where(
        EmbeddingRow.image_digest.in_(list(image_digests)),
        EmbeddingRow.generator_digest == generator_digest,
        EmbeddingRow.settings_key == settings_key,
    )


def history_subject(session: Session, text: str, class_name: str | None) -> str:
    """The subject that a text means: a class, a version of one, a vector, or a version of one.

    Raises:
        ClassNotFoundError: no such class.
        VectorNotFoundError: no such vector, version or alias.
        InvalidNameError: neither a class nor an address.
    """
    if class_name is None and "/" not in text:
        name = parse_address(text).name
        if session.scalar(last_class_version(name)) is not None:
            found = find_class(session, text)
            return f"{name}@{found.version}" if "@" in text else name
    address = full_address(session, text, class_name)
    subject = f"{address.class_name}/{address.name}"
    if address.version is not None or address.alias is not None:
        return f"{subject}@{find_vector(session, address).version}"
    check_vector_name(session, address)
    return subject


def history(subject: str | None, *, limit: int | None) -> Select[HistoryRow]:
    """The history, newest first; of a subject with all that belongs to it, or of everything."""
    query = select(HistoryRow).order_by(HistoryRow.id.desc())
    if limit is not None:
        query = query.limit(min(limit, MAX_ROWS))
    if subject is None:
        return query
    if "@" in subject:
        return query.where(HistoryRow.subject == subject)
    # not LIKE: it takes letters of either case on SQLite, and `_` for any letter
    beginning = func.substr(HistoryRow.subject, 1, len(subject) + 1)
    longer = [f"{subject}@"] if "/" in subject else [f"{subject}@", f"{subject}/"]
    return query.where(or_(HistoryRow.subject == subject, beginning.in_(longer)))


# --- suggestions ---


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """`; did you mean smile?`, or nothing when no name is close."""
    close = difflib.get_close_matches(wrong, list(known), n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _classes_hint(wrong: str, known: list[str]) -> str:
    if not known:
        return "; the library holds none yet, `editvec model add FOLDER` adds one"
    return suggestion(wrong, known) or f"; there is {_listed(known)}"


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:8])
    return shown if len(names) <= 8 else f"{shown}, ... ({len(names)} in all)"
