"""Libraries on both databases, for the tests of the library."""

import multiprocessing
import shutil
import uuid
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

import editvec.cli
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from editvec.registry.tables.database import open_engine
from editvec.registry.tables.schema import upgrade
from tests.conftest import POSTGRESQL, _require
from tests.support.registry_fixtures import Failure, Run, random_delta, write_small_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """The folder of a small valid bundle of class `avatars`."""
    return write_small_bundle(tmp_path / "bundle")


@pytest.fixture
def make_bundle(tmp_path: Path) -> Callable[..., Path]:
    """Writes bundles: `make_bundle("folder", name=..., weights=...)`."""

    def make(folder: str, **changes: Any) -> Path:
        return write_small_bundle(tmp_path / folder, **changes)

    return make


@pytest.fixture(scope="session")
def shared_postgresql_url() -> Iterator[str]:
    """A PostgreSQL database of this session: creating one per test is slow."""
    _require(POSTGRESQL, "PostgreSQL")
    server = f"postgresql+psycopg://postgres@{POSTGRESQL[0]}:{POSTGRESQL[1]}"
    name = f"editvec_registry_{uuid.uuid4().hex[:12]}"
    engine = open_engine(f"{server}/postgres").execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield f"{server}/{name}"
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture
def postgresql_url(shared_postgresql_url: str) -> Iterator[str]:
    """The session's database, empty again after each test."""
    yield shared_postgresql_url
    engine = open_engine(shared_postgresql_url)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def config(request: pytest.FixtureRequest, tmp_path: Path, empty_home: Path) -> RegistryConfig:
    """The configuration of an empty, migrated library on each database."""
    embedded = RegistryConfig.for_home(tmp_path / "home")
    if request.param == "sqlite":
        shutil.copytree(empty_home, embedded.home)
        return embedded
    named = RegistryConfig(
        home=embedded.home,
        database_url=request.getfixturevalue("postgresql_url"),
        blob_url=embedded.blob_url,
    )
    upgrade(named)
    return named


@pytest.fixture
def empty_library(config: RegistryConfig) -> Iterator[Library]:
    """A library without classes."""
    with Library.open(config) as library:
        yield library


@pytest.fixture
def library(empty_library: Library, bundle: Path) -> Library:
    """A library that holds class avatars@1."""
    empty_library.add_bundle(bundle)
    return empty_library


@pytest.fixture
def sqlite_library(tmp_path: Path, empty_home: Path, bundle: Path) -> Iterator[Library]:
    """An embedded library that holds class avatars@1, where the database makes no difference."""
    shutil.copytree(empty_home, tmp_path / "home")
    with Library.open(RegistryConfig.for_home(tmp_path / "home")) as library:
        library.add_bundle(bundle)
        yield library


@pytest.fixture(scope="session")
def processes() -> ForkServerContext:
    """Starts processes from one that has imported the library already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.registry_processes", "alembic.command"])
    return context


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in a home of its own; returns what it printed."""

    def run(*arguments: object) -> str:
        capsys.readouterr()
        status = editvec.cli.main(["--home", str(tmp_path / "home"), *map(str, arguments)])
        output = capsys.readouterr()
        if status != 0:
            raise Failure(f"{status}: {output.err}")
        return output.out.strip()

    return run


@pytest.fixture
def vector_file(tmp_path: Path) -> Path:
    path = tmp_path / "smile.npy"
    np.save(path, random_delta(0)[None])
    return path


@pytest.fixture
def filled(run: Run, bundle: Path, vector_file: Path, tmp_path: Path) -> Run:
    """A library with a class and two vectors."""
    run("model", "add", bundle)
    run("registry", "add", vector_file, "--roi", "mouth,teeth", "--description", "a smile")
    np.save(tmp_path / "look.npy", random_delta(1))
    run("registry", "add", tmp_path / "look.npy", "--roi", "eye", "--tag", "gaze")
    return run
