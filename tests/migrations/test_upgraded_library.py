"""What the program makes of a library that an older release filled."""

import copy
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, select

from editvec.registry.blobs.opening import open_blob_store
from editvec.registry.codec import encode_latent
from editvec.registry.config import RegistryConfig
from editvec.registry.entities.vectors import TermRole
from editvec.registry.library.library import Library
from editvec.registry.tables.database import reading
from editvec.registry.tables.models import MetricRow
from editvec.registry.tables.schema import upgrade
from tests.support.library_at_0001 import FIRST, at
from tests.support.migration_libraries import fill, migrate


@pytest.fixture
def config(url: str, tmp_path: Path) -> RegistryConfig:
    """A library that was filled at revision 0001; nobody opened it since."""
    return RegistryConfig(home=tmp_path, database_url=url, blob_url=str(tmp_path / "blobs"))


@pytest.fixture
def old_library(engine: Engine, config: RegistryConfig) -> RegistryConfig:
    with engine.begin() as connection:
        migrate(connection, "0001")
        fill(connection, FIRST)
    return config


def test_records_are_complete_after_the_upgrade(old_library: RegistryConfig) -> None:
    assert upgrade(old_library).revision == "0001"

    with Library.open(old_library) as library:
        smile = library.get_vector("avatars/smile@1")
        composed = library.get_vector("avatars/old-smile")
        classes = [model.address for model in library.classes()]

    assert classes == ["avatars@1", "avatars@2", "cars@1"]
    assert (smile.roi_labels, smile.tags) == (("mouth", "background"), ("face", "starter"))
    assert (smile.default_scale, smile.scale_min, smile.scale_max) == (0.1, -1.5, 1 / 3)
    assert (smile.is_retired, smile.aliases, smile.brush_digest) == (False, (), None)
    assert [metric.value for metric in smile.metrics] == [0.04, 0.03, 0.97, 0.035]
    assert len(smile.pairs) == 2
    assert [(term.address, term.scale, term.role) for term in composed.terms] == [
        ("avatars/smile@1", 0.5, TermRole.SUM),
        ("avatars/age@1", -0.001, TermRole.SUM),
    ]


def test_newest_value_of_a_metric_is_the_one_that_was_added_last(
    old_library: RegistryConfig,
) -> None:
    upgrade(old_library)

    with Library.open(old_library) as library, reading(library.engine) as session:
        query = select(MetricRow.vector_id, MetricRow.name, MetricRow.value)
        newest = session.execute(query.where(MetricRow.is_latest).order_by(MetricRow.id)).all()

    assert [tuple(row) for row in newest] == [
        (1, "identity", 0.97),
        (2, "leakage", 1e-300),
        (1, "leakage", 0.035),
    ]


def test_history_goes_on_where_it_ended(old_library: RegistryConfig) -> None:
    upgrade(old_library)

    with Library.open(old_library) as library:
        entries = library.history()

    assert [(entry.at, entry.subject, dict(entry.details)) for entry in entries] == [
        (at(row["id"]), row["subject"], {}) for row in FIRST["history"]
    ]


def test_vectors_of_before_the_upgrade_are_found_by_their_directions(
    engine: Engine, config: RegistryConfig
) -> None:
    content = copy.deepcopy(FIRST)
    base, other = np.random.default_rng(0).normal(size=(2, 4, 512)).astype(np.float32)
    deltas = [base, 0.5 * base + 0.1 * other, other, -base]
    for row, delta in zip(content["vectors"], deltas, strict=False):
        row["delta_digest"] = _stored(config, encode_latent(delta))
        row["latent_space"] = "W+"
    with engine.begin() as connection:
        migrate(connection, "0001")
        fill(connection, content)

    upgrade(config)

    with Library.open(config) as library:
        found = library.find_similar("avatars/smile@1")
    assert [one.vector.address for one in found] == [
        "avatars/smile@2",
        "avatars/age@1",
        "avatars/old-smile@1",
    ]
    cosines = [
        np.vdot(base, delta) / np.linalg.norm(base) / np.linalg.norm(delta) for delta in deltas[1:]
    ]
    assert [one.cosine for one in found] == pytest.approx(cosines, abs=1e-5)


def _stored(config: RegistryConfig, data: bytes) -> str:
    blobs = open_blob_store(config.blob_url)
    blobs.create()
    return blobs.put(data)
