"""What archives carry and what stays behind; what an import reports; what it never believes."""

import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import editvec.cli
from editvec.json_codec import as_json
from editvec.registry.codec import encode_latent
from editvec.registry.config import RegistryConfig
from editvec.registry.entities.metrics import NewMetric
from editvec.registry.entities.vectors import Kind, NewTerm, OriginalFile, TermRole, VectorParcel
from editvec.registry.errors import (
    CodecError,
    CompatibilityError,
    ConflictError,
    ExchangeError,
    MaskError,
    RecordError,
)
from editvec.registry.library.library import Library
from editvec.registry.masks.brushes import encode_brush
from editvec.registry.sharing.archives import MANIFEST_ENTRY
from editvec.registry.sharing.exchange import export_library, import_library, rehearse_import
from editvec.whole_files import digest_of
from tests.support.places import ROOT
from tests.support.registry_fixtures import (
    NUM_WS,
    RESOLUTION,
    contents,
    mask_pair,
    new_vector,
    random_delta,
)


def _brush() -> bytes:
    painted = np.zeros((RESOLUTION, RESOLUTION), bool)
    painted[2:5, 3:9] = True
    return encode_brush(painted)


@pytest.fixture
def source(sqlite_library: Library) -> Library:
    """A library with a vector that has everything, and a composition with a condition."""
    labels = sqlite_library.get_class().labels
    pair = mask_pair(labels)
    everything = VectorParcel(
        new=new_vector(
            roi_policy="union",
            tags=("mood",),
            settings={"num_steps": 30},
            engine_version="editvec 1.0",
            kernel_version="reference",
            scale_min=-2.0,
            scale_max=1.5,
        ),
        delta=random_delta(0),
        pairs=(pair,),
        metrics=(
            NewMetric(name="leakage", value=0.1, direction="lower", backbone="lpips/vgg"),
            NewMetric(name="leakage", value=0.2, direction="lower", sample_count=9),
        ),
        brush_png=_brush(),
        original=OriginalFile(name="smile (1).npy", data=b"\x93NUMPY as it came"),
        preview_png=pair.image_png,
    )
    sqlite_library.add_vectors([everything])
    sqlite_library.add_vector(new_vector("look", roi_labels=("eye",)), random_delta(1))
    mixed = random_delta(0).astype(np.float64) - 0.5 * random_delta(1)
    sqlite_library.add_vectors(
        [
            VectorParcel(
                new=new_vector("mix", kind=Kind.COMPOSED),
                delta=mixed,
                terms=(
                    NewTerm(address="smile", scale=1.0),
                    NewTerm(address="look", scale=-0.5, role=TermRole.CONDITION),
                ),
            )
        ]
    )
    return sqlite_library


@pytest.fixture
def target(tmp_path: Path, bundle: Path) -> Iterator[Library]:
    """Another library with the same class."""
    with Library.open(RegistryConfig.for_home(tmp_path / "other home")) as library:
        library.add_bundle(bundle)
        yield library


