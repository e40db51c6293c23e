"""The cache of embeddings."""

from pathlib import Path

import numpy as np
import pytest

from editvec.registry.entities.vectors import Embedding
from editvec.registry.errors import CodecError, RecordError
from editvec.registry.library.library import Library
from editvec.whole_files import digest_of
from tests.support.registry_fixtures import random_delta

BUNDLE = digest_of(b"bundle")
SETTINGS = digest_of(b"settings")


def _embedding(seed: int, **changes: object) -> Embedding:
    values: dict[str, object] = {
        "image_digest": digest_of(bytes([seed % 256, seed // 256])),
        "generator_digest": BUNDLE,
        "settings_key": SETTINGS,
        "ws": random_delta(seed),
        "perceptual_name": "perceptual/small",
        "perceptual_value": 0.25,
        "psnr": 24.5,
        "num_steps": 50,
    }
    return Embedding(**{**values, **changes})  # type: ignore[arg-type]


def _get(library: Library, *embeddings: Embedding) -> dict[str, Embedding]:
    return library.get_embeddings(
        [one.image_digest for one in embeddings], generator_digest=BUNDLE, settings_key=SETTINGS
    )


def test_batch_comes_back_and_unknown_images_are_left_out(empty_library: Library) -> None:
    batch = [_embedding(seed) for seed in range(450)]
    empty_library.put_embeddings(batch)

    found = _get(empty_library, *batch, _embedding(999))

    assert set(found) == {one.image_digest for one in batch}
    for one in batch:
        np.testing.assert_array_equal(found[one.image_digest].ws, one.ws)
    first = found[batch[0].image_digest]
    assert (first.perceptual_name, first.perceptual_value) == ("perceptual/small", 0.25)
    assert (first.psnr, first.num_steps) == (24.5, 50)


def test_other_settings_or_bundle_is_another_embedding(empty_library: Library) -> None:
    empty_library.put_embeddings([_embedding(0, settings_key=digest_of(b"other"))])
    empty_library.put_embeddings([_embedding(0, generator_digest=digest_of(b"other"))])

    assert _get(empty_library, _embedding(0)) == {}


def test_embedding_put_again_replaces_the_old_one(empty_library: Library) -> None:
    empty_library.put_embeddings([_embedding(0)])
    empty_library.put_embeddings([_embedding(0, ws=random_delta(1), psnr=30.0), _embedding(1)])
    empty_library.put_embeddings([])

    found = _get(empty_library, _embedding(0))[_embedding(0).image_digest]

    assert found.psnr == 30.0
    np.testing.assert_array_equal(found.ws, random_delta(1))


def test_image_twice_in_one_batch_is_held_once(empty_library: Library) -> None:
    empty_library.put_embeddings([_embedding(0), _embedding(0, psnr=31.0)])

    assert _get(empty_library, _embedding(0))[_embedding(0).image_digest].psnr == 31.0


def test_lost_or_altered_blob_counts_as_not_held(sqlite_library: Library) -> None:
    sqlite_library.put_embeddings([_embedding(0)])
    before = set(sqlite_library.blobs.digests())
    sqlite_library.put_embeddings([_embedding(1), _embedding(2)])
    (pack,) = set(sqlite_library.blobs.digests()) - before
    blob = Path(sqlite_library.blobs.url) / pack[:2] / pack
    blob.write_bytes(b"altered")

    assert set(_get(sqlite_library, *map(_embedding, range(3)))) == {_embedding(0).image_digest}

    blob.unlink()
    assert set(_get(sqlite_library, *map(_embedding, range(3)))) == {_embedding(0).image_digest}


def test_bad_embedding_is_refused(sqlite_library: Library) -> None:
    with pytest.raises(RecordError, match="expected a SHA-256 in hex, got 'image'"):
        sqlite_library.put_embeddings([_embedding(0, image_digest="image")])
    with pytest.raises(RecordError, match="psnr: expected a number, got nan"):
        sqlite_library.put_embeddings([_embedding(0, psnr=float("nan"))])
    with pytest.raises(CodecError, match="finite"):
        sqlite_library.put_embeddings([_embedding(0, ws=np.full((6, 4), np.nan, np.float32))])
    with pytest.raises(CodecError, match=r"expected shape \[6, 4\], got \[2, 2\]"):
        sqlite_library.put_embeddings(
            [_embedding(0), _embedding(1, ws=np.ones((2, 2), np.float32))]
        )
