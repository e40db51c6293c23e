"""Engine, transactions and the declarative Base; SQLite and PostgreSQL settings.

Every write transaction on SQLite begins IMMEDIATE: a deferred one that turns into a writer
fails at once with "database is locked", whatever the busy timeout.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, DateTime, Dialect, Engine, MetaData, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError, IntegrityError
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.types import TypeDecorator

from registry.errors import ConfigError, DatabaseError, DiskFullError
from registry.filesystems import filesystem_of, is_network_filesystem

BUSY_TIMEOUT_MS = 30_000
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
    except ArgumentError as exc:
        raise ConfigError(f"database URL: cannot parse {url!r}") from exc
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise ConfigError(f"database URL: expected sqlite or postgresql, got {parsed.drivername!r}")
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise ConfigError("database URL: SQLite needs a file; a database in memory is not shared")
    return parsed


def open_engine(url: str) -> Engine:
    """Opens an engine with our settings; connects to nothing yet.

    Raises:
        ConfigError: the URL is none that we support, or its driver is not installed.
        DatabaseError: SQLite's file would lie on a network file system.
    """
    parsed = parse_database_url(url)
    if parsed.get_backend_name() == "sqlite":
        _refuse_network_filesystem(Path(parsed.database or ""))
        engine = create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
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
def reading(engine: Engine) -> Iterator[Session]:
    """One transaction that only reads; on SQLite it waits for no writer.

    Raises:
        DatabaseError: the database cannot be reached or refuses.
    """
    deferred = engine.execution_options(sqlite_begin="DEFERRED")
    with translated_errors(engine), Session(deferred, expire_on_commit=False) as session:
        yield session


def serialise(session: Session | Connection, subject: str) -> None:
    """Makes this transaction the only one that works on `subject` until it ends.

    SQLite has one writer at a time anyway; PostgreSQL takes an advisory lock.
    """
    bind = session.get_bind() if isinstance(session, Session) else session
    if bind.dialect.name == "postgresql":
        digest = hashlib.sha256(subject.encode()).digest()
        key = int.from_bytes(digest[:8], "big", signed=True)
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})


@contextmanager
def translated_errors(engine: Engine) -> Iterator[None]:
    """Turns the driver's errors into ours. IntegrityError passes: only the caller knows why."""
    try:
        yield
    except IntegrityError:
        raise
    except DBAPIError as exc:
        reason = first_line(exc.orig)
        place = engine.url.render_as_string(hide_password=True)
        if "disk is full" in reason or getattr(exc.orig, "sqlstate", None) == "53100":
            raise DiskFullError(f"database {place}: no space left ({reason})") from exc
        raise DatabaseError(f"database {place}: {reason}") from exc


def first_line(error: BaseException | None) -> str:
    """The first line of an error's text."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


def _open_postgresql(url: URL) -> Engine:
    try:
        return create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 10})
    except ModuleNotFoundError as exc:
        raise ConfigError(
            f"database URL: {exc.name} is not installed; pip install 'editvec[postgresql]'"
        ) from exc


# --- SQLite ---


def _refuse_network_filesystem(path: Path) -> None:
    filesystem = filesystem_of(path)
    if is_network_filesystem(filesystem):
        raise DatabaseError(
            f"database {path}: it would lie on a network file system ({filesystem}), where "
            "SQLite's write-ahead log loses data; choose a local home folder, or PostgreSQL with "
            "EDITVEC_DATABASE_URL"
        )


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver must not begin transactions of its own
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    _enter_wal(cursor)
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _enter_wal(cursor: Any) -> None:
    """Switches to WAL; SQLite does not apply the busy timeout to this one statement."""
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            if cursor.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
                return
            cursor.execute("PRAGMA journal_mode = WAL").fetchone()
            return
        except Exception as exc:
            if "locked" not in str(exc) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    mode = connection.get_execution_options().get("sqlite_begin", "IMMEDIATE")
    connection.exec_driver_sql(f"BEGIN {mode}")


# --- a connection belongs to the process that opened it ---


def _remember_process(_connection: Any, record: Any) -> None:
    record.info["pid"] = os.getpid()


def _refuse_foreign_connection(_connection: Any, record: Any, proxy: Any) -> None:
    if record.info["pid"] != os.getpid():
        record.dbapi_connection = proxy.dbapi_connection = None
        raise DisconnectionError(
            f"the connection belongs to process {record.info['pid']}, this is {os.getpid()}"
        )
