"""Verification finds everything that was damaged, by name, and nothing else."""

import errno
import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from editvec.json_codec import as_json
from editvec.registry import codec
from editvec.registry.blobs.local import LocalBlobStore
from editvec.registry.entities.metrics import Direction, NewMetric
from editvec.registry.entities.vectors import Embedding, NewTerm
from editvec.registry.errors import BlobError
from editvec.registry.library.embeddings import usage
from editvec.registry.library.library import Library
from editvec.registry.library.references import storing
from editvec.registry.maintenance.garbage import gc
from editvec.registry.maintenance.verification import Fault, FaultKind, verify
from editvec.registry.tables.database import transaction
from editvec.whole_files import digest_of
from tests.support.registry_fixtures import mask_pair, new_vector, random_delta

_ZERO = timedelta(0)


@pytest.fixture
def filled(library: Library) -> Library:
    """A library with everything in it that a library can hold."""
    pair = mask_pair(library.get_class().labels)
    metrics = [
        NewMetric(name="success", value=value, direction=Direction.HIGHER, sample_count=1)
        for value in (0.5, 0.6)
    ]
    library.add_vector(new_vector(), random_delta(1), pairs=[pair], metrics=metrics)
    library.add_vector(new_vector(row_mask=(True,) * 3 + (False,) * 3), random_delta(2))
    library.add_vector(new_vector("frown"), random_delta(3))
    library.compose(
        "both", [NewTerm(address="smile", scale=1.0), NewTerm(address="frown", scale=2)]
    )
    library.set_alias("smile@1", "stable")
    library.set_preview("smile@1", mask_pair(library.get_class().labels, size=8).image_png)
    library.retire("frown@1", reason="an error")
    library.put_embeddings([_embedding(seed) for seed in range(5)])
    return library


def _embedding(seed: int) -> Embedding:
    return Embedding(
        image_digest=digest_of(bytes([seed])),
        generator_digest=digest_of(b"generator"),
        settings_key=digest_of(b"settings"),
        ws=random_delta(seed),
        perceptual_name=None,
        perceptual_value=None,
        psnr=20.0,
        num_steps=5,
    )


def _path(library: Library, digest: str) -> Path:
    return Path(library.blobs.url) / digest[:2] / digest


def _only_fault(library: Library) -> Fault:
    (fault,) = verify(library).faults
    return fault


def _execute(library: Library, statement: str, **values: Any) -> None:
    with transaction(library.engine) as session:
        assert session.execute(text(statement), values).rowcount  # type: ignore[attr-defined]


def test_sound_library_is_clean(filled: Library) -> None:
    report = verify(filled)

    assert report.is_clean
    assert report.faults == ()
    assert report.vector_count == 4
    assert report.blob_count == len(list(filled.blobs.digests()))
    assert report.blob_bytes == sum(entry.size for entry in filled.blobs.entries())
    assert (report.unreferenced_count, report.unreferenced_bytes) == (0, 0)


def test_empty_library_is_clean(empty_library: Library) -> None:
    assert verify(empty_library).is_clean


def test_flipped_byte_is_found_and_named(filled: Library) -> None:
    digest = filled.get_vector("smile@2").delta_digest
    path = _path(filled, digest)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)

    fault = _only_fault(filled)

    assert fault.kind is FaultKind.ALTERED
    assert (fault.subject, fault.place) == (digest, str(path))
    assert fault.users == ("vector avatars/smile@2: delta",)


def test_every_kind_of_blob_is_looked_at(filled: Library) -> None:
    for digest in list(filled.blobs.digests()):
        _path(filled, digest).write_bytes(b"damaged")

    faults = verify(filled).faults

    assert {fault.subject for fault in faults} == set(filled.blobs.digests())
    assert {fault.kind for fault in faults} == {FaultKind.ALTERED}
    users = {user for fault in faults for user in fault.users}
    assert users == {
        "class avatars@1: bundle.json",
        "class avatars@1: generator.safetensors",
        "embeddings of 5 images",
        "vector avatars/both@1: delta",
        "vector avatars/frown@1: delta",
        "vector avatars/smile@1: delta",
        "vector avatars/smile@1: pair 0: image",
        "vector avatars/smile@1: pair 0: mask after",
        "vector avatars/smile@1: pair 0: mask before",
        "vector avatars/smile@1: pair 0: source ws",
        "vector avatars/smile@1: preview",
        "vector avatars/smile@2: delta",
    }


def test_missing_blob_is_named_with_all_who_need_it(filled: Library) -> None:
    vector = filled.get_vector("smile@1")
    filled.add_vector(new_vector("twin"), random_delta(1))
    _path(filled, vector.delta_digest).unlink()

    fault = _only_fault(filled)

    assert fault.kind is FaultKind.MISSING
    assert fault.subject == vector.delta_digest
    assert fault.users == ("vector avatars/smile@1: delta", "vector avatars/twin@1: delta")


