"""The cache of embeddings depends on what an embedding depends on, and on nothing else."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from editvec.batch.editing.embeddings import EmbeddingCache, networks_digest
from editvec.batch.editing.reading import Decoded
from editvec.batch.recipes.settings import RunSettings, Space
from editvec.batch.runs.plan import PlannedInput
from editvec.engine.bundle.bundle import NetworkState, read_networks, write_bundle
from editvec.engine.editor import Editor
from editvec.registry.library.library import Library


def _other_weights(source: Path, folder: Path, network: str) -> Path:
    """The same bundle, with other weights of one network."""
    bundle, networks = read_networks(source)
    state = networks[network].state
    key = next(key for key, tensor in state.items() if tensor.is_floating_point())
    changed = {**state, key: state[key] * 1.01 + 0.001}
    networks[network] = NetworkState(networks[network].config, changed)
    write_bundle(
        folder,
        class_name=bundle.class_name,
        description=bundle.description,
        license=bundle.license,
        labels=bundle.labels,
        networks=networks,
        built={"by": "tests"},
    )
    return folder


def _cache(library: Library, folder: Path, **settings: str) -> EmbeddingCache:
    asked = RunSettings(**{"embed": "steps:5", **settings})  # type: ignore[arg-type]
    model, networks = library.add_bundle(folder), networks_digest(Editor.open(folder))
    return EmbeddingCache(library, model.generator_digest, asked, networks)


@pytest.fixture
def image() -> Decoded:
    return Decoded(
        input=PlannedInput(position=3, relative_path=b"x.png", output_name="x"),
        pixels=np.full((32, 32, 3), 7, np.uint8),
    )


@pytest.fixture
def ws(library: Library, tiny_bundle: Path, image: Decoded) -> np.ndarray:
    """An embedding of the image, stored by a run with the tiny bundle."""
    model = library.get_class()
    ws = np.full((1, model.num_ws, model.w_dim), 0.5, np.float32)
    _cache(library, tiny_bundle).store([image], ws, [{"psnr": 20.0, "num_steps": 5}])
    return ws


def test_embedding_is_found_by_the_next_run(
    library: Library, tiny_bundle: Path, image: Decoded, ws: np.ndarray
) -> None:
    found = _cache(library, tiny_bundle).find([image])

    np.testing.assert_array_equal(found[3].ws, ws[0])


@pytest.mark.parametrize("network", ["segmentation", "classifier", "identity"])
def test_networks_that_do_not_embed_may_be_trained_anew(
    library: Library,
    tiny_bundle: Path,
    tmp_path: Path,
    image: Decoded,
    ws: np.ndarray,
    network: str,
) -> None:
    other = _other_weights(tiny_bundle, tmp_path / "other", network)
    assert read_networks(other)[0].bundle_digest != read_networks(tiny_bundle)[0].bundle_digest

    found = _cache(library, other).find([image])

    np.testing.assert_array_equal(found[3].ws, ws[0])


@pytest.mark.parametrize("network", ["encoder", "perceptual", "generator"])
def test_embedding_by_other_networks_is_another_one(
    library: Library,
    tiny_bundle: Path,
    tmp_path: Path,
    image: Decoded,
    ws: np.ndarray,
    network: str,
) -> None:
    other = _other_weights(tiny_bundle, tmp_path / "other", network)

    assert _cache(library, other).find([image]) == {}


@pytest.mark.parametrize(
    "settings", [{"embed": "steps:6"}, {"embed": "target:20"}, {"space": Space.W}]
)
def test_embedding_with_other_settings_is_another_one(
    library: Library, tiny_bundle: Path, image: Decoded, ws: np.ndarray, settings: dict[str, str]
) -> None:
    assert _cache(library, tiny_bundle, **settings).find([image]) == {}


def test_other_pixels_are_another_image(
    library: Library, tiny_bundle: Path, image: Decoded, ws: np.ndarray
) -> None:
    other = dataclasses.replace(image, pixels=np.full((32, 32, 3), 8, np.uint8))

    assert _cache(library, tiny_bundle).find([other]) == {}


def test_encoder_alone_is_not_cached(library: Library, tiny_bundle: Path) -> None:
    assert not _cache(library, tiny_bundle, embed="encoder").is_used
