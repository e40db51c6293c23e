"""Is the database at head? Creates and upgrades it by the migrations, the only creator of tables.

alembic is imported only to upgrade: the check at every start reads one row and one folder.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect
from sqlalchemy.exc import DBAPIError

from editvec.registry.config import RegistryConfig
from editvec.registry.errors import ConfigError, DatabaseError, SchemaError
from editvec.registry.tables.database import (
    open_engine,
    parse_database_url,
    place_of,
    serialise,
    translated_errors,
)

_REVISION_FILE = re.compile(r"(\d{4})_\w+\.py\Z")


@dataclass(frozen=True)
class SchemaStatus:
    """The database's revision (None: no tables yet) and the newest one that this program knows."""

    revision: str | None
    head: str

    @property
    def is_current(self) -> bool:
        """True when there is nothing to upgrade."""
        return self.revision == self.head


def migrations_folder() -> Path:
    """The folder of the `migrations` package, in a checkout and in an installed wheel."""
    spec = importlib.util.find_spec("editvec.migrations")
    if spec is None or spec.origin is None:
        raise SchemaError("`editvec.migrations` is not there; install editvec again")
    return Path(spec.origin).parent


def known_revisions(folder: Path | None = None) -> list[str]:
    """Every revision of this program, oldest first: the numbers that the files begin with."""
    files = ((folder or migrations_folder()) / "versions").iterdir()
    return sorted(match[1] for file in files if (match := _REVISION_FILE.match(file.name)))


def current(config: RegistryConfig) -> SchemaStatus:
    """Reads the state of the schema; creates nothing.

    Raises:
        DatabaseError: the database cannot be reached.
    """
    if _sqlite_file_is_missing(config):
        return SchemaStatus(None, known_revisions()[-1])
    engine = open_engine(config.database_url)
    try:
        return _status(engine)
    finally:
        engine.dispose()


def ensure_current(config: RegistryConfig, engine: Engine | None = None) -> None:
    """Makes sure that the tables are those of this program.

    The home folder's own SQLite database is created and upgraded on the spot. A database that
    somebody else names is upgraded by `editvec db upgrade` only.

    Raises:
        SchemaError: missing or old tables in a named database, or tables newer than this program.
        DatabaseError: the database cannot be reached.
    """
    if config.is_embedded:
        _make_home(config.home)
    elif _sqlite_file_is_missing(config):
        raise SchemaError(
            f"database {_place(config)}: it does not exist; `editvec db upgrade` creates it"
        )
    opened = engine or open_engine(config.database_url)
    try:
        status = _status(opened)
        if status.is_current:
            return
        _refuse_newer(status, config)
        if not config.is_embedded:
            state = "it has no tables yet" if status.revision is None else "its tables are older"
            raise SchemaError(
                f"database {_place(config)}: {state} (revision {status.revision or 'none'}, this "
                f"program needs {status.head}); run `editvec db upgrade`"
            )
        _upgrade(opened)
    finally:
        if engine is None:
            opened.dispose()


def upgrade(config: RegistryConfig) -> SchemaStatus:
    """Creates or upgrades the tables of any database; safe while others do the same.

    Returns:
        The state before.

    Raises:
        SchemaError: the tables are newer than this program.
        DatabaseError: the database cannot be reached.
    """
    if config.is_embedded:
        _make_home(config.home)
    engine = open_engine(config.database_url)
    try:
        status = _status(engine)
        if not status.is_current:
            _refuse_newer(status, config)
            _upgrade(engine)
        return status
    finally:
        engine.dispose()


def _upgrade(engine: Engine) -> None:
    """Runs the migrations in one transaction, one process at a time."""
    from alembic import command
    from alembic.config import Config

    folder = migrations_folder()
    settings = Config()
    settings.set_main_option("script_location", str(folder).replace("%", "%%"))
    with translated_errors(engine), engine.begin() as connection:
        serialise(connection, "editvec schema")
        # a SELECT from a missing table would end PostgreSQL's transaction
        has_tables = inspect(connection).has_table("alembic_version")
        if has_tables and _revision(connection) == known_revisions(folder)[-1]:
            return  # another process was faster
        settings.attributes["connection"] = connection
        command.upgrade(settings, "head")


def _status(engine: Engine) -> SchemaStatus:
    deferred = engine.execution_options(sqlite_begin="DEFERRED")
    with translated_errors(engine), deferred.connect() as connection:
        revision = _revision(connection)
        if revision is None:
            _refuse_hidden_schema(connection)
        return SchemaStatus(revision, known_revisions()[-1])


def _refuse_hidden_schema(connection: Connection) -> None:
    """PostgreSQL calls tables missing that lie in a schema which the user may not use."""
    if connection.dialect.name == "postgresql":
        connection.rollback()
        if connection.exec_driver_sql("SELECT current_schema()").scalar() is None:
            place = place_of(connection.engine.url)
            raise DatabaseError(
                f"database {place}: this user may use no schema in it; GRANT USAGE ON SCHEMA helps"
            )


def _revision(connection: Connection) -> str | None:
    """The revision that the database says; None where it has no tables.

    One SELECT and no look at the catalogue: every command pays for this. On PostgreSQL, a missing
    table leaves the transaction fit for nothing but its end.
    """
    try:
        found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    except DBAPIError as exc:
        if _is_about_a_missing_table(exc):
            return None
        raise
    return None if found is None else str(found)


def _is_about_a_missing_table(error: DBAPIError) -> bool:
    undefined_table = "42P01"  # PostgreSQL's code; SQLite has only words for it
    return getattr(error.orig, "sqlstate", None) == undefined_table or str(error.orig).startswith(
        "no such table"
    )


def _refuse_newer(status: SchemaStatus, config: RegistryConfig) -> None:
    if status.revision is not None and status.revision not in known_revisions():
        raise SchemaError(
            f"database {_place(config)}: its revision {status.revision} is newer than this program "
            f"({status.head}); use the release that made it, or a later one"
        )


def _sqlite_file_is_missing(config: RegistryConfig) -> bool:
    url = parse_database_url(config.database_url)
    if url.get_backend_name() != "sqlite":
        return False
    return not Path(url.database or "").exists()


def _place(config: RegistryConfig) -> str:
    return place_of(parse_database_url(config.database_url))


def _make_home(home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigError(f"home folder {home}: {exc.strerror or exc}") from exc
