"""The contract of the library, on SQLite and on PostgreSQL."""

import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.context import ForkServerContext
from pathlib import Path

import numpy as np
import pytest

from editvec.registry.entities.metrics import Direction, NewMetric
from editvec.registry.entities.vectors import Kind, NewTerm, VectorParcel
from editvec.registry.errors import (
    BlobError,
    ClassNotFoundError,
    CodecError,
    CompatibilityError,
    ConflictError,
    InvalidNameError,
    LabelNotFoundError,
    LibraryDiskFullError,
    MaskError,
    RecordError,
    VectorNotFoundError,
)
from editvec.registry.labels.label import Label
from editvec.registry.library.library import Library
from editvec.registry.masks.png import encode_mask
from tests.support.registry_fixtures import (
    NUM_WS,
    PARTS,
    W_DIM,
    mask_pair,
    new_vector,
    random_delta,
)
from tests.support.registry_processes import add_vector

# --- class models ---


def test_bundle_becomes_version_one_with_its_labels_and_files(
    empty_library: Library, bundle: Path
) -> None:
    added = empty_library.add_bundle(bundle, created_by="ada")

    found = empty_library.get_class("avatars")
    assert found == added
    assert added.address == "avatars@1"
    assert added.label_names == PARTS
    assert added.labels[2] == Label(2, "mouth", (20, 0, 253))
    assert {file.name for file in added.files} == {"bundle.json", "generator.safetensors"}
    assert added.created_by == "ada"


def test_same_bundle_again_answers_with_its_version(library: Library, bundle: Path) -> None:
    assert library.add_bundle(bundle).address == "avatars@1"
    assert [model.address for model in library.classes()] == ["avatars@1"]


def test_other_bundle_of_the_class_is_the_next_version(
    library: Library, make_bundle: Callable[..., Path]
) -> None:
    added = library.add_bundle(make_bundle("retrained", weights=b"w2"))

    assert added.address == "avatars@2"
    assert library.get_class("avatars").version == 2
    assert library.get_class("avatars@1").version == 1


def test_only_class_needs_no_name_and_several_do(
    library: Library, make_bundle: Callable[..., Path]
) -> None:
    assert library.get_class().name == "avatars"

    library.add_bundle(make_bundle("cars", name="car"))

    with pytest.raises(ClassNotFoundError, match="name one of avatars, car"):
        library.get_class()


def test_unknown_class_names_the_close_one(library: Library) -> None:
    with pytest.raises(ClassNotFoundError, match="did you mean avatars"):
        library.get_class("avatar")
    with pytest.raises(ClassNotFoundError, match="no version 7; the latest is 1"):
        library.get_class("avatars@7")


def test_library_without_classes_says_how_to_add_one(empty_library: Library) -> None:
    with pytest.raises(ClassNotFoundError, match="editvec model add"):
        empty_library.get_class()


def test_materialised_bundle_equals_the_added_one_and_is_reused(
    library: Library, bundle: Path
) -> None:
    folder = library.materialise_bundle(library.get_class())

    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        path.name: path.read_bytes() for path in bundle.iterdir()
    }
    assert library.materialise_bundle(library.get_class()) == folder
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_materialising_an_altered_blob_leaves_no_folder(library: Library) -> None:
    model = library.get_class()
    weights = next(file for file in model.files if file.name == "generator.safetensors")
    blob = Path(library.blobs.url) / weights.digest[:2] / weights.digest
    blob.write_bytes(b"xx")

    with pytest.raises(BlobError, match=weights.digest):
        library.materialise_bundle(model)

    assert list(library.config.bundle_folder.iterdir()) == []


# --- vectors ---


