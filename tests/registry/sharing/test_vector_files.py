"""One vector as one file that says what it is: written, read back, and never contradicted."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from sqlalchemy import text

from editvec.registry.config import RegistryConfig
from editvec.registry.entities.vectors import (
    EditingVector,
    LatentSpace,
    NewTerm,
    RoiPolicy,
    VectorParcel,
)
from editvec.registry.errors import (
    CodecError,
    CompatibilityError,
    ExchangeError,
    LabelNotFoundError,
    RecordError,
    RegistryError,
    VectorNotFoundError,
)
from editvec.registry.library.library import Library
from editvec.registry.masks.brushes import encode_brush
from editvec.registry.sharing.annotations import export_vector
from editvec.registry.sharing.vector_files import FileRequest, add_vector_file
from tests.support.registry_fixtures import NUM_WS, RESOLUTION, W_DIM, new_vector, random_delta


@pytest.fixture
def library(sqlite_library: Library) -> Library:
    """What the files say does not depend on the database."""
    return sqlite_library


@pytest.fixture
def target(tmp_path: Path, bundle: Path) -> Any:
    """Another library with the same class."""
    with Library.open(RegistryConfig.for_home(tmp_path / "other home")) as other:
        other.add_bundle(bundle)
        yield other


def _content_digest(library: Library, vector: EditingVector) -> str:
    with library.engine.connect() as connection:
        query = text("SELECT content_digest FROM vectors WHERE id = :id")
        digest: str = connection.execute(query, {"id": vector.id}).scalar_one()
    return digest


def _annotated(tmp_path: Path, delta: np.ndarray | None = None, **said: Any) -> Path:
    """A file by another program, with what it says in its metadata."""
    path = tmp_path / "smile.safetensors"
    tensors = {"direction": random_delta() if delta is None else delta}
    path.write_bytes(safetensors.numpy.save(tensors, metadata={"editvec": json.dumps(said)}))
    return path


def _brush() -> bytes:
    painted = np.zeros((RESOLUTION, RESOLUTION), bool)
    painted[2:5, 3:9] = True
    return encode_brush(painted)


def _w(seed: int = 3) -> np.ndarray:
    return np.repeat(random_delta(seed)[:1], NUM_WS, axis=0)


EVERY_KIND = {
    "plain": VectorParcel(new=new_vector(), delta=random_delta()),
    "with a row mask over zero rows": VectorParcel(
        new=new_vector(row_mask=(True, True, False, True, True, True)),
        delta=np.where(np.arange(NUM_WS)[:, None] == 1, np.float32(0), random_delta()),
    ),
    "in W": VectorParcel(
        new=new_vector(latent_space="W", row_mask=(False, True, True, True, False, False)),
        delta=_w(),
    ),
    "in Z": VectorParcel(new=new_vector(latent_space="Z"), delta=random_delta()[:1]),
    "in S": VectorParcel(new=new_vector(latent_space="S"), delta=np.ones((1, 77), np.float32)),
    "with a brush only": VectorParcel(
        new=new_vector(roi_labels=(), roi_policy="brush"), delta=random_delta(), brush_png=_brush()
    ),
    "with parts and a brush": VectorParcel(
        new=new_vector(roi_policy="union", dilation=0), delta=random_delta(), brush_png=_brush()
    ),
    "with advice": VectorParcel(
        new=new_vector(
            scale_min=-1.5, scale_max=2.0, default_scale=0.7, license="CC0", tags=("a", "b")
        ),
        delta=random_delta(),
    ),
}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_exported_file_is_the_same_vector_elsewhere(
    library: Library, target: Library, tmp_path: Path, kind: str
) -> None:
    ours = library.add_vectors([EVERY_KIND[kind]])[0].vector
    path = tmp_path / "smile.safetensors"

    exported = export_vector(library, path, "smile")
    theirs = add_vector_file(target, path, FileRequest()).vector

    assert exported == ours
    assert _content_digest(target, theirs) == _content_digest(library, ours)
    assert theirs.default_scale == ours.default_scale
    assert (theirs.scale_min, theirs.scale_max) == (ours.scale_min, ours.scale_max)
    assert (theirs.license, theirs.tags) == (ours.license, ours.tags)


def test_equal_vectors_give_equal_bytes(library: Library, target: Library, tmp_path: Path) -> None:
    parcel = EVERY_KIND["with parts and a brush"]
    files = [tmp_path / f"{name}.safetensors" for name in ("one", "again", "there")]
    library.add_vectors([parcel])
    target.add_vectors([parcel], reason="for another reason")

    export_vector(library, files[0], "smile")
    export_vector(library, files[1], "avatars/smile@1")
    export_vector(target, files[2], "smile")

    assert len({file.read_bytes() for file in files}) == 1


def test_composition_travels_as_one_vector_without_its_terms(
    library: Library, target: Library, tmp_path: Path
) -> None:
    library.add_vectors([EVERY_KIND["plain"]])
    mix = library.compose("mix", [NewTerm(address="smile", scale=0.5)])

    export_vector(library, tmp_path / "mix.safetensors", "mix")
    theirs = add_vector_file(target, tmp_path / "mix.safetensors", FileRequest()).vector

    assert (theirs.kind, theirs.terms) == ("imported", ())
    np.testing.assert_array_equal(target.delta(theirs), library.delta(mix))


def test_export_of_an_unknown_vector_or_a_novel_writes_nothing(
    library: Library, tmp_path: Path
) -> None:
    path = tmp_path / "smile.safetensors"
    with pytest.raises(VectorNotFoundError):
        export_vector(library, path, "smile")
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 2, (RESOLUTION, RESOLUTION)).astype(bool)
    padded = encode_brush(noise) + b"\0" * (1 << 19)
    library.add_vectors(
        [VectorParcel(new=new_vector(roi_policy="union"), delta=random_delta(), brush_png=padded)]
    )
    with pytest.raises(ExchangeError, match="too large for the header"):
        export_vector(library, path, "smile")

    assert not path.exists()


def test_what_the_file_says_need_not_be_repeated(library: Library, tmp_path: Path) -> None:
    path = _annotated(
        tmp_path,
        **{"class": "avatars"},
        generator_digest=library.get_class().generator_digest,
        latent_space="W+",
        roi_labels=["teeth", "mouth"],
        dilation=2,
    )

    vector = add_vector_file(library, path, FileRequest(tags=("mood",))).vector

    assert (vector.roi_labels, vector.dilation, vector.tags) == (("teeth", "mouth"), 2, ("mood",))


def test_saying_the_same_again_is_no_contradiction(library: Library, tmp_path: Path) -> None:
    path = _annotated(tmp_path, **{"class": "avatars"}, roi_labels=["teeth", "mouth"], dilation=2)

    request = FileRequest(class_name="avatars@1", roi_labels=("mouth", "teeth"), dilation=2)
    vector = add_vector_file(library, path, request).vector

    assert vector.roi_labels == ("mouth", "teeth")


@pytest.mark.parametrize(
    ("said", "asked", "message"),
    [
        ({"class": "avatars"}, {"class_name": "car"}, "class: the file says avatars.*for car"),
        ({"latent_space": "W+"}, {"latent_space": LatentSpace.W}, r"latent space: .*W\+.* W"),
        ({"roi_labels": ["eye"]}, {"roi_labels": ("mouth",)}, "ROI: the file says eye"),
        ({"row_mask": [True] * NUM_WS}, {"rows": (1, 3)}, "rows: the file says 111111.*011000"),
        ({"dilation": 2}, {"dilation": 3}, "dilation: the file says 2, asked was for 3"),
        ({"dilation": 0}, {"dilation": 3}, "dilation: the file says 0, asked was for 3"),
        ({"default_scale": 1.0}, {"default_scale": 2.0}, "default scale: the file says 1.0"),
        ({"scale_min": -1.0}, {"scale_range": (-2.0, 1.0)}, "lowest scale: the file says -1.0"),
        ({"scale_max": 2.0}, {"scale_range": (-2.0, 1.0)}, "highest scale: the file says 2.0"),
        ({"license": "CC0"}, {"license": "MIT"}, "license: the file says CC0"),
        ({"roi_policy": "labels"}, {"roi_policy": RoiPolicy.UNION}, "ROI policy: the file says l"),
        (
            {"brush_png": base64.b64encode(b"other").decode()},
            {"brush_png": _brush()},
            "brush: the file has one of its own",
        ),
    ],
)
def test_contradiction_between_file_and_request_is_refused(
    library: Library,
    tmp_path: Path,
    said: dict[str, Any],
    asked: dict[str, Any],
    message: str,
) -> None:
    path = _annotated(tmp_path, **said)
    request = FileRequest(**{"roi_labels": None if "roi_labels" in said else ("eye",), **asked})

    with pytest.raises(CompatibilityError, match=message) as caught:
        add_vector_file(library, path, request)

    assert "\n" not in str(caught.value)
    assert library.find_vectors() == []


def test_file_of_another_generator_is_refused_with_both_digests(
    library: Library, tmp_path: Path
) -> None:
    path = _annotated(tmp_path, roi_labels=["eye"], generator_digest="ab" * 32)

    for request in (FileRequest(), FileRequest(class_name="avatars")):
        with pytest.raises(CompatibilityError) as caught:
            add_vector_file(library, path, request)
        assert "ab" * 32 in str(caught.value)
        assert library.get_class().generator_digest in str(caught.value)


def test_generator_of_the_file_picks_the_version_of_the_class(
    library: Library, tmp_path: Path, make_bundle: Callable[..., Path]
) -> None:
    old = library.get_class().generator_digest
    library.add_bundle(make_bundle("retrained", weights=b"w2"))
    path = _annotated(tmp_path, **{"class": "avatars"}, roi_labels=["eye"], generator_digest=old)

    assert add_vector_file(library, path, FileRequest()).vector.class_version == 1


@pytest.mark.parametrize(
    ("metadata", "error", "message"),
    [
        ("[", CodecError, "metadata 'editvec': not JSON"),
        ("[" * 100_000, CodecError, "not JSON"),
        ("[]", CodecError, "expected an object"),
        ('{"dilation": 1, "dilation": 2}', CodecError, "not JSON .duplicate keys"),
        ('{"roi": ["eye"]}', CodecError, "'roi' is no known field"),
        ('{"class": "../x"}', CodecError, "class: expected a letter or digit"),
        ('{"generator_digest": "x"}', CodecError, "generator_digest: expected a SHA-256"),
        ('{"latent_space": "Q"}', CodecError, r"latent_space: expected one of Z, W, W\+, S"),
        ('{"roi_policy": "lasso"}', CodecError, "roi_policy: expected one of labels, brush"),
        ('{"dilation": -1}', CodecError, "dilation: expected an integer from 0"),
        ('{"default_scale": NaN}', CodecError, "default_scale: expected a finite number"),
        ('{"scale_min": 1' + "0" * 400 + "}", CodecError, "scale_min: expected a finite number"),
        ('{"row_mask": [1, 0]}', CodecError, "row_mask: expected a list of true and false"),
        ('{"brush_png": "?"}', CodecError, "brush_png: expected base64"),
        ('{"row_mask": [true]}', CompatibilityError, "row mask: expected 6 values"),
        ('{"roi_labels": ["hat"]}', LabelNotFoundError, "no part 'hat'"),
        ('{"scale_min": 2, "scale_max": 1}', RecordError, "upside down"),
        ('{"roi_policy": "brush"}', RecordError, "ROI policy brush needs a brush"),
        ('{"tags": ["a b"]}', RegistryError, "tag: expected a letter"),
    ],
)
def test_metadata_that_makes_no_sense_is_refused(
    library: Library, tmp_path: Path, metadata: str, error: type[Exception], message: str
) -> None:
    path = tmp_path / "smile.safetensors"
    tensors = {"x": random_delta()}
    path.write_bytes(safetensors.numpy.save(tensors, metadata={"editvec": metadata}))
    asked = None if "roi_labels" in metadata else ("eye",)

    with pytest.raises(error, match=message) as caught:
        add_vector_file(library, path, FileRequest(roi_labels=asked))

    assert "\n" not in str(caught.value)
    assert library.find_vectors() == []


def test_file_without_parts_needs_them(library: Library, tmp_path: Path) -> None:
    np.save(tmp_path / "smile.npy", np.ones((NUM_WS, W_DIM)))

    with pytest.raises(LabelNotFoundError, match="ROI: expected at least one part"):
        add_vector_file(library, tmp_path / "smile.npy", FileRequest())
