"""SQLite files that cannot be used: one line each, status 1, nothing changed."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

import editvec.cli
from editvec.registry.config import RegistryConfig
from editvec.registry.errors import DatabaseError, RegistryError, SchemaError
from editvec.registry.library.library import Library
from editvec.registry.tables import sqlite
from editvec.registry.tables.database import open_engine, reading, transaction
from editvec.registry.tables.schema import known_revisions
from tests.support.library_at_0001 import FIRST
from tests.support.migration_libraries import fill, migrate
from tests.support.registry_fixtures import new_vector, random_delta

Refused = Callable[..., str]
Protect = Callable[..., None]


@pytest.fixture
def home(tmp_path: Path, bundle: Path) -> Path:
    """The home of a library with a class and a vector; nobody has it open."""
    home = tmp_path / "home"
    with Library.open(RegistryConfig.for_home(home)) as library:
        library.add_bundle(bundle)
        library.add_vector(new_vector("smile"), random_delta())
        library.add_vector(new_vector("frown"), -random_delta())
    return home


@pytest.fixture
def database(home: Path) -> Path:
    return home / "editvec.db"


@pytest.fixture
def refused(home: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs a command that must fail with one line and change nothing; returns the line."""

    def run(*words: object, status: int = 1) -> str:
        before = _contents(home)
        capsys.readouterr()
        assert editvec.cli.main(["--home", str(home), *map(str, words)]) == status
        captured = capsys.readouterr()
        assert captured.out == ""
        assert re.fullmatch(r"editvec: error: [^\n]+\n", captured.err), captured.err
        after = _contents(home)
        assert {name: after.get(name) for name in before} == before
        # blobs go first, and what no row names does no harm
        assert all(name.startswith("blobs/") for name in after.keys() - before.keys())
        return captured.err.strip()

    return run


@pytest.fixture
def protect() -> Iterator[Protect]:
    """Makes files and folders unwritable, for root too, until the test ends."""
    undo: list[Callable[[], object]] = []

    def protect(*paths: Path) -> None:
        for path in paths:
            mode = path.stat().st_mode
            path.chmod(mode & ~0o222)
            undo.append(lambda path=path, mode=mode: path.chmod(mode))  # type: ignore[misc]
            if os.access(path, os.W_OK):
                done = subprocess.run(["chattr", "+i", path], capture_output=True, check=False)
                if done.returncode != 0:
                    pytest.skip(f"this user cannot make a file unwritable: {done.stderr!r}")
                undo.append(lambda path=path: subprocess.run(["chattr", "-i", path], check=True))  # type: ignore[misc]

    def release() -> None:
        while undo:
            undo.pop()()

    protect.release = release  # type: ignore[attr-defined]
    yield protect
    release()


