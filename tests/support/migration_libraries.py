"""A full library at each revision of the tables, and what a step makes of it.

A new revision brings three things: a library with every column in use, what its upgrade makes of
the content before it, and what its downgrade leaves.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, MetaData, func, inspect, select, text

from editvec.registry.tables.schema import migrations_folder
from tests.support.library_at_0001 import BUNDLES, FIRST, Content, Row, at, digest


@dataclass(frozen=True)
class Revision:
    """What the tests know of one revision.

    Attributes:
        library: every table's rows, parents before children, each table's in the order of its key.
        upgraded: what the step to this revision makes of the content of the one before.
        downgraded: what the step back makes of the content of this one.
    """

    library: Content
    upgraded: Callable[[Content], Content]
    downgraded: Callable[[Content], Content]


def migrate(connection: Connection, revision: str, *, down: bool = False) -> None:
    """Moves the tables up to a revision, or down to it."""
    settings = Config()
    settings.set_main_option("script_location", str(migrations_folder()))
    settings.attributes["connection"] = connection
    (command.downgrade if down else command.upgrade)(settings, revision)


def columns(connection: Connection) -> dict[tuple[str, str], tuple[str, bool, Any]]:
    """Type, NULL and default of every column."""
    inspector = inspect(connection)
    return {
        (table, column["name"]): (str(column["type"]), column["nullable"], column["default"])
        for table in inspector.get_table_names()
        if table != "alembic_version"
        for column in inspector.get_columns(table)
    }


def fill(connection: Connection, content: Content) -> None:
    """Inserts the rows through the tables as they are in the database."""
    tables = MetaData()
    tables.reflect(connection)
    for name, rows in content.items():
        table = tables.tables[name]
        for row in rows:
            connection.execute(table.insert().values(row))
        counter = table.columns.get("id")
        if connection.dialect.name == "postgresql" and isinstance(rows[0].get("id"), int):
            newest = select(func.max(counter)).scalar_subquery()
            connection.execute(select(func.setval(func.pg_get_serial_sequence(name, "id"), newest)))


def read(connection: Connection) -> Content:
    """Every row of every table, in the order of the keys."""
    tables = MetaData()
    tables.reflect(connection)
    return {
        name: [
            {column: _instant(value) for column, value in row._asdict().items()}
            for row in connection.execute(table.select().order_by(*table.primary_key.columns))
        ]
        for name, table in tables.tables.items()
        if name != "alembic_version"
    }


def broken_references(connection: Connection) -> list[Any]:
    """What refers to nothing on SQLite; PostgreSQL never has such rows."""
    if connection.dialect.name != "sqlite":
        return []
    return list(connection.execute(text("PRAGMA foreign_key_check")))


def _instant(value: Any) -> Any:
    """SQLite keeps no zone, PostgreSQL answers in that of the session."""
    if not isinstance(value, datetime):
        return value
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# --- 0001 ---


def _nothing(content: Content) -> Content:
    """Before the first revision there is nothing."""
    return {}


# --- 0002 ---

NEW_IN_VECTORS: Row = {
    "engine_version": "",
    "kernel_version": "",
    "brush_digest": None,
    "original_digest": None,
    "original_name": None,
    "preview_digest": None,
    "retired_at": None,
}


def _to_second(first: Content) -> Content:
    """Nothing goes; what is new says what the older release meant."""
    content = copy.deepcopy(first)
    content["aliases"] = []
    content["vector_sketches"] = []
    for vector in content["vectors"]:
        vector.update(NEW_IN_VECTORS)
    newest = {(row["vector_id"], row["name"]): row["id"] for row in content["metrics"]}
    for metric in content["metrics"]:
        metric["is_latest"] = metric["id"] in newest.values()
    for term in content["composition_terms"]:
        term["role"] = "sum"
    for entry in content["history"]:
        entry["details"] = {}
    for chunk in content["chunks"]:
        chunk["worker"] = None
    for embedding in content["embeddings"]:
        bundle = embedding.pop("bundle_digest")
        embedding["generator_digest"] = BUNDLES.get(bundle, bundle)
        embedding["settings_key"] = digest(embedding["settings_key"] + bundle)
    return _sorted_embeddings(content, "generator_digest")


def _from_second(second: Content) -> Content:
    """What the older release cannot keep goes; everything else stays."""
    content = copy.deepcopy(second)
    del content["aliases"], content["vector_sketches"]
    for name, columns in (
        ("vectors", NEW_IN_VECTORS),
        ("metrics", ("is_latest",)),
        ("composition_terms", ("role",)),
        ("history", ("details",)),
        ("chunks", ("worker",)),
    ):
        for row in content[name]:
            for column in columns:
                del row[column]
    newest_bundle = {generator: bundle for bundle, generator in BUNDLES.items()}
    for embedding in content["embeddings"]:
        generator = embedding.pop("generator_digest")
        embedding["bundle_digest"] = newest_bundle.get(generator, generator)
    return _sorted_embeddings(content, "bundle_digest")


def _sorted_embeddings(content: Content, owner: str) -> Content:
    content["embeddings"].sort(
        key=lambda row: (row["image_digest"], row[owner], row["settings_key"])
    )
    return content


def _second_library() -> Content:
    content = _to_second(FIRST)
    content["vectors"][0].update(
        engine_version="editvec 0.2.0",
        kernel_version="reference",
        brush_digest=digest("brush"),
        original_digest=digest("original"),
        original_name="Länge.npy",
        preview_digest=digest("preview"),
    )
    content["vectors"][1].update(retired_at=at(300))
    content["aliases"] = [
        {
            "class_name": "avatars",
            "name": "smile",
            "alias": alias,
            "vector_id": 1,
            "set_at": at(301),
            "set_by": "ada",
        }
        for alias in ("stable", "team")
    ]
    content["vector_sketches"] = [{"vector_id": 1, "sketch": bytes(range(256))}]
    content["composition_terms"][1]["role"] = "condition"
    content["chunks"][1]["worker"] = "host, process 4711, cuda:0"
    content["history"].append(
        {
            "id": 8,
            "at": at(301),
            "by": "ada",
            "action": "alias",
            "subject": "avatars/smile",
            "reason": "",
            "details": {"alias": "stable", "from": None, "to": 1},
        }
    )
    return content


# --- 0003 ---


def _to_third(second: Content) -> Content:
    """Inputs are whole pictures."""
    content = copy.deepcopy(second)
    for planned in content["run_inputs"]:
        planned["box"] = None
    return content


def _from_third(third: Content) -> Content:
    """The older release knows pictures only."""
    content = copy.deepcopy(third)
    for planned in content["run_inputs"]:
        del planned["box"]
    return content


def _third_library() -> Content:
    content = _to_third(_second_library())
    content["run_inputs"][0]["box"] = {
        "left": 1.5,
        "top": 2.0,
        "width": 30.0,
        "height": 20.25,
        "label": "Gesicht é",
        "id": None,
    }
    return content


# --- 0004 ---

_NEW_KINDS = ("learn", "embed")


def _to_fourth(third: Content) -> Content:
    """Inputs have no job of their own, and items added nothing to the library."""
    content = copy.deepcopy(third)
    for planned in content["run_inputs"]:
        planned["job"] = None
    for item in content["run_items"]:
        item["result"] = None
    return content


def _from_fourth(fourth: Content) -> Content:
    """The older release knows runs that write images only."""
    content = _without_runs(fourth, _NEW_KINDS)
    for planned in content["run_inputs"]:
        del planned["job"]
    for item in content["run_items"]:
        del item["result"]
    return content


def _without_runs(whole: Content, kinds: tuple[str, ...]) -> Content:
    """The same without the runs of some kinds, and all that belongs to them."""
    content = copy.deepcopy(whole)
    unknown = [run["id"] for run in content["runs"] if run["kind"] in kinds]
    for table, owner in (
        ("runs", "id"),
        ("run_inputs", "run_id"),
        ("chunks", "run_id"),
        ("run_items", "run_id"),
    ):
        content[table] = [row for row in content[table] if row[owner] not in unknown]
    return content


def _fourth_library() -> Content:
    content = _to_fourth(_third_library())
    for number, kind in enumerate(_NEW_KINDS):
        _add_work(content, kind, run_id="de"[number] * 32, chunk_id=20 + number)
    return content


def _add_work(content: Content, kind: str, *, run_id: str, chunk_id: int) -> None:
    """Adds a run of another kind, like the first run but for what such runs have."""
    learned, planned, chunk, item = (
        copy.deepcopy(content[name][0]) for name in ("runs", "run_inputs", "chunks", "run_items")
    )
    learned.update(id=run_id, kind=kind, output_digest=digest(f"{kind} folder"))
    planned.update(run_id=run_id, job={"address": "avatars/smile", "parts": ["Mund é"]})
    chunk.update(id=chunk_id, run_id=run_id)
    item.update(run_id=run_id, result={"vector": "avatars/smile@1"})
    for name, row in (
        ("runs", learned),
        ("run_inputs", planned),
        ("chunks", chunk),
        ("run_items", item),
    ):
        content[name].append(row)


# --- 0005 ---


def _to_fifth(fourth: Content) -> Content:
    """No run is more urgent than another."""
    content = copy.deepcopy(fourth)
    for run in content["runs"]:
        run["priority"] = "normal"
    return content


def _from_fifth(fifth: Content) -> Content:
    """The older release knows no priorities."""
    content = copy.deepcopy(fifth)
    for run in content["runs"]:
        del run["priority"]
    return content


def _fifth_library() -> Content:
    content = _to_fifth(_fourth_library())
    content["runs"][0]["priority"] = "high"
    return content


# --- 0006 ---


def _to_sixth(fifth: Content) -> Content:
    """No class has groups."""
    return copy.deepcopy(fifth) | {"class_groups": []}


def _from_sixth(sixth: Content) -> Content:
    """The older release knows parts only."""
    content = copy.deepcopy(sixth)
    del content["class_groups"]
    return content


def _sixth_library() -> Content:
    content = _to_sixth(_fifth_library())
    content["class_groups"] = [
        {"class_id": 1, "name": "gaze", "members": ["eye", "Mund é"]},
        {"class_id": 3, "name": "wheel", "members": ["tire"]},
    ]
    return content


# --- 0007 ---


def _from_seventh(seventh: Content) -> Content:
    """The older release knows no runs that evaluate."""
    return _without_runs(seventh, ("evaluate",))


def _seventh_library() -> Content:
    content = copy.deepcopy(_sixth_library())
    _add_work(content, "evaluate", run_id="f" * 32, chunk_id=30)
    return content


REVISIONS = {
    "0001": Revision(library=FIRST, upgraded=_nothing, downgraded=_nothing),
    "0002": Revision(library=_second_library(), upgraded=_to_second, downgraded=_from_second),
    "0003": Revision(library=_third_library(), upgraded=_to_third, downgraded=_from_third),
    "0004": Revision(library=_fourth_library(), upgraded=_to_fourth, downgraded=_from_fourth),
    "0005": Revision(library=_fifth_library(), upgraded=_to_fifth, downgraded=_from_fifth),
    "0006": Revision(library=_sixth_library(), upgraded=_to_sixth, downgraded=_from_sixth),
    "0007": Revision(library=_seventh_library(), upgraded=copy.deepcopy, downgraded=_from_seventh),
}
