"""Processes that start at the same moment: one of them makes or upgrades the tables."""

from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from editvec.registry.config import RegistryConfig
from editvec.registry.tables.database import open_engine
from editvec.registry.tables.schema import current, known_revisions
from tests.support.library_at_0001 import FIRST
from tests.support.migration_libraries import REVISIONS, fill, migrate, read
from tests.support.registry_processes import start_together

PROCESSES = 8
TABLES = sorted([*REVISIONS[known_revisions()[-1]].library, "alembic_version"])


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> RegistryConfig:
    """The configuration of a library that nobody has opened yet."""
    embedded = RegistryConfig.for_home(tmp_path / "home")
    if request.param == "sqlite":
        return embedded
    url = request.getfixturevalue("postgresql_url")
    return RegistryConfig(home=embedded.home, database_url=url, blob_url=embedded.blob_url)


def _start_all(config: RegistryConfig, processes: ForkServerContext) -> list[Any]:
    barrier, answers = processes.Barrier(PROCESSES), processes.Queue()
    started = [
        processes.Process(target=start_together, args=(config, barrier, answers))
        for _ in range(PROCESSES)
    ]
    for process in started:
        process.start()
    given = [answers.get(timeout=120) for _ in started]
    for process in started:
        process.join(timeout=60)
    return given


def _filled(config: RegistryConfig) -> Engine:
    """A library as the first release left it."""
    config.home.mkdir(parents=True)
    engine = open_engine(config.database_url)
    with engine.begin() as connection:
        migrate(connection, "0001")
        fill(connection, FIRST)
    return engine


def test_eight_first_starts_at_once_make_one_schema(
    config: RegistryConfig, processes: ForkServerContext
) -> None:
    assert _start_all(config, processes) == [TABLES] * PROCESSES

    assert current(config).is_current


def test_eight_starts_at_once_upgrade_a_full_library_once(
    config: RegistryConfig, processes: ForkServerContext
) -> None:
    engine = _filled(config)
    with engine.connect() as connection:
        expected = read(connection)
    for revision in list(REVISIONS)[1:]:
        expected = REVISIONS[revision].upgraded(expected)
    engine.dispose()

    assert _start_all(config, processes) == [TABLES] * PROCESSES

    with engine.connect() as connection:
        assert read(connection) == expected
    engine.dispose()
    assert current(config).is_current