def test_vector_comes_back_as_it_was_given(library: Library) -> None:
    labels = library.get_class().labels
    delta = random_delta()

    added = library.add_vector(
        new_vector(
            row_mask=(True,) * (NUM_WS - 1) + (False,),
            settings={"num_steps": 30},
            scale_min=-1.5,
            scale_max=2.0,
            license="CC0-1.0",
            description="smiles",
            tags=("mood", "face"),
            dilation=2,
        ),
        delta,
        pairs=[mask_pair(labels)],
        metrics=[NewMetric(name="success", value=0.9, direction="higher", sample_count=200)],
        reason="the first one",
    )

    assert added == library.get_vector("avatars/smile@1")
    assert added.address == "avatars/smile@1"
    assert added.kind is Kind.LEARNED
    assert added.roi_labels == ("mouth", "teeth")
    assert added.row_mask == (True,) * (NUM_WS - 1) + (False,)
    assert (added.scale_min, added.scale_max, added.default_scale) == (-1.5, 2.0, 1.0)
    assert added.tags == ("face", "mood")
    assert added.settings == {"num_steps": 30}
    assert added.metrics[0].value == 0.9
    assert added.metrics[0].direction is Direction.HIGHER
    assert added.created_at.tzinfo is not None
    stored = library.delta(added)
    assert stored.dtype == np.float32
    np.testing.assert_array_equal(stored[:-1], delta[:-1])
    assert not stored[-1].any()
    assert library.blobs.get(added.pairs[0].image_digest) == mask_pair(labels).image_png
    last = library.history("avatars/smile@1")[-1]
    assert (last.action, last.reason) == ("add", "the first one")


def test_roi_keeps_the_order_in_which_it_was_given(library: Library) -> None:
    added = library.add_vector(new_vector(roi_labels=("teeth", "eye", "mouth")), random_delta())

    assert library.get_vector("smile").roi_labels == added.roi_labels == ("teeth", "eye", "mouth")


def test_equal_content_answers_with_its_version_and_other_content_makes_the_next(
    library: Library,
) -> None:
    first = library.add_vector(new_vector(), random_delta(0))
    second = library.add_vector(new_vector(), random_delta(1))
    third = library.add_vector(new_vector(roi_labels=("mouth",)), random_delta(0))

    again = library.add_vector(new_vector(description="told anew"), random_delta(0))

    assert [first.version, second.version, third.version] == [1, 2, 3]
    assert again == first


def test_taken_version_with_other_content_conflicts(library: Library) -> None:
    library.add_vector(new_vector(), random_delta(0))

    with pytest.raises(ConflictError, match=r"avatars/smile@1.*next free one is 2"):
        library.add_vector(new_vector(version=1), random_delta(1))

    assert library.add_vector(new_vector(version=1), random_delta(0)).version == 1
    assert library.add_vector(new_vector(version=5), random_delta(2)).version == 5
    assert library.add_vector(new_vector(), random_delta(3)).version == 6


def test_vector_is_found_without_class_while_there_is_one(
    library: Library, make_bundle: Callable[..., Path]
) -> None:
    added = library.add_vector(new_vector(), random_delta())
    assert library.get_vector("smile") == added

    library.add_bundle(make_bundle("cars", name="car"))

    with pytest.raises(ClassNotFoundError, match="several classes"):
        library.get_vector("smile")
    assert library.get_vector("smile", class_name="avatars") == added
    with pytest.raises(VectorNotFoundError, match="class car has no vector 'smile'"):
        library.get_vector("car/smile")


def test_unknown_vector_names_close_ones_and_the_latest_version(library: Library) -> None:
    library.add_vector(new_vector(), random_delta())

    with pytest.raises(VectorNotFoundError, match="did you mean smile"):
        library.get_vector("avatars/smlie")
    with pytest.raises(VectorNotFoundError, match="no version 3; the latest is 1"):
        library.get_vector("avatars/smile@3")
    with pytest.raises(ClassNotFoundError):
        library.get_vector("cat/smile")