def test_unreferenced_blobs_are_counted_and_no_fault(filled: Library) -> None:
    filled.blobs.put(b"an orphan")

    report = verify(filled)

    assert report.is_clean
    assert (report.unreferenced_count, report.unreferenced_bytes) == (1, 9)


def test_altered_blob_that_nothing_names_is_a_fault_too(filled: Library) -> None:
    _path(filled, filled.blobs.put(b"an orphan")).write_bytes(b"another")

    fault = _only_fault(filled)

    assert (fault.kind, fault.users) == (FaultKind.ALTERED, ())


def test_folder_in_the_place_of_a_blob_is_no_blob(filled: Library) -> None:
    path = _path(filled, filled.get_vector("smile@2").delta_digest)
    path.unlink()
    path.mkdir()

    assert _only_fault(filled).kind is FaultKind.MISSING


class DamagedDisk(LocalBlobStore):
    """A store with one blob that the disk does not give back, or that goes as it is read."""

    def __init__(self, folder: Path, digest: str, *, goes: bool) -> None:
        super().__init__(folder)
        self.damaged, self.goes = digest, goes

    def read(self, digest: str) -> bytes:
        if digest == self.damaged and self.goes:
            self.delete(digest)
        elif digest == self.damaged:
            raise BlobError(f"blob {digest}: {os.strerror(errno.EIO)}")
        return super().read(digest)


@pytest.mark.parametrize(("goes", "kind"), [(False, "unreadable"), (True, "missing")])
def test_blob_that_cannot_be_read_is_told(filled: Library, goes: bool, kind: str) -> None:
    digest = filled.get_vector("smile@2").delta_digest
    filled.blobs = DamagedDisk(Path(filled.blobs.url), digest, goes=goes)

    fault = _only_fault(filled)

    assert (fault.kind, fault.users) == (kind, ("vector avatars/smile@2: delta",))


@pytest.mark.parametrize("array", [np.ones((2, 2), np.float32), np.zeros((6, 4), np.float32)])
def test_delta_of_another_shape_or_of_nothing_is_unfit(filled: Library, array: Any) -> None:
    digest = filled.blobs.put(codec.encode_latent(array))
    _execute(filled, "UPDATE vectors SET delta_digest = :d WHERE name = 'frown'", d=digest)

    faults = verify(filled).faults

    kinds = {fault.kind: fault for fault in faults}
    assert kinds.keys() == {FaultKind.UNFIT, FaultKind.INCONSISTENT}
    assert kinds[FaultKind.UNFIT].users == ("vector avatars/frown@1: delta",)
    assert "delta: " in kinds[FaultKind.UNFIT].text


def test_pack_with_fewer_ws_than_rows_is_unfit(filled: Library) -> None:
    _execute(filled, "UPDATE embeddings SET ws_row = ws_row + 1")

    fault = _only_fault(filled)

    assert fault.kind is FaultKind.UNFIT
    assert fault.text == "ws: expected 6 or more, got shape [5, 6, 4]"


@pytest.mark.parametrize(
    ("statement", "subject", "words"),
    [
        (
            "UPDATE aliases SET vector_id = (SELECT id FROM vectors WHERE name = 'both')",
            "alias avatars/smile@stable",
            "points to vector avatars/both@1",
        ),
        (
            "UPDATE vectors SET retired_at = created_at WHERE name = 'smile' AND version = 1",
            "alias avatars/smile@stable",
            "points to retired vector avatars/smile@1",
        ),
        (
            "UPDATE metrics SET is_latest = NOT is_latest WHERE value = 0.5",
            "vector avatars/smile@1",
            "2 values of metric success are the latest one",
        ),
        (
            "UPDATE metrics SET is_latest = (1 = 0)",
            "vector avatars/smile@1",
            "0 values of metric success are the latest one",
        ),
        (
            "UPDATE vector_sketches SET sketch = (SELECT CAST('short' AS {bytes})) WHERE vector_id "
            "= (SELECT id FROM vectors WHERE name = 'frown')",
            "vector avatars/frown@1",
            "its sketch is that of another vector",
        ),
        (
            "UPDATE vectors SET kind = 'learned' WHERE kind = 'composed'",
            "vector avatars/both@1",
            "it is learned and has terms",
        ),
        (
            "DELETE FROM composition_terms",
            "vector avatars/both@1",
            "it is composed and has no terms",
        ),
        (
            "UPDATE vectors SET dilation = 7 WHERE name = 'frown'",
            "vector avatars/frown@1",
            "its record is not the one that was stored",
        ),
        (
            "UPDATE vector_roi_labels SET label_name = 'eye' WHERE position = 0 AND vector_id = "
            "(SELECT id FROM vectors WHERE name = 'frown')",
            "vector avatars/frown@1",
            "its record is not the one that was stored",
        ),
    ],
)
def test_rows_that_contradict_each_other_are_named(
    filled: Library, statement: str, subject: str, words: str
) -> None:
    is_sqlite = filled.engine.dialect.name == "sqlite"
    _execute(filled, statement.format(bytes="BLOB" if is_sqlite else "BYTEA"))

    fault = _only_fault(filled)

    assert (fault.kind, fault.subject) == (FaultKind.INCONSISTENT, subject)
    assert words in fault.text


