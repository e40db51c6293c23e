"""PostgreSQL that is not there, refuses, or goes away: one line each, nothing changed."""

import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, func, select, text
from sqlalchemy.engine import make_url

import editvec.cli
from editvec.registry.config import RegistryConfig
from editvec.registry.errors import DatabaseError, SchemaError
from editvec.registry.library.library import Library
from editvec.registry.tables.database import open_engine, reading
from editvec.registry.tables.models import HistoryRow, VectorRow
from editvec.registry.tables.schema import upgrade
from tests.support.library_at_0001 import FIRST
from tests.support.migration_libraries import fill, migrate
from tests.support.registry_fixtures import new_vector, random_delta

pytestmark = pytest.mark.services


@pytest.fixture
def config(tmp_path: Path, postgresql_url: str) -> RegistryConfig:
    """The configuration of a library on PostgreSQL without tables."""
    return _config(tmp_path, postgresql_url)


@pytest.fixture
def filled(config: RegistryConfig, bundle: Path) -> RegistryConfig:
    """The configuration of a library with a class and a vector."""
    upgrade(config)
    with Library.open(config) as library:
        library.add_bundle(bundle)
        library.add_vector(new_vector("smile"), random_delta())
    return config


def _config(home: Path, url: str) -> RegistryConfig:
    return RegistryConfig(home=home, database_url=url, blob_url=str(home / "blobs"))


def _with_user(config: RegistryConfig, user: str, password: str | None = None) -> RegistryConfig:
    url = make_url(config.database_url).set(username=user, password=password)
    return _config(config.home, url.render_as_string(hide_password=False))


