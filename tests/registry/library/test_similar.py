"""The search for vectors that point the same way, on both databases, and its command."""

import csv
import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, func, select

from editvec.registry.entities.metrics import NewMetric
from editvec.registry.entities.queries import VectorQuery, parse_bound
from editvec.registry.entities.vectors import VectorParcel
from editvec.registry.errors import (
    CompatibilityError,
    DatabaseError,
    RecordError,
    VectorNotFoundError,
)
from editvec.registry.library import similar
from editvec.registry.library.library import Library
from editvec.registry.tables.database import reading, transaction
from editvec.registry.tables.models import SketchRow
from tests.support.registry_fixtures import NUM_WS, Failure, Run, new_vector, random_delta


def around(seed: int, distance: float) -> np.ndarray:
    """A delta near that of seed 0: the larger the distance, the larger the angle."""
    return random_delta(0) + np.float32(distance) * random_delta(seed)


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def add_many(library: Library, deltas: list[np.ndarray], prefix: str = "other") -> list[str]:
    parcels = [
        VectorParcel(new=new_vector(f"{prefix}-{place}"), delta=delta)
        for place, delta in enumerate(deltas)
    ]
    return [stored.vector.address for stored in library.add_vectors(parcels)]


def sketch_count(library: Library) -> int:
    with reading(library.engine) as session:
        return session.scalar(select(func.count()).select_from(SketchRow)) or 0


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The digests of the blobs that are read."""
    from editvec.registry.blobs.local import LocalBlobStore

    digests: list[str] = []
    get = LocalBlobStore.get

    def counted(store: LocalBlobStore, digest: str) -> bytes:
        digests.append(digest)
        return get(store, digest)

    monkeypatch.setattr(LocalBlobStore, "get", counted)
    return digests


# --- the search ---


def test_nearest_come_first_with_their_exact_cosines(library: Library) -> None:
    library.add_vector(new_vector("smile"), random_delta(0))
    deltas = {"far": around(1, 3.0), "near": around(2, 0.1), "opposite": -around(3, 0.1)}
    for name, delta in deltas.items():
        library.add_vector(new_vector(name), delta)
    library.add_vector(new_vector("double"), 2 * random_delta(0))

    found = library.find_similar("smile")

    assert [one.vector.name for one in found] == ["double", "near", "far", "opposite"]
    assert found[0].cosine == pytest.approx(1.0, abs=1e-12)
    for one in found[1:]:
        assert one.cosine == pytest.approx(cosine(random_delta(0), deltas[one.vector.name]))
    assert found[1].vector == library.get_vector("near")
    assert [one.vector.name for one in library.find_similar("smile", limit=2)] == ["double", "near"]


def test_alone_nothing_is_similar(library: Library) -> None:
    library.add_vector(new_vector("smile"), random_delta(0))

    assert library.find_similar("smile") == []
    with pytest.raises(VectorNotFoundError, match="did you mean smile"):
        library.find_similar("smlie")


def test_only_one_class_generator_space_and_shape_is_compared(
    library: Library, make_bundle: Callable[..., Path]
) -> None:
    delta = np.repeat(random_delta(0)[:1], NUM_WS, axis=0)
    library.add_bundle(make_bundle("cars", name="car"))
    library.add_bundle(make_bundle("retrained", weights=b"w2"))
    library.add_vector(new_vector("smile", class_name="avatars@1"), delta)
    library.add_vector(new_vector("grin", class_name="avatars@1"), 2 * delta)
    library.add_vector(new_vector("other-class", class_name="car"), delta)
    library.add_vector(new_vector("other-generator", class_name="avatars@2"), delta)
    library.add_vector(new_vector("other-space", class_name="avatars@1", latent_space="W"), delta)
    for name, columns in (("one", 24), ("other", 24), ("longer", 25)):
        channels = np.ones((1, columns), np.float32)
        library.add_vector(new_vector(name, class_name="avatars@1", latent_space="S"), channels)

    assert [one.vector.name for one in library.find_similar("avatars/smile")] == ["grin"]
    assert [one.vector.name for one in library.find_similar("avatars/one")] == ["other"]
    with pytest.raises(CompatibilityError, match=r"avatars/smile@1 has no angle with .* class car"):
        library.find_similar("avatars/smile", VectorQuery(class_name="car"))


def test_filters_of_a_query_count(library: Library) -> None:
    library.add_vector(new_vector("smile"), random_delta(0))
    library.add_vector(new_vector("a", roi_labels=("eye",), tags=("gaze",)), around(1, 0.1))
    library.add_vector(
        new_vector("b"), around(2, 0.2), metrics=[NewMetric(name="leakage", value=0.5)]
    )
    library.add_vector(
        new_vector("b"), around(3, 0.3), metrics=[NewMetric(name="leakage", value=0.01)]
    )
    library.retire("b@1", reason="leaks")

    def names(**query: Any) -> list[str]:
        found = library.find_similar("smile", VectorQuery(**query))
        return [one.vector.address.removeprefix("avatars/") for one in found]

    assert names() == ["a@1", "b@2"]
    assert names(retired=None) == ["a@1", "b@1", "b@2"]
    assert names(retired=True) == ["b@1"]
    assert names(roi_labels=("eye",)) == names(tags=("gaze",)) == names(name_glob="a*") == ["a@1"]
    assert names(bounds=(parse_bound("leakage<0.1"),)) == ["b@2"]
    assert names(kind="composed") == []
    assert names(class_name="avatars@1", latest_only=True) == ["a@1", "b@2"]


def test_retired_vector_can_be_asked_for(library: Library) -> None:
    library.add_vector(new_vector("smile"), random_delta(0))
    library.add_vector(new_vector("grin"), around(1, 0.1))
    library.retire("smile@1", reason="superseded")

    assert [one.vector.name for one in library.find_similar("smile@1")] == ["grin"]


@pytest.mark.parametrize(
    "query",
    [
        {"sort": "created"},
        {"descending": True},
        {"after": "smile@1"},
        {"limit": 3},
    ],
)
def test_query_with_an_order_or_a_page_is_refused(
    sqlite_library: Library, query: dict[str, Any]
) -> None:
    with pytest.raises(RecordError, match="nearest first, so the query takes no sort"):
        sqlite_library.find_similar("smile", VectorQuery(**query))


def test_limit_below_one_is_refused(sqlite_library: Library) -> None:
    with pytest.raises(RecordError, match="expected a limit of 1 or more, got 0"):
        sqlite_library.find_similar("smile", limit=0)


# --- what it costs ---


def test_few_blobs_are_read_however_many_vectors_there_are(
    sqlite_library: Library, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(similar, "MIN_CANDIDATES", 20)
    nearest = [around(seed, 0.1) for seed in range(1, 6)]
    add_many(sqlite_library, [random_delta(0), *nearest], prefix="near")
    add_many(sqlite_library, [random_delta(seed) for seed in range(100, 180)])
    reads.clear()

    found = sqlite_library.find_similar("near-0", limit=5)

    assert {one.vector.name for one in found} == {f"near-{place}" for place in range(1, 6)}
    assert len(reads) == 1 + 50  # the vector itself, and ten candidates per result
    reads.clear()
    assert len(sqlite_library.find_similar("near-0", limit=1)) == 1
    assert len(reads) == 1 + 20


def test_found_are_the_exactly_nearest(
    sqlite_library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(similar, "MIN_CANDIDATES", 40)
    distances = np.random.default_rng(0).uniform(0.2, 2.0, 100)
    deltas = [around(seed, distance) for seed, distance in enumerate(distances, start=1)]
    add_many(sqlite_library, [random_delta(0), *deltas])

    found = sqlite_library.find_similar("other-0", limit=4)

    exact = sorted((cosine(random_delta(0), delta) for delta in deltas), reverse=True)[:4]
    np.testing.assert_allclose([one.cosine for one in found], exact, rtol=1e-9)


# --- vectors of older releases ---


@pytest.fixture
def unsketched(library: Library, monkeypatch: pytest.MonkeyPatch) -> Library:
    """A library as an older release left it, filled in batches of three."""
    monkeypatch.setattr(similar, "SKETCHES_PER_TRANSACTION", 3)
    add_many(library, [random_delta(0), *(around(seed, 0.1 * seed) for seed in range(1, 8))])
    with transaction(library.engine) as session:
        session.execute(delete(SketchRow).where(SketchRow.vector_id != 2))
    return library


def test_missing_sketches_are_made_on_first_use_only(unsketched: Library, reads: list[str]) -> None:
    reads.clear()
    first = unsketched.find_similar("other-0", limit=3)

    assert [one.vector.name for one in first] == ["other-1", "other-2", "other-3"]
    assert sketch_count(unsketched) == 8
    made = len(reads)
    reads.clear()
    assert unsketched.find_similar("other-0", limit=3) == first
    assert len(reads) == made - 7


def test_made_sketches_are_those_of_adding(library: Library) -> None:
    def sketches() -> list[bytes]:
        with reading(library.engine) as session:
            return list(session.scalars(select(SketchRow.sketch).order_by(SketchRow.vector_id)))

    add_many(library, [random_delta(seed) for seed in range(3)])
    added = sketches()
    with transaction(library.engine) as session:
        session.execute(delete(SketchRow))

    library.find_similar("other-0")

    assert sketches() == added


def test_sketches_that_another_makes_meanwhile_are_no_conflict(
    unsketched: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = similar._keep

    def keep_twice(*arguments: Any) -> None:
        keep(*arguments)
        keep(*arguments)

    monkeypatch.setattr(similar, "_keep", keep_twice)

    assert len(unsketched.find_similar("other-0")) == 7
    assert sketch_count(unsketched) == 8


def test_search_works_where_sketches_cannot_be_kept(
    unsketched: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise DatabaseError("database: attempt to write a readonly database")

    monkeypatch.setattr(similar, "transaction", refuse)

    assert len(unsketched.find_similar("other-0")) == 7
    assert sketch_count(unsketched) == 1


@pytest.mark.parametrize("is_sketched", [True, False])
def test_vector_without_its_blob_is_left_out_and_named(
    sqlite_library: Library, is_sketched: bool, caplog: pytest.LogCaptureFixture
) -> None:
    add_many(sqlite_library, [random_delta(seed) for seed in range(3)])
    lost = sqlite_library.get_vector("other-1").delta_digest
    if not is_sketched:
        with transaction(sqlite_library.engine) as session:
            session.execute(delete(SketchRow))
    sqlite_library.blobs.path(lost).unlink()  # type: ignore[attr-defined]

    with caplog.at_level(logging.WARNING):
        found = sqlite_library.find_similar("other-0")

    assert [one.vector.name for one in found] == ["other-2"]
    assert f"left out of the search: blob {lost}: not found" in caplog.text


# --- the command ---


@pytest.fixture
def faces(filled: Run, tmp_path: Path) -> Run:
    """The library of `filled` with vectors near to smile."""
    for place, distance in enumerate((0.1, 0.5), start=1):
        np.save(tmp_path / f"grin-{place}.npy", around(place, distance))
        filled("registry", "add", tmp_path / f"grin-{place}.npy", "--roi", "mouth")
    return filled


def test_listing_has_a_column_of_cosines(faces: Run) -> None:
    lines = faces("registry", "list", "--similar-to", "smile").splitlines()

    assert lines[0].split()[:3] == ["VECTOR", "COSINE", "KIND"]
    assert [line.split()[0] for line in lines[1:]] == [
        "avatars/grin-1@1",
        "avatars/grin-2@1",
        "avatars/look@1",
    ]
    assert float(lines[1].split()[1]) == pytest.approx(
        cosine(random_delta(0), around(1, 0.1)), abs=1e-4
    )


def test_json_and_csv_carry_the_cosine(faces: Run) -> None:
    arguments = ("list", "grin*", "--similar-to", "avatars/smile@1", "--limit", "1")

    (record,) = json.loads(faces("registry", *arguments, "--json"))
    (row,) = csv.DictReader(io.StringIO(faces("registry", *arguments, "--csv")))

    assert record["address"] == row["address"] == "avatars/grin-1@1"
    assert record["cosine"] == float(row["cosine"]) > 0.9
    assert list(row)[-1] == "cosine"


def test_listing_of_nothing_similar_is_empty(
    faces: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert faces("registry", "list", "--similar-to", "smile", "--kind", "learned") == ""
    assert faces("registry", "list", "--similar-to", "smile", "--tag", "no", "--json") == "[]"


@pytest.mark.parametrize("arguments", [("--sort", "created"), ("--after", "smile"), ("--desc",)])
def test_order_and_page_exclude_similarity_in_one_line(
    faces: Run, arguments: tuple[str, ...]
) -> None:
    with pytest.raises(Failure, match=r"goes without --sort, --desc and --after") as caught:
        faces("registry", "list", "--similar-to", "smile", *arguments)

    assert str(caught.value).count("--similar-to") == 1
