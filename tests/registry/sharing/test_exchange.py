"""Archives: portable, deterministic, verified before the first write, all or nothing."""

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from editvec.json_codec import as_json
from editvec.registry.codec import decode_latent, encode_latent
from editvec.registry.config import RegistryConfig
from editvec.registry.entities.metrics import NewMetric
from editvec.registry.entities.vectors import NewTerm
from editvec.registry.errors import (
    ClassNotFoundError,
    CodecError,
    CompatibilityError,
    ExchangeError,
    LabelNotFoundError,
    RegistryError,
    VectorNotFoundError,
)
from editvec.registry.library.library import Library
from editvec.registry.maintenance.verification import verify
from editvec.registry.sharing.exchange import export_library, import_library, rehearse_import
from editvec.whole_files import digest_of
from tests.support.registry_fixtures import mask_pair, new_vector, random_delta


@pytest.fixture
def source(sqlite_library: Library) -> Library:
    """A library with a learned vector, another, and a composition of both."""
    labels = sqlite_library.get_class().labels
    sqlite_library.add_vector(
        new_vector("smile", tags=("mood",), settings={"num_steps": 30}, created_by="ada"),
        random_delta(0),
        pairs=[mask_pair(labels)],
        metrics=[NewMetric(name="leakage", value=0.1, direction="lower", backbone="lpips/vgg")],
    )
    sqlite_library.add_vector(new_vector("look", roi_labels=("eye",)), random_delta(1))
    terms = [NewTerm(address="smile", scale=1.0), NewTerm(address="look", scale=0.5)]
    sqlite_library.compose("grin", terms)
    return sqlite_library


@pytest.fixture
def target(tmp_path: Path, bundle: Path) -> Iterator[Library]:
    """Another library with the same class."""
    with Library.open(RegistryConfig.for_home(tmp_path / "other home")) as library:
        library.add_bundle(bundle)
        yield library


def _changed(path: Path, change: Callable[[dict[str, bytes]], None], **options: Any) -> Path:
    """A copy of an archive whose entries were changed."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    copy = path.with_name("changed.zip")
    with zipfile.ZipFile(copy, "w", **options) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return copy


def _change_record(**changes: Any) -> Callable[[dict[str, bytes]], None]:
    def change(entries: dict[str, bytes]) -> None:
        manifest = json.loads(entries["manifest.json"])
        manifest["vectors"][0].update(changes)
        entries["manifest.json"] = json.dumps(manifest).encode()

    return change


def _state(library: Library) -> tuple[object, ...]:
    return (library.find_vectors(), sorted(library.blobs.digests()), library.history())


def test_everything_of_a_vector_arrives(source: Library, target: Library, tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    exported = export_library(source, archive, ["grin"])

    imported = import_library(target, archive, reason="from ada")

    assert [one.address for one in exported] == [
        "avatars/smile@1",
        "avatars/look@1",
        "avatars/grin@1",
    ]
    assert all(one.is_new and not one.is_renumbered for one in imported)
    for name in ("smile", "look", "grin"):
        ours, theirs = source.get_vector(name), target.get_vector(name)
        assert as_json(ours) == {**as_json(theirs), "id": ours.id}
        np.testing.assert_array_equal(source.delta(ours), target.delta(theirs))
    pair = target.get_vector("smile").pairs[0]
    for digest in (pair.image_digest, pair.mask_before_digest, pair.source_ws_digest):
        assert digest is not None
        assert target.blobs.get(digest) == source.blobs.get(digest)
    assert target.history("avatars/grin@1")[-1].reason == "from ada"


def test_import_without_a_reason_names_its_file(
    source: Library, target: Library, tmp_path: Path
) -> None:
    export_library(source, tmp_path / "a.zip", ["grin"])

    import_library(target, tmp_path / "a.zip")

    for name in ("smile", "look", "grin"):
        assert target.history(f"avatars/{name}@1")[-1].reason == "import of a.zip"


ROWS = tuple(row in (1, 2, 5) for row in range(6))


@pytest.fixture
def masked(source: Library) -> Library:
    """The same with compositions of some rows, of rows that share none, and of each other."""
    other = tuple(not row for row in ROWS)
    source.add_vector(new_vector("faint"), random_delta(2) * np.float32(1e-42))
    for name, terms in {
        "rows": [NewTerm(address="smile", scale=0.3, row_mask=ROWS)],
        "apart": [
            NewTerm(address="smile", scale=0.7, row_mask=ROWS),
            NewTerm(address="look", scale=-1.1, row_mask=other),
        ],
        "mixed": [
            NewTerm(address="apart", scale=1.7, row_mask=ROWS),
            NewTerm(address="rows", scale=-0.9),
            NewTerm(address="look", scale=0.1),
        ],
        "fainter": [NewTerm(address="faint", scale=0.37, row_mask=ROWS)],
    }.items():
        source.compose(name, terms)
    return source


@pytest.mark.parametrize("name", ["rows", "apart", "mixed", "fainter"])
def test_compositions_of_some_rows_arrive(
    masked: Library, target: Library, tmp_path: Path, name: str
) -> None:
    export_library(masked, tmp_path / "a.zip", [name])

    import_library(target, tmp_path / "a.zip")

    ours, theirs = masked.get_vector(name), target.get_vector(name)
    assert as_json(ours) == {**as_json(theirs), "id": ours.id}
    assert theirs.row_mask == (ROWS if name in ("rows", "fainter") else (True,) * 6)
    assert target.delta(theirs).tobytes() == masked.delta(ours).tobytes()


def _add_to_delta(name: str, row: int, share: float) -> Callable[[dict[str, bytes]], None]:
    """Adds a share of its largest value to one number of a vector's delta."""

    def change(entries: dict[str, bytes]) -> None:
        manifest = json.loads(entries["manifest.json"])
        record = next(one for one in manifest["vectors"] if one["name"] == name)
        delta = decode_latent(entries.pop(f"blobs/{record['delta_digest']}.safetensors"), of="x")
        delta = delta.copy()
        column = int(np.abs(delta[row]).argmax())
        delta[row, column] += np.float32(share * np.abs(delta).max())
        data = encode_latent(delta)
        record["delta_digest"] = digest_of(data)
        entries[f"blobs/{record['delta_digest']}.safetensors"] = data
        entries["manifest.json"] = json.dumps(manifest).encode()

    return change


