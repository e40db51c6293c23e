"""Vectors found by what is known about them, in pages of any order."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from editvec.registry.config import RegistryConfig
from editvec.registry.entities.metrics import NewMetric
from editvec.registry.entities.queries import MetricBound, VectorQuery, parse_bound
from editvec.registry.errors import (
    ClassNotFoundError,
    InvalidNameError,
    LabelNotFoundError,
    MetricNotFoundError,
    RecordError,
    VectorNotFoundError,
)
from editvec.registry.library.library import Library
from editvec.registry.tables.database import open_engine
from editvec.registry.tables.schema import upgrade
from tests.conftest import POSTGRESQL
from tests.support.registry_fixtures import new_vector, random_delta, write_small_bundle

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


def _add(library: Library, name: str, *, leakage: float | None = None, **changes: Any) -> str:
    """Stores a vector that differs from all others; its address."""
    seed = uuid.uuid4().int % 2**32
    metrics = () if leakage is None else (NewMetric(name="leakage", value=leakage),)
    return library.add_vector(
        new_vector(name, **changes), random_delta(seed), metrics=metrics
    ).address


def _names(library: Library, **wanted: Any) -> list[str]:
    return [vector.name for vector in library.find_vectors(VectorQuery(**wanted))]


def _addresses(library: Library, **wanted: Any) -> list[str]:
    found = library.find_vectors(VectorQuery(**wanted))
    return [vector.address.removeprefix("avatars/") for vector in found]


def _fill(library: Library) -> None:
    """Four names, one of them with two versions and an alias, and a retired one."""
    _add(library, "smile", tags=("mood", "soft"), leakage=0.02, created_at=BEGINNING)
    _add(library, "smile", tags=("mood",), leakage=0.30)
    _add(library, "small-smile", roi_labels=("mouth",), leakage=0.05, tags=("soft",))
    _add(library, "close_eyes", roi_labels=("eye",), kind="imported")
    _add(library, "frown", leakage=0.9)
    library.set_alias("smile@1", "stable")
    library.retire("frown@1", reason="it leaks")


def _fill_with_equals(library: Library) -> None:
    """Twelve vectors with equal values: of three names, two instants and three leakages."""
    for place in range(12):
        _add(
            library,
            ("smile", "frown", "Wink")[place % 3],
            leakage=(0.1, 0.2, 0.2, 0.3)[place % 4],
            created_at=BEGINNING + timedelta(days=place % 2),
        )


@contextmanager
def _own_database(shared_url: str, options: str = "") -> Iterator[str]:
    """A PostgreSQL database of its own."""
    engine = open_engine(shared_url)
    server = engine.execution_options(isolation_level="AUTOCOMMIT")
    name = f"editvec_search_{uuid.uuid4().hex[:12]}"
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} {options}"))
    yield f"postgresql+psycopg://postgres@{POSTGRESQL[0]}:{POSTGRESQL[1]}/{name}"
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


@contextmanager
def _new_library(folder: Path, database_url: str | None = None) -> Iterator[Library]:
    config = RegistryConfig.for_home(folder / "home")
    if database_url is not None:
        config = replace(config, database_url=database_url)
        upgrade(config)
    with Library.open(config) as library:
        library.add_bundle(write_small_bundle(folder / "bundle"))
        yield library


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)]
)
def database(request: pytest.FixtureRequest) -> Iterator[Callable[[], str | None]]:
    """Makes databases of one kind for the libraries of this file that nobody changes."""
    with ExitStack() as stack:
        yield (
            lambda: (
                None
                if request.param == "sqlite"
                else stack.enter_context(
                    _own_database(request.getfixturevalue("shared_postgresql_url"))
                )
            )
        )


@pytest.fixture(scope="module")
def kept(
    database: Callable[[], str | None], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Library]:
    """The small library that tests only read."""
    with _new_library(tmp_path_factory.mktemp("kept"), database()) as library:
        _fill(library)
        yield library


@pytest.fixture(scope="module")
def kept_equals(
    database: Callable[[], str | None], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Library]:
    """The library of equal values that tests only read."""
    with _new_library(tmp_path_factory.mktemp("equals"), database()) as library:
        _fill_with_equals(library)
        yield library


@pytest.fixture
def filled(library: Library) -> Library:
    """The small library, to be changed."""
    _fill(library)
    return library


@pytest.fixture
def many(library: Library) -> Library:
    """The library of equal values, to be changed."""
    _fill_with_equals(library)
    return library


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, ["close_eyes@1", "small-smile@1", "smile@1", "smile@2"]),
        ({"retired": True}, ["frown@1"]),
        ({"retired": None, "name_glob": "f*"}, ["frown@1"]),
        ({"class_name": "avatars"}, ["close_eyes@1", "small-smile@1", "smile@1", "smile@2"]),
        ({"class_name": "avatars@1", "name_glob": "smile"}, ["smile@1", "smile@2"]),
        ({"name_glob": "s*smile"}, ["small-smile@1"]),
        ({"name_glob": "*smile*"}, ["small-smile@1", "smile@1", "smile@2"]),
        ({"name_glob": "smil?"}, ["smile@1", "smile@2"]),
        ({"name_glob": "close_*"}, ["close_eyes@1"]),
        ({"name_glob": "small_*"}, []),
        ({"name_glob": "SMILE"}, []),
        ({"name_glob": "SMIL*"}, []),
        ({"name_glob": "s.*"}, []),
        ({"roi_labels": ("mouth",)}, ["small-smile@1", "smile@1", "smile@2"]),
        ({"roi_labels": ("mouth", "teeth")}, ["smile@1", "smile@2"]),
        ({"roi_labels": ("mouth", "eye")}, []),
        ({"kind": "imported"}, ["close_eyes@1"]),
        ({"tags": ("soft",)}, ["small-smile@1", "smile@1"]),
        ({"tags": ("soft", "mood")}, ["smile@1"]),
        ({"tags": ("none",)}, []),
        ({"alias": "stable"}, ["smile@1"]),
        ({"alias": "latest"}, ["close_eyes@1", "small-smile@1", "smile@2"]),
        ({"latest_only": True}, ["close_eyes@1", "small-smile@1", "smile@2"]),
        ({"latest_only": True, "tags": ("soft",)}, ["small-smile@1"]),
        ({"bounds": (parse_bound("leakage<0.05"),)}, ["smile@1"]),
        ({"bounds": (parse_bound("leakage<=0.05"),)}, ["small-smile@1", "smile@1"]),
        ({"bounds": (parse_bound("leakage>0.05"),)}, ["smile@2"]),
        ({"bounds": (parse_bound("leakage>=0.05"),)}, ["small-smile@1", "smile@2"]),
        ({"bounds": (parse_bound("leakage=0.3"),)}, ["smile@2"]),
        (
            {"bounds": (parse_bound("leakage>0.03"), parse_bound("leakage<0.1"))},
            ["small-smile@1"],
        ),
        ({"limit": 2}, ["close_eyes@1", "small-smile@1"]),
        ({"descending": True}, ["smile@2", "smile@1", "small-smile@1", "close_eyes@1"]),
        ({"sort": "leakage"}, ["smile@1", "small-smile@1", "smile@2"]),
        ({"sort": "leakage", "retired": None, "descending": True, "limit": 2},
         ["frown@1", "smile@2"]),
        ({"sort": "leakage", "latest_only": True}, ["small-smile@1", "smile@2"]),
        ({"sort": "leakage", "bounds": (parse_bound("leakage<0.1"),), "tags": ("soft",)},
         ["smile@1", "small-smile@1"]),
        ({"sort": "created", "limit": 1}, ["smile@1"]),
        ({"sort": "created", "descending": True, "limit": 1}, ["close_eyes@1"]),
    ],
)  # fmt: skip
def test_vectors_are_found_by(kept: Library, wanted: dict[str, Any], expected: list[str]) -> None:
    assert _addresses(kept, **wanted) == expected


def test_found_vectors_are_complete(kept: Library) -> None:
    for vector in kept.find_vectors(VectorQuery(retired=None)):
        assert vector == kept.get_vector(vector.address)


def test_newest_measurement_decides(filled: Library) -> None:
    filled.add_metrics("smile@1", [NewMetric(name="leakage", value=0.8)])

    assert _addresses(filled, bounds=(parse_bound("leakage<0.1"),)) == ["small-smile@1"]
    assert _addresses(filled, sort="leakage")[-1] == "smile@1"


def test_newest_version_follows_retirement(filled: Library) -> None:
    filled.retire("smile@2", reason="too strong")

    assert "smile@1" in _addresses(filled, latest_only=True)
    assert _addresses(filled, latest_only=True, retired=True) == ["frown@1", "smile@2"]
    assert "smile@2" in _addresses(filled, latest_only=True, retired=None)


def test_version_of_a_class_narrows_the_list(
    library: Library, make_bundle: Callable[..., Path]
) -> None:
    _add(library, "smile")
    library.add_bundle(make_bundle("second", weights=b"w2"))
    _add(library, "smile")

    assert _addresses(library, class_name="avatars@1") == ["smile@1"]
    assert _addresses(library, class_name="avatars@2") == ["smile@2"]
    assert _addresses(library, class_name="avatars") == ["smile@1", "smile@2"]


@pytest.mark.parametrize(
    ("wanted", "error", "message"),
    [
        ({"class_name": "car"}, ClassNotFoundError, "no class 'car'"),
        ({"roi_labels": ("mouht",)}, LabelNotFoundError, "did you mean mouth"),
        ({"bounds": (parse_bound("lekage<1"),)}, MetricNotFoundError, "did you mean leakage"),
        ({"sort": "realism"}, MetricNotFoundError, "no vector has metric 'realism'; there is leak"),
        ({"after": "smlie@1"}, VectorNotFoundError, "did you mean smile"),
        ({"after": "smile@7"}, VectorNotFoundError, "no version 7"),
        ({"after": "close_eyes@1", "sort": "leakage"}, RecordError, "has no metric leakage"),
    ],
)
def test_search_for_what_there_is_not_says_so(
    kept: Library, wanted: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        kept.find_vectors(VectorQuery(**wanted))


@pytest.mark.parametrize(
    ("wanted", "error", "message"),
    [
        ({"kind": "stolen"}, RecordError, "learned, imported, composed"),
        ({"name_glob": "s[mn]ile"}, InvalidNameError, r"'\*' or '\?'.*got 's\[mn\]ile'"),
        ({"name_glob": "a\0b"}, InvalidNameError, "name: expected"),
        ({"name_glob": "ѕmile*"}, InvalidNameError, "CYRILLIC"),
        ({"roi_labels": "mouth"}, RecordError, "roi_labels: expected several names"),
        ({"tags": "mood"}, RecordError, "tags: expected several names"),
        ({"tags": ("a b",)}, InvalidNameError, "tag"),
        ({"alias": "'; DROP TABLE"}, InvalidNameError, "alias"),
        ({"sort": "leakage desc"}, InvalidNameError, "sort"),
        ({"limit": 0}, RecordError, "limit: expected 1 or more, got 0"),
    ],
)
def test_query_that_cannot_be_meant_is_refused(
    wanted: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        VectorQuery(**wanted)


@pytest.mark.parametrize(
    ("text_of_bound", "expected"),
    [
        ("leakage<0.05", MetricBound("leakage", "<", 0.05)),
        ("  leakage  <=  .5 ", MetricBound("leakage", "<=", 0.5)),
        ("psnr>-3e1", MetricBound("psnr", ">", -30.0)),
        ("psnr>=30.", MetricBound("psnr", ">=", 30.0)),
        ("lpips.v0-1=0", MetricBound("lpips.v0-1", "=", 0.0)),
    ],
)
def test_bound_is_read(text_of_bound: str, expected: MetricBound) -> None:
    assert parse_bound(text_of_bound) == expected
    assert parse_bound(str(expected)) == expected


@pytest.mark.parametrize(
    ("text_of_bound", "error", "message"),
    [
        ("", RecordError, "expected a metric, then <"),
        ("leakage", RecordError, "expected a metric, then <"),
        ("leakage!0.05", RecordError, "expected a metric, then <"),
        ("leakage<", RecordError, "expected a number after <, got ''"),
        ("leakage==1", RecordError, "expected a number after =, got '=1'"),
        ("leakage<nan", RecordError, "expected a number after <, got 'nan'"),
        ("leakage<inf", RecordError, "expected a number"),
        ("leakage<1_000", RecordError, "expected a number"),
        ("leakage<1e999", RecordError, "finite"),
        ("0.1<leakage<0.5", RecordError, "expected a number after <, got 'leakage<0.5'"),
        ("<0.05", InvalidNameError, "metric name"),
        ("a b<1", InvalidNameError, "metric name"),
    ],
)
def test_bound_that_is_none_is_refused(
    text_of_bound: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        parse_bound(text_of_bound)


@pytest.mark.parametrize(("comparison", "value"), [("~", 1.0), ("<", float("nan"))])
def test_bound_from_python_is_checked_too(comparison: str, value: float) -> None:
    with pytest.raises(RecordError, match="bound of metric leakage"):
        MetricBound("leakage", comparison, value)


# --- pages ---


def _pages(library: Library, query: VectorQuery) -> Iterator[list[str]]:
    while found := library.find_vectors(query):
        yield [vector.address for vector in found]
        query = replace(query, after=found[-1].address)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", ["name", "created", "leakage"])
def test_pages_show_every_vector_once_in_order(
    kept_equals: Library, sort: str, descending: bool
) -> None:
    query = VectorQuery(sort=sort, descending=descending)
    whole = [vector.address for vector in kept_equals.find_vectors(query)]

    pages = list(_pages(kept_equals, replace(query, limit=5)))

    assert [len(page) for page in pages] == [5, 5, 2]
    assert [address for page in pages for address in page] == whole
    assert len(set(whole)) == 12


@pytest.mark.parametrize("sort", ["name", "created", "leakage"])
def test_order_is_that_of_the_keys(kept_equals: Library, sort: str) -> None:
    keys: dict[str, Callable[[Any], Any]] = {
        "name": lambda vector: (vector.name, vector.version),
        "created": lambda vector: (vector.created_at, vector.id),
        "leakage": lambda vector: (vector.metrics[0].value, vector.id),
    }

    found = kept_equals.find_vectors(VectorQuery(sort=sort))

    assert found == sorted(found, key=keys[sort])
    assert kept_equals.find_vectors(VectorQuery(sort=sort, descending=True)) == found[::-1]


@pytest.mark.parametrize("sort", ["name", "created", "leakage"])
def test_vectors_that_are_added_between_pages_disturb_none(many: Library, sort: str) -> None:
    query = VectorQuery(sort=sort, limit=3)
    before = {vector.address for vector in many.find_vectors(replace(query, limit=None))}

    shown: list[str] = []
    for number, page in enumerate(_pages(many, query)):
        shown += page
        if number < 3:
            _add(many, "frown", leakage=0.15, created_at=BEGINNING)
            _add(many, "zebra", leakage=0.25, created_at=BEGINNING + timedelta(days=1))

    assert sorted(one for one in shown if one in before) == sorted(before)
    assert len(shown) == len(set(shown))


def test_page_goes_on_behind_a_vector_that_passes_no_more(many: Library) -> None:
    first = _addresses(many, limit=4)
    rest = _addresses(many, after=first[-1])
    many.retire(first[-1], reason="it leaks")

    assert _addresses(many, after=first[-1]) == rest


def test_limit_may_be_any_number(many: Library) -> None:
    assert _addresses(many, limit=10**30) == _addresses(many)


def test_listing_takes_as_many_queries_for_many_vectors_as_for_one(kept_equals: Library) -> None:
    statements: list[str] = []

    def count(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    event.listen(kept_equals.engine, "before_cursor_execute", count)
    try:
        kept_equals.find_vectors(VectorQuery(limit=1))
        for_one = len(statements)
        kept_equals.find_vectors(VectorQuery(limit=12))
    finally:
        event.remove(kept_equals.engine, "before_cursor_execute", count)

    assert len(statements) == 2 * for_one


def test_page_is_found_in_indexes_alone_on_sqlite(sqlite_library: Library) -> None:
    _add(sqlite_library, "smile", leakage=0.1)
    plans: list[str] = []

    def explain(connection: Any, _x: Any, sql: str, values: Any, *_rest: Any) -> None:
        if "INDEXED BY" in sql:
            rows = connection.connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)
            plans.extend(row[3] for row in rows)

    event.listen(sqlite_library.engine, "before_cursor_execute", explain)
    everything = VectorQuery(
        class_name="avatars",
        name_glob="s*",
        roi_labels=("mouth",),
        kind="learned",
        tags=("mood",),
        alias="stable",
        bounds=(parse_bound("leakage<1"),),
        after="smile@1",
        limit=50,
    )
    for sort in ("name", "created", "leakage"):
        sqlite_library.find_vectors(replace(everything, sort=sort))

    looked_up = [step for step in plans if step.startswith(("SCAN", "SEARCH"))]
    assert len(looked_up) > 12
    assert [step for step in looked_up if "COVERING INDEX" not in step] == []
    assert [step for step in plans if "TEMP B-TREE" in step] == []


# --- both databases sort alike ---


@pytest.mark.services
def test_names_sort_by_code_points_whatever_the_locale(
    shared_postgresql_url: str, tmp_path: Path
) -> None:
    german = "TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'de-DE'"
    names = ["a.b", "a-b", "a_b", "aB", "ab", "B", "b"]
    with (
        _own_database(shared_postgresql_url, f"{german} LOCALE 'C.UTF-8'") as url,
        _new_library(tmp_path, url) as library,
    ):
        for name in names:
            _add(library, name, tags=tuple(names))

        assert _names(library) == sorted(names)
        assert _names(library, after="a_b") == ["ab", "b"]
        assert library.get_vector("ab").tags == tuple(sorted(names))
