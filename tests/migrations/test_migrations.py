"""The migrations make exactly the tables of the models, on both databases."""

import io
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect

import editvec.batch.runs.models
import editvec.registry.tables.models
from editvec.registry.config import RegistryConfig
from editvec.registry.tables.database import Base
from editvec.registry.tables.schema import known_revisions, migrations_folder, upgrade
from tests.support.migration_libraries import columns
from tests.support.places import ROOT

TABLES_OF = (editvec.registry.tables.models, editvec.batch.runs.models)


def _settings(connection: Connection) -> Config:
    settings = Config()
    settings.set_main_option("script_location", str(migrations_folder()))
    settings.attributes["connection"] = connection
    return settings


def _migrate(engine: Engine, revision: str) -> None:
    with engine.begin() as connection:
        move = command.downgrade if revision == "base" else command.upgrade
        move(_settings(connection), revision)


def test_revisions_are_one_straight_line() -> None:
    script = ScriptDirectory(str(migrations_folder()))

    walked = [revision.revision for revision in script.walk_revisions()]

    assert script.get_heads() == [known_revisions()[-1]]
    assert walked[::-1] == known_revisions()


def test_models_and_migrations_agree(engine: Engine) -> None:
    _migrate(engine, "head")

    with engine.begin() as connection:
        command.check(_settings(connection))


def test_a_new_migration_is_written_without_types_of_ours(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "migrations"
    shutil.copytree(migrations_folder(), folder, ignore=shutil.ignore_patterns("0*.py"))
    with engine.begin() as connection:
        settings = _settings(connection)
        settings.set_main_option("script_location", str(folder))
        command.revision(settings, rev_id="9999", autogenerate=True)

    (written,) = (folder / "versions").glob("9999*.py")
    text = written.read_text()
    assert "create_table('runs'" in text
    assert "sa.DateTime(timezone=True)" in text
    assert "editvec" not in text


def _checks(connection: Connection) -> dict[tuple[str, str | None], str]:
    """Every CHECK of the database, which alembic does not compare."""
    inspector = inspect(connection)
    return {
        (table, check["name"]): re.sub(r"\s+", " ", check["sqltext"])
        for table in inspector.get_table_names()
        for check in inspector.get_check_constraints(table)
    }


def _names(connection: Connection) -> set[tuple[str, str, Any]]:
    """Every constraint and index by name."""
    inspector = inspect(connection)
    names: set[tuple[str, str, Any]] = set()
    for table in inspector.get_table_names():
        names |= {(table, "unique", one["name"]) for one in inspector.get_unique_constraints(table)}
        names |= {(table, "foreign", one["name"]) for one in inspector.get_foreign_keys(table)}
        names |= {(table, "index", one["name"]) for one in inspector.get_indexes(table)}
        names.add((table, "primary", inspector.get_pk_constraint(table)["name"]))
    return names - {("alembic_version", "primary", "alembic_version_pkc")}


def test_columns_and_constraints_agree_by_name_and_text_and_none_is_nameless(
    engine: Engine,
) -> None:
    _migrate(engine, "head")
    with engine.connect() as connection:
        migrated_checks, migrated_names = _checks(connection), _names(connection)
        migrated_columns = columns(connection)
    _migrate(engine, "base")
    with engine.begin() as connection:
        Base.metadata.create_all(connection)
        expected_checks, expected_names = _checks(connection), _names(connection)
        expected_columns = columns(connection)
        Base.metadata.drop_all(connection)

    assert migrated_checks == expected_checks
    assert migrated_names == expected_names
    assert migrated_columns == expected_columns
    assert None not in {name for _, name in migrated_checks}
    assert None not in {name for *_, name in migrated_names}


def test_downgrade_removes_what_upgrade_made(engine: Engine) -> None:
    _migrate(engine, "head")
    _migrate(engine, "base")

    with engine.connect() as connection:
        assert inspect(connection).get_table_names() in ([], ["alembic_version"])

    _migrate(engine, "head")


def test_alembic_ini_works_on_the_environments_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDITVEC_HOME", str(tmp_path))
    upgrade(RegistryConfig.for_home(tmp_path))
    answer = io.StringIO()
    settings = Config(ROOT / "alembic.ini", stdout=answer)

    command.check(settings)

    assert "No new upgrade operations detected" in answer.getvalue()