@pytest.mark.parametrize(
    ("name", "row", "share"),
    [
        ("rows", 1, 1e-3),
        ("rows", 0, 1e-3),  # a row that no term touches
        ("rows", 0, 1e-6),
        ("apart", 0, -1e-3),
        ("apart", 1, 1e-3),
        ("mixed", 3, 1e-3),
    ],
)
def test_composition_whose_delta_is_not_the_sum_of_its_terms_is_refused(
    masked: Library, target: Library, tmp_path: Path, name: str, row: int, share: float
) -> None:
    export_library(masked, tmp_path / "a.zip", [name])
    bad = _changed(tmp_path / "a.zip", _add_to_delta(name, row, share))
    before = _state(target)

    with pytest.raises(ExchangeError, match=rf"avatars/{name}@1: .*off by .* at \[{row}, ") as told:
        import_library(target, bad)

    assert "\n" not in str(told.value)
    assert _state(target) == before


def _change_terms(**changes: Any) -> Callable[[dict[str, bytes]], None]:
    """Changes the first term of the last vector."""

    def change(entries: dict[str, bytes]) -> None:
        manifest = json.loads(entries["manifest.json"])
        manifest["vectors"][-1]["terms"][0].update(changes)
        entries["manifest.json"] = json.dumps(manifest).encode()

    return change


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"row_mask": [*ROWS[:5], False]}, "expected the sum of its terms"),
        ({"row_mask": list(ROWS[:5])}, "row mask|rows"),
        ({"scale": 0.30001}, "expected the sum of its terms"),
        ({"scale": -0.3}, "expected the sum of its terms"),
        ({"scale": -2e9}, r"scale -2e\+09 is beyond 1e\+09"),
        ({"scale": 2e9}, r"scale 2e\+09 is beyond 1e\+09"),
        ({"address": "avatars/look@1"}, "its term avatars/look@1 does not come before it"),
        ({"address": "avatars/rows@1"}, "its term avatars/rows@1 does not come before it"),
    ],
)
def test_composition_whose_terms_were_changed_is_refused(
    masked: Library, target: Library, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    export_library(masked, tmp_path / "a.zip", ["rows"])
    bad = _changed(tmp_path / "a.zip", _change_terms(**changes))
    before = _state(target)

    with pytest.raises(RegistryError, match=message):
        import_library(target, bad)

    assert _state(target) == before


def _change_own_rows(rows: tuple[bool, ...], *, is_cut: bool) -> Callable[[dict[str, bytes]], None]:
    """Gives the last vector another row mask; `is_cut` takes the other rows from its delta too."""

    def change(entries: dict[str, bytes]) -> None:
        manifest = json.loads(entries["manifest.json"])
        record = manifest["vectors"][-1]
        record["row_mask"] = list(rows)
        if is_cut:
            name = f"blobs/{record['delta_digest']}.safetensors"
            delta = decode_latent(entries.pop(name), of="x") * np.array(rows)[:, None]
            data = encode_latent(delta.astype(np.float32))
            record["delta_digest"] = digest_of(data)
            entries[f"blobs/{record['delta_digest']}.safetensors"] = data
        entries["manifest.json"] = json.dumps(manifest).encode()

    return change


@pytest.mark.parametrize(
    ("name", "rows", "is_cut", "touched"),
    [
        ("apart", ROWS, True, "111111"),
        ("apart", ROWS, False, "111111"),
        ("apart", (*(True,) * 5, False), True, "111111"),
        ("mixed", (False, *(True,) * 5), True, "111111"),
        ("rows", (*ROWS[:5], False), True, "011001"),
        ("rows", (True,) * 6, False, "011001"),  # wider: it says that rows change which stay
        ("fainter", (False, True, *(False,) * 4), True, "011001"),
    ],
)
def test_composition_whose_own_row_mask_is_another_one_is_refused(
    masked: Library,
    target: Library,
    tmp_path: Path,
    name: str,
    rows: tuple[bool, ...],
    is_cut: bool,
    touched: str,
) -> None:
    export_library(masked, tmp_path / "a.zip", [name])
    bad = _changed(tmp_path / "a.zip", _change_own_rows(rows, is_cut=is_cut))
    before = _state(target)

    for attempt in (import_library, rehearse_import):
        with pytest.raises(ExchangeError, match=rf"avatars/{name}@1: row mask: expected {touched}"):
            attempt(target, bad)

    assert _state(target) == before


def test_composition_is_the_sum_of_the_terms_that_come_with_it(
    masked: Library, target: Library, tmp_path: Path
) -> None:
    # the same addresses stand for other vectors here, and a composition of them is here too
    for name in ("smile", "look"):
        target.add_vector(new_vector(name), random_delta(31 + len(name)))
    target.compose("apart", [NewTerm(address="smile", scale=2.0)])
    target.compose("mixed", [NewTerm(address="apart", scale=2.0)])
    export_library(masked, tmp_path / "a.zip", ["mixed"])

    import_library(target, tmp_path / "a.zip")

    arrived = target.get_vector("mixed@2")
    assert arrived.terms[0].address == "avatars/apart@2"
    assert target.delta(arrived).tobytes() == masked.delta(masked.get_vector("mixed")).tobytes()
    assert verify(target).is_clean


def test_same_vectors_give_the_same_bytes(source: Library, target: Library, tmp_path: Path) -> None:
    one, again, there = (tmp_path / f"{name}.zip" for name in ("one", "again", "there"))
    export_library(source, one, ["grin", "smile"])
    export_library(source, again, ["smile", "avatars/grin@1", "look"])
    import_library(target, one)
    export_library(target, there, ["grin"])

    assert one.read_bytes() == again.read_bytes() == there.read_bytes()


def test_importing_twice_changes_nothing(source: Library, target: Library, tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    export_library(source, archive, ["grin"])
    import_library(target, archive)
    before = _state(target)

    again = import_library(target, archive)

    assert not any(one.is_new for one in again)
    assert _state(target) == before


def test_taken_version_is_renumbered_and_terms_follow(
    source: Library, target: Library, tmp_path: Path
) -> None:
    archive = tmp_path / "a.zip"
    export_library(source, archive, ["grin"])
    target.add_vector(new_vector("smile"), random_delta(7))

    imported = import_library(target, archive)

    smile = next(one for one in imported if one.archived_as == "avatars/smile@1")
    assert smile.is_renumbered
    assert smile.vector.address == "avatars/smile@2"
    assert [term.address for term in target.get_vector("grin").terms] == [
        "avatars/smile@2",
        "avatars/look@1",
    ]


def test_free_version_is_kept(source: Library, target: Library, tmp_path: Path) -> None:
    source.add_vector(new_vector("smile"), random_delta(8))
    export_library(source, tmp_path / "a.zip", ["smile@2"])

    assert import_library(target, tmp_path / "a.zip")[0].vector.address == "avatars/smile@2"


def test_archive_of_another_generator_is_refused_with_both_digests(
    source: Library, tmp_path: Path, make_bundle: Callable[..., Path]
) -> None:
    export_library(source, tmp_path / "a.zip", ["smile"])
    with Library.open(RegistryConfig.for_home(tmp_path / "third")) as other:
        other.add_bundle(make_bundle("retrained", weights=b"w2"))
        before = _state(other)

        with pytest.raises(CompatibilityError) as caught:
            import_library(other, tmp_path / "a.zip")

        assert source.get_class().generator_digest in str(caught.value)
        assert other.get_class().generator_digest in str(caught.value)
        assert _state(other) == before


def test_archive_without_its_class_here_is_refused(source: Library, tmp_path: Path) -> None:
    export_library(source, tmp_path / "a.zip", ["smile"])

    with (
        Library.open(RegistryConfig.for_home(tmp_path / "third")) as other,
        pytest.raises(ClassNotFoundError, match="no class 'avatars'"),
    ):
        import_library(other, tmp_path / "a.zip")


def _flip(entries: dict[str, bytes]) -> None:
    name = next(name for name in entries if name.endswith(".png"))
    entries[name] = entries[name][:-1] + b"!"


def _swap_delta_for_nan(entries: dict[str, bytes]) -> None:
    data = encode_latent(np.full((6, 4), np.nan, np.float32))
    entries[f"blobs/{digest_of(data)}.safetensors"] = data
    manifest = json.loads(entries["manifest.json"])
    old = manifest["vectors"][0]["delta_digest"]
    manifest["vectors"][0]["delta_digest"] = digest_of(data)
    entries["manifest.json"] = json.dumps(manifest).encode()
    del entries[f"blobs/{old}.safetensors"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (_flip, ExchangeError, "its bytes were altered"),
        (lambda entries: entries.pop("manifest.json"), ExchangeError, "no manifest.json"),
        (lambda entries: entries.popitem(), ExchangeError, "is missing"),
        (lambda entries: entries.update({"../evil": b""}), ExchangeError, r"'\.\./evil'"),
        (lambda entries: entries.update({"/etc/x": b""}), ExchangeError, "unexpected entry"),
        (lambda entries: entries.update({"manifest.json": b"[["}), ExchangeError, "not JSON"),
        (lambda entries: entries.update({"manifest.json": b"[]"}), ExchangeError, "an object"),
        (_change_record(delta_digest="../x"), ExchangeError, "delta_digest: expected a SHA-256"),
        (_change_record(name="../x"), ExchangeError, r"vectors\[0\]: name: expected a letter"),
        (_change_record(version=0), ExchangeError, "version: expected an integer"),
        (_change_record(kind="stolen"), RegistryError, "kind: expected one of"),
        (_change_record(roi_labels=["hat"]), LabelNotFoundError, "no part 'hat'"),
        (_change_record(default_scale="1"), ExchangeError, "default_scale: expected a number"),
        (_change_record(created_at="monday"), ExchangeError, "created_at: expected a date"),
        (_change_record(terms=[{}]), ExchangeError, r"terms\[0\]: address: expected text"),
        (_swap_delta_for_nan, CodecError, "finite"),
    ],
)
def test_bad_archive_is_refused_before_the_first_write(
    source: Library,
    target: Library,
    tmp_path: Path,
    change: Callable[[dict[str, bytes]], None],
    error: type[Exception],
    message: str,
) -> None:
    export_library(source, tmp_path / "a.zip", ["smile", "look"])
    bad = _changed(tmp_path / "a.zip", change)
    before = _state(target)

    with pytest.raises(error, match=message) as caught:
        import_library(target, bad)

    assert "\n" not in str(caught.value)
    assert _state(target) == before


def test_compressed_or_oversized_entries_are_not_unpacked(
    source: Library, target: Library, tmp_path: Path
) -> None:
    export_library(source, tmp_path / "a.zip", ["smile"])
    bomb = _changed(
        tmp_path / "a.zip",
        lambda entries: entries.update({"blobs/bomb": b"\0" * (1 << 20)}),
        compression=zipfile.ZIP_DEFLATED,
    )

    with pytest.raises(ExchangeError, match="expected it uncompressed"):
        import_library(target, bomb)


@pytest.mark.parametrize("data", [b"", b"no zip", b"PK\x05\x06" + b"\0" * 18])
def test_file_that_is_no_archive_is_refused(
    sqlite_library: Library, tmp_path: Path, data: bytes
) -> None:
    (tmp_path / "a.zip").write_bytes(data)

    with pytest.raises(ExchangeError):
        import_library(sqlite_library, tmp_path / "a.zip")
    with pytest.raises(ExchangeError, match="No such file"):
        import_library(sqlite_library, tmp_path / "nowhere.zip")


def test_cut_archive_is_refused(source: Library, target: Library, tmp_path: Path) -> None:
    export_library(source, tmp_path / "a.zip", ["smile"])
    whole = (tmp_path / "a.zip").read_bytes()

    for length in range(0, len(whole), len(whole) // 20):
        (tmp_path / "a.zip").write_bytes(whole[:length])
        with pytest.raises(ExchangeError):
            import_library(target, tmp_path / "a.zip")

    assert target.find_vectors() == []


def test_duplicate_entries_are_refused(target: Library, tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("manifest.json", "{}")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("manifest.json", "{}")
    (tmp_path / "a.zip").write_bytes(stream.getvalue())

    with pytest.raises(ExchangeError, match="two of the same name"):
        import_library(target, tmp_path / "a.zip")


def test_export_of_an_unknown_vector_writes_nothing(source: Library, tmp_path: Path) -> None:
    with pytest.raises(VectorNotFoundError):
        export_library(source, tmp_path / "a.zip", ["smile", "nothing"])
    with pytest.raises(ExchangeError, match="one vector at least"):
        export_library(source, tmp_path / "a.zip", [])

    assert not (tmp_path / "a.zip").exists()
