"""Networks that the engine's tests share."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from editvec.engine.bundle.bundle import LoadedBundle, load_bundle
from editvec.engine.editing.losses import Networks


@pytest.fixture(scope="session")
def small(make_tiny_bundle: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random bundle at 16 px."""
    return make_tiny_bundle(tmp_path_factory.mktemp("small") / "small", resolution=16)


@pytest.fixture(scope="session")
def loaded(small: Path) -> LoadedBundle:
    """The 16 px bundle in float64."""
    bundle = load_bundle(small)
    for network in bundle[1:]:
        network.double()
    return bundle


@pytest.fixture(scope="session")
def networks(loaded: LoadedBundle) -> Networks:
    """The float64 networks as losses take them."""
    return networks_of(loaded)


@pytest.fixture(scope="session")
def networks32(small: Path) -> Networks:
    """The same networks in float32."""
    return networks_of(load_bundle(small))


def networks_of(loaded: LoadedBundle) -> Networks:
    return Networks(
        synthesis=loaded.generator.synthesis,
        segmentation=loaded.segmentation,
        perceptual=loaded.perceptual,
        encoder=loaded.encoder,
        identity=loaded.identity,
    )


@pytest.fixture(scope="session")
def ws(loaded: LoadedBundle) -> Tensor:
    """Four sampled latents in float64: [4, num_ws, w_dim]."""
    random = torch.Generator().manual_seed(5)
    z = torch.randn(4, loaded.bundle.z_dim, generator=random, dtype=torch.float64)
    with torch.no_grad():
        return loaded.generator.mapping(z)


@pytest.fixture(scope="session")
def images(loaded: LoadedBundle, ws: Tensor) -> Tensor:
    """Images of `ws`."""
    with torch.no_grad():
        return loaded.generator.synthesis(ws).clamp(-1, 1)
