"""Engine, transactions and the declarative Base, the same on SQLite and PostgreSQL."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    Connection,
    DateTime,
    Dialect,
    Engine,
    MetaData,
    Text,
    create_engine,
    event,
    text,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    DisconnectionError,
    IntegrityError,
    InterfaceError,
    OperationalError,
)
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.types import TypeDecorator

from editvec.masking import masked
from editvec.registry.errors import ConfigError, DatabaseError, LibraryDiskFullError
from editvec.registry.tables.sqlite import in_plain_words, open_sqlite, refuse_changed

_Entity = TypeVar("_Entity")

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """The parent of every table, of the library and of the runs."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)


class UtcDateTime(TypeDecorator[datetime]):
    """An instant: aware in Python, UTC in the database (SQLite stores no zone)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuses naive values: they would mean another instant on another machine."""
        if value is not None and value.tzinfo is None:
            raise ValueError(f"expected an aware datetime, got {value!r}")
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Gives the zone back that SQLite dropped."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class MaskedText(TypeDecorator[str]):
    """A text in which foreign errors may be told: it is stored, and read, without secrets."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Masks what is stored."""
        return None if value is None else masked(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """Masks what an earlier release stored."""
        return None if value is None else masked(value)


def now() -> datetime:
    """The present instant, aware, in UTC."""
    return datetime.now(UTC)


def parse_database_url(url: str) -> URL:
    """Parses a database URL; PostgreSQL means psycopg 3.

    Raises:
        ConfigError: not a URL, an unsupported database, or SQLite in memory.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as exc:  # of Python: about the port
        # no word of it is shown: it may hold a password
        raise ConfigError(
            "database URL: expected postgresql://USER@HOST:PORT/NAME or sqlite:///FILE"
        ) from exc
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise ConfigError(f"database URL: expected sqlite or postgresql, got {parsed.drivername!r}")
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise ConfigError("database URL: SQLite needs a file; a database in memory is not shared")
    return parsed


def place_of(url: URL) -> str:
    """A database's address as it may be shown: its secrets are masked."""
    return masked(url.render_as_string(hide_password=True))


def open_engine(url: str) -> Engine:
    """Opens an engine with our settings; connects to nothing yet.

    Raises:
        ConfigError: the URL is none that we support, or its driver is not installed.
        DatabaseError: SQLite's file would lie on a network file system.
    """
    parsed = parse_database_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = open_sqlite(parsed)
    else:
        engine = _open_postgresql(parsed)
    event.listen(engine, "connect", _remember_process)
    event.listen(engine, "checkout", _refuse_foreign_connection)
    return engine


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """One write transaction: commits at the end, rolls back on any exception.

    Raises:
        DatabaseError: the database cannot be reached or refuses; DiskFullError when it is full.
    """
    with (
        translated_errors(engine),
        Session(engine, expire_on_commit=False) as session,
        session.begin(),
    ):
        yield session


@contextmanager
def rehearsal(engine: Engine) -> Iterator[Session]:
    """A write transaction that is always rolled back: it tells what a real one would do.

    Raises:
        DatabaseError: the database cannot be reached or refuses.
    """
    with translated_errors(engine), Session(engine, expire_on_commit=False) as session:
        yield session


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """One transaction that only reads; on SQLite it waits for no writer.

    Raises:
        DatabaseError: the database cannot be reached or refuses, or its read-only file was
            changed meanwhile.
    """
    deferred = engine.execution_options(sqlite_begin="DEFERRED")
    with translated_errors(engine), Session(deferred, expire_on_commit=False) as session:
        yield session
        if engine.dialect.name == "sqlite":
            refuse_changed(session.connection())


def serialise(session: Session | Connection, subject: str, *, shared: bool = False) -> None:
    """Makes this transaction the only one that works on `subject` until it ends.

    SQLite has one writer at a time anyway; PostgreSQL takes an advisory lock.

    Args:
        session: inside a write transaction.
        subject: what is worked on.
        shared: others that share it may work on it too; only those that do not must wait.
    """
    bind = session.get_bind() if isinstance(session, Session) else session
    if bind.dialect.name == "postgresql":
        digest = hashlib.sha256(subject.encode()).digest()
        key = int.from_bytes(digest[:8], "big", signed=True)
        lock = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
        session.execute(text(f"SELECT {lock}(:key)"), {"key": key})
    elif isinstance(session, Session):
        # a session begins its transaction, and so takes SQLite's lock, at its first statement
        session.connection()


@contextmanager
def translated_errors(engine: Engine) -> Iterator[None]:
    """Turns the driver's errors into ours. IntegrityError passes: only the caller knows why."""
    try:
        yield
    except IntegrityError:
        raise
    except DBAPIError as exc:
        reason = first_line(exc.orig)
        place = place_of(engine.url)
        if "disk is full" in reason or getattr(exc.orig, "sqlstate", None) == "53100":
            raise LibraryDiskFullError(f"database {place}: no space left ({reason})") from exc
        words = in_plain_words(exc.orig, Path(engine.url.database or "")) if exc.orig else None
        told = f"{words} ({reason})" if words else reason
        raise DatabaseError(f"database {place}: {told}") from exc


def first_line(error: BaseException | None) -> str:
    """The first line of an error's text."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


def _open_postgresql(url: URL) -> Engine:
    try:
        return create_engine(
            url,
            # whatever the server's default: after a lock, a statement must see what others wrote
            isolation_level="READ COMMITTED",
            pool_pre_ping=True,
            connect_args={"connect_timeout": 10},
        )
    except ModuleNotFoundError as exc:
        raise ConfigError(
            f"database URL: {exc.name} is not installed; pip install 'editvec[postgresql]'"
        ) from exc


# --- a connection belongs to the process that opened it ---


def _remember_process(_connection: Any, record: Any) -> None:
    record.info["pid"] = os.getpid()


def _refuse_foreign_connection(_connection: Any, record: Any, proxy: Any) -> None:
    if record.info["pid"] != os.getpid():
        record.dbapi_connection = proxy.dbapi_connection = None
        raise DisconnectionError(
            f"the connection belongs to process {record.info['pid']}, this is {os.getpid()}"
        )


def is_away(error: BaseException) -> bool:
    """True if a database server could not be reached, or broke off: it may be back soon.

    SQLite is a file: what it says stays true until somebody does something.
    """
    cause = error.__cause__
    return isinstance(cause, OperationalError | InterfaceError) and not isinstance(
        cause.orig, sqlite3.Error
    )


def entity_of(kind: type[_Entity], row: object, /, **others: Any) -> _Entity:
    """The entity of a row.

    Args:
        kind: a dataclass.
        row: gives each field the column of the same name.
        others: fields that are no such column, or not as they are.
    """
    names = (field.name for field in fields(kind))  # type: ignore[arg-type]
    return kind(**{name: getattr(row, name) for name in names if name not in others}, **others)
