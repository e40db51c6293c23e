"""Databases, a library with a tiny class, and folders of pictures for the tests of runs."""

import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import Engine

import editvec.cli
from editvec.batch.recipes.settings import broker_url
from editvec.registry.config import RegistryConfig
from editvec.registry.entities.vectors import NewVector
from editvec.registry.library.library import Library
from editvec.registry.tables.database import open_engine
from editvec.registry.tables.schema import upgrade
from tests.support.servers import virtual_host

RESOLUTION = 32


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def database(request: pytest.FixtureRequest, tmp_path: Path, empty_home: Path) -> Iterator[Engine]:
    """An empty, migrated database."""
    config = RegistryConfig.for_home(tmp_path / "home")
    if request.param == "postgresql":
        config = RegistryConfig(
            home=config.home,
            database_url=request.getfixturevalue("postgresql_url"),
            blob_url=config.blob_url,
        )
        upgrade(config)
    else:
        shutil.copytree(empty_home, config.home)
    engine = open_engine(config.database_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def tiny_home(
    tmp_path_factory: pytest.TempPathFactory, empty_home: Path, tiny_bundle: Path
) -> Path:
    """A home folder with class `tiny` and the vectors `smile` and `frown`; read only."""
    home = tmp_path_factory.mktemp("tiny") / "home"
    shutil.copytree(empty_home, home)
    random = np.random.default_rng(0)
    with Library.open(RegistryConfig.for_home(home)) as library:
        model = library.add_bundle(tiny_bundle)
        shape = (model.num_ws, model.w_dim)
        for name, labels in (("smile", ("mouth", "teeth")), ("frown", ("mouth",))):
            library.add_vector(
                NewVector(class_name="tiny", name=name, roi_labels=labels, scale_max=2.0),
                random.normal(size=shape).astype(np.float32),
            )
        library.materialise_bundle(model)
    return home


@pytest.fixture
def home(tmp_path: Path, tiny_home: Path) -> Path:
    """A home folder of the test's own, with class `tiny` and its vectors."""
    target = tmp_path / "home"
    shutil.copytree(tiny_home, target)
    return target


@pytest.fixture
def library(home: Path) -> Iterator[Library]:
    """The library in `home`."""
    with Library.open(RegistryConfig.for_home(home)) as opened:
        yield opened


@pytest.fixture
def make_pictures(tmp_path: Path) -> Callable[..., Path]:
    """Writes smooth pictures, `0.png`, `1.png`... or of the given names, and returns the folder."""

    def make(count: int = 0, *, names: tuple[str, ...] = (), folder: str = "in") -> Path:
        target = tmp_path / folder
        random = np.random.default_rng(1)
        for name in names or [f"{number}.png" for number in range(count)]:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            coarse = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            size = (RESOLUTION, RESOLUTION)
            Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(target / name)
        return target

    return make


@pytest.fixture
def run_editvec(home: Path) -> Callable[..., int]:
    """Runs a command on the test's own home folder and returns its exit status."""

    def run(*words: object) -> int:
        return editvec.cli.main(["--home", str(home), *map(str, words)])

    return run


@pytest.fixture
def broker(request: pytest.FixtureRequest, home: Path) -> Iterator[str]:
    """The URL of a broker of the test's own."""
    if request.param == "folder":
        yield broker_url(home)
    elif request.param == "redis":
        server = request.getfixturevalue("redis_url")
        yield f"{server.rpartition('/')[0]}/{1 + uuid.uuid4().int % 15}"
    else:
        with virtual_host(request.getfixturevalue("rabbitmq_url")) as url:
            yield url
