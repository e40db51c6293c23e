"""Training of the encoder: what is learned, what stays frozen, when it ends, how it resumes."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from editvec.engine.bundle.bundle import LoadedBundle, load_bundle
from editvec.engine.errors import DivergedError, EngineSettingsError
from editvec.engine.networks.config import EncoderConfig, GeneratorConfig
from editvec.engine.networks.encoder import Encoder, encode
from editvec.engine.training.encoder import (
    EncoderBatch,
    EncoderTrainee,
    EncoderTraining,
    Validation,
    joined,
    sample_batch,
)
from editvec.engine.training.loop import read_log, run_training

CONFIG = EncoderConfig(16, 6, 8, (8, 12), head_channels=16)
Batches = Callable[[int], EncoderBatch]


@pytest.fixture(scope="module")
def bundle(small) -> LoadedBundle:
    return load_bundle(small)


@pytest.fixture
def samples(bundle: LoadedBundle) -> Batches:
    return lambda step: sample_batch(bundle.generator, 8, seed=1, step=step)


def trainee_of(
    bundle: LoadedBundle,
    batches: Batches,
    settings: EncoderTraining,
    *,
    config: EncoderConfig = CONFIG,
    validate: Callable[[Encoder], Validation] | None = None,
) -> EncoderTrainee:
    return EncoderTrainee(
        config,
        bundle.generator,
        batches,
        perceptual=bundle.perceptual,
        settings=settings,
        seed=0,
        validate=validate,
    )


def ws_error(bundle: LoadedBundle, encoder: Encoder) -> float:
    held_out = sample_batch(bundle.generator, 32, seed=1, step=0, stream=9)
    with torch.no_grad():
        found = encode(encoder, bundle.generator.synthesis, held_out.images)
    return float((found - held_out.ws).square().mean())


@pytest.mark.parametrize("iterations", [1, 2])
def test_training_brings_latents_nearer(
    bundle: LoadedBundle, samples: Batches, iterations: int
) -> None:
    config = EncoderConfig(16, 6, 8, (8, 12), head_channels=16, iterations=iterations)
    settings = EncoderTraining(30, ws_steps=20, learning_rate=0.02, ema_decay=0.9)
    trainee = trainee_of(bundle, samples, settings, config=config)
    before = ws_error(bundle, trainee.average)

    measured = [trainee.step(step) for step in range(30)]

    assert ws_error(bundle, trainee.result) < 0.7 * before
    assert "mse" not in measured[0]
    assert {"mse", "perceptual", "ws_mse", "loss"} <= set(measured[20])
    assert measured[21] == {}
    assert not trainee.result.training
    assert not any(parameter.requires_grad for parameter in trainee.result.parameters())


def test_frozen_networks_stay_as_they_are(bundle: LoadedBundle, samples: Batches) -> None:
    before = copy.deepcopy(bundle.generator.state_dict())
    trainee = trainee_of(bundle, samples, EncoderTraining(2))

    bundle.generator.requires_grad_(True)
    for step in range(2):
        trainee.step(step)

    assert all(parameter.grad is None for parameter in bundle.generator.parameters())
    for name, tensor in bundle.generator.requires_grad_(False).state_dict().items():
        assert torch.equal(tensor, before[name])


def test_photographs_count_by_their_pixels_alone(bundle: LoadedBundle, samples: Batches) -> None:
    def photographs(step: int) -> EncoderBatch:
        batch = samples(step)
        return EncoderBatch(batch.images, batch.ws[:0])

    measured = trainee_of(bundle, photographs, EncoderTraining(2, ws_steps=0)).step(0)

    assert "ws_mse" not in measured
    assert measured["mse"] > 0
    with pytest.raises(EngineSettingsError, match="ws_steps"):
        trainee_of(bundle, photographs, EncoderTraining(2, ws_steps=1)).step(0)


def test_samples_and_photographs_share_a_batch(bundle: LoadedBundle, samples: Batches) -> None:
    known, other = samples(0), samples(1)
    photographs = EncoderBatch(other.images, other.ws[:0])

    batch = joined([known, photographs])

    assert batch.images.shape[0] == 16
    assert torch.equal(batch.ws, known.ws)
    with pytest.raises(EngineSettingsError, match="first"):
        joined([photographs, known])


def test_best_validation_is_kept_and_too_many_worse_ones_end_the_training(
    bundle: LoadedBundle, samples: Batches, tmp_path: Path
) -> None:
    errors = iter([5.0, 4.0, 4.5, 3.9999, 4.2])
    seen: list[float] = []

    def validate(encoder: Encoder) -> Validation:
        seen.append(float(encoder.stem.weight.sum()))
        return Validation(next(errors), {"psnr": 20.0})

    settings = EncoderTraining(100, validate_steps=2, patience=3)
    trainee = trainee_of(bundle, samples, settings, validate=validate)
    run_training(
        trainee,
        tmp_path,
        num_steps=100,
        settings={},
        memory_advice="",
        is_over=lambda: trainee.is_over,
    )

    log = read_log(tmp_path)
    assert [entry["validation"] for entry in log if "validation" in entry] == [
        *(5.0, 4.0, 4.5, 3.9999, 4.2)
    ]
    assert log[-1]["step"] == 7
    assert trainee.best_error == 4.0
    assert float(trainee.result.stem.weight.sum()) == seen[1] != seen[-1]

    # the same call finds that it is over
    again = trainee_of(bundle, samples, settings, validate=validate)
    run_training(
        again,
        tmp_path,
        num_steps=100,
        settings={},
        memory_advice="",
        is_over=lambda: again.is_over,
    )
    assert len(read_log(tmp_path)) == len(log)
    assert float(again.result.stem.weight.sum()) == seen[1]


def test_resumed_training_ends_as_an_undisturbed_one(
    bundle: LoadedBundle, samples: Batches
) -> None:
    def validate(encoder: Encoder) -> Validation:
        return Validation(ws_error(bundle, encoder), {})

    settings = EncoderTraining(6, ws_steps=2, validate_steps=2)
    whole = trainee_of(bundle, samples, settings, validate=validate)
    for step in range(6):
        whole.step(step)
    first = trainee_of(bundle, samples, settings, validate=validate)
    for step in range(3):
        first.step(step)
    second = trainee_of(bundle, samples, settings, validate=validate)
    second.restore(first.state())
    for step in range(3, 6):
        second.step(step)

    assert second.best_error == whole.best_error
    for one, other in zip(
        whole.result.state_dict().values(), second.result.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other)


def test_divergence_is_told(bundle: LoadedBundle, samples: Batches) -> None:
    def broken(step: int) -> EncoderBatch:
        batch = samples(step)
        return EncoderBatch(batch.images * torch.nan, batch.ws)

    with pytest.raises(DivergedError, match="the loss is nan at step 0"):
        trainee_of(bundle, broken, EncoderTraining(2)).step(0)


def test_encoder_of_one_iteration_is_written_as_before() -> None:
    assert "iterations" not in CONFIG.to_json()
    assert EncoderConfig(16, 6, 8, (8, 12), iterations=3).to_json()["iterations"] == 3


@pytest.mark.parametrize(
    ("resolution", "w_dim", "stages", "head"),
    [(16, 8, 2, 128), (64, 64, 4, 128), (512, 512, 7, 512)],
)
def test_size_follows_the_generator(resolution: int, w_dim: int, stages: int, head: int) -> None:
    generator = GeneratorConfig(resolution, z_dim=w_dim, w_dim=w_dim)

    config = EncoderConfig.for_generator(generator)

    assert len(config.channels) == stages
    assert resolution >> stages == 4
    assert list(config.channels) == sorted(config.channels)
    assert config.head_channels == head


@pytest.mark.parametrize(
    "values",
    [
        {"num_steps": 0},
        {"num_steps": 5, "ws_steps": 6},
        {"num_steps": 5, "learning_rate": 0.0},
        {"num_steps": 5, "ema_decay": 1.0},
        {"num_steps": 5, "mse_weight": -1.0},
        {"num_steps": 5, "mse_weight": 0.0, "perceptual_weight": 0.0, "ws_weight": 0.0},
        {"num_steps": 5, "patience": -1},
    ],
)
def test_settings_out_of_range_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(EngineSettingsError):
        EncoderTraining(**values)
