"""Measures libraries of many vectors; started by benchmarks/registry."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from sqlalchemy import text

from benchmarks.registry.library import StoredDelta, fill, name_of, write_deltas
from editvec.avatars import default
from editvec.registry.config import RegistryConfig
from editvec.registry.entities.queries import VectorQuery, parse_bound
from editvec.registry.entities.vectors import NewTerm, NewVector
from editvec.registry.library.library import Library
from editvec.registry.tables.database import open_engine
from editvec.registry.tables.schema import upgrade
from editvec.registry.text_tables import format_table

PAGE = 50
SIZES = (1_000, 10_000, 100_000)
VERSIONS = 10_000
FILTERS = {
    "no filter": VectorQuery(),
    "--class": VectorQuery(class_name="avatars"),
    "'smile-*'": VectorQuery(name_glob="smile-*"),
    "'*-none-*' (0 pass)": VectorQuery(name_glob="*-none-*"),
    "--roi mouth": VectorQuery(roi_labels=("mouth",)),
    "--roi mouth,brow": VectorQuery(roi_labels=("mouth", "brow")),
    "--tag common (1 in 2)": VectorQuery(tags=("common",)),
    "--tag rare (10 pass)": VectorQuery(tags=("rare",)),
    "--tag late (last by name)": VectorQuery(tags=("late",)),
    "--alias stable": VectorQuery(alias="stable"),
    "--kind composed (10 pass)": VectorQuery(kind="composed"),
    "--where 'leakage<0.5'": VectorQuery(bounds=(parse_bound("leakage<0.5"),)),
    "--where 'leakage<0.0005'": VectorQuery(bounds=(parse_bound("leakage<0.0005"),)),
    "--retired": VectorQuery(retired=True),
    "--latest": VectorQuery(latest_only=True),
    "all of these": VectorQuery(
        class_name="avatars",
        name_glob="*-0*",
        roi_labels=("mouth",),
        tags=("common",),
        alias="stable",
        kind="learned",
        bounds=(parse_bound("leakage<0.5"),),
    ),
}


@dataclass(frozen=True)
class Measured:
    """How long one operation takes in a library of one size.

    Attributes:
        operation: what was done.
        database: sqlite or postgresql.
        size: how many vectors the library holds.
        milliseconds: of every repetition.
    """

    operation: str
    database: str
    size: int
    milliseconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Half of the repetitions took less."""
        return statistics.median(self.milliseconds)

    @property
    def spread(self) -> tuple[float, float]:
        """The fastest and the slowest repetition."""
        return min(self.milliseconds), max(self.milliseconds)


def measure(library: Library, size: int, *, repeats: int) -> list[Measured]:
    """Every operation on a library that was filled with `size` vectors; it grows a little."""
    generator = np.random.default_rng(2)

    def some_address() -> str:  # a first version is neither retired nor a composition
        return f"{default.CLASS_NAME}/{name_of(int(generator.integers(size)))}@1"

    operations: dict[str, Callable[[], object]] = {
        "get": lambda: library.get_vector(some_address()),
        "get, and read its delta": lambda: library.delta(library.get_vector(some_address())),
    }
    for sort in ("name", "created", "leakage"):
        for name, query in FILTERS.items():
            operations[f"list by {sort}, {name}"] = _listing(library, query, sort)
    operations |= {
        "list by name, from the middle": _listing(
            library, VectorQuery(after=f"{name_of(size // 2)}@1"), "name"
        ),
        "compose two": lambda: _compose(library, [some_address(), some_address()]),
        "10 most similar": lambda: library.find_similar(some_address(), VectorQuery(retired=None)),
        "add": lambda: _add(library, "added", generator),
    }
    database = library.engine.dialect.name
    return [
        Measured(name, database, size, time_of(operation, repeats=repeats))
        for name, operation in operations.items()
    ]


def measure_versions(library: Library, count: int, *, repeats: int) -> list[Measured]:
    """Operations on a library that holds `count` versions of one name, and nothing else."""
    generator = np.random.default_rng(3)
    name = name_of(0)
    operations: dict[str, Callable[[], object]] = {
        "one name: get the newest": lambda: library.get_vector(name),
        "one name: list": _listing(library, VectorQuery(name_glob=name), "name"),
        "one name: list --latest": _listing(
            library, VectorQuery(name_glob=name, latest_only=True), "name"
        ),
        "one name: add": lambda: _add(library, name, generator),
    }
    database = library.engine.dialect.name
    return [
        Measured(operation, database, count, time_of(call, repeats=repeats))
        for operation, call in operations.items()
    ]


def time_of(operation: Callable[[], object], *, repeats: int) -> tuple[float, ...]:
    """Milliseconds of each repetition, after one that is not counted."""
    operation()
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        operation()
        taken.append(1000 * (time.perf_counter() - started))
    return tuple(taken)


def _listing(library: Library, query: VectorQuery, sort: str) -> Callable[[], object]:
    page = VectorQuery(**{**query.__dict__, "sort": sort, "limit": PAGE})
    return lambda: library.find_vectors(page)


