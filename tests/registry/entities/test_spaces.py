"""Vectors of every latent space in the library, on both databases."""

import hashlib
import json

import numpy as np
import pytest
from sqlalchemy import text

from editvec.registry.entities.spaces import rows_between
from editvec.registry.entities.vectors import NewTerm, OriginalFile, VectorParcel
from editvec.registry.errors import CodecError, CompatibilityError, RegistryError
from editvec.registry.library.library import Library
from editvec.registry.masks.brushes import encode_brush
from tests.support.registry_fixtures import (
    NUM_WS,
    RESOLUTION,
    W_DIM,
    contents,
    mask_pair,
    new_vector,
    random_delta,
)

DELTAS = {
    "Z": random_delta(1)[:1],
    "S": np.arange(1, 100, dtype=np.float32)[None],
    "W": np.repeat(random_delta(2)[:1], NUM_WS, axis=0),
    "W+": random_delta(3),
}


@pytest.mark.parametrize("space", DELTAS)
def test_vector_of_every_space_is_stored_listed_and_read(library: Library, space: str) -> None:
    added = library.add_vector(new_vector(latent_space=space), DELTAS[space])

    assert library.find_vectors() == [added]
    assert library.get_vector("smile") == added
    assert (added.latent_space, added.num_ws, added.w_dim) == (space, *DELTAS[space].shape)
    assert added.row_mask == (True,) * len(DELTAS[space])
    np.testing.assert_array_equal(library.delta(added), DELTAS[space])


@pytest.mark.parametrize("space", DELTAS)
def test_vectors_compose_within_one_space(sqlite_library: Library, space: str) -> None:
    library = sqlite_library
    library.add_vector(new_vector("one", latent_space=space), DELTAS[space])
    library.add_vector(new_vector("other", latent_space=space), DELTAS[space] * 2)

    terms = [NewTerm(address="one", scale=1.0), NewTerm(address="other", scale=-0.25)]
    mixed = library.compose("mix", terms)

    assert mixed.latent_space == space
    np.testing.assert_allclose(library.delta(mixed), DELTAS[space] * 0.5, rtol=1e-6)


def test_vectors_of_different_spaces_do_not_compose(sqlite_library: Library) -> None:
    library = sqlite_library
    for space, delta in DELTAS.items():
        name = f"in-{space.replace('+', 'plus')}"
        library.add_vector(new_vector(name, latent_space=space), delta)
    library.add_vector(new_vector("in-other-S", latent_space="S"), np.ones((1, 3)))

    for other in ("in-S", "in-W", "in-Wplus"):
        terms = [NewTerm(address="in-Z", scale=1.0), NewTerm(address=other, scale=1.0)]
        with pytest.raises(CompatibilityError, match="latent space"):
            library.compose("mix", terms)
    with pytest.raises(RegistryError, match="shape"):
        library.compose(
            "mix", [NewTerm(address="in-S", scale=1.0), NewTerm(address="in-other-S", scale=1.0)]
        )


@pytest.mark.parametrize(
    ("space", "delta", "error", "message"),
    [
        ("Z", np.ones((1, W_DIM + 1)), CodecError, r"expected shape \[1, 4\], got \[1, 5\]"),
        ("Z", np.ones((NUM_WS, W_DIM)), CodecError, r"expected shape \[1, 4\], got \[6, 4\]"),
        ("W", np.ones((1, W_DIM)), CodecError, r"expected shape \[6, 4\] \(num_ws, w_dim\)"),
        ("W", random_delta(), CompatibilityError, "a delta with different rows lives in W"),
        ("W+", np.ones((1, W_DIM)), CodecError, r"expected shape \[6, 4\] \(num_ws, w_dim\)"),
        ("S", np.ones((2, 9)), CodecError, r"expected shape \[1, 9\], got \[2, 9\]"),
        ("S", np.ones((1, 0)), CodecError, "expected 1 to 65536 style channels in S, got 0"),
        ("S", np.float32(1), CodecError, "expected 1 to 65536 style channels in S, got 0"),
        ("S", np.ones((1, 65537)), CodecError, "style channels in S, got 65537"),
    ],
)
def test_delta_of_another_shape_than_its_space_is_refused(
    sqlite_library: Library, space: str, delta: np.ndarray, error: type[Exception], message: str
) -> None:
    before = contents(sqlite_library)

    with pytest.raises(error, match=message):
        sqlite_library.add_vector(new_vector(latent_space=space), delta)

    assert contents(sqlite_library) == before


def test_rows_of_w_may_differ_where_the_row_mask_hides_them(sqlite_library: Library) -> None:
    delta = DELTAS["W"].copy()
    delta[0] = 7

    hidden = rows_between(1, NUM_WS, rows=NUM_WS)
    added = sqlite_library.add_vector(new_vector(latent_space="W", row_mask=hidden), delta)

    assert not sqlite_library.delta(added)[0].any()


def _parcel(library: Library) -> VectorParcel:
    painted = np.zeros((RESOLUTION, RESOLUTION), bool)
    painted[3:6, 3:6] = True
    return VectorParcel(
        new=new_vector(roi_policy="union"),
        delta=random_delta(),
        brush_png=encode_brush(painted),
        original=OriginalFile(name="C:\\vectors\\../smile\n.npy", data=b"as it came"),
        preview_png=mask_pair(library.get_class().labels).image_png,
    )


def test_brush_original_and_preview_are_kept(library: Library) -> None:
    parcel = _parcel(library)

    (stored,) = library.add_vectors([parcel])

    vector = library.get_vector("smile")
    assert vector == stored.vector
    assert vector.original_name == "smile_.npy"
    assert vector.brush_digest is not None
    assert vector.original_digest is not None
    assert vector.preview_digest is not None
    assert library.blobs.get(vector.brush_digest) == parcel.brush_png
    assert library.blobs.get(vector.original_digest) == b"as it came"
    assert library.blobs.get(vector.preview_digest) == parcel.preview_png


def test_rehearsal_answers_as_adding_does_and_stores_nothing(library: Library) -> None:
    before = contents(library)

    rehearsed = library.rehearse_vectors([_parcel(library), _parcel(library)])

    assert [(one.vector.address, one.is_new) for one in rehearsed] == [
        ("avatars/smile@1", True),
        ("avatars/smile@1", False),
    ]
    assert contents(library) == before
    assert library.add_vectors([_parcel(library)])[0].vector.version == 1


def test_content_digest_names_the_brush_only_where_there_is_one(sqlite_library: Library) -> None:
    library = sqlite_library
    plain = library.add_vector(new_vector("plain", dilation=2), random_delta())
    painted = library.add_vectors([_parcel(library)])[0].vector

    with library.engine.connect() as connection:
        rows = connection.execute(text("SELECT name, content_digest FROM vectors")).all()
    stored = {row.name: row.content_digest for row in rows}
    # what a vector without a brush is known by must stay as it was in every release
    content: list[object] = [plain.generator_digest, "W+", plain.delta_digest, "1" * NUM_WS]
    content += [["mouth", "teeth"], "labels", 2]
    canonical = json.dumps(content, separators=(",", ":")).encode()
    assert stored["plain"] == hashlib.sha256(canonical).hexdigest()
    content[5:] = ["union", 1, painted.brush_digest]
    canonical = json.dumps(content, separators=(",", ":")).encode()
    assert stored["smile"] == hashlib.sha256(canonical).hexdigest()
