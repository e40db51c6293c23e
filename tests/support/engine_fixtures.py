"""Fixtures with small random networks and the bundle that they make."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

TINY_LABELS = ("background", "skin", "hair", "eye", "mouth", "teeth")


def write_tiny_bundle(
    folder: Path, *, seed: int = 0, resolution: int = 32, class_name: str = "tiny"
) -> Path:
    """Write a bundle of small random networks, all six of them; the same seed, the same bundle.

    Args:
        folder: New folder.
        seed: Of the weights.
        resolution: Of the generator, 16 or more.
        class_name: Of the bundle.

    Returns:
        `folder`.
    """
    import torch

    from editvec.engine.bundle.bundle import NetworkState, write_bundle
    from editvec.engine.bundle.description import BundleLabel
    from editvec.engine.networks.classifier import AttributeClassifier
    from editvec.engine.networks.config import (
        ClassifierConfig,
        EncoderConfig,
        GeneratorConfig,
        PerceptualConfig,
        SegmentationConfig,
    )
    from editvec.engine.networks.encoder import Encoder
    from editvec.engine.networks.generator import Generator
    from editvec.engine.networks.identity import IdentityNetwork
    from editvec.engine.networks.perceptual import build_perceptual

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        generator_config = GeneratorConfig(
            resolution, z_dim=8, w_dim=8, channel_base=256, channel_max=16, mapping_layers=2
        )
        generator = Generator(generator_config)
        for name, parameter in generator.synthesis.named_parameters():
            if ".torgb." in name and "affine" not in name:
                parameter.mul_(0.25)  # images then stay within [-1, 1], nearly
        ws = generator.mapping(torch.randn(256, generator_config.z_dim))
        generator.mapping.w_avg.copy_(ws[:, 0].mean(dim=0))
        segmentation_config = SegmentationConfig(
            num_labels=len(TINY_LABELS),
            feature_channels=generator_config.feature_channels,
            members=2,
            hidden=(12, 8),
        )
        encoder_config = EncoderConfig(
            resolution, generator_config.num_ws, generator_config.w_dim, (8, 16), head_channels=8
        )
        encoder = Encoder(encoder_config, w_avg=generator.w_avg)
        for head in encoder.heads:
            torch.nn.init.normal_(head.rows.weight, std=0.3)
        perceptual_config = PerceptualConfig("tiny", channels=(8, 12))
        classifier_config = ClassifierConfig(resolution, ("smiling", "eyes_open"), (6, 8))
        identity_config = ClassifierConfig(resolution, tuple(f"e{i}" for i in range(6)), (6, 8))
        write_bundle(
            folder,
            class_name=class_name,
            description="Small random networks",
            license="CC0-1.0",
            labels=[
                BundleLabel(index, name, (index * 40, 255 - index * 40, (index * 90) % 256))
                for index, name in enumerate(TINY_LABELS)
            ],
            networks={
                "generator": NetworkState(generator_config, generator.state_dict()),
                "segmentation": NetworkState(
                    segmentation_config, _random_members(segmentation_config, generator)
                ),
                "encoder": NetworkState(encoder_config, encoder.state_dict()),
                "perceptual": NetworkState(
                    perceptual_config, build_perceptual(perceptual_config).state_dict()
                ),
                "identity": NetworkState(
                    identity_config, IdentityNetwork(identity_config).state_dict()
                ),
                "classifier": NetworkState(
                    classifier_config, AttributeClassifier(classifier_config).state_dict()
                ),
            },
            built={"by": "tests", "seed": seed},
        )
    return folder


def _random_members(config: object, generator: object) -> dict[str, object]:
    """Random members whose masks have smooth regions of every label.

    The first layer reads the maps of up to 8 x 8 pixels only, and the last one is scaled so that
    each label's logits have mean 0 and standard deviation 3 over samples of the generator.
    """
    import torch

    from editvec.engine.networks.config import SegmentationConfig
    from editvec.engine.networks.generator import Generator
    from editvec.engine.segmentation.branch import SegmentationBranch

    assert isinstance(config, SegmentationConfig)
    assert isinstance(generator, Generator)
    coarse = sum(config.feature_channels[:4])
    sizes = [sum(config.feature_channels), *config.hidden, config.num_labels]
    state: dict[str, torch.Tensor] = {}
    for member in range(config.members):
        for index, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
            linear, norm = f"{member}.layers.{3 * index}", f"{member}.layers.{3 * index + 2}"
            state[f"{linear}.weight"] = torch.randn(outputs, inputs) * (2 / inputs) ** 0.5
            state[f"{linear}.bias"] = torch.randn(outputs) * 0.1
            if index < 2:
                state[f"{norm}.weight"] = torch.rand(outputs) + 0.5
                state[f"{norm}.bias"] = torch.randn(outputs) * 0.1
                state[f"{norm}.running_mean"] = torch.rand(outputs) * 0.5
                state[f"{norm}.running_var"] = torch.rand(outputs) + 0.5
        state[f"{member}.layers.0.weight"][:, coarse:] = 0
    ws = generator.mapping(torch.randn(32, generator.config.z_dim))
    features = generator.synthesis.with_features(ws).features
    logits = SegmentationBranch.from_members(state, config, generator.constant)(features)
    mean, deviation = logits.mean(dim=(0, 2, 3)), logits.std(dim=(0, 2, 3)) / 3
    for member in range(config.members):
        last = f"{member}.layers.6"
        state[f"{last}.weight"] = state[f"{last}.weight"] / deviation[:, None]
        state[f"{last}.bias"] = (state[f"{last}.bias"] - mean) / deviation
    return dict(state)


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a bundle at 32 px with all networks and the labels `TINY_LABELS`; read only."""
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="session")
def make_tiny_bundle() -> Callable[..., Path]:
    """`write_tiny_bundle`, for tests that need another seed, name or resolution."""
    return write_tiny_bundle
