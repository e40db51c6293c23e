"""An empty database of each kind."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from editvec.registry.tables.database import open_engine


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/migrated.db"
    url: str = request.getfixturevalue("postgresql_url")
    return url


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """An engine with our settings on that database."""
    engine = open_engine(url)
    yield engine
    engine.dispose()
