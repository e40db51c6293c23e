"""Measurements get into the archive of the starter library, and nothing else of it changes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from editvec.avatars.publish import publish
from editvec.registry.config import RegistryConfig
from editvec.registry.entities.metrics import NewMetric
from editvec.registry.entities.vectors import EditingVector
from editvec.registry.errors import ExchangeError
from editvec.registry.library.library import Library
from editvec.registry.sharing.archives import read_archive
from editvec.registry.sharing.exchange import export_library, import_library
from tests.support.registry_fixtures import new_vector, random_delta, write_small_bundle

OpenLibrary = Callable[[str], Library]
LEARNED = NewMetric(name="leakage_psnr", value=45.0, direction="higher")


@pytest.fixture
def open_library(tmp_path: Path, empty_home: Path) -> Iterator[OpenLibrary]:
    """Opens libraries of class `avatars`, by the name of their folder."""
    bundle = write_small_bundle(tmp_path / "bundle")
    opened: list[Library] = []

    def open_one(name: str) -> Library:
        shutil.copytree(empty_home, tmp_path / name)
        library = Library.open(RegistryConfig.for_home(tmp_path / name))
        library.add_bundle(bundle)
        opened.append(library)
        return library

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def archive(open_library: OpenLibrary, tmp_path: Path) -> Path:
    """One vector, as it was learned."""
    library = open_library("learned")
    library.add_vector(new_vector("smile"), random_delta(0), metrics=[LEARNED])
    export_library(library, tmp_path / "starter.editvec.zip", ["smile"])
    return tmp_path / "starter.editvec.zip"


def measure(library: Library, archive: Path, leakage: float = 38.123456789) -> None:
    """Imports an archive, and adds what an evaluation does."""
    import_library(library, archive)
    about = {"evaluation_key": "k", "scale": 1.0, "interval": [37.0000001, 39.5]}
    metrics = [
        NewMetric(name=name, value=value, sample_count=64, probe_set="renders", settings=about)
        for name, value in (
            ("leakage_psnr", leakage), ("seconds_per_image", 0.2), ("fid_trunk-avatars", 5.0)
        )
    ]  # fmt: skip
    library.add_metrics("smile", metrics)
    library.set_scale_range("smile", -0.5, 1.5)


def installed(open_library: OpenLibrary, archive: Path, name: str) -> EditingVector:
    library = open_library(name)
    import_library(library, archive)
    return library.get_vector("smile")


def test_whoever_installs_the_archive_has_the_measurements(
    open_library: OpenLibrary, archive: Path
) -> None:
    blobs = read_archive(archive).entries
    measured = open_library("measured")
    measure(measured, archive)

    publish(measured, archive)

    vector = installed(open_library, archive, "user")
    assert [(one.name, one.value, one.sample_count) for one in vector.metrics] == [
        ("leakage_psnr", 45.0, 1),
        ("leakage_psnr", 38.123, 64),
    ]
    assert vector.latest_metrics[0].settings == {"scale": 1.0, "interval": [37.0, 39.5]}
    assert (vector.scale_min, vector.scale_max) == (-0.5, 1.5)
    assert read_archive(archive).entries == blobs


def test_measuring_again_gives_the_same_bytes_unless_a_value_changed(
    open_library: OpenLibrary, archive: Path
) -> None:
    first, second, third = (open_library(name) for name in ("first", "second", "third"))
    measure(first, archive)
    publish(first, archive)
    published = archive.read_bytes()

    measure(second, archive, leakage=38.123400001)
    publish(second, archive)
    again = archive.read_bytes()
    measure(third, archive, leakage=39.0)
    publish(third, archive)

    assert again == published
    assert archive.read_bytes() != published
    newest = installed(open_library, archive, "user").latest_metrics[0]
    assert newest.value == 39.0


def test_the_measurements_of_another_vector_are_refused(
    open_library: OpenLibrary, archive: Path
) -> None:
    other = open_library("other")
    other.add_vector(new_vector("smile"), random_delta(1))
    before = archive.read_bytes()

    with pytest.raises(ExchangeError, match=r"avatars/smile@1 is another vector"):
        publish(other, archive)
    assert archive.read_bytes() == before
