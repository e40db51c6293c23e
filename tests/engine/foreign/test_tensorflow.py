"""TensorFlow pickles and all architectures against the papers' equations."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from editvec.engine.errors import EngineSettingsError, ForeignFileError
from editvec.engine.foreign.checkpoint import read_generator
from editvec.engine.foreign.generators import ImportedGenerator
from editvec.engine.networks.config import GeneratorConfig
from editvec.engine.networks.generator import Generator
from tests.support.foreign_files import (
    network,
    random_variables,
    tensorflow_networks,
    trap_source,
    write_pickle,
)
from tests.support.stylegan2_reference import Reference


def load(imported: ImportedGenerator) -> Generator:
    generator = Generator(imported.config).eval()
    generator.load_state_dict(imported.state, strict=True)
    return generator


def write(path: Path, variables: Any, **settings: Any) -> Path:
    source = trap_source(path.with_suffix(".ran"))
    return write_pickle(path, tensorflow_networks(variables, source, **settings))


def compare(generator: Generator, reference: Reference, label: Tensor | None = None) -> None:
    """z to W, independent rows to images, and every feature."""
    random = torch.Generator().manual_seed(3)
    z = torch.randn(4, generator.config.z_dim, generator=random)
    ws = torch.randn(2, generator.num_ws, generator.config.w_dim, generator=random)
    with torch.inference_mode():
        mapped = generator.mapping(z)[:, -1]
        images, features = generator.synthesis.with_features(ws)
    expected = reference.synthesis(ws)

    torch.testing.assert_close(
        mapped.double(), reference.mapping(z, label), atol=1e-5, rtol=0, check_dtype=False
    )
    torch.testing.assert_close(images.double(), expected, atol=1e-4, rtol=0)
    assert len(features) == len(reference.features)
    for feature, wanted in zip(features, reference.features, strict=True):
        torch.testing.assert_close(feature.double(), wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
@pytest.mark.parametrize("mapping_layers", [2, 8])
def test_images_features_and_w_equal_the_equations(
    architecture: str, mapping_layers: int, tmp_path: Path
) -> None:
    variables = random_variables(32, architecture, mapping_layers=mapping_layers)
    path = write(tmp_path / "network.pkl", variables, architecture=architecture)

    imported = read_generator(path)

    assert imported.config.architecture == architecture
    assert imported.config.channel_base == 128
    assert imported.config.block_channels == ()
    assert imported.notes == ()
    generator = load(imported)
    compare(generator, Reference(variables, 32, architecture))
    np.testing.assert_array_equal(generator.w_avg.numpy(), variables["dlatent_avg"])
    assert not (tmp_path / "network.ran").exists()


@pytest.mark.parametrize("architecture", ["skip", "resnet"])
def test_activations_are_clamped_as_the_settings_say(architecture: str, tmp_path: Path) -> None:
    variables = random_variables(16, architecture)
    path = write(tmp_path / "network.pkl", variables, architecture=architecture, conv_clamp=0.7)

    generator = load(read_generator(path))

    assert generator.config.conv_clamp == 0.7
    compare(generator, Reference(variables, 16, architecture, conv_clamp=0.7))


def test_channels_and_learning_rates_off_the_usual_rule_are_taken_as_they_are(
    tmp_path: Path,
) -> None:
    widths = {4: 9, 8: 12, 16: 7}
    variables = random_variables(16, channels=widths.__getitem__)
    path = write(tmp_path / "network.pkl", variables, mapping_lrmul=0.02)

    imported = read_generator(path)

    assert imported.config.block_channels == (9, 12, 7)
    assert imported.config.feature_channels == (9, 9, 12, 12, 7, 7)
    compare(load(imported), Reference(variables, 16, lrmul=0.02))
    assert GeneratorConfig.from_json(imported.config.to_json()) == imported.config


@pytest.mark.parametrize("label_layer", ["LabelEmbed", "LabelConcat"])
@pytest.mark.parametrize("labels", [(2,), (0, 3)])
def test_a_conditional_generator_becomes_one_of_its_label(
    label_layer: str, labels: tuple[int, ...], tmp_path: Path
) -> None:
    variables = random_variables(16, labels=4, label_layer=label_layer)
    path = write(tmp_path / "network.pkl", variables)

    imported = read_generator(path, label_classes=labels)

    chosen = torch.zeros(4)
    chosen[list(labels)] = 1
    generator = load(imported)
    reference = Reference(variables, 16)
    compare(generator, reference, chosen)
    # its w_avg is the mean of this label, not that of the file, which is one of all labels
    z = torch.randn(4000, imported.config.z_dim, generator=torch.Generator().manual_seed(1))
    mean = reference.mapping(z, chosen).mean(dim=0)
    spread = reference.mapping(z, chosen).std(dim=0)
    assert bool(((generator.w_avg - mean).abs() < 0.1 * spread).all())
    assert "of the label" in imported.notes[0]


def test_labels_must_fit(tmp_path: Path) -> None:
    conditional = write(tmp_path / "labelled.pkl", random_variables(16, labels=4))
    plain = write(tmp_path / "plain.pkl", random_variables(16))

    with pytest.raises(
        EngineSettingsError, match=r"0 to 3, because labelled\.pkl was trained with labels"
    ):
        read_generator(conditional)
    with pytest.raises(EngineSettingsError, match="expected 0 to 3, got 4"):
        read_generator(conditional, label_classes=[4])
    with pytest.raises(EngineSettingsError, match="trained without labels, got 1"):
        read_generator(plain, label_classes=[1])


def test_what_is_no_stylegan2_is_refused_by_name(tmp_path: Path) -> None:
    source = trap_source(tmp_path / "ran")
    array = [("weight", np.zeros(2, np.float32))]

    def refused(content: object, match: str) -> None:
        path = write_pickle(tmp_path / "network.pkl", content)
        with pytest.raises(ForeignFileError, match=match) as caught:
            read_generator(path)
        assert "\n" not in str(caught.value)

    discriminator = network("D", "D_stylegan2", source, array, {}, {})
    refused((discriminator,), "got only D_stylegan2")
    refused(discriminator, "got only D_stylegan2")
    synthesis = network("G_synthesis", "G_synthesis", source, array, {}, {})
    first = network("Gs", "G_style", source, array, {}, {"synthesis": synthesis})
    refused((discriminator, discriminator, first), "StyleGAN1's G_synthesis")
    revised = network("G_synthesis", "G_synthesis_stylegan_revised", source, array, {}, {})
    refused(network("Gs", "G_main", source, array, {}, {"synthesis": revised}), "StyleGAN1")
    refused((1, 2, 3), "expected the networks")
    unknown = network("Gs", "G_main", source, array, {}, {})
    refused((unknown,), "unknown variable: weight")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"nonlinearity": "relu"}, "nonlinearity"),
        ({"normalize_latents": False}, "normalize_latents"),
        ({"resample_kernel": [1, 2, 1]}, "filter"),
    ],
)
def test_settings_that_change_the_equations_are_refused(
    settings: dict[str, Any], match: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "network.pkl", random_variables(16), **settings)

    with pytest.raises(ForeignFileError, match=match):
        read_generator(path)