def _compose(library: Library, addresses: Sequence[str]) -> object:
    terms = [
        NewTerm(address=address, scale=scale)
        for address, scale in zip(addresses, (1.0, 0.5), strict=True)
    ]
    return library.compose("composed", terms)


def _add(library: Library, name: str, generator: np.random.Generator) -> object:
    model = library.get_class(default.CLASS_NAME)
    delta = generator.normal(size=(model.num_ws, model.w_dim))
    return library.add_vector(
        NewVector(class_name=model.name, name=name, roi_labels=("mouth",)), delta
    )


# --- libraries ---


@contextmanager
def opened_libraries(folder: Path, blobs: Path, server: str | None) -> Iterator[list[Library]]:
    """An empty library on SQLite, and one on PostgreSQL where there is a server; with a class."""
    embedded = RegistryConfig.for_home(folder)
    configs = [RegistryConfig(home=folder, database_url=embedded.database_url, blob_url=str(blobs))]
    with _own_database(server) as url:
        if url is not None:
            configs.append(RegistryConfig(home=folder, database_url=url, blob_url=str(blobs)))
            upgrade(configs[-1])
        libraries = [Library.open(config) for config in configs]
        for library in libraries:
            library.add_bundle(default.BUNDLE_FOLDER)
        yield libraries
        for library in libraries:
            library.close()


@contextmanager
def _own_database(server: str | None) -> Iterator[str | None]:
    if server is None:
        yield None
        return
    engine = open_engine(server)
    name = f"editvec_benchmark_{uuid.uuid4().hex[:12]}"
    outside = engine.execution_options(isolation_level="AUTOCOMMIT")
    with outside.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield engine.url.set(database=name).render_as_string(hide_password=False)
    finally:
        with outside.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        engine.dispose()


# --- whole processes ---


def measure_processes(config: RegistryConfig, size: int, *, repeats: int) -> list[Measured]:
    """`editvec registry list` against the import of SQLAlchemy, in turns."""
    commands = {
        "python -c 'import sqlalchemy.orm'": ["-c", "import sqlalchemy.orm"],
        "editvec registry list": [
            "-c",
            "import editvec.cli; editvec.cli.main()",
            "registry",
            "list",
        ],
    }
    environment = {
        **os.environ,
        "EDITVEC_HOME": str(config.home),
        "EDITVEC_DATABASE_URL": config.database_url,
        "EDITVEC_BLOB_URL": config.blob_url,
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(repeats + 1):
        for name, words in commands.items():
            started = time.perf_counter()
            subprocess.run(
                [sys.executable, *words], env=environment, check=True, capture_output=True
            )
            if number > 0:  # the first of each fills the caches
                taken[name].append(1000 * (time.perf_counter() - started))
    return [Measured(name, "sqlite", size, tuple(times)) for name, times in taken.items()]


# --- the report ---


def report(measured: Sequence[Measured]) -> str:
    """A table: a row for each operation, a column for each database and size."""
    columns = list(dict.fromkeys((one.database, one.size) for one in measured))
    found = {(one.operation, one.database, one.size): one for one in measured}
    rows = []
    for operation in dict.fromkeys(one.operation for one in measured):
        cells = [found.get((operation, *column)) for column in columns]
        rows.append([operation, *("" if cell is None else _cell(cell) for cell in cells)])
    return format_table(["ms", *(f"{name} {size:,}" for name, size in columns)], rows)


def _cell(measured: Measured) -> str:
    low, high = measured.spread
    return f"{measured.median:.1f} ({low:.1f}-{high:.1f})"


def run(sizes: Sequence[int], server: str | None, *, repeats: int, versions: int) -> list[Measured]:
    """Fills libraries of every size, one after another, and measures all of them."""
    measured: list[Measured] = []
    with TemporaryDirectory(prefix="editvec-benchmark-") as folder:
        blobs, deltas = Path(folder) / "blobs", list[StoredDelta]()
        for size in [versions, *sizes]:
            home = Path(folder) / f"{len(measured)}"
            with opened_libraries(home, blobs, server) as libraries:
                if not deltas:
                    model = libraries[0].get_class()
                    deltas = write_deltas(libraries[0], model, max(*sizes, versions))
                is_first = not measured
                for library in libraries:
                    print(f"{library.engine.dialect.name}, {size:,} vectors", file=sys.stderr)
                    if is_first:
                        fill(library, size, deltas, versions=versions)
                        measured += measure_versions(library, size, repeats=repeats)
                    else:
                        fill(library, size, deltas)
                        measured += measure(library, size, repeats=repeats)
                if size == max(sizes) and not is_first:
                    config = libraries[0].config
                    measured += measure_processes(config, size, repeats=repeats)
    return measured


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, and prints what was measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--postgresql", metavar="URL")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--versions", type=int, default=VERSIONS)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    measured = run(
        options.sizes, options.postgresql, repeats=options.repeats, versions=options.versions
    )
    one_name = [one for one in measured if one.operation.startswith("one name")]
    print(report([one for one in measured if one not in one_name]))
    print()
    print(report(one_name))
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(one) for one in measured], indent=2))