def _contents(folder: Path) -> dict[str, str]:
    """Every file's digest, without what SQLite keeps beside an open database."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(("-wal", "-shm"))
    }


def _vector_file(tmp_path: Path) -> Path:
    path = tmp_path / "look.npy"
    np.save(path, random_delta(5))
    return path


# --- of another release ---


def test_database_ahead_of_the_program(database: Path, refused: Refused) -> None:
    engine = open_engine(f"sqlite:///{database}")
    with transaction(engine) as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()

    for words in (("registry", "list"), ("db", "upgrade")):
        assert "its revision 9999 is newer than this program" in refused(*words)


def test_named_database_behind_the_program(
    home: Path, tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    team = home / "team.db"
    engine = open_engine(f"sqlite:///{team}")
    with engine.begin() as connection:
        migrate(connection, "0001")
        fill(connection, FIRST)
    engine.dispose()
    monkeypatch.setenv("EDITVEC_DATABASE_URL", f"sqlite:///{team}")

    line = refused("registry", "list")

    head = known_revisions()[-1]
    assert f"its tables are older (revision 0001, this program needs {head})" in line
    assert "run `editvec db upgrade`" in line


# --- read-only ---


def test_reading_commands_work_in_a_home_that_cannot_be_written(
    home: Path,
    database: Path,
    tmp_path: Path,
    protect: Protect,
    capsys: pytest.CaptureFixture[str],
) -> None:
    protect(database, home)
    archive = tmp_path / "smile.editvec.zip"

    for words in (
        ("registry", "list"),
        ("registry", "list", "--similar-to", "smile"),
        ("registry", "show", "smile"),
        ("registry", "history"),
        ("registry", "compose", "grin", "--term", "smile=2", "--dry-run"),
        ("registry", "verify"),
        ("registry", "export", archive, "smile"),
        ("model", "list"),
        ("db", "current"),
    ):
        assert editvec.cli.main(["--home", str(home), *map(str, words)]) == 0, (
            capsys.readouterr().err
        )
    assert capsys.readouterr().out.count("avatars") > 3
    assert archive.exists()
    assert [path.name for path in home.glob("editvec.db*")] == ["editvec.db"]


@pytest.mark.parametrize("whole_home", [True, False])
def test_writing_commands_are_refused_where_the_database_is_read_only(
    home: Path,
    database: Path,
    tmp_path: Path,
    protect: Protect,
    refused: Refused,
    whole_home: bool,
) -> None:
    protect(database, *([home] if whole_home else []))

    line = refused("registry", "compose", "grin", "--term", "smile=2")

    assert f"it is read-only: {database} cannot be written" in line


def test_reading_commands_work_on_a_read_only_file_in_an_open_folder(
    home: Path, database: Path, protect: Protect, capsys: pytest.CaptureFixture[str]
) -> None:
    protect(database)

    assert editvec.cli.main(["--home", str(home), "registry", "list"]) == 0
    assert "smile" in capsys.readouterr().out


def test_read_only_copy_in_the_old_journal_mode_is_read(
    home: Path, database: Path, protect: Protect, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = open_engine(f"sqlite:///{database}").execution_options(isolation_level="AUTOCOMMIT")
    raw = engine.raw_connection()
    assert raw.cursor().execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    raw.close()
    engine.dispose()
    protect(database)

    assert editvec.cli.main(["--home", str(home), "registry", "list"]) == 0
    assert "smile" in capsys.readouterr().out


def test_unfinished_log_that_cannot_be_recovered_is_not_ignored(
    home: Path, database: Path, tmp_path: Path, protect: Protect, refused: Refused
) -> None:
    """As immutable, the file would be read without its last changes."""
    engine = open_engine(f"sqlite:///{database}")
    with transaction(engine) as session:
        session.execute(text("UPDATE vectors SET description = 'newest'"))
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for name in ("editvec.db", "editvec.db-wal"):
        shutil.copy(home / name, crashed / name)
    engine.dispose()
    protect(crashed / "editvec.db", crashed)

    with pytest.raises(
        DatabaseError, match=r"editvec\.db-wal holds unfinished work, and .*written"
    ):
        Library.open(RegistryConfig.for_home(crashed))


def test_change_of_a_sealed_file_is_noticed(home: Path, database: Path, protect: Protect) -> None:
    url = f"sqlite:///{database}"
    query = text("SELECT description FROM vectors")
    protect(database, home)
    sealed = open_engine(url)
    with reading(sealed) as session:
        assert session.scalar(query) == ""
    protect.release()  # type: ignore[attr-defined]

    with pytest.raises(DatabaseError, match="changed it while it was read"), reading(sealed) as s:  # noqa: PT012
        s.execute(query)
        writer = open_engine(url)
        with transaction(writer) as session:
            session.execute(text("UPDATE vectors SET description = 'new'"))
        writer.dispose()

    with reading(sealed) as session:
        assert session.scalar(query) == "new"
    sealed.dispose()


# --- locked ---


@pytest.fixture
def lock(database: Path) -> Iterator[Callable[[str], None]]:
    """Another process locks the database until the test ends."""
    holders: list[subprocess.Popen[str]] = []
    program = (
        "import sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "for statement in sys.argv[2].split(';'): c.execute(statement)\n"
        "print('locked', flush=True); sys.stdin.read()"
    )

    def lock(statements: str) -> None:
        command = [sys.executable, "-c", program, str(database), statements]
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        holders.append(holder)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"

    yield lock
    for holder in holders:
        holder.communicate("")


def test_writer_does_not_wait_for_ever_for_a_lock(
    lock: Callable[[str], None],
    home: Path,
    refused: Refused,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_MS", 100)
    lock("BEGIN IMMEDIATE")

    line = refused("registry", "compose", "grin", "--term", "smile=2")

    assert "another process has kept it locked for 0.1 s; try again (database is locked)" in line
    assert editvec.cli.main(["--home", str(home), "registry", "list"]) == 0
    assert "smile" in capsys.readouterr().out


def test_reader_does_not_wait_for_ever_for_an_exclusive_lock(
    lock: Callable[[str], None], refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_MS", 100)
    lock("PRAGMA locking_mode = EXCLUSIVE;BEGIN EXCLUSIVE;UPDATE vectors SET version = version")

    assert "another process has kept it locked for 0.1 s" in refused("registry", "list")


# --- no database at all ---


def test_file_that_is_no_database(database: Path, refused: Refused) -> None:
    database.write_bytes(b"no database at all" * 100)

    assert "file is not a database" in refused("registry", "list")


@pytest.mark.parametrize("share", [0.001, 0.25, 0.5, 0.9])
def test_truncated_database(database: Path, refused: Refused, share: float) -> None:
    whole = database.read_bytes()
    database.write_bytes(whole[: int(len(whole) * share)])

    assert "it is damaged; restore it from a copy" in refused("registry", "list")


def test_folder_in_the_place_of_the_database(database: Path, refused: Refused) -> None:
    database.unlink()
    database.mkdir()

    assert "it is a folder, not a file" in refused("registry", "list")


def test_folder_of_a_named_database_that_is_missing(
    tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDITVEC_DATABASE_URL", f"sqlite:///{tmp_path}/gone/team.db")

    assert "it does not exist; `editvec db upgrade` creates it" in refused("registry", "list")
    assert f"there is no folder {tmp_path}/gone" in refused("db", "upgrade")
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize("filesystem", ["nfs4", "cifs", "fuse.sshfs"])
def test_home_on_a_network_file_system(
    home: Path,
    tmp_path: Path,
    refused: Refused,
    monkeypatch: pytest.MonkeyPatch,
    filesystem: str,
) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        f"22 1 254:0 / / rw - ext4 /dev/vda rw\n23 22 0:9 / {home} rw - {filesystem} x rw\n"
    )
    monkeypatch.setattr(sqlite, "MOUNT_TABLE", table)

    line = refused("registry", "list")

    assert f"it would lie on a network file system ({filesystem})" in line
    assert "EDITVEC_DATABASE_URL" in line


def test_errors_are_of_the_documented_classes(database: Path, home: Path) -> None:
    database.write_bytes(b"no database at all" * 100)

    with pytest.raises(DatabaseError) as caught:
        Library.open(RegistryConfig.for_home(home))

    assert isinstance(caught.value, RegistryError)
    assert not isinstance(caught.value, SchemaError)
