"""Libraries on both databases, for the tests of the library."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.config import RegistryConfig
from registry.schema import upgrade
from registry.store import Library
from tests.registry_fixtures import write_small_bundle


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


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> RegistryConfig:
    """The configuration of an empty, migrated library on each database."""
    embedded = RegistryConfig.for_home(tmp_path / "home")
    if request.param == "sqlite":
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
def sqlite_library(tmp_path: Path, bundle: Path) -> Iterator[Library]:
    """An embedded library that holds class avatars@1, where the database makes no difference."""
    with Library.open(RegistryConfig.for_home(tmp_path / "home")) as library:
        library.add_bundle(bundle)
        yield library