def _refusal(config: RegistryConfig) -> str:
    """The one line with which the library does not open."""
    with pytest.raises(DatabaseError) as caught:
        Library.open(config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _counts(config: RegistryConfig) -> tuple[int, int]:
    engine = open_engine(config.database_url)
    with reading(engine) as session:
        vectors = session.scalar(select(func.count()).select_from(VectorRow))
        entries = session.scalar(select(func.count()).select_from(HistoryRow))
    engine.dispose()
    return vectors or 0, entries or 0


# --- refused ---


def test_database_that_does_not_exist(config: RegistryConfig) -> None:
    url = make_url(config.database_url).set(database="no_such_library")
    missing = _config(config.home, url.render_as_string(hide_password=False))

    assert 'database "no_such_library" does not exist' in _refusal(missing)
    with pytest.raises(DatabaseError, match="does not exist"):
        upgrade(missing)


def test_error_is_one_line_on_the_command_line(
    config: RegistryConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = make_url(config.database_url).set(database="no_such_library", password="secret")
    monkeypatch.setenv("EDITVEC_DATABASE_URL", url.render_as_string(hide_password=False))

    assert editvec.cli.main(["--home", str(config.home), "registry", "list"]) == 1

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("editvec: error: database postgresql+psycopg://postgres:***@")
    assert captured.err.count("\n") == 1


def test_tables_of_an_older_release_wait_for_the_upgrade_command(config: RegistryConfig) -> None:
    engine = open_engine(config.database_url)
    with engine.begin() as connection:
        migrate(connection, "0001")
        fill(connection, FIRST)

    with pytest.raises(SchemaError, match=r"older \(revision 0001.*run `editvec db upgrade`"):
        Library.open(config)

    with engine.connect() as connection:
        revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
    engine.dispose()
    assert revision == "0001"


# --- what a user may do ---


@pytest.fixture
def make_user(config: RegistryConfig) -> Iterator[Callable[..., str]]:
    """Makes users with the given rights; drops them after the test."""
    engine = open_engine(config.database_url).execution_options(isolation_level="AUTOCOMMIT")
    made: list[str] = []

    def make(*grants: str) -> str:
        user = f"editvec_{uuid.uuid4().hex[:12]}"
        with engine.connect() as connection:
            connection.execute(text(f"CREATE ROLE {user} LOGIN"))
            made.append(user)
            for grant in grants:
                connection.execute(text(f"GRANT {grant} TO {user}"))
        return user

    yield make
    with engine.connect() as connection:
        for user in made:
            connection.execute(text(f"DROP OWNED BY {user}"))
            connection.execute(text(f"DROP ROLE {user}"))
    engine.dispose()


def test_user_without_rights_to_the_tables(
    filled: RegistryConfig, make_user: Callable[..., str]
) -> None:
    stranger = _with_user(filled, make_user("USAGE ON SCHEMA public"))

    assert "permission denied for table alembic_version" in _refusal(stranger)


def test_user_without_rights_to_the_schema_is_not_told_to_make_tables(
    filled: RegistryConfig, make_user: Callable[..., str]
) -> None:
    engine = open_engine(filled.database_url)
    with engine.begin() as connection:
        connection.execute(text("REVOKE ALL ON SCHEMA public FROM PUBLIC"))
    engine.dispose()

    assert "this user may use no schema in it" in _refusal(_with_user(filled, make_user()))


def test_user_who_may_only_read_lists_and_cannot_add(
    filled: RegistryConfig, make_user: Callable[..., str]
) -> None:
    user = make_user("USAGE ON SCHEMA public", "SELECT ON ALL TABLES IN SCHEMA public")
    before = _counts(filled)

    with Library.open(_with_user(filled, user)) as library:
        assert library.get_vector("smile").address == "avatars/smile@1"
        with pytest.raises(DatabaseError, match="permission denied for table") as caught:
            library.add_vector(new_vector("look"), random_delta(1))

    assert "\n" not in str(caught.value)
    assert _counts(filled) == before


def test_user_who_may_make_no_tables_cannot_upgrade(
    config: RegistryConfig, make_user: Callable[..., str]
) -> None:
    user = make_user("USAGE ON SCHEMA public")

    with pytest.raises(DatabaseError, match="permission denied for schema public"):
        upgrade(_with_user(config, user))


# --- connections that end ---


def _terminate(config: RegistryConfig, backend: int) -> None:
    engine = open_engine(config.database_url)
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": backend})
    engine.dispose()


def _end_connection_before(library: Library, config: RegistryConfig, wanted: str) -> None:
    """The server ends the library's connection just before that statement, or COMMIT; once."""
    ended: list[int] = []

    def end(connection: Connection) -> None:
        if not ended:
            driver = connection.connection.dbapi_connection
            ended.append(driver.info.backend_pid)  # type: ignore[union-attr]
            _terminate(config, ended[0])

    def before_statement(
        connection: Connection, _cursor: object, statement: str, *_others: object
    ) -> None:
        if statement.startswith(wanted):
            end(connection)

    if wanted == "COMMIT":
        event.listen(library.engine, "commit", end)
    else:
        event.listen(library.engine, "before_cursor_execute", before_statement)


@pytest.mark.parametrize("statement", ["INSERT INTO vectors", "INSERT INTO history", "COMMIT"])
def test_connection_lost_in_a_transaction_changes_nothing_and_the_next_call_works(
    filled: RegistryConfig, statement: str
) -> None:
    before = _counts(filled)
    with Library.open(filled) as library:
        _end_connection_before(library, filled, statement)
        with pytest.raises(DatabaseError) as caught:
            library.add_vector(new_vector("look"), random_delta(1))
        assert _counts(filled) == before

        added = library.add_vector(new_vector("look"), random_delta(1))

    assert "terminating connection due to administrator command" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert added.version == 1


# --- a server of our own ---


class Server:
    """A PostgreSQL server of one test, with passwords."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs, self.folder = programs, folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        # the server refuses to run as root
        self.user = "nobody" if os.geteuid() == 0 else None
        (folder / "password").write_text("right")
        if self.user:
            shutil.chown(folder, self.user)
        options = ("--no-sync", "--auth=scram-sha-256", f"--pwfile={folder}/password")
        self._run("initdb", "--username=ada", "--encoding=UTF8", "--locale=C", *options)

    def url(self, password: str) -> str:
        return f"postgresql://ada:{password}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-p {self.port} -h 127.0.0.1 -k {self.folder} -F"
        self._run("pg_ctl", "start", "-w", "-o", options, "-l", str(self.folder / "log"))

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "-w", "-m", "fast")

    def _run(self, program: str, *options: str) -> None:
        subprocess.run(
            [self.programs / program, "-D", self.folder / "data", *options],
            check=True,
            user=self.user,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A running server; not below pytest's folder, which others may not enter."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = shutil.which("initdb") or (versions[-1] if versions else None)
    if found is None:
        pytest.skip("initdb is not installed: this test starts a PostgreSQL server of its own")
    with tempfile.TemporaryDirectory(prefix="editvec-postgresql-") as folder:
        server = Server(Path(found).parent, Path(folder))
        server.start()
        yield server
        server.stop()


def test_wrong_password(tmp_path: Path, server: Server) -> None:
    line = _refusal(_config(tmp_path, server.url("wrong")))

    assert 'password authentication failed for user "ada"' in line
    assert "wrong" not in line
    upgrade(_config(tmp_path, server.url("right")))


def test_library_that_is_open_outlives_a_restart_of_the_server(
    tmp_path: Path, server: Server, bundle: Path
) -> None:
    config = _config(tmp_path, server.url("right"))
    upgrade(config)
    with Library.open(config) as library:
        library.add_bundle(bundle)
        server.stop()
        with pytest.raises(DatabaseError) as caught:
            library.classes()
        server.start()

        assert [model.address for model in library.classes()] == ["avatars@1"]
    assert "\n" not in str(caught.value)