@pytest.mark.parametrize(
    ("changes", "delta", "error", "message"),
    [
        ({"class_name": "cat"}, None, ClassNotFoundError, "no class 'cat'"),
        ({"roi_labels": ("mouht",)}, None, LabelNotFoundError, "has no part 'mouht'; its parts"),
        ({"roi_labels": ()}, None, LabelNotFoundError, "at least one part"),
        ({"roi_labels": ("eye", "eye")}, None, LabelNotFoundError, "named twice"),
        ({"generator_digest": "0" * 64}, None, CompatibilityError, "belongs to generator 0000"),
        ({"row_mask": (True,)}, None, CompatibilityError, "expected 6 values"),
        ({"name": "../smile"}, None, InvalidNameError, "vector name"),
        ({"name": "a" * 300}, None, InvalidNameError, "vector name"),
        ({"name": "smile\n"}, None, InvalidNameError, "vector name"),
        ({"name": "ѕmile"}, None, InvalidNameError, "vector name"),
        ({"kind": "stolen"}, None, RecordError, "one of learned"),
        ({"kind": "composed"}, None, RecordError, "composed vector has terms"),
        ({"dilation": -1}, None, RecordError, "dilation"),
        ({"version": 0}, None, RecordError, "version of 1 or more"),
        ({"scale_min": 1.0, "scale_max": 0.0}, None, RecordError, "upside down"),
        ({"description": "a\0b"}, None, RecordError, "description: expected text"),
        ({"license": "\udcff"}, None, RecordError, "license: expected text"),
        ({"created_by": "a" * 201}, None, RecordError, "at most 200 characters"),
        ({"tags": ("a b",)}, None, InvalidNameError, "tag"),
        ({"default_scale": float("nan")}, None, RecordError, "finite"),
        ({"settings": {"x": float("nan")}}, None, RecordError, "not JSON"),
        ({}, np.zeros((NUM_WS, W_DIM), np.float32), CodecError, "all values are zero"),
        ({}, np.ones((NUM_WS + 1, W_DIM), np.float32), CodecError, r"\[6, 4\].*got \[7, 4\]"),
        ({}, np.full((NUM_WS, W_DIM), np.nan), CodecError, r"got nan at \[0, 0\]"),
        ({}, np.ones((NUM_WS, W_DIM), np.int64), CodecError, "float dtype, got int64"),
    ],
)
def test_bad_vector_is_refused_and_nothing_changes(
    sqlite_library: Library,
    changes: dict[str, object],
    delta: np.ndarray | None,
    error: type[Exception],
    message: str,
) -> None:
    library = sqlite_library
    blobs = set(library.blobs.digests())

    with pytest.raises(error, match=message):
        library.add_vector(
            new_vector(**{"name": "smile", **changes}),
            random_delta() if delta is None else delta,
        )

    assert library.find_vectors() == []
    assert set(library.blobs.digests()) == blobs


def test_bad_mask_pair_or_metric_stores_no_part_of_the_vector(
    sqlite_library: Library,
) -> None:
    library = sqlite_library
    labels = (*library.get_class().labels, Label(5, "hat", (0, 0, 0)))
    good = mask_pair(library.get_class().labels)
    hatted = mask_pair(labels)
    hat = np.full((16, 16), 5, np.uint8)
    object.__setattr__(hatted, "mask_after_png", encode_mask(hat, labels))

    with pytest.raises(MaskError, match="mask after: label 5 at row 0, column 0"):
        library.add_vector(new_vector(), random_delta(), pairs=[good, hatted])
    with pytest.raises(RecordError, match="metric leakage: expected a finite number"):
        library.add_vector(
            new_vector(), random_delta(), metrics=[NewMetric(name="leakage", value=float("inf"))]
        )

    assert library.find_vectors() == []


def test_metric_over_no_samples_is_refused(sqlite_library: Library) -> None:
    metric = NewMetric(name="success", value=1.0, sample_count=0)

    with pytest.raises(RecordError, match="one sample at least"):
        sqlite_library.add_vector(new_vector(), random_delta(), metrics=[metric])


def test_several_vectors_are_stored_all_or_none(library: Library) -> None:
    good = VectorParcel(new=new_vector("good"), delta=random_delta())
    taken = VectorParcel(new=new_vector("taken", version=1), delta=random_delta(1))
    library.add_vector(new_vector("taken"), random_delta(2))

    with pytest.raises(ConflictError):
        library.add_vectors([good, taken])

    assert [vector.name for vector in library.find_vectors()] == ["taken"]