def _rewrite(path: Path, change: Callable[[dict[str, Any], dict[str, bytes]], None]) -> Path:
    """A copy of an archive with another manifest or other blobs."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(entries.pop(MANIFEST_ENTRY))
    change(manifest, entries)
    copy = path.with_name("changed.zip")
    with zipfile.ZipFile(copy, "w") as archive:
        archive.writestr(MANIFEST_ENTRY, json.dumps(manifest))
        for name, data in entries.items():
            archive.writestr(name, data)
    return copy


def _replace_delta(index: int, delta: np.ndarray) -> Callable[..., None]:
    """Puts another delta into the archive, under its right digest."""

    def change(manifest: dict[str, Any], entries: dict[str, bytes]) -> None:
        record = manifest["vectors"][index]
        entries.pop(f"blobs/{record['delta_digest']}.safetensors")
        data = encode_latent(np.asarray(delta, np.float32))
        record["delta_digest"] = digest_of(data)
        entries[f"blobs/{digest_of(data)}.safetensors"] = data

    return change


# --- what travels ---


def test_everything_that_belongs_to_a_vector_travels(
    source: Library, target: Library, tmp_path: Path
) -> None:
    export_library(source, tmp_path / "a.zip", ["mix"])
    import_library(target, tmp_path / "a.zip")

    ours, theirs = source.get_vector("smile"), target.get_vector("smile")
    assert as_json(ours) == {**as_json(theirs), "id": ours.id}
    assert (theirs.engine_version, theirs.kernel_version) == ("editvec 1.0", "reference")
    assert theirs.original_name == "smile (1).npy"
    assert [metric.value for metric in theirs.metrics] == [0.1, 0.2]
    for digest in (theirs.brush_digest, theirs.original_digest, theirs.preview_digest):
        assert digest is not None
        assert target.blobs.get(digest) == source.blobs.get(digest)
    assert [term.role for term in target.get_vector("mix").terms] == ["sum", "condition"]


@pytest.mark.parametrize("space", ["Z", "S"])
def test_vectors_of_one_row_travel(
    sqlite_library: Library, target: Library, tmp_path: Path, space: str
) -> None:
    added = sqlite_library.add_vector(
        new_vector(latent_space=space), random_delta()[:1], reason="one row"
    )

    export_library(sqlite_library, tmp_path / "a.zip", ["smile"])
    import_library(target, tmp_path / "a.zip")

    theirs = target.get_vector("smile")
    assert (theirs.latent_space, theirs.num_ws) == (added.latent_space, 1)
    np.testing.assert_array_equal(target.delta(theirs), random_delta()[:1])


def test_decisions_of_one_library_stay_behind(
    source: Library, target: Library, tmp_path: Path
) -> None:
    export_library(source, tmp_path / "before.zip", ["mix"])

    source.set_alias("smile@1", "stable", reason="good")
    source.retire("look@1", reason="superseded")
    export_library(source, tmp_path / "after.zip", ["mix"])
    import_library(target, tmp_path / "after.zip")

    assert (tmp_path / "before.zip").read_bytes() == (tmp_path / "after.zip").read_bytes()
    assert target.get_vector("smile").aliases == ()
    assert not target.get_vector("look").is_retired
    assert {entry.action for entry in target.history()} == {"add class", "add"}


def test_records_have_the_fields_of_the_format(source: Library, tmp_path: Path) -> None:
    export_library(source, tmp_path / "a.zip", ["smile"])

    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        manifest = json.loads(archive.read(MANIFEST_ENTRY))
    # a field more or less is another format: old releases must be able to read it, or be told
    assert manifest["format_version"] == 1
    # fmt: off
    assert sorted(manifest["vectors"][0]) == [
        "address", "brush_digest", "bundle_digest", "class_name", "created_at", "created_by",
        "default_scale", "delta_digest", "description", "dilation", "engine_version",
        "generator_digest", "kernel_version", "kind", "latent_space", "license", "metrics", "name",
        "num_ws", "original_digest", "original_name", "pairs", "preview_digest", "roi_labels",
        "roi_policy", "row_mask", "scale_max", "scale_min", "settings", "tags", "terms", "version",
        "w_dim",
    ]
    # fmt: on


def test_archive_without_the_newer_fields_is_read(
    source: Library, target: Library, tmp_path: Path
) -> None:
    newer = ("engine_version", "kernel_version", "preview_digest", "original_digest")

    def forget(manifest: dict[str, Any], entries: dict[str, bytes]) -> None:
        for record in manifest["vectors"]:
            for key in (*newer, "brush_digest", "original_name"):
                del record[key]
            for term in record["terms"]:
                del term["role"]

    export_library(source, tmp_path / "a.zip", ["look"])
    import_library(target, _rewrite(tmp_path / "a.zip", forget))

    assert target.get_vector("look").engine_version == ""
    np.testing.assert_array_equal(target.delta(target.get_vector("look")), random_delta(1))


def test_archive_that_no_import_would_take_is_not_written(
    source: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("editvec.registry.sharing.archives.MAX_ENTRIES", 3)

    with pytest.raises(ExchangeError, match="more than one archive holds"):
        export_library(source, tmp_path / "a.zip", ["mix"])

    assert not (tmp_path / "a.zip").exists()


# --- what an import reports ---


def test_rehearsal_tells_what_an_import_does_and_writes_nothing(
    source: Library, target: Library, tmp_path: Path
) -> None:
    export_library(source, tmp_path / "a.zip", ["mix"])
    target.add_vector(new_vector("smile"), random_delta(7))
    target.add_vector(new_vector("look", roi_labels=("eye",)), random_delta(1))
    before = contents(target)

    rehearsed = rehearse_import(target, tmp_path / "a.zip")

    assert contents(target) == before
    assert [(one.vector.address, one.is_new, one.is_renumbered) for one in rehearsed] == [
        ("avatars/smile@2", True, True),
        ("avatars/look@1", False, False),
        ("avatars/mix@1", True, False),
    ]
    done = import_library(target, tmp_path / "a.zip")
    assert [one.vector.address for one in done] == [one.vector.address for one in rehearsed]
    assert [one.is_new for one in done] == [one.is_new for one in rehearsed]


def test_dry_run_shows_conflicts_in_words(
    source: Library, target: Library, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export_library(source, tmp_path / "a.zip", ["mix"])
    target.add_vector(new_vector("smile"), random_delta(7))
    target.add_vector(new_vector("look", roi_labels=("eye",)), random_delta(1))
    target.retire("look@1", reason="superseded")
    home = ["--home", str(target.config.home)]
    before = contents(target)

    assert (
        editvec.cli.main([*home, "registry", "import", str(tmp_path / "a.zip"), "--dry-run"]) == 0
    )

    output = capsys.readouterr()
    rows = [" ".join(line.split()) for line in output.out.splitlines()]
    assert rows[1:] == [
        "avatars/smile@1 avatars/smile@2 renumbered, its version is taken",
        "avatars/look@1 avatars/look@1 held already, retired",
        "avatars/mix@1 avatars/mix@1 new",
    ]
    assert "nothing stored (dry run)" in output.err
    assert contents(target) == before


def test_full_run_of_versions_is_told(source: Library, target: Library, tmp_path: Path) -> None:
    export_library(source, tmp_path / "a.zip", ["look"])
    target.add_vector(new_vector("look", version=999_999_999), random_delta(5))
    target.add_vector(new_vector("look", version=1), random_delta(6))

    with pytest.raises(ConflictError, match="no version is left after 999999999"):
        import_library(target, tmp_path / "a.zip")


# --- what it never believes ---


def _set(index: int, **changes: Any) -> Callable[..., None]:
    def change(manifest: dict[str, Any], entries: dict[str, bytes]) -> None:
        manifest["vectors"][index].update(changes)

    return change


def _set_term(**changes: Any) -> Callable[..., None]:
    def change(manifest: dict[str, Any], entries: dict[str, bytes]) -> None:
        manifest["vectors"][2]["terms"][1].update(changes)

    return change


def _drop(index: int) -> Callable[..., None]:
    def change(manifest: dict[str, Any], entries: dict[str, bytes]) -> None:
        digest = manifest["vectors"].pop(index)["delta_digest"]
        del entries[f"blobs/{digest}.safetensors"]

    return change


def _swap(manifest: dict[str, Any], entries: dict[str, bytes]) -> None:
    manifest["vectors"].reverse()


def _twice(manifest: dict[str, Any], entries: dict[str, bytes]) -> None:
    manifest["vectors"].append(manifest["vectors"][1])


def _add_entry(name: str) -> Callable[..., None]:
    def change(manifest: dict[str, Any], entries: dict[str, bytes]) -> None:
        entries[name] = b"x"

    return change


_OFF = random_delta(0) * 1.001 - 0.5 * random_delta(1)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (_replace_delta(2, _OFF), ExchangeError, "expected the sum of its terms.* off by 0.0"),
        (_set_term(scale=-0.51), ExchangeError, "expected the sum of its terms"),
        (_set_term(scale=1e300, role="sum"), ExchangeError, "scale 1e.300 is beyond"),
        (_set_term(scale=1e300), ExchangeError, "mix@1: the sum is too large for float32"),
        (_set_term(scale=1.7e308), ExchangeError, "scale 1.7e.308 is too large for its delta"),
        (_set_term(scale=10**400), ExchangeError, "scale: expected a finite number"),
        (_set_term(row_mask=[True]), ExchangeError, "expected a row mask of 6 rows"),
        (_set_term(role="spy"), ExchangeError, "role: expected one of sum, condition"),
        (_set_term(address="avatars/look@2"), ExchangeError, "look@2 does not come before it"),
        (_set_term(address="avatars/mix@1"), ExchangeError, "mix@1 does not come before it"),
        (_set_term(address="../x"), ExchangeError, "address: expected an address"),
        (_drop(1), ExchangeError, "its term avatars/look@1 does not come before it"),
        (_swap, ExchangeError, "does not come before it"),
        (_twice, ExchangeError, "two vectors are avatars/look@1"),
        (_set(1, row_mask=[True]), CompatibilityError, "row mask: expected 6 values"),
        (_set(2, row_mask=[True]), CompatibilityError, "row mask: expected 6 values"),
        (
            _set(2, row_mask=[True, *[False] * 5]),
            ExchangeError,
            "row mask: expected 111111.* 100000",
        ),
        (_set(2, row_mask=[False] * NUM_WS), CompatibilityError, "row mask: expected 6 values"),
        (_set(1, address="avatars/smile@9"), ExchangeError, "address: expected avatars/look@1"),
        (_set(1, num_ws=5), CodecError, r"look@1: expected shape \[5, 4\], got \[6, 4\]"),
        (_set(1, latent_space="Z"), CompatibilityError, "row mask: expected 1 values"),
        (_set(1, latent_space="W"), CompatibilityError, "expected equal rows in space W"),
        (_set(1, latent_space="Q"), ExchangeError, "latent_space: expected one of"),
        (_set(1, roi_policy="brush"), RecordError, "ROI policy brush needs a brush"),
        (_set(0, roi_policy="labels"), RecordError, "ROI policy labels takes no brush"),
        (_set(0, original_name="../../smile.npy"), ExchangeError, "the name of a file, without"),
        (_set(0, original_name=None), ExchangeError, "original_name: expected text"),
        (_set(0, version=10**12), ExchangeError, "version: expected an integer from 1"),
        (_set(0, created_at="0001-01-01T00:00:00+23:59"), ExchangeError, "a date and time"),
        (_set(0, settings={"x": float("nan")}), RecordError, "settings: not JSON"),
        (_set(0, description="a\0b"), RecordError, "description: expected text"),
        (_set(0, engine_version="x" * 65), RecordError, "engine version: expected at most 64"),
        (_add_entry("blobs/more.png"), ExchangeError, "unexpected entry 'blobs/more.png'"),
    ],
)
def test_archive_that_contradicts_itself_is_refused_before_the_first_write(
    source: Library,
    target: Library,
    tmp_path: Path,
    change: Callable[..., None],
    error: type[Exception],
    message: str,
) -> None:
    export_library(source, tmp_path / "a.zip", ["mix"])
    bad = _rewrite(tmp_path / "a.zip", change)
    before = contents(target)

    for attempt in (import_library, rehearse_import):
        with pytest.raises(error, match=message) as caught:
            attempt(target, bad)
        assert "\n" not in str(caught.value)

    assert contents(target) == before


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("brush_digest", "brush of smile: not a readable PNG"),
        ("preview_digest", "preview of smile: not a readable PNG"),
    ],
)
def test_pictures_of_an_archive_must_load(
    source: Library, target: Library, tmp_path: Path, key: str, message: str
) -> None:
    def spoil(manifest: dict[str, Any], entries: dict[str, bytes]) -> None:
        record = manifest["vectors"][0]
        old, new = record[key], digest_of(b"no picture")
        record[key] = new
        entries[f"blobs/{new}.png"] = b"no picture"
        if old not in {pair["image_digest"] for pair in record["pairs"]}:
            del entries[f"blobs/{old}.png"]

    export_library(source, tmp_path / "a.zip", ["smile"])
    before = contents(target)

    with pytest.raises(MaskError, match=message):
        import_library(target, _rewrite(tmp_path / "a.zip", spoil))

    assert contents(target) == before


# --- all or nothing ---

_KILLED_IMPORT = """
import os, signal, sys
from pathlib import Path
from editvec.registry.blobs import local
from editvec.registry.library import inserts
from editvec.registry.config import RegistryConfig
from editvec.registry.sharing.exchange import import_library
from editvec.registry.library.library import Library

