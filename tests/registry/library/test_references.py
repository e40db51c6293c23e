"""Which rows name which blobs, and that nobody takes a blob that is about to be named."""

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

import editvec.batch.runs.models  # noqa: F401 (its tables are looked at too)
from editvec.registry.blobs.local import LocalBlobStore
from editvec.registry.config import RegistryConfig
from editvec.registry.entities.vectors import OriginalFile, VectorParcel
from editvec.registry.errors import BlobError
from editvec.registry.library.library import Library
from editvec.registry.library.references import (
    BLOB_COLUMNS,
    make_store,
    referenced,
    storing,
    users_of,
)
from editvec.registry.maintenance.garbage import gc
from editvec.registry.tables.database import Base, open_engine, reading, transaction
from editvec.registry.tables.schema import upgrade
from editvec.whole_files import digest_of
from tests.support.registry_fixtures import mask_pair, new_vector, random_delta

NO_BLOBS = {
    "classes.bundle_digest",
    "classes.generator_digest",
    "embeddings.generator_digest",
    "embeddings.image_digest",
    "run_inputs.digest",
    "runs.bundle_digest",
    "runs.generator_digest",
    "runs.output_digest",
    "runs.plan_digest",
    "vectors.content_digest",
    "vectors.generator_digest",
}
"""Digests of what is not stored as a blob, or not under that digest."""

_ZERO = timedelta(0)


@pytest.fixture
def png(library: Library) -> bytes:
    """A picture that no mask pair of these tests holds."""
    return mask_pair(library.get_class().labels, size=8).image_png


def _parcel(library: Library, **changes: Any) -> VectorParcel:
    pair = mask_pair(library.get_class().labels)
    return VectorParcel(new=new_vector(**changes), delta=random_delta(), pairs=(pair,))


class RobbedStore(LocalBlobStore):
    """A store whose blobs gc takes between their put and the transaction that names them."""

    def put(self, data: bytes) -> str:
        digest = super().put(data)
        if digest not in self.robbed:
            self.robbed.add(digest)
            self.delete(digest)
        return digest

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.robbed: set[str] = set()


# --- the list of columns ---


def test_every_digest_of_every_table_is_a_blob_or_known_to_be_none() -> None:
    columns = {
        f"{table.name}.{column.name}"
        for table in Base.metadata.tables.values()
        for column in table.columns
        if "digest" in column.name
    }
    blobs = {f"{one.column.class_.__tablename__}.{one.column.key}" for one in BLOB_COLUMNS}

    assert len(blobs) == len(BLOB_COLUMNS)
    assert blobs.isdisjoint(NO_BLOBS)
    assert columns == blobs | NO_BLOBS


def test_everything_that_is_stored_is_named(library: Library, png: bytes) -> None:
    original = OriginalFile(name="smile.npy", data=b"original")
    pair = mask_pair(library.get_class().labels)
    library.add_vectors(
        [
            VectorParcel(
                new=new_vector(),
                delta=random_delta(),
                pairs=(pair,),
                original=original,
                preview_png=png,
            )
        ]
    )

    with reading(library.engine) as session:
        named = referenced(session)
        users = users_of(session, named)
        some = referenced(session, [digest_of(png), digest_of(b"unknown")])

    assert named == set(library.blobs.digests())
    assert some == {digest_of(png)}
    assert users.keys() == named
    assert users[digest_of(b"original")] == ["vector avatars/smile@1: original file"]
    assert users[digest_of(pair.image_png)] == ["vector avatars/smile@1: pair 0: image"]
    assert ["class avatars@1: generator.safetensors"] in users.values()


# --- blobs that are about to be named ---


def test_blob_that_gc_took_before_it_was_named_is_put_again(
    library: Library, tmp_path: Path
) -> None:
    robbed = RobbedStore(tmp_path / "home" / "blobs")
    library.blobs = robbed

    vector = library.add_vectors([_parcel(library)])[0].vector

    assert robbed.robbed
    assert all(robbed.has(digest) for digest in robbed.robbed)
    library.delta(vector)


def test_preview_that_gc_took_before_it_was_named_is_put_again(
    library: Library, png: bytes, tmp_path: Path
) -> None:
    library.add_vector(new_vector(), random_delta())
    library.blobs = RobbedStore(tmp_path / "home" / "blobs")

    library.set_preview("smile", png)

    assert library.blobs.get(digest_of(png)) == png


def test_gc_waits_for_who_is_naming_a_blob(library: Library) -> None:
    reports = []
    collector = threading.Thread(target=lambda: reports.append(gc(library, grace=_ZERO)))
    parcel = _parcel(library)
    with storing(library.engine, library.blobs, [b"about to be named"]) as (session, (digest,)):
        collector.start()
        collector.join(timeout=0.5)
        assert collector.is_alive()
        assert library.blobs.has(digest)
        session.execute(text("UPDATE class_files SET digest = :d"), {"d": digest})
    collector.join(timeout=30)

    assert library.blobs.has(digest)
    assert digest not in {one.name for one in reports[0].blobs}
    library.add_vectors([parcel])


