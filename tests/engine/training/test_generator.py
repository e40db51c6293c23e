"""Training of the generator: one trainee, step by step."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from editvec.engine.errors import DivergedError, EngineSettingsError
from editvec.engine.networks.config import GeneratorConfig
from editvec.engine.networks.generator import Generator
from editvec.engine.training.generator import GeneratorTrainee, GeneratorTraining
from editvec.engine.training.loop import TrainingState, update_average

CONFIG = GeneratorConfig(
    16, z_dim=6, w_dim=6, channel_base=96, channel_max=8, mapping_layers=2, conv_clamp=256
)


def photographs(count: int = 20) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), np.uint8)


def trainee(*, start: Mapping[str, Tensor] | None = None, **settings: Any) -> GeneratorTrainee:
    training = GeneratorTraining.for_resolution(16, **{"batch_size": 4, **settings})
    return GeneratorTrainee(CONFIG, photographs(), settings=training, seed=3, start=start)


def weights(state: TrainingState) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in state.tensors.items()}


def test_restored_trainee_goes_on_as_if_never_stopped() -> None:
    whole, stopped, resumed = (trainee(mirror=True) for _ in range(3))
    for one in (whole, stopped):
        one.control.p = 0.5
        for step in range(6):
            one.step(step)
    kept = stopped.state()
    resumed.restore(TrainingState(weights(kept), kept.record))

    measured = [one.step(step) for one in (whole, resumed) for step in range(6, 9)]

    assert measured[:3] == measured[3:]
    expected = whole.state()
    assert resumed.state().record == expected.record
    assert resumed.images == 36
    for name, tensor in resumed.state().tensors.items():
        assert torch.equal(tensor, expected.tensors[name]), name


def test_every_network_learns_and_the_average_follows() -> None:
    one = trainee()
    before = weights(one.state())

    for step in range(2):
        one.step(step)

    after = one.state().tensors
    still = {name for name in before if torch.equal(before[name], after[name])}
    # stored noise is drawn once, and no step changes it
    assert all("noise_const" in name or name.startswith("augment") for name in still)
    assert float(after["path_length"]) > 0
    assert not torch.equal(
        after["average.mapping.fc0.weight"], after["generator.mapping.fc0.weight"]
    )


def test_what_is_logged_says_how_it_goes() -> None:
    one = trainee(r1_interval=4, path_length_interval=2)

    logged = [one.step(step) for step in range(4)]

    assert [sorted(entry) for entry in logged] == [
        ["path_length", "r1"],
        [],
        ["path_length"],
        ["augment_p", "discriminator_loss", "generator_loss", "images", "real_sign"],
    ]
    assert logged[3]["images"] == 16
    assert -1 <= logged[3]["real_sign"] <= 1


def test_snapshots_are_taken_before_the_first_step_and_at_their_turn() -> None:
    seen: list[int] = []

    def snapshot(generator: Generator, images: int) -> dict[str, Any]:
        assert not generator.training
        seen.append(images)
        return {"kid": 0.5}

    one = GeneratorTrainee(
        CONFIG,
        photographs(),
        settings=GeneratorTraining.for_resolution(16, batch_size=4, path_length_weight=0),
        seed=0,
        snapshot=snapshot,
        snapshot_steps=2,
    )

    logged = [one.step(step) for step in range(4)]

    assert seen == [0, 8, 16]
    assert [entry.get("kid") for entry in logged] == [0.5, 0.5, None, 0.5]


def test_best_average_is_kept_over_a_worse_one_and_over_a_stop() -> None:
    kids = {0: 0.1, 8: 0.7, 16: 0.3, 24: 0.5}
    seen: dict[int, Tensor] = {}

    def snapshot(generator: Generator, images: int) -> dict[str, Any]:
        seen[images] = generator.mapping.fc0.weight.clone()
        return {"kid": kids[images]}

    def build() -> GeneratorTrainee:
        settings = GeneratorTraining.for_resolution(16, batch_size=4, path_length_weight=0)
        return GeneratorTrainee(
            CONFIG, photographs(), settings=settings, seed=0, snapshot=snapshot, snapshot_steps=2
        )

    one, again = build(), build()
    for step in range(5):
        one.step(step)
    again.restore(one.state())
    again.step(5)

    # what was there before the first step does not count
    assert again.best is not None
    assert (again.best.images, again.best.kid) == (16, 0.3)
    assert torch.equal(again.best.state["mapping.fc0.weight"], seen[16])
    assert not torch.equal(seen[16], seen[24])


def test_training_goes_on_from_given_weights() -> None:
    given = trainee().generator.state_dict()
    marked = {name: tensor + 0.25 for name, tensor in given.items()}

    one = trainee(start=marked)

    for module in (one.generator, one.average):
        assert all(
            torch.equal(tensor, marked[name]) for name, tensor in module.state_dict().items()
        )


def test_style_mixing_takes_finer_rows_from_another_sample() -> None:
    chance = torch.Generator().manual_seed(0)

    mixed = trainee(style_mixing=1.0)._ws(64, chance, track=False)
    plain = trainee(style_mixing=0.0)._ws(64, chance, track=False)

    assert torch.equal(plain, plain[:, :1].expand_as(plain))
    changes = (mixed[:, 1:] != mixed[:, :-1]).any(dim=2)
    assert bool((changes.sum(dim=1) == 1).all())
    assert set(changes.int().argmax(dim=1).tolist()) == set(range(CONFIG.num_ws - 1))


def test_mirrored_photographs_are_shown_about_half_of_the_time() -> None:
    one, chance = trainee(mirror=True, batch_size=40), torch.Generator().manual_seed(0)
    plain = trainee(batch_size=40)._photographs(0, chance)

    shown = one._photographs(0, chance)

    same = (shown == plain).flatten(1).all(dim=1)
    flipped = (shown == plain.flip(3)).flatten(1).all(dim=1)
    assert bool((same ^ flipped).all())
    assert 10 <= int(flipped.sum()) <= 30


def test_average_is_exponential_and_ramps_up() -> None:
    first, second = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    start, target = float(first.weight.detach()), float(second.weight.detach())
    for _ in range(3):
        update_average(first, second, decay=0.9)
    assert float(first.weight.detach()) == pytest.approx(target + 0.9**3 * (start - target))

    one = trainee(ema_images=1000, batch_size=4)
    one.images = 40  # half of it is forgotten within 2 images: 5 % of 40
    before = one.average.mapping.fc0.weight.clone()
    one._update_average()
    moved = (one.average.mapping.fc0.weight - before).abs().max()
    assert float(moved) == 0  # still equal to the generator
    one.generator.mapping.fc0.weight.data.add_(1)
    one._update_average()
    change = (one.average.mapping.fc0.weight - before).mean()
    assert float(change) == pytest.approx(1 - 0.5 ** (4 / 2), rel=1e-4)


def test_diverged_training_stops_with_a_word() -> None:
    one = trainee()
    one.discriminator.out.bias.data.fill_(float("nan"))

    for step in range(3):
        one.step(step)
    with pytest.raises(DivergedError, match="a loss is nan at step 3"):
        one.step(3)


def test_half_precision_trains() -> None:
    one = trainee(precision="bfloat16")

    for step in range(4):
        measured = one.step(step)

    assert np.isfinite(measured["generator_loss"])
    assert all(tensor.dtype == torch.float32 for tensor in one.generator.state_dict().values())


@pytest.mark.parametrize("shape", [(5, 16, 16, 3), (20, 32, 32, 3)])
def test_too_few_photographs_or_another_size_are_refused(shape: tuple[int, ...]) -> None:
    settings = GeneratorTraining.for_resolution(16)
    with pytest.raises(EngineSettingsError, match=r"at least 16 of \[16, 16, 3\]"):
        GeneratorTrainee(CONFIG, np.zeros(shape, np.uint8), settings=settings, seed=0)


def test_settings_follow_the_published_heuristics() -> None:
    small = GeneratorTraining.for_resolution(256)
    large = GeneratorTraining.for_resolution(1024, batch_size=8)

    assert (small.batch_size, small.group_size, small.learning_rate) == (16, 4, 0.0025)
    assert small.r1_gamma == pytest.approx(0.8192)
    assert (large.learning_rate, large.r1_gamma) == (0.002, pytest.approx(26.2144))
    assert GeneratorTraining.from_json(small.to_json()) == small
    with pytest.raises(EngineSettingsError, match="style_mixing"):
        GeneratorTraining.for_resolution(16, style_mixing=1.5)


@pytest.mark.gpu
def test_trains_on_a_gpu_in_half_precision() -> None:
    settings = GeneratorTraining.for_resolution(16, batch_size=4, precision="bfloat16", mirror=True)
    one = GeneratorTrainee(CONFIG, photographs(), settings=settings, seed=3, device="cuda")
    one.control.p = 0.5

    for step in range(8):
        measured = one.step(step)

    resumed = GeneratorTrainee(CONFIG, photographs(), settings=settings, seed=3, device="cuda")
    kept = one.state()
    resumed.restore(TrainingState(weights(kept), kept.record))
    assert np.isfinite(measured["generator_loss"])
    for name, tensor in resumed.state().tensors.items():
        assert torch.equal(tensor, kept.tensors[name]), name
