"""The generator against outputs of the reference implementation."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from editvec.engine.errors import EngineSettingsError, ShapeError
from editvec.engine.networks.config import GeneratorConfig
from editvec.engine.networks.generator import Generator
from editvec.engine.networks.layers import demodulation
from editvec.engine.shapes import block_resolutions
from tests.support.places import FIXTURES

NAMES = ("nvlabs_r32_map2", "nvlabs_r64_map8")


def load_reference(name: str) -> tuple[Generator, dict[str, Tensor]]:
    path = FIXTURES / f"{name}.weights.safetensors"
    with safe_open(path, framework="pt") as file:
        kwargs = json.loads(file.metadata()["init_kwargs"])
    config = GeneratorConfig(
        resolution=kwargs["img_resolution"],
        z_dim=kwargs["z_dim"],
        w_dim=kwargs["w_dim"],
        channel_base=kwargs["channel_base"],
        channel_max=kwargs["channel_max"],
        mapping_layers=kwargs["mapping_kwargs"]["num_layers"],
    )
    generator = Generator(config).eval()
    state = {k: v for k, v in load_file(path).items() if not k.endswith("resample_filter")}
    generator.load_state_dict(state, strict=True)
    return generator, load_file(FIXTURES / f"{name}.expected.safetensors")


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_mapping_equals_the_reference(name: str) -> None:
    generator, expected = load_reference(name)

    ws = generator.mapping(expected["z"])
    truncated = generator.mapping(expected["z"], truncation_psi=0.7)
    cut = generator.mapping(expected["z"], truncation_psi=0.5, truncation_cutoff=4)

    torch.testing.assert_close(ws, expected["ws"], atol=1e-5, rtol=0)
    torch.testing.assert_close(truncated, expected["ws_psi07"], atol=1e-5, rtol=0)
    torch.testing.assert_close(cut, expected["ws_psi05_cut4"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_images_equal_the_reference(name: str) -> None:
    generator, expected = load_reference(name)
    synthesis = generator.synthesis

    for ws, noise_mode, images in (
        (expected["ws"], "const", expected["img_const"]),
        (expected["ws"], "none", expected["img_none"]),
        (expected["ws_plus"], "const", expected["img_plus_const"]),
    ):
        torch.testing.assert_close(synthesis(ws, noise_mode=noise_mode), images, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_features_equal_the_reference(name: str) -> None:
    generator, expected = load_reference(name)

    features = generator.synthesis.with_features(expected["ws_plus"][:1]).features

    layers = ["b4_const"] + [
        f"b{res}_{conv}"
        for res in block_resolutions(generator.config.resolution)
        for conv in ("conv0", "conv1")
        if (res, conv) != (4, "conv0")
    ]
    assert len(features) == len(layers)
    assert [f.shape[1] for f in features] == generator.feature_channels
    for layer, feature in zip(layers[1:], features[1:], strict=True):
        torch.testing.assert_close(feature, expected[f"feat_{layer}"], atol=1e-4, rtol=0)


@torch.inference_mode()
def test_unfused_convolution_equals_the_fused_one() -> None:
    generator, expected = load_reference("nvlabs_r32_map2")
    layer = generator.synthesis.b8.conv1
    w = expected["ws"][:1, 2]
    x = torch.randn(1, 32, 8, 8, generator=torch.Generator().manual_seed(0))
    styles = layer.affine(w)

    # The fused form of the paper: modulate and demodulate the weight itself.
    weight = layer.weight * styles[0][None, :, None, None]
    weight = weight * (weight.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).rsqrt()
    fused = torch.nn.functional.conv2d(x, weight, padding=1)
    modulated = torch.nn.functional.conv2d(x * styles[:, :, None, None], layer.weight, padding=1)
    squared = layer.weight.square().sum(dim=(2, 3))
    unfused = modulated * demodulation(squared, styles)[:, :, None, None]

    torch.testing.assert_close(unfused, fused, atol=4e-5, rtol=1e-5)


@torch.inference_mode()
def test_random_noise_follows_its_generator() -> None:
    generator, expected = load_reference("nvlabs_r32_map2")

    def draw(seed: int) -> Tensor:
        images: Tensor = generator.synthesis(
            expected["ws"], noise_mode="random", generator=torch.Generator().manual_seed(seed)
        )
        return images

    assert torch.equal(draw(1), draw(1))
    assert not torch.allclose(draw(1), draw(2))


@torch.inference_mode()
def test_a_batch_equals_its_samples() -> None:
    generator, expected = load_reference("nvlabs_r64_map8")
    ws = expected["ws_plus"]

    together = generator.synthesis(ws)
    one_by_one = torch.cat([generator.synthesis(ws[i : i + 1]) for i in range(len(ws))])

    torch.testing.assert_close(together, one_by_one, atol=1e-5, rtol=0)


@pytest.mark.parametrize("resolution", [16, 128])
@torch.inference_mode()
def test_resolution_sets_rows_and_size(resolution: int) -> None:
    config = GeneratorConfig(
        resolution=resolution, z_dim=8, w_dim=8, channel_base=256, channel_max=8, mapping_layers=1
    )
    generator = Generator(config).eval()

    images = generator(torch.randn(2, 8))

    assert images.shape == (2, 3, resolution, resolution)
    assert generator.num_ws == {16: 6, 128: 12}[resolution]


def test_stopping_early_returns_the_skip_image_of_that_block() -> None:
    generator, expected = load_reference("nvlabs_r32_map2")

    images = generator.synthesis(expected["ws"], resolution=16)

    assert images.shape == (3, 3, 16, 16)


def test_wrong_inputs_are_named() -> None:
    generator, expected = load_reference("nvlabs_r32_map2")

    with pytest.raises(ShapeError, match=r"ws: expected \[N, 8, 32\]"):
        generator.synthesis(expected["ws"][:, :4])
    with pytest.raises(ShapeError, match=r"z: expected \[N, 32\]"):
        generator.mapping(expected["z"][:, :4])
    with pytest.raises(EngineSettingsError, match="noise_mode"):
        generator.synthesis(expected["ws"], noise_mode="loud")
    with pytest.raises(EngineSettingsError, match="power of two"):
        GeneratorConfig(resolution=48)
