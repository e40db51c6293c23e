"""The SELECTs of the library, as functions of a session; used by the store only."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, joinedload, selectinload

from registry.entities import Address, Kind, parse_address, parse_class_address
from registry.errors import ClassNotFoundError, LabelNotFoundError, VectorNotFoundError
from registry.models import (
    ClassLabelRow,
    ClassRow,
    EmbeddingRow,
    HistoryRow,
    RoiLabelRow,
    TagRow,
    TermRow,
    VectorRow,
)

# --- class models ---


def all_classes() -> Select[ClassRow]:
    """Every version of every class with its labels and files, by name and version."""
    return (
        select(ClassRow)
        .options(selectinload(ClassRow.labels), selectinload(ClassRow.files))
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
        raise ClassNotFoundError(
            "the library holds no class yet; `editvec model add FOLDER` adds one"
        )
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
        raise LabelNotFoundError(f"{where} part {name!r}{hint}")


# --- vectors ---


def find_vector(session: Session, address: Address) -> VectorRow:
    """The vector row at an address; without a version the latest, without a class the only one.

    Raises:
        ClassNotFoundError: no such class, or the class must be named.
        VectorNotFoundError: no such vector; close names are suggested.
    """
    class_name = address.class_name or only_class_name(session)
    query = (
        select(VectorRow)
        .where(VectorRow.class_name == class_name, VectorRow.name == address.name)
        .order_by(VectorRow.version.desc())
        .limit(1)
    )
    if address.version is not None:
        query = query.where(VectorRow.version == address.version)
    row = session.scalar(query)
    if row is not None:
        return row
    find_class(session, class_name)
    last = session.scalar(last_vector_version(class_name, address.name))
    if last is not None:
        raise VectorNotFoundError(
            f"vector {class_name}/{address.name} has no version {address.version}; the latest "
            f"is {last}"
        )
    names = select(VectorRow.name).where(VectorRow.class_name == class_name).distinct()
    known = list(session.scalars(names))
    raise VectorNotFoundError(
        f"class {class_name} has no vector {address.name!r}{suggestion(address.name, known)}"
    )


def find_vector_text(session: Session, text: str, class_name: str | None) -> VectorRow:
    """As `find_vector`, from text; `class_name` stands in where the text names no class."""
    address = parse_address(text)
    if address.class_name is None and class_name is not None:
        address = Address(parse_class_address(class_name)[0], address.name, address.version)
    return find_vector(session, address)


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


def vectors(
    *,
    class_name: str | None,
    name_glob: str | None,
    roi_label: str | None,
    kind: Kind | None,
    tag: str | None,
    limit: int | None,
) -> Select[VectorRow]:
    """The vectors that pass every given filter, by class, name and version."""
    query = (
        select(VectorRow)
        .options(*_everything())
        .order_by(VectorRow.class_name, VectorRow.name, VectorRow.version)
    )
    if class_name is not None:
        query = query.where(VectorRow.class_name == class_name)
    if name_glob is not None:
        query = query.where(VectorRow.name.regexp_match(glob_to_regex(name_glob)))
    if roi_label is not None:
        labelled = select(RoiLabelRow.vector_id).where(RoiLabelRow.label_name == roi_label)
        query = query.where(VectorRow.id.in_(labelled))
    if kind is not None:
        query = query.where(VectorRow.kind == kind)
    if tag is not None:
        query = query.where(VectorRow.id.in_(select(TagRow.vector_id).where(TagRow.tag == tag)))
    return query if limit is None else query.limit(limit)


def glob_to_regex(pattern: str) -> str:
    """A glob with `*` and `?` as a regular expression that both databases read alike."""
    wildcards = {"*": ".*", "?": "."}
    return "^" + "".join(wildcards.get(one, re.escape(one)) for one in pattern) + "$"


def _everything() -> list[Any]:
    """What an entity needs, in a fixed number of queries however many vectors there are."""
    return [
        joinedload(VectorRow.class_model),
        selectinload(VectorRow.roi),
        selectinload(VectorRow.pairs),
        selectinload(VectorRow.metrics),
        selectinload(VectorRow.tags),
        selectinload(VectorRow.terms).joinedload(TermRow.term_vector),
    ]


# --- embeddings and history ---


def embeddings(
    image_digests: Iterable[str], bundle_digest: str, settings_key: str
) -> Select[EmbeddingRow]:
    """The cached embeddings of some images."""
    return select(EmbeddingRow).where(
        EmbeddingRow.image_digest.in_(list(image_digests)),
        EmbeddingRow.bundle_digest == bundle_digest,
        EmbeddingRow.settings_key == settings_key,
    )


def history(subject: str | None) -> Select[HistoryRow]:
    """The history, oldest first; of one address, or of everything."""
    query = select(HistoryRow).order_by(HistoryRow.id)
    return query if subject is None else query.where(HistoryRow.subject == subject)


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
