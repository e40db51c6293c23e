"""What pytest-alembic asks of migrations, on both databases, in one transaction as always."""

from collections.abc import Iterator

import pytest
from alembic.config import Config
from pytest_alembic.tests import (
    test_model_definitions_match_ddl,
    test_single_head_revision,
    test_up_down_consistency,
    test_upgrade,
)
from sqlalchemy import Connection, Engine

from editvec.registry.tables.schema import migrations_folder

__all__ = [
    "test_model_definitions_match_ddl",
    "test_single_head_revision",
    "test_up_down_consistency",
    "test_upgrade",
]


@pytest.fixture
def alembic_config() -> Config:
    settings = Config()
    settings.set_main_option("script_location", str(migrations_folder()))
    return settings


@pytest.fixture
def alembic_engine(engine: Engine) -> Iterator[Connection]:
    with engine.begin() as connection:
        yield connection
