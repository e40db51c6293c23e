"""Databases for the tests of runs: SQLite always, PostgreSQL where it runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from registry.config import RegistryConfig
from registry.database import open_engine
from registry.schema import upgrade


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty, migrated database."""
    config = RegistryConfig.for_home(tmp_path / "home")
    if request.param == "postgresql":
        config = RegistryConfig(
            home=config.home,
            database_url=request.getfixturevalue("postgresql_url"),
            blob_url=config.blob_url,
        )
    upgrade(config)
    engine = open_engine(config.database_url)
    yield engine
    engine.dispose()
