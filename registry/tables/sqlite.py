"""SQLite: how a connection is set up, files that cannot be written, errors in plain words.

Every write transaction begins IMMEDIATE: a deferred one that turns into a writer fails at once
with "database is locked", whatever the busy timeout.

A database whose folder cannot be written (a read-only disk, a snapshot, another user's home) has
no place for the write-ahead log, without which SQLite does not even read it. Such a file is
sealed: it is opened as immutable, and compared with what it was after every reading.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, Dialect
from sqlalchemy.exc import DisconnectionError

from editvec.registry.errors import DatabaseError

BUSY_TIMEOUT_MS = 30_000


def open_sqlite(url: URL) -> Engine:
    """Opens an engine on a database file, which need not exist yet; connects to nothing.

    Raises:
        DatabaseError: the file would lie on a network file system.
    """
    path = Path(url.database or "")
    _refuse_network_filesystem(path)
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})
    _let_hint(engine.dialect)
    event.listen(engine, "do_connect", _connect_sealed)
    event.listen(engine, "connect", _configure)
    event.listen(engine, "checkout", _renew_sealed)
    event.listen(engine, "begin", _begin)
    return engine


def _let_hint(dialect: Dialect) -> None:
    """SQLAlchemy drops hints for SQLite, which reads them where others do: behind a table."""
    compiler = dialect.statement_compiler
    dialect.statement_compiler = type(
        compiler.__name__, (compiler,), {"get_from_hint_text": lambda _self, _table, hint: hint}
    )


def refuse_changed(connection: Connection) -> None:
    """Ends a reading of a sealed file: somebody else may have written it meanwhile.

    Raises:
        DatabaseError: the file is not what it was when the connection was opened.
    """
    seal = connection.connection.info.get("seal")
    if seal is not None and not seal.holds():
        raise DatabaseError(
            f"database {seal.path}: another process changed it while it was read; try again"
        )


def in_plain_words(error: BaseException, path: Path) -> str | None:
    """What SQLite's short message means here; None where the message says it all."""
    code = getattr(error, "sqlite_errorname", "")
    if code.startswith("SQLITE_BUSY"):
        return f"another process has kept it locked for {BUSY_TIMEOUT_MS / 1000:g} s; try again"
    if code.startswith("SQLITE_READONLY"):
        missing = path if not os.access(path, os.W_OK) else path.parent
        return f"it is read-only: {missing} cannot be written"
    if code.startswith("SQLITE_CORRUPT"):
        return "it is damaged; restore it from a copy"
    if code.startswith("SQLITE_CANTOPEN"):
        return _why_not_opened(path)
    return None


def _why_not_opened(path: Path) -> str | None:
    if path.is_dir():
        return "it is a folder, not a file"
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    if path.exists() and not os.access(path, os.R_OK):
        return "it may not be read by this user"
    if not os.access(path.parent, os.W_OK):
        log = _log_of(path)
        what = f"{log.name} holds unfinished work, and " if log.exists() else ""
        return f"{what}{path.parent} cannot be written"
    return None


# --- files that cannot be written ---


class _Seal:
    """What a sealed file was when it was opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = self._look()

    def holds(self) -> bool:
        """True while nobody changed the file."""
        return self._look() == self.state

    def _look(self) -> tuple[int, int, int, bool] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return (found.st_ino, found.st_size, found.st_mtime_ns, _log_of(self.path).exists())


def _log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _is_sealed(path: Path) -> bool:
    # with a log there is a writer, or its unfinished work: SQLite itself must read both
    return path.is_file() and not os.access(path.parent, os.W_OK) and not _log_of(path).exists()


def _connect_sealed(dialect: Dialect, record: Any, arguments: Any, options: Any) -> Any:
    path = Path(arguments[0])
    if not _is_sealed(path):
        return None  # SQLAlchemy connects as always
    record.info["seal"] = _Seal(path)
    return dialect.loaded_dbapi.connect(f"{path.as_uri()}?immutable=1", uri=True, **options)


def _renew_sealed(_connection: Any, record: Any, _proxy: Any) -> None:
    """An immutable connection never looks again: what changed is opened anew."""
    seal = record.info.get("seal")
    if seal is not None and not seal.holds():
        raise DisconnectionError(f"{seal.path} has changed since it was opened")


def _refuse_network_filesystem(path: Path) -> None:
    filesystem = filesystem_of(path)
    if is_network_filesystem(filesystem):
        raise DatabaseError(
            f"database {path}: it would lie on a network file system ({filesystem}), where "
            "SQLite's write-ahead log loses data; choose a local home folder, or PostgreSQL with "
            "EDITVEC_DATABASE_URL"
        )


# --- settings of a connection ---


def _configure(connection: Any, _record: Any) -> None:
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
            if getattr(exc, "sqlite_errorname", "") == "SQLITE_READONLY":
                return  # such a file is read as it is
            if "locked" not in str(exc) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _begin(connection: Connection) -> None:
    mode = connection.get_execution_options().get("sqlite_begin", "IMMEDIATE")
    connection.exec_driver_sql(f"BEGIN {mode}")


# --- which file system a path lies on: the write-ahead log needs a local one ---

MOUNT_TABLE = Path("/proc/self/mountinfo")
NETWORK_FILESYSTEMS = frozenset(
    {
        "afs", "beegfs", "ceph", "cifs", "fuse.ceph", "fuse.gcsfuse", "fuse.glusterfs",
        "fuse.s3fs", "fuse.sshfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4",
        "ocfs2", "orangefs", "smb2", "smb3", "smbfs",
    }
)  # fmt: skip


def is_network_filesystem(filesystem: str | None) -> bool:
    """True for file systems that several hosts share; None (unknown) counts as local."""
    return filesystem in NETWORK_FILESYSTEMS


def filesystem_of(path: Path) -> str | None:
    """The type of the file system that holds a path, which need not exist yet; None if unknown."""
    try:
        table = MOUNT_TABLE.read_text(errors="surrogateescape")
    except OSError:
        return None
    return filesystem_in_table(path.absolute().resolve(), table)


def filesystem_in_table(path: Path, table: str) -> str | None:
    """Finds the mount that holds `path` in the text of a Linux mountinfo table.

    Args:
        path: absolute, without symbolic links.
        table: as in /proc/self/mountinfo: field 5 is the mount point, and the type follows " - ".
    """
    best: tuple[int, str | None] = (-1, None)
    for line in table.splitlines():
        left, separator, right = line.partition(" - ")
        fields = left.split(" ")
        if not separator or len(fields) < 5:
            continue
        mount = Path(_unescape(fields[4]))
        # of two mounts on one point the later one is on top, hence >=
        if path.is_relative_to(mount) and len(mount.parts) >= best[0]:
            best = (len(mount.parts), right.split(" ")[0])
    return best[1]


def _unescape(field: str) -> str:
    """The kernel writes space, tab, newline and backslash as octal."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field
