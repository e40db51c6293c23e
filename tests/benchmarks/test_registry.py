"""The benchmark of the library: it measures what it says, on libraries that are what it says."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.registry.library import fill, write_deltas
from benchmarks.registry.measures import (
    FILTERS,
    Measured,
    main,
    measure,
    measure_versions,
    opened_libraries,
    report,
)
from editvec.registry.entities.queries import VectorQuery
from editvec.registry.library.library import Library
from tests.conftest import POSTGRESQL, _require

SIZE = 50


def _server(kind: str) -> str | None:
    if kind == "sqlite":
        return None
    _require(POSTGRESQL, "PostgreSQL")
    return f"postgresql+psycopg://postgres@{POSTGRESQL[0]}:{POSTGRESQL[1]}/postgres"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Library]:
    """A filled library on each database."""
    with opened_libraries(tmp_path, tmp_path / "blobs", _server(request.param)) as libraries:
        library = libraries[-1]
        assert library.engine.dialect.name == request.param
        fill(library, SIZE, write_deltas(library, library.get_class(), SIZE))
        yield library


def test_filled_library_is_whole_and_holds_what_the_filters_look_for(filled: Library) -> None:
    vectors = filled.find_vectors(VectorQuery(retired=None))

    assert len(vectors) == SIZE
    assert all(filled.delta(vector).any() for vector in vectors)
    assert {vector.kind.value for vector in vectors} == {"learned", "imported", "composed"}
    assert all(bool(vector.terms) == (vector.kind == "composed") for vector in vectors)
    unmet = {name for name, query in FILTERS.items() if not filled.find_vectors(query)}
    assert unmet == {
        "'*-none-*' (0 pass)",
        "--tag late (last by name)",  # of more vectors than these
        "--where 'leakage<0.0005'",
        "all of these",
    }


def test_every_operation_is_measured_on_each_database(filled: Library) -> None:
    measured = measure(filled, SIZE, repeats=1)

    operations = [one.operation for one in measured]
    assert len(set(operations)) == len(operations) == 3 * len(FILTERS) + 6
    assert {"get", "add", "compose two", "10 most similar"} <= set(operations)
    assert all(one.median > 0 for one in measured)
    assert {(one.database, one.size) for one in measured} == {(filled.engine.dialect.name, SIZE)}


def test_report_has_a_column_for_each_database_and_size() -> None:
    measured = [
        Measured("get", "sqlite", 10, (1.0, 2.0, 9.0)),
        Measured("get", "sqlite", 1000, (4.0,)),
        Measured("add", "sqlite", 1000, (5.0,)),
    ]

    lines = report(measured).splitlines()

    assert lines[0].split("  ")[0] == "MS"
    assert lines[1].split("  ") == ["get", "2.0 (1.0-9.0)", "4.0 (4.0-4.0)"]
    assert lines[2].split()[-2:] == ["5.0", "(5.0-5.0)"]


def test_script_measures_both_processes_and_writes_json(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.registry", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    main(["--sizes", "30", "--versions", "30", "--repeats", "1", "--json", str(tmp_path / "found")])

    assert "--postgresql URL" in done.stdout
    assert "editvec registry list" in (tmp_path / "found").read_text()


def test_ten_thousand_versions_of_one_name_are_no_burden(tmp_path: Path) -> None:
    count = 10_000
    with opened_libraries(tmp_path, tmp_path / "blobs", None) as (library,):
        deltas = write_deltas(library, library.get_class(), 10)
        fill(library, count, deltas, versions=count)

        started = time.process_time()
        measured = measure_versions(library, count, repeats=1)
        seconds = time.process_time() - started

    assert len(measured) == 4
    assert seconds < 2.0  # eight operations; about 0.2 where nothing else runs
