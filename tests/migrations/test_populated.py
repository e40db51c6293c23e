"""Upgrades of a populated library lose nothing: tried on a full library of every revision."""

from itertools import pairwise

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from editvec.registry.tables.schema import known_revisions
from tests.support.library_at_0001 import Content
from tests.support.migration_libraries import (
    REVISIONS,
    broken_references,
    columns,
    fill,
    migrate,
    read,
)

STEPS = list(pairwise(["base", *known_revisions()]))


def _populate(engine: Engine, revision: str) -> Content:
    with engine.begin() as connection:
        migrate(connection, revision)
        fill(connection, REVISIONS[revision].library)
    with engine.connect() as connection:
        return read(connection)


def test_every_revision_brings_a_library() -> None:
    assert list(REVISIONS) == known_revisions()


@pytest.mark.parametrize("revision", known_revisions())
def test_library_of_a_revision_uses_every_column(engine: Engine, revision: str) -> None:
    content = _populate(engine, revision)

    with engine.connect() as connection:
        found = columns(connection)
    unused = []
    for (table, column), (_, nullable, _) in found.items():
        values = [row[column] for row in content[table]]
        if all(value is None for value in values) or (nullable and None not in values):
            unused.append(f"{table}.{column}")
    assert content == REVISIONS[revision].library
    assert unused == []


@pytest.mark.parametrize("revision", known_revisions())
def test_upgrade_to_head_loses_nothing(engine: Engine, revision: str) -> None:
    expected = _populate(engine, revision)
    for later in known_revisions():
        if later > revision:
            expected = REVISIONS[later].upgraded(expected)

    with engine.begin() as connection:
        migrate(connection, "head")

    with engine.connect() as connection:
        assert read(connection) == expected
        assert broken_references(connection) == []


@pytest.mark.parametrize(("before", "revision"), STEPS)
def test_downgrade_by_one_loses_only_what_is_new(
    engine: Engine, before: str, revision: str
) -> None:
    content = _populate(engine, revision)

    with engine.begin() as connection:
        migrate(connection, before, down=True)

    with engine.connect() as connection:
        assert read(connection) == REVISIONS[revision].downgraded(content)
        assert broken_references(connection) == []


@pytest.mark.parametrize(("before", "revision"), STEPS[1:])
def test_up_and_down_again_leaves_no_trace_in_the_tables(
    engine: Engine, before: str, revision: str
) -> None:
    content = _populate(engine, before)
    with engine.connect() as connection:
        found = columns(connection)
    step = REVISIONS[revision]

    with engine.begin() as connection:
        migrate(connection, revision)
        migrate(connection, before, down=True)

    with engine.connect() as connection:
        assert columns(connection) == found
        assert read(connection) == step.downgraded(step.upgraded(content))


def test_the_kinds_of_runs_are_those_of_the_revision(engine: Engine) -> None:
    _populate(engine, "0003")
    newest = "(SELECT max(id) FROM runs)"
    change = text(f"UPDATE runs SET kind = :kind WHERE id = {newest}")

    def refuses(kind: str) -> bool:
        try:
            with engine.begin() as connection:
                connection.execute(change, {"kind": kind})
        except IntegrityError:
            return True
        return False

    assert refuses("learn")
    with engine.begin() as connection:
        migrate(connection, "0004")
    assert not refuses("learn")
    assert refuses("play")
    with engine.begin() as connection:
        migrate(connection, "0003", down=True)
        if engine.dialect.name == "sqlite":
            assert connection.scalar(text("PRAGMA integrity_check")) == "ok"
    assert refuses("learn")
