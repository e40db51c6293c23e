"""A library whose blobs lie on a real S3 server, as EDITVEC_BLOB_URL and AWS_* say."""

import json
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import fsspec
import pytest

from editvec.registry.blobs.opening import open_blob_store, put_all
from editvec.registry.config import RegistryConfig
from editvec.registry.errors import BlobError
from editvec.registry.library.library import Library
from editvec.registry.maintenance.garbage import gc
from editvec.registry.maintenance.verification import FaultKind, verify
from editvec.registry.sharing.exchange import export_library, import_library
from tests.support.registry_fixtures import Run, mask_pair, new_vector, random_delta

_ZERO = timedelta(0)


@pytest.fixture
def s3_library(
    s3_bucket: str, tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Library]:
    """A library with a vector, its blobs under a prefix of the bucket."""
    monkeypatch.setenv("EDITVEC_BLOB_URL", f"{s3_bucket}/team/blobs")
    with Library.open(RegistryConfig.from_environment(tmp_path / "home")) as library:
        library.add_bundle(bundle)
        pair = mask_pair(library.get_class().labels)
        library.add_vector(new_vector(), random_delta(), pairs=[pair])
        yield library


def test_blobs_lie_in_the_bucket_and_nowhere_else(s3_library: Library, tmp_path: Path) -> None:
    names = fsspec.filesystem("s3").find(s3_library.blobs.url)

    assert len(names) == len(set(s3_library.blobs.digests())) + 1  # and whose they are
    assert not (tmp_path / "home" / "blobs").exists()
    (place,) = s3_library.blobs.libraries().values()
    assert place == f"sqlite:///{tmp_path}/home/editvec.db"


def test_bundle_is_laid_out_from_the_bucket(s3_library: Library, tmp_path: Path) -> None:
    folder = s3_library.materialise_bundle(s3_library.get_class())

    stored = tmp_path / "bundle" / "generator.safetensors"
    assert (folder / "generator.safetensors").read_bytes() == stored.read_bytes()


def test_vectors_pass_through_an_archive(s3_library: Library, tmp_path: Path) -> None:
    archive = tmp_path / "smile.editvec.zip"
    export_library(s3_library, archive, ["avatars/smile@1"])
    with Library.open(RegistryConfig.for_home(tmp_path / "local")) as local:
        local.add_bundle(tmp_path / "bundle")
        (imported,) = import_library(local, archive)
        assert imported.vector.delta_digest == s3_library.get_vector("smile").delta_digest
        assert verify(local).is_clean

    (again,) = import_library(s3_library, archive)

    assert not again.is_new


def test_altered_and_missing_objects_are_named(s3_library: Library) -> None:
    vector = s3_library.get_vector("smile")
    filesystem = fsspec.filesystem("s3")
    assert verify(s3_library).is_clean
    filesystem.pipe_file(s3_library.blobs.place(vector.delta_digest), b"altered")
    s3_library.blobs.delete(vector.pairs[0].image_digest)

    faults = {fault.kind: fault for fault in verify(s3_library).faults}

    assert faults.keys() == {FaultKind.ALTERED, FaultKind.MISSING}
    assert faults[FaultKind.ALTERED].users == ("vector avatars/smile@1: delta",)
    assert faults[FaultKind.ALTERED].place == s3_library.blobs.place(vector.delta_digest)
    assert faults[FaultKind.MISSING].users == ("vector avatars/smile@1: pair 0: image",)


def test_gc_deletes_orphans_and_spares_the_young(s3_library: Library) -> None:
    named = set(s3_library.blobs.digests())
    orphans = put_all(s3_library.blobs, [str(number).encode() for number in range(40)])

    assert gc(s3_library).young.count == 40
    report = gc(s3_library, grace=_ZERO)

    assert {one.name for one in report.blobs} == set(orphans)
    assert set(s3_library.blobs.digests()) == named


def test_adding_while_gc_runs_loses_nothing(s3_library: Library) -> None:
    stop = threading.Event()
    errors: list[BaseException] = []

    def collect() -> None:
        try:
            while not stop.is_set():
                gc(s3_library, grace=_ZERO)
        except BaseException as exc:  # noqa: BLE001 (the test shows it)
            errors.append(exc)

    collector = threading.Thread(target=collect)
    collector.start()
    try:
        for seed in range(10):
            s3_library.add_vector(new_vector("raced"), random_delta(seed))
    finally:
        stop.set()
        collector.join()

    assert errors == []
    assert verify(s3_library).is_clean


def test_commands_work_with_the_bucket(
    s3_bucket: str, run: Run, bundle: Path, vector_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDITVEC_BLOB_URL", f"{s3_bucket}/cli")
    run("model", "add", bundle)
    run("registry", "add", vector_file, "--roi", "mouth")

    assert "all is well" in run("registry", "verify")
    assert json.loads(run("registry", "gc", "--json"))["blobs"] == []


def test_bucket_that_is_not_there_is_one_line_and_is_not_made(
    s3_bucket: str, tmp_path: Path, bundle: Path
) -> None:
    config = RegistryConfig.for_home(tmp_path / "home")
    named = RegistryConfig(
        home=config.home, database_url=config.database_url, blob_url=f"{s3_bucket}-not/blobs"
    )
    with (
        Library.open(named) as library,
        pytest.raises(BlobError, match=r"blob store s3://.*-not/blobs: not found") as caught,
    ):
        library.add_bundle(bundle)

    assert "\n" not in str(caught.value)
    assert not fsspec.filesystem("s3").exists(f"{s3_bucket}-not")


def test_wrong_prefix_is_not_filled(s3_library: Library, s3_bucket: str) -> None:
    s3_library.blobs = open_blob_store(f"{s3_bucket}/another")

    with pytest.raises(BlobError, match=r"blob store .*: not found; is the address right\?"):
        s3_library.add_vector(new_vector("other"), random_delta(1))

    assert not fsspec.filesystem("s3").exists(f"{s3_bucket}/another")


def test_server_that_does_not_answer_is_one_line(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as in fsspec's own configuration files, which tell the address too
    settings = {
        "endpoint_url": "http://127.0.0.1:1",
        "config_kwargs": {"retries": {"max_attempts": 0}, "connect_timeout": 1},
    }
    monkeypatch.setitem(fsspec.config.conf, "s3", settings)
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
    store = open_blob_store(f"{s3_bucket}/blobs")

    with pytest.raises(BlobError, match=r"blob store s3://.*: .*127\.0\.0\.1:1") as caught:
        store.put(b"data")

    assert "\n" not in str(caught.value)


def test_missing_package_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    known = sys.modules["fsspec.registry"]._registry  # it remembers what was loaded before
    monkeypatch.delitem(known, "s3", raising=False)

    with pytest.raises(BlobError, match=r"s3fs.*; pip install 'editvec\[s3\]'") as caught:
        open_blob_store("s3://bucket/blobs")

    assert "\n" not in str(caught.value)
