"""Runs the migrations: on the connection of `registry/tables/schema.py`, else on our own.

Our own is for developers: `alembic revision --autogenerate --rev-id 0002 -m "..."` and
`alembic check` work on the database that the environment names.
"""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from sqlalchemy import Connection

from editvec.batch.runs import models as batch_models
from editvec.registry.config import RegistryConfig
from editvec.registry.tables import models as registry_models
from editvec.registry.tables.database import Base, MaskedText, UtcDateTime, open_engine

# both modules are imported for their tables
TABLES_OF = (registry_models, batch_models)


def run_migrations(connection: Connection) -> None:
    """Runs what the alembic command asked for, in the caller's transaction if there is one."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
        render_item=_render_item,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def _render_item(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Writes our column type as what it is in the database: migrations import no product code."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, MaskedText):
        return "sa.Text()"
    return False


def main() -> None:
    """Finds a connection and migrates."""
    connection = context.config.attributes.get("connection")
    if connection is not None:
        run_migrations(connection)
        return
    engine = open_engine(RegistryConfig.from_environment().database_url)
    with engine.begin() as own:
        run_migrations(own)
    engine.dispose()


main()