@pytest.mark.parametrize(
    "config", [pytest.param("postgresql", marks=pytest.mark.services)], indirect=True
)
def test_two_that_name_blobs_do_not_wait_for_each_other(library: Library) -> None:
    done = []

    def add() -> None:
        done.append(library.add_vector(new_vector("other"), random_delta()))

    with storing(library.engine, library.blobs, [b"one"]):
        thread = threading.Thread(target=add)
        thread.start()
        thread.join(timeout=30)

    assert done


def test_failed_transaction_names_nothing_and_keeps_its_blob(library: Library) -> None:
    digest = digest_of(b"content")

    def fail() -> None:
        with storing(library.engine, library.blobs, [b"content"]) as (session, digests):
            session.execute(text("UPDATE class_files SET digest = :d"), {"d": digests[0]})
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()

    with reading(library.engine) as session:
        assert digest not in referenced(session)
    assert library.blobs.has(digest)


@pytest.mark.services
def test_server_that_prefers_old_snapshots_does_not_get_its_way(postgresql_url: str) -> None:
    # after a lock, gc and versions must see what the others wrote while it waited
    engine = open_engine(postgresql_url)
    with transaction(engine) as session:
        session.execute(text("SET default_transaction_isolation = 'repeatable read'"))
    with transaction(engine) as session:
        assert session.scalar(text("SHOW transaction_isolation")) == "read committed"
    engine.dispose()


# --- the store as a whole ---


def test_vanished_store_is_never_made_again_unasked(library: Library, tmp_path: Path) -> None:
    blobs = tmp_path / "home" / "blobs"
    blobs.rename(tmp_path / "unmounted")
    vector = library.get_class()
    lost = r"blob store .*blobs: not found; is its disk mounted\?"

    for call in (
        lambda: library.add_vector(new_vector(), random_delta()),
        lambda: library.add_bundle(tmp_path / "bundle"),
        lambda: library.materialise_bundle(vector),
        lambda: gc(library),
    ):
        with pytest.raises(BlobError, match=lost) as caught:
            call()
        assert "\n" not in str(caught.value)

    assert not blobs.exists()
    assert library.find_vectors() == []


def test_empty_folder_where_a_disk_should_be_is_not_filled(
    library: Library, tmp_path: Path
) -> None:
    blobs = tmp_path / "home" / "blobs"
    blobs.rename(tmp_path / "unmounted")
    blobs.mkdir()

    with pytest.raises(BlobError, match=r"blob store .*: it is empty; is its disk mounted\?"):
        library.add_vector(new_vector(), random_delta())

    assert list(blobs.iterdir()) == []


def test_store_that_is_lost_for_good_is_made_by_the_upgrade(
    config: RegistryConfig, library: Library, tmp_path: Path
) -> None:
    (tmp_path / "home" / "blobs").rename(tmp_path / "lost")

    upgrade(config)
    assert make_store(config) == "not found"
    assert make_store(config) is None

    with Library.open(config) as again:
        again.add_bundle(tmp_path / "bundle")
        vector = again.add_vector(new_vector(), random_delta())
        again.delta(vector)


def test_store_of_a_new_library_is_made_on_the_first_write(
    config: RegistryConfig, empty_library: Library, bundle: Path
) -> None:
    assert not Path(config.blob_url).exists()
    assert empty_library.classes() == []
    assert not Path(config.blob_url).exists()

    empty_library.add_bundle(bundle)

    assert empty_library.blobs.absence() is None


def test_gc_leaves_a_store_alone_that_another_library_uses_too(
    library: Library, tmp_path: Path, make_bundle: Any
) -> None:
    shared = library.blobs.url
    config = RegistryConfig.for_home(tmp_path / "second")
    named = RegistryConfig(home=config.home, database_url=config.database_url, blob_url=shared)
    with Library.open(named) as second:
        second.add_bundle(make_bundle("other", name="cats", weights=b"other"))
        before = set(second.blobs.digests())
        for one in (library, second):
            with pytest.raises(BlobError, match=r"the library in .* keeps its blobs there too"):
                gc(one, grace=_ZERO)

        assert set(second.blobs.digests()) == before
        # the first library is no more: its user says so
        (other,) = [
            identity
            for identity, place in second.blobs.libraries().items()
            if "second" not in place
        ]
        (Path(shared) / "libraries" / other).unlink()
        gc(second, grace=_ZERO)
        assert set(second.blobs.digests()) < before


def test_gc_of_a_library_without_a_class_deletes_nothing(
    config: RegistryConfig, empty_library: Library
) -> None:
    LocalBlobStore(Path(config.blob_url)).create()
    digest = empty_library.blobs.put(b"somebody's")

    with pytest.raises(BlobError, match="the library holds no class"):
        gc(empty_library, grace=_ZERO)

    assert empty_library.blobs.has(digest)


def test_store_that_another_makes_at_the_same_moment_has_not_vanished(
    config: RegistryConfig, empty_library: Library, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = empty_library.blobs.absence()

    def absence() -> str | None:
        monkeypatch.undo()
        with Library.open(config) as other:
            other.add_bundle(bundle)
        return before

    monkeypatch.setattr(empty_library.blobs, "absence", absence)

    assert empty_library.add_bundle(bundle).version == 1
    assert len(empty_library.classes()) == 1
