"""What a shell may complete: classes, vectors, parts, tags and metrics that the library holds.

A shell waits for every answer, so this asks the database through its bare driver: SQLAlchemy takes
longer to load than all the rest takes together. Nothing is created, nothing is written, and a
database that is missing, locked or of another release has nothing to complete.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, NamedTuple

from editvec.registry.addresses import LATEST
from editvec.registry.config import RegistryConfig

Subject = Literal["class", "address", "retired", "part", "tag", "metric"]

MAX_SUGGESTIONS = 200
SQLITE_SECONDS = 0.2
POSTGRESQL_SECONDS = 2

_SQLITE_URL = re.compile(r"sqlite(?:\+pysqlite)?:///(?P<path>[^?]+)")
_POSTGRESQL_URL = re.compile(r"postgres(?:ql)?(?:\+psycopg)?://(?P<rest>.*)", re.DOTALL)

_CLASSES = """
SELECT name, description FROM classes
WHERE substr(name, 1, ?) = ?
  AND version = (SELECT max(version) FROM classes AS other WHERE other.name = classes.name)
ORDER BY name LIMIT ?
"""
_NEWEST = """
SELECT class_name, name, max(version) AS version FROM vectors
WHERE class_name = ? AND substr(name, 1, ?) = ? AND (retired_at IS NULL) = ?
GROUP BY class_name, name ORDER BY class_name, name LIMIT ?
"""
_VECTORS = f"""
SELECT name, description FROM vectors JOIN ({_NEWEST}) AS newest USING (class_name, name, version)
ORDER BY name
"""  # noqa: S608 (a constant)
_VERSIONS = """
SELECT version, description FROM vectors
WHERE class_name = ? AND name = ? AND (retired_at IS NULL) = ?
ORDER BY version DESC LIMIT ?
"""
_ALIASES = """
SELECT alias, version FROM aliases JOIN vectors ON vectors.id = aliases.vector_id
WHERE aliases.class_name = ? AND aliases.name = ?
ORDER BY alias LIMIT ?
"""
_PARTS = """
SELECT found.name, min(found.place) FROM (
    SELECT class_id, name, label_index AS place FROM class_labels
    UNION ALL
    SELECT class_id, name, 100000 AS place FROM class_groups
) AS found JOIN classes ON classes.id = found.class_id
WHERE (? = '' OR classes.name = ?) AND substr(found.name, 1, ?) = ?
GROUP BY found.name ORDER BY min(found.place), found.name LIMIT ?
"""
# from one value to the next larger one: an index answers that without a look at every row
_TAGS = """
WITH RECURSIVE found(name) AS (
    SELECT min(tag) FROM vector_tags
    UNION ALL
    SELECT (SELECT min(tag) FROM vector_tags WHERE tag > found.name)
    FROM found WHERE found.name IS NOT NULL
)
SELECT name FROM found WHERE substr(name, 1, ?) = ? LIMIT ?
"""
_METRICS = """
WITH RECURSIVE found(name) AS (
    SELECT min(name) FROM metrics WHERE is_latest
    UNION ALL
    SELECT (SELECT min(name) FROM metrics WHERE is_latest AND name > found.name)
    FROM found WHERE found.name IS NOT NULL
)
SELECT name FROM found WHERE substr(name, 1, ?) = ? LIMIT ?
"""


class Suggestion(NamedTuple):
    """A text that may stand at the cursor, and what it means."""

    text: str
    meaning: str = ""


def suggest(
    subject: Subject, config: RegistryConfig, typed: str, *, class_name: str | None = None
) -> list[Suggestion]:
    """What may stand at the cursor.

    Args:
        subject: what is completed; `retired` are addresses of retired versions.
        config: which library.
        typed: the word up to the cursor.
        class_name: the class that the line names elsewhere.
    """
    match subject:
        case "class":
            return suggest_classes(config, typed)
        case "address":
            return suggest_addresses(config, typed, class_name=class_name)
        case "retired":
            return suggest_addresses(config, typed, class_name=class_name, retired=True)
        case "part":
            return suggest_parts(config, typed, class_name=class_name)
        case "tag":
            return suggest_tags(config, typed)
        case "metric":
            return suggest_metrics(config, typed)


def suggest_classes(config: RegistryConfig, typed: str) -> list[Suggestion]:
    """Classes whose names begin so."""
    rows = _rows(config, _CLASSES, len(typed), typed, MAX_SUGGESTIONS)
    return [Suggestion(name, description) for name, description in rows]


def suggest_addresses(
    config: RegistryConfig,
    typed: str,
    *,
    class_name: str | None = None,
    retired: bool = False,
) -> list[Suggestion]:
    """Addresses that begin so: names, and after `@` aliases and versions.

    Args:
        config: which library.
        typed: `smi`, `avatars/smi`, `smile@` and the like.
        class_name: the class for what is typed without one; None means all classes, and their
            names before those of the vectors where there are several.
        retired: versions that are retired instead of those that are not.
    """
    prefix, slash, rest = typed.rpartition("/")
    if slash or class_name:
        classes = [prefix if slash else str(class_name).partition("@")[0]]
    else:
        classes = [suggestion.text for suggestion in suggest_classes(config, "")]
    is_qualified = bool(slash) or len(classes) > 1
    if is_qualified and not slash:  # a class may be typed, and no name yet
        classes, rest = [one for one in classes if one.startswith(typed)], ""
    name, at, pin = rest.partition("@")
    found = []
    for one in classes:
        shown = f"{one}/" if is_qualified else ""
        if at:
            pins = _pins(config, one, name, retired=retired)
            found += [
                Suggestion(f"{shown}{name}@{text}", meaning)
                for text, meaning in pins
                if text.startswith(pin)
            ]
        else:
            rows = _rows(config, _VECTORS, one, len(name), name, not retired, MAX_SUGGESTIONS)
            found += [Suggestion(f"{shown}{text}", meaning) for text, meaning in rows]
    return [suggestion for suggestion in found if suggestion.text.startswith(typed)]


def suggest_parts(
    config: RegistryConfig, typed: str, *, class_name: str | None = None
) -> list[Suggestion]:
    """Part names after the last comma of `mouth,te`, without those that stand before it."""
    before, comma, begun = typed.rpartition(",")
    chosen = {part.strip() for part in before.split(",")}
    name = (class_name or "").partition("@")[0]
    rows = _rows(config, _PARTS, name, name, len(begun), begun, MAX_SUGGESTIONS)
    return [Suggestion(f"{before}{comma}{part}") for part, _ in rows if part not in chosen]


def suggest_tags(config: RegistryConfig, typed: str) -> list[Suggestion]:
    """Tags that begin so."""
    return [Suggestion(tag) for (tag,) in _rows(config, _TAGS, len(typed), typed, MAX_SUGGESTIONS)]


def suggest_metrics(config: RegistryConfig, typed: str) -> list[Suggestion]:
    """Names of metrics that begin so."""
    rows = _rows(config, _METRICS, len(typed), typed, MAX_SUGGESTIONS)
    return [Suggestion(name) for (name,) in rows]


def _pins(
    config: RegistryConfig, class_name: str, name: str, *, retired: bool
) -> list[tuple[str, str]]:
    """What may follow `@`: the aliases, then the versions, the newest first."""
    versions = [
        (str(version), description)
        for version, description in _rows(
            config, _VERSIONS, class_name, name, not retired, MAX_SUGGESTIONS
        )
    ]
    if retired or not versions:
        return versions
    aliases = [
        (alias, f"version {version}")
        for alias, version in _rows(config, _ALIASES, class_name, name, MAX_SUGGESTIONS)
    ]
    return [*aliases, (LATEST, f"version {versions[0][0]}"), *versions]


def _rows(config: RegistryConfig, statement: str, *values: Any) -> Sequence[Any]:
    """The rows of a statement with `?` for each value."""
    if match := _SQLITE_URL.match(config.database_url):
        return _sqlite_rows(Path(match["path"]), statement, values)
    if match := _POSTGRESQL_URL.fullmatch(config.database_url):
        return _postgresql_rows(f"postgresql://{match['rest']}", statement, values)
    return []


def _sqlite_rows(path: Path, statement: str, values: tuple[Any, ...]) -> Sequence[Any]:
    import sqlite3

    # rw never creates a database; ro would leave the files of the write-ahead log behind
    address = f"{path.absolute().as_uri()}?mode=rw"
    with closing(sqlite3.connect(address, uri=True, timeout=SQLITE_SECONDS)) as connection:
        connection.execute("PRAGMA query_only = ON")
        return connection.execute(statement, values).fetchall()


def _postgresql_rows(url: str, statement: str, values: tuple[Any, ...]) -> Sequence[Any]:
    import psycopg

    with psycopg.connect(url, connect_timeout=POSTGRESQL_SECONDS) as connection:
        connection.read_only = True
        connection.execute(f"SET LOCAL statement_timeout = '{POSTGRESQL_SECONDS}s'".encode())
        return connection.execute(statement.replace("?", "%s").encode(), values).fetchall()