home, archive, place = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
calls = 0

def killing(function, at):
    def wrapped(*arguments, **options):
        global calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return wrapped

if place == "blobs":
    store = local.LocalBlobStore
    store.put = killing(store.put, 4)
elif place == "rows":
    inserts.add_vector = killing(inserts.add_vector, 3)
else:
    inserts.add_vectors = (lambda add: lambda *a, **k: (add(*a, **k), os.kill(os.getpid(), 9)))(
        inserts.add_vectors
    )
with Library.open(RegistryConfig.for_home(home)) as library:
    import_library(library, archive)
"""


@pytest.mark.parametrize("place", ["blobs", "rows", "before the commit"])
def test_import_that_is_killed_leaves_nothing_to_be_seen(
    source: Library, target: Library, tmp_path: Path, place: str
) -> None:
    export_library(source, tmp_path / "a.zip", ["mix"])
    before = contents(target)
    arguments = [str(target.config.home), str(tmp_path / "a.zip"), place]

    done = subprocess.run(
        [sys.executable, "-c", _KILLED_IMPORT, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
        capture_output=True,
    )

    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    after = contents(target)
    # blobs that no row names are nobody's; gc takes them
    assert set(after.pop("blobs")) >= set(before.pop("blobs"))
    assert after == before
    assert len(import_library(target, tmp_path / "a.zip")) == 3