def test_full_disk_stores_no_part_of_the_vector(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    pair = mask_pair(library.get_class().labels)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(LibraryDiskFullError, match="no space left on the disk"):
            library.add_vector(new_vector(), random_delta(), pairs=[pair])

    assert library.find_vectors() == []
    assert library.add_vector(new_vector(), random_delta(), pairs=[pair]).version == 1


def test_altered_delta_is_noticed(library: Library) -> None:
    vector = library.add_vector(new_vector(), random_delta())
    blob = Path(library.blobs.url) / vector.delta_digest[:2] / vector.delta_digest
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(bytes(data))

    with pytest.raises(BlobError, match="altered"):
        library.delta(vector)


# --- composition ---


def test_composition_stores_the_sum_with_its_terms(library: Library) -> None:
    smile = library.add_vector(new_vector("smile", roi_labels=("teeth", "mouth")), random_delta(0))
    look = library.add_vector(new_vector("look", roi_labels=("eye",), dilation=3), random_delta(1))

    grin = library.compose(
        "avatars/grin",
        [NewTerm(address="smile", scale=1.0), NewTerm(address="look@1", scale=-0.5)],
        description="both",
    )

    assert grin.kind is Kind.COMPOSED
    assert [(term.address, term.scale) for term in grin.terms] == [
        (smile.address, 1.0),
        (look.address, -0.5),
    ]
    assert grin.roi_labels == ("mouth", "teeth", "eye")
    assert grin.dilation == 3
    expected = (random_delta(0) - 0.5 * random_delta(1).astype(np.float64)).astype(np.float32)
    np.testing.assert_array_equal(library.delta(grin), expected)


def test_composition_of_a_composition_equals_the_flat_one(library: Library) -> None:
    library.add_vector(new_vector("a"), random_delta(0))
    library.add_vector(new_vector("b"), random_delta(1))
    rows = (True, False, True, False, True, False)
    library.compose("ab", [NewTerm(address="a", scale=0.5), NewTerm(address="b", scale=2.0)])

    nested = library.compose(
        "nested",
        [NewTerm(address="ab", scale=3.0, row_mask=rows), NewTerm(address="a", scale=-1.0)],
    )
    flat = library.plan_composition(
        [
            NewTerm(address="a", scale=1.5, row_mask=rows),
            NewTerm(address="b", scale=6.0, row_mask=rows),
            NewTerm(address="a", scale=-1.0),
        ]
    )

    assert [term.address for term in nested.terms] == ["avatars/ab@1", "avatars/a@1"]
    np.testing.assert_array_equal(library.delta(nested), flat.delta)


def test_composing_across_classes_or_generators_is_refused(
    library: Library, make_bundle: Callable[..., Path]
) -> None:
    library.add_vector(new_vector("smile"), random_delta(0))
    library.add_bundle(make_bundle("retrained", weights=b"w2"))
    library.add_vector(new_vector("look"), random_delta(1))
    library.add_bundle(make_bundle("cars", name="car"))
    library.add_vector(new_vector("wheel", class_name="car"), random_delta(2))

    def compose(*addresses: str) -> None:
        library.compose("avatars/x", [NewTerm(address=one, scale=1.0) for one in addresses])

    in_w = np.repeat(random_delta(3)[:1], NUM_WS, axis=0)
    library.add_vector(new_vector("in-w", class_name="avatars@1", latent_space="W"), in_w)

    with pytest.raises(CompatibilityError, match=r"differ in latent space: W\+ and W"):
        compose("avatars/smile", "avatars/in-w")
    with pytest.raises(CompatibilityError, match="differ in generator"):
        compose("avatars/smile", "avatars/look")
    with pytest.raises(CompatibilityError, match="differ in class: avatars and car"):
        compose("avatars/smile", "car/wheel")


def test_vector_of_one_class_version_is_refused_by_another_generator(
    library: Library, make_bundle: Callable[..., Path]
) -> None:
    old = library.get_class().generator_digest
    library.add_bundle(make_bundle("retrained", weights=b"w2"))

    with pytest.raises(CompatibilityError, match=old):
        library.add_vector(new_vector(generator_digest=old), random_delta())

    added = library.add_vector(
        new_vector(class_name="avatars@1", generator_digest=old), random_delta()
    )
    assert added.class_version == 1


# --- races ---


def _add_in_thread(library: Library, seed: int) -> int:
    return library.add_vector(new_vector("raced"), random_delta(seed)).version


def test_sixteen_threads_get_versions_one_to_sixteen(library: Library) -> None:
    with ThreadPoolExecutor(16) as threads:
        versions = threads.map(lambda seed: _add_in_thread(library, seed), range(16))

    assert sorted(versions) == list(range(1, 17))


def test_sixteen_equal_adds_get_one_version(library: Library) -> None:
    with ThreadPoolExecutor(16) as threads:
        versions = threads.map(lambda _: _add_in_thread(library, 0), range(16))

    assert set(versions) == {1}


def test_four_processes_get_versions_one_to_sixteen(
    library: Library, processes: ForkServerContext
) -> None:
    with processes.Pool(4) as pool:
        versions = pool.starmap(add_vector, [(library.config, seed) for seed in range(16)])

    assert sorted(versions) == list(range(1, 17))


def test_eight_threads_adding_one_bundle_make_one_version(
    empty_library: Library, bundle: Path
) -> None:
    with ThreadPoolExecutor(8) as threads:
        versions = threads.map(lambda _: empty_library.add_bundle(bundle).version, range(8))

    assert set(versions) == {1}
