import copy
import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from engine.bundle import LoadedBundle, load_bundle
from engine.config import EncoderConfig
from engine.encoder import Encoder
from engine.errors import NonFiniteError, SettingsError
from engine.training.encoder import EncoderStep, EncoderTraining, train_encoder


@pytest.fixture(scope="module")
def bundle(small) -> LoadedBundle:
    return load_bundle(small)


@pytest.fixture
def encoder(bundle: LoadedBundle) -> Encoder:
    torch.manual_seed(0)
    return Encoder(EncoderConfig(16, 6, 8, (8, 12), head_channels=16), w_avg=bundle.generator.w_avg)


def _batches(bundle: LoadedBundle, *, known: bool = True) -> Iterator[tuple[Tensor, Tensor | None]]:
    random = torch.Generator().manual_seed(1)
    while True:
        with torch.no_grad():
            ws = bundle.generator.mapping(torch.randn(8, bundle.bundle.z_dim, generator=random))
            images = bundle.generator.synthesis(ws)
        yield images, ws if known else None


def test_training_brings_reconstructions_nearer(bundle: LoadedBundle, encoder: Encoder) -> None:
    steps: list[EncoderStep] = []
    untrained = copy.deepcopy(encoder)

    averaged = train_encoder(
        encoder,
        bundle.generator.synthesis,
        _batches(bundle),
        perceptual=bundle.perceptual,
        settings=EncoderTraining(60, warmup_steps=20, learning_rate=0.01, ema_decay=0.9),
        on_step=steps.append,
    )

    images, ws = next(_batches(bundle))
    with torch.no_grad():
        before, after = ((e.eval()(images) - ws).square().mean() for e in (untrained, averaged))
    assert after < 0.7 * before
    assert [step.step for step in steps] == list(range(60))
    assert steps[0].mse is None
    assert steps[20].mse is not None
    assert steps[20].perceptual is not None
    assert not averaged.training
    assert not encoder.training
    assert not any(parameter.requires_grad for parameter in averaged.parameters())


def test_frozen_networks_stay_as_they_are(bundle: LoadedBundle, encoder: Encoder) -> None:
    before = copy.deepcopy(bundle.generator.synthesis.state_dict())

    train_encoder(
        encoder,
        bundle.generator.synthesis.requires_grad_(True),
        _batches(bundle),
        perceptual=None,
        settings=EncoderTraining(num_steps=2),
    )

    for name, tensor in bundle.generator.synthesis.requires_grad_(False).state_dict().items():
        assert torch.equal(tensor, before[name])
    assert all(parameter.grad is None for parameter in bundle.generator.synthesis.parameters())


def test_photographs_without_ws_train_on_pixels_alone(
    bundle: LoadedBundle, encoder: Encoder
) -> None:
    steps: list[EncoderStep] = []

    train_encoder(
        encoder,
        bundle.generator.synthesis,
        _batches(bundle, known=False),
        perceptual=None,
        settings=EncoderTraining(num_steps=2),
        on_step=steps.append,
    )

    assert all(step.ws_mse is None and step.mse is not None for step in steps)
    with pytest.raises(SettingsError, match="warm-up"):
        train_encoder(
            encoder,
            bundle.generator.synthesis,
            _batches(bundle, known=False),
            perceptual=None,
            settings=EncoderTraining(num_steps=2, warmup_steps=1),
        )


def test_too_few_batches_and_divergence_are_errors(bundle: LoadedBundle, encoder: Encoder) -> None:
    few = itertools.islice(_batches(bundle), 1)
    broken = ((images * torch.nan, ws) for images, ws in _batches(bundle))
    settings = EncoderTraining(num_steps=2)
    for batches, error in ((few, SettingsError), (broken, NonFiniteError)):
        with pytest.raises(error):
            train_encoder(
                encoder, bundle.generator.synthesis, batches, perceptual=None, settings=settings
            )


@pytest.mark.parametrize(
    "values",
    [
        {"num_steps": 0},
        {"num_steps": 5, "warmup_steps": 6},
        {"num_steps": 5, "learning_rate": 0.0},
        {"num_steps": 5, "ema_decay": 1.0},
        {"num_steps": 5, "mse_weight": -1.0},
    ],
)
def test_settings_out_of_range_are_refused(values: dict) -> None:
    with pytest.raises(SettingsError):
        EncoderTraining(**values)
