"""Transactions, concurrent processes, forks, and errors as one line."""

import os
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import IntegrityError, StatementError

from editvec.registry.config import RegistryConfig
from editvec.registry.errors import ConfigError, DatabaseError, LibraryDiskFullError
from editvec.registry.tables.database import (
    open_engine,
    parse_database_url,
    reading,
    serialise,
    transaction,
)
from editvec.registry.tables.models import HistoryRow
from editvec.registry.tables.schema import upgrade
from tests.support.registry_processes import claim_until_none_is_left

ITEMS = 2_000
PROCESSES = 8


@pytest.fixture
def engine(config: RegistryConfig) -> Iterator[Engine]:
    upgrade(config)
    engine = open_engine(config.database_url)
    yield engine
    engine.dispose()


def _row(subject: str, *, by: str = "") -> HistoryRow:
    return HistoryRow(at=datetime.now(UTC), by=by, action="test", subject=subject, reason="")


def test_transaction_commits_at_its_end_and_rolls_back_on_any_exception(engine: Engine) -> None:
    with transaction(engine) as session:
        session.add(_row("kept"))
    with pytest.raises(ZeroDivisionError), transaction(engine) as session:  # noqa: PT012
        session.add(_row("lost"))
        session.flush()
        raise ZeroDivisionError

    with reading(engine) as session:
        assert list(session.scalars(select(HistoryRow.subject))) == ["kept"]


def test_instants_come_back_in_utc(engine: Engine) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=timezone(timedelta(hours=5)))
    with transaction(engine) as session:
        row = _row("x")
        row.at = moment
        session.add(row)

    with reading(engine) as session:
        found = session.scalars(select(HistoryRow.at)).one()
    assert found == moment
    assert found.tzinfo is UTC


def test_naive_instant_is_refused(engine: Engine) -> None:
    row = _row("x")
    row.at = datetime(2026, 1, 2)

    with pytest.raises(StatementError, match="aware datetime"), transaction(engine) as session:
        session.add(row)


def test_integrity_errors_reach_the_caller(engine: Engine) -> None:
    with pytest.raises(IntegrityError), transaction(engine) as session:
        session.execute(text("INSERT INTO class_files VALUES (1, 'a', 'b', -5)"))


def test_serialised_subject_is_worked_on_by_one_transaction_at_a_time(engine: Engine) -> None:
    """Read, compute, write: without serialisation, updates would be lost."""

    def count_up() -> None:
        for _ in range(5):
            with transaction(engine) as session:
                serialise(session, "counter")
                count = session.scalar(select(func.count()).select_from(HistoryRow))
                session.add(_row(str(count)))

    threads = [threading.Thread(target=count_up) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with reading(engine) as session:
        numbers = sorted(map(int, session.scalars(select(HistoryRow.subject))))
    assert numbers == list(range(30))


def test_eight_processes_on_sqlite_meet_no_lock_error(
    tmp_path: Path, processes: ForkServerContext
) -> None:
    config = RegistryConfig.for_home(tmp_path)
    upgrade(config)
    engine = open_engine(config.database_url)
    with transaction(engine) as session:
        session.add_all(_row(str(item)) for item in range(ITEMS))
    engine.dispose()

    with processes.Pool(PROCESSES) as pool:
        # a lock error in any process would be raised here
        counts = pool.starmap(
            claim_until_none_is_left,
            [(config.database_url, f"p{place}") for place in range(PROCESSES)],
        )

    assert sum(counts) == ITEMS


def test_connection_is_not_used_by_a_forked_child(engine: Engine) -> None:
    with reading(engine) as session:
        session.execute(text("SELECT 1"))
    pool = engine.pool
    reader, writer = os.pipe()

    child = os.fork()
    if child == 0:
        status = 1
        try:
            with reading(engine) as session:
                session.execute(text("SELECT 1"))
            with engine.connect() as connection:
                opened_by = connection.connection._connection_record.info["pid"]  # type: ignore[union-attr]
            os.write(writer, str(opened_by).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    opened_by = os.read(reader, 20)
    os.close(reader)

    assert os.waitpid(child, 0)[1] == 0
    assert int(opened_by) == child
    assert engine.pool is pool
    with reading(engine) as session:
        assert session.scalar(text("SELECT 1")) == 1


def test_reader_on_sqlite_waits_for_no_writer(tmp_path: Path) -> None:
    config = RegistryConfig.for_home(tmp_path)
    upgrade(config)
    engine = open_engine(config.database_url)
    with transaction(engine) as writing:
        writing.add(_row("unseen"))
        writing.flush()
        with reading(engine) as session:
            assert list(session.scalars(select(HistoryRow.subject))) == []
    engine.dispose()


def test_full_database_says_so(tmp_path: Path) -> None:
    config = RegistryConfig.for_home(tmp_path)
    upgrade(config)
    engine = open_engine(config.database_url)
    with pytest.raises(LibraryDiskFullError, match="no space"), transaction(engine) as session:  # noqa: PT012
        pages = session.scalar(text("PRAGMA page_count"))
        session.execute(text(f"PRAGMA max_page_count = {pages}"))
        session.add_all(_row("x" * 255) for _ in range(500))
    engine.dispose()


def test_unreachable_server_is_one_line_without_the_password() -> None:
    with socket.socket() as occupied:
        occupied.bind(("127.0.0.1", 0))
        port = occupied.getsockname()[1]
        engine = open_engine(f"postgresql://ada:secret@127.0.0.1:{port}/x")
        with pytest.raises(DatabaseError) as caught, reading(engine) as session:
            session.execute(text("SELECT 1"))
        engine.dispose()

    assert "refused" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"no database at all" * 100)
    engine = open_engine(f"sqlite:///{tmp_path}/x.db")

    with pytest.raises(DatabaseError, match="file is not a database"), reading(engine) as session:
        session.execute(text("SELECT 1"))
    engine.dispose()


def test_postgresql_means_psycopg() -> None:
    assert parse_database_url("postgresql://h/x").drivername == "postgresql+psycopg"
    assert parse_database_url("postgres://h/x").drivername == "postgresql+psycopg"


@pytest.mark.parametrize(
    "url",
    ["", "no url", "mysql://h/x", "postgresql+asyncpg://h/x", "sqlite://", "sqlite:///:memory:"],
)
def test_unsupported_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        parse_database_url(url)


@pytest.mark.parametrize("url", ["ada:secret@h/x", "postgresql://ada:secret@h:port/x"])
def test_a_url_that_cannot_be_parsed_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError, match="database URL") as refused:
        parse_database_url(url)

    assert "secret" not in str(refused.value)
