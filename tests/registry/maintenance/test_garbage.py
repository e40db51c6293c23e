"""gc deletes what nothing names, keeps everything else, and may run while others add."""

import json
import os
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from editvec.json_codec import as_json
from editvec.registry.blobs.opening import put_all
from editvec.registry.entities.vectors import Embedding, EmbeddingUsage
from editvec.registry.errors import RecordError
from editvec.registry.library.embeddings import usage
from editvec.registry.library.library import Library
from editvec.registry.maintenance.garbage import gc
from editvec.registry.maintenance.verification import verify
from editvec.registry.tables.database import transaction
from editvec.whole_files import digest_of
from tests.support.registry_fixtures import mask_pair, new_vector, random_delta

_ZERO = timedelta(0)
_ROW_BYTES = 6 * 4 * 4


def _path(library: Library, digest: str) -> Path:
    return Path(library.blobs.url) / digest[:2] / digest


def _age(library: Library, digest: str, *, hours: float) -> None:
    path = _path(library, digest)
    old = path.stat().st_mtime - hours * 3600
    os.utime(path, (old, old))


def _embeddings(*seeds: int) -> list[Embedding]:
    return [
        Embedding(
            image_digest=digest_of(bytes([seed])),
            generator_digest=digest_of(b"generator"),
            settings_key=digest_of(b"settings"),
            ws=random_delta(seed),
            perceptual_name=None,
            perceptual_value=None,
            psnr=20.0,
            num_steps=5,
        )
        for seed in seeds
    ]


def _held(library: Library, *seeds: int) -> list[int]:
    found = library.get_embeddings(
        [digest_of(bytes([seed])) for seed in seeds],
        generator_digest=digest_of(b"generator"),
        settings_key=digest_of(b"settings"),
    )
    return [seed for seed in seeds if digest_of(bytes([seed])) in found]


def test_orphans_go_and_everything_named_stays(library: Library) -> None:
    pair = mask_pair(library.get_class().labels)
    library.add_vector(new_vector(), random_delta(), pairs=[pair])
    library.set_preview("smile", mask_pair(library.get_class().labels, size=8).image_png)
    library.put_embeddings(_embeddings(1, 2))
    named = set(library.blobs.digests())
    orphans = put_all(library.blobs, [b"one", b"two two"])

    report = gc(library, grace=_ZERO)

    assert set(library.blobs.digests()) == named
    assert [one.name for one in report.blobs] == sorted(orphans)
    assert report.size == 10
    assert not report.is_dry_run
    assert verify(library).is_clean
    assert gc(library, grace=_ZERO).blobs == ()


def test_dry_run_lists_orphans_and_deletes_nothing(library: Library) -> None:
    orphans = put_all(library.blobs, [b"one", b"two two"])
    before = set(library.blobs.digests())

    report = gc(library, grace=_ZERO, dry_run=True)

    assert report.is_dry_run
    assert {one.name: one.size for one in report.blobs} == {orphans[0]: 3, orphans[1]: 7}
    assert set(library.blobs.digests()) == before


def test_young_orphans_are_spared_and_counted(library: Library) -> None:
    old, young = put_all(library.blobs, [b"old", b"young"])
    _age(library, old, hours=25)
    _age(library, young, hours=23)

    report = gc(library)

    assert [one.name for one in report.blobs] == [old]
    assert (report.young.count, report.young.bytes) == (1, 5)
    assert library.blobs.has(young)


def test_blob_that_is_put_again_is_spared(library: Library) -> None:
    digest = library.blobs.put(b"old")
    _age(library, digest, hours=25)
    library.blobs.put(b"old")

    assert gc(library).blobs == ()


def test_replaced_preview_goes(library: Library) -> None:
    first, second = (mask_pair(library.get_class().labels, size=size).image_png for size in (8, 12))
    library.add_vector(new_vector(), random_delta())
    library.set_preview("smile", first)
    library.set_preview("smile", second)

    report = gc(library, grace=_ZERO)

    assert [one.name for one in report.blobs] == [digest_of(first)]


def test_orphans_beyond_one_batch_all_go(sqlite_library: Library) -> None:
    orphans = put_all(sqlite_library.blobs, [str(number).encode() for number in range(1203)])
    told: list[tuple[int, int]] = []

    report = gc(
        sqlite_library,
        grace=_ZERO,
        on_progress=lambda done, total: told.append((done, total)),
    )

    assert len(report.blobs) == len(orphans)
    assert told == [(500, 1203), (1000, 1203), (1203, 1203)]
    assert verify(sqlite_library).blob_count == 2


def test_what_is_named_between_the_listing_and_the_sweep_stays(library: Library) -> None:
    """The listing calls it an orphan; under the lock it is looked at again."""
    orphans = sorted(put_all(library.blobs, [str(number).encode() for number in range(501)]))

    def name_it(done: int, _total: int) -> None:
        if done == 500:
            remaining = next(one for one in orphans if library.blobs.has(one))
            kept.append(remaining)
            with transaction(library.engine) as session:
                session.execute(
                    text("UPDATE class_files SET digest = :d WHERE name = 'bundle.json'"),
                    {"d": remaining},
                )

    kept: list[str] = []

    report = gc(library, grace=_ZERO, on_progress=name_it)

    assert library.blobs.has(kept[0])
    assert kept[0] not in {one.name for one in report.blobs}
    assert len(report.blobs) == 500