def test_vector_of_another_generator_than_its_class_is_named(filled: Library) -> None:
    _execute(filled, "UPDATE classes SET generator_digest = :d", d=digest_of(b"other"))

    faults = verify(filled).faults

    wrong = {fault.subject for fault in faults if "its generator is" in fault.text}
    assert len(wrong) == 4


def test_vanished_store_is_one_error_and_not_many_faults(filled: Library, tmp_path: Path) -> None:
    Path(filled.blobs.url).rename(tmp_path / "unmounted")

    with pytest.raises(BlobError, match=r"blob store .*: not found; is its disk mounted\?"):
        verify(filled)


def test_progress_counts_to_the_end(filled: Library) -> None:
    told: list[tuple[int, int]] = []

    report = verify(filled, on_progress=lambda done, total: told.append((done, total)))

    assert told[-1] == (report.blob_count, report.blob_count)


def test_what_is_added_and_deleted_meanwhile_is_no_fault(filled: Library) -> None:
    """Between the listing and the look at the rows, others add, evict and run gc."""
    orphan = filled.blobs.put(b"an orphan that gc takes while it is verified")

    def interfere(_done: int, _total: int) -> None:
        filled.add_vector(new_vector("late"), random_delta(99))
        gc(filled, grace=_ZERO, embeddings_limit=0)

    report = verify(filled, on_progress=interfere)

    assert report.is_clean
    assert not filled.blobs.has(orphan)


class EvictingStore(LocalBlobStore):
    """A store from which gc takes the cached embeddings when it is first asked for a blob."""

    library: Library | None = None

    def has(self, digest: str) -> bool:
        library, self.library = self.library, None
        if library is not None:
            gc(library, grace=_ZERO, embeddings_limit=0)
        return super().has(digest)


def test_embedding_that_is_evicted_while_its_blob_is_looked_for_is_no_fault(
    filled: Library,
) -> None:
    store = EvictingStore(Path(filled.blobs.url))
    filled.blobs = store

    def add_embedding(_done: int, _total: int) -> None:  # not in the listing
        filled.put_embeddings([_embedding(77)])
        store.library = filled

    assert verify(filled, on_progress=add_embedding).is_clean
    assert store.library is None
    assert usage(filled.engine).count == 0


class ChangingStore(LocalBlobStore):
    """A store that others change at the moment when it is asked for one blob."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.target = ""
        self.changes: Callable[[], object] = lambda: None
        self.changes_back: Callable[[], object] = lambda: None

    def has(self, digest: str) -> bool:
        if digest != self.target:
            return super().has(digest)
        self.target = ""
        self.changes()
        held = super().has(digest)
        self.changes_back()
        return held

    def read(self, digest: str) -> bytes:
        if digest != self.target:
            return super().read(digest)
        self.target = ""
        self.changes()
        try:
            return super().read(digest)
        finally:
            self.changes_back()


@pytest.fixture
def changing(filled: Library) -> ChangingStore:
    """The store of `filled`, to be changed."""
    store = ChangingStore(Path(filled.blobs.url))
    filled.blobs = store
    return store


def test_blob_that_is_named_gone_and_named_again_meanwhile_is_no_fault(
    filled: Library, changing: ChangingStore
) -> None:
    old, new = (mask_pair(filled.get_class().labels, size=size).image_png for size in (9, 10))

    def unname() -> None:
        filled.set_preview("smile@1", old)
        gc(filled, grace=_ZERO)

    changing.changes = unname
    changing.changes_back = lambda: filled.set_preview("smile@1", new)

    def add(_done: int, _total: int) -> None:  # not in the listing
        filled.set_preview("smile@1", new)
        changing.target = digest_of(new)

    assert verify(filled, on_progress=add).is_clean
    assert changing.target == ""


def test_blob_that_is_taken_and_put_again_as_it_is_read_is_no_fault(
    filled: Library, changing: ChangingStore
) -> None:
    orphan = changing.put(b"an orphan")
    changing.changes = lambda: changing.delete(orphan)
    changing.changes_back = lambda: changing.put(b"an orphan")
    changing.target = orphan

    assert verify(filled).is_clean
    assert changing.target == ""


def test_blob_named_but_never_stored_is_missing(library: Library) -> None:
    with storing(library.engine, library.blobs, [b"x"]) as (session, _):
        session.execute(
            text("UPDATE class_files SET digest = :d WHERE name = 'bundle.json'"),
            {"d": digest_of(b"never stored")},
        )

    fault = _only_fault(library)

    assert (fault.kind, fault.users) == (FaultKind.MISSING, ("class avatars@1: bundle.json",))


def test_report_is_json(filled: Library) -> None:
    _path(filled, filled.get_vector("frown@1").delta_digest).unlink()

    content = json.loads(json.dumps(as_json(verify(filled))))

    assert content["faults"][0]["kind"] == "missing"
    assert content["faults"][0]["users"] == ["vector avatars/frown@1: delta"]