def test_temporary_files_go_once_no_command_can_own_them(library: Library) -> None:
    folder = next(path for path in Path(library.blobs.url).iterdir() if len(path.name) == 2)
    killed, running = folder / ".incoming-killed", folder / ".incoming-running"
    for path, hours in ((killed, 2), (running, 0.5)):
        path.write_bytes(b"123")
        old = path.stat().st_mtime - hours * 3600
        os.utime(path, (old, old))

    assert [one.name for one in gc(library, grace=_ZERO, dry_run=True).leftovers] == [
        f"{folder.name}/.incoming-killed"
    ]
    assert killed.exists()
    report = gc(library, grace=_ZERO)

    assert report.size == 3
    assert not killed.exists()
    assert running.exists()
    assert gc(library).leftovers == ()


def test_report_is_json(library: Library) -> None:
    digest = library.blobs.put(b"one")

    content = json.loads(json.dumps(as_json(gc(library, grace=_ZERO, dry_run=True))))

    assert content["is_dry_run"] is True
    assert content["blobs"][0]["name"] == digest
    assert content["blobs"][0]["size"] == 3


@pytest.mark.parametrize(
    "call",
    [
        lambda library: gc(library, grace=timedelta(seconds=-1)),
        lambda library: gc(library, embeddings_limit=-1),
    ],
)
def test_negative_values_are_refused(
    sqlite_library: Library, call: Callable[[Library], object]
) -> None:
    with pytest.raises(RecordError, match="no negative values"):
        call(sqlite_library)


def test_adding_while_gc_runs_loses_nothing(library: Library) -> None:
    """Orphans become named, one after the other, while gc takes them one after the other."""
    stop = threading.Event()
    errors: list[BaseException] = []

    def collect() -> None:
        try:
            while not stop.is_set():
                gc(library, grace=_ZERO)
        except BaseException as exc:  # noqa: BLE001 (the test shows it)
            errors.append(exc)

    collector = threading.Thread(target=collect)
    collector.start()
    try:
        for seed in range(30):
            library.add_vector(new_vector("raced"), random_delta(seed))
    finally:
        stop.set()
        collector.join()

    assert errors == []
    assert verify(library).is_clean
    assert library.get_vector("raced").version == 30


# --- embeddings ---


def test_oldest_packs_go_until_the_rest_is_within_the_limit(library: Library) -> None:
    for seeds in ((1, 2), (3, 4, 5), (6,)):
        library.put_embeddings(_embeddings(*seeds))
    assert usage(library.engine) == EmbeddingUsage(6, 6 * _ROW_BYTES)

    report = gc(library, embeddings_limit=4 * _ROW_BYTES)

    assert report.evicted == EmbeddingUsage(2, 2 * _ROW_BYTES)
    assert _held(library, 1, 2, 3, 4, 5, 6) == [3, 4, 5, 6]
    report = gc(library, embeddings_limit=4 * _ROW_BYTES - 1)
    assert report.evicted == EmbeddingUsage(3, 3 * _ROW_BYTES)
    assert _held(library, 1, 2, 3, 4, 5, 6) == [6]
    assert usage(library.engine) == EmbeddingUsage(1, _ROW_BYTES)


def test_blobs_of_evicted_packs_go_after_the_grace_time(library: Library) -> None:
    library.put_embeddings(_embeddings(1, 2))
    blobs = set(library.blobs.digests())

    assert gc(library, embeddings_limit=0).young.count == 1
    assert set(library.blobs.digests()) == blobs
    report = gc(library, grace=_ZERO)

    assert len(report.blobs) == 1
    assert usage(library.engine) == EmbeddingUsage(0, 0)


def test_embedding_that_was_embedded_again_is_young(library: Library) -> None:
    library.put_embeddings(_embeddings(1))
    library.put_embeddings(_embeddings(2))
    library.put_embeddings(_embeddings(1))

    gc(library, embeddings_limit=_ROW_BYTES)

    assert _held(library, 1, 2) == [1]


def test_dry_run_of_eviction_tells_what_would_go_and_keeps_it(library: Library) -> None:
    library.put_embeddings(_embeddings(1, 2))
    library.put_embeddings(_embeddings(3))

    report = gc(library, grace=_ZERO, dry_run=True, embeddings_limit=_ROW_BYTES)

    assert report.evicted == EmbeddingUsage(2, 2 * _ROW_BYTES)
    assert len(report.blobs) == 1
    assert _held(library, 1, 2, 3) == [1, 2, 3]
    assert gc(library, grace=_ZERO, embeddings_limit=_ROW_BYTES).blobs == report.blobs


def test_cache_within_its_limit_is_left_alone(library: Library) -> None:
    library.put_embeddings(_embeddings(1, 2))

    assert gc(library, embeddings_limit=2 * _ROW_BYTES).evicted == EmbeddingUsage(0, 0)
    assert gc(library).evicted == EmbeddingUsage(0, 0)
    assert _held(library, 1, 2) == [1, 2]
