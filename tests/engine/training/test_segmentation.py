"""Training of the segmentation branch on a problem with a known answer."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import editvec.engine.training.segmentation
from editvec.engine.errors import (
    DivergedError,
    EngineMaskError,
    EngineSettingsError,
    NonFiniteError,
    ShapeError,
)
from editvec.engine.metrics.edits import mean_iou
from editvec.engine.networks.config import SegmentationConfig
from editvec.engine.segmentation.branch import SegmentationBranch
from editvec.engine.shapes import IGNORED
from editvec.engine.training.loop import run_training
from editvec.engine.training.members import Members, members_loss
from editvec.engine.training.pixels import PixelFeatures
from editvec.engine.training.segmentation import (
    NOT_PREDICTED,
    SegmentationTrainee,
    SegmentationTraining,
    train_segmentation,
)

CONFIG = SegmentationConfig(
    num_labels=4, feature_channels=(3, 4, 4, 2), members=3, hidden=(24, 12), constant_input=False
)
SIZES = (4, 8, 16, 16)
QUICK = SegmentationTraining(num_steps=40, batch_size=16)


def draw_problem(count: int, *, seed: int) -> tuple[list[Tensor], Tensor]:
    """Features, and masks that depend on a coarse and a fine channel, not linearly."""
    generator = torch.Generator().manual_seed(seed)
    features = [
        torch.randn(count, channels, size, size, generator=generator)
        for channels, size in zip(CONFIG.feature_channels, SIZES, strict=True)
    ]
    coarse = F.interpolate(features[1], size=(16, 16), mode="bilinear", align_corners=False)
    same_sign = (coarse[:, 0] * features[3][:, 1]) > 0
    masks = 2 * same_sign.long() + (features[2][:, 0] > 0.8).long()
    return features, masks


def train(
    features: list[Tensor], masks: Tensor, *, seed: int = 0, settings: SegmentationTraining = QUICK
) -> dict[str, Tensor]:
    return train_segmentation(features, masks, CONFIG, seed=seed, settings=settings)


def trainee_of(features: list[Tensor], masks: Tensor, **changes: Any) -> SegmentationTrainee:
    wanted: dict[str, Any] = {"settings": QUICK, "seed": 0, **changes}
    return SegmentationTrainee(PixelFeatures.of_maps(features), masks, CONFIG, **wanted)


def test_trained_branch_labels_unseen_images() -> None:
    features, masks = draw_problem(8, seed=0)
    unseen, expected = draw_problem(8, seed=1)
    steps: dict[int, dict[str, Any]] = {}

    state = train_segmentation(
        features,
        masks,
        CONFIG,
        seed=0,
        settings=SegmentationTraining(num_steps=1200),
        on_step=steps.__setitem__,
    )
    mask = SegmentationBranch.from_members(state, CONFIG)(unseen).argmax(dim=1)

    last = max(steps)
    assert steps[last]["loss"] < steps[0]["loss"] / 4
    assert steps[last]["learning_rate"] < 1e-5
    assert (mask == expected).double().mean() > 0.94


def test_folded_branch_equals_the_trained_members() -> None:
    features, masks = draw_problem(2, seed=0)
    state = train(features, masks)
    upsampled = [
        F.interpolate(maps, size=(16, 16), mode="bilinear", align_corners=False)
        for maps in features
    ]
    x = torch.cat(upsampled, dim=1)

    for member in range(CONFIG.members):
        layers = torch.nn.Sequential(
            torch.nn.Linear(13, 24), torch.nn.ReLU(), torch.nn.BatchNorm1d(24),
            torch.nn.Linear(24, 12), torch.nn.ReLU(), torch.nn.BatchNorm1d(12),
            torch.nn.Linear(12, 4),
        ).eval()  # fmt: skip
        own = {k.split("layers.")[1]: v for k, v in state.items() if k.startswith(f"{member}.")}
        layers.load_state_dict(own, strict=False)
        expected = layers(x.permute(0, 2, 3, 1).flatten(0, 2)).detach()

        folded = SegmentationBranch.from_members(state, CONFIG).member_logits(features)[member]

        torch.testing.assert_close(
            folded.permute(0, 2, 3, 1).flatten(0, 2), expected, atol=1e-5, rtol=1e-5
        )


def test_members_start_and_see_differently() -> None:
    state = train(*draw_problem(2, seed=0))

    for name in ("layers.0.weight", "layers.2.running_mean", "layers.6.bias"):
        assert not torch.equal(state[f"0.{name}"], state[f"1.{name}"])


def test_the_same_seed_gives_the_same_members() -> None:
    features, masks = draw_problem(2, seed=0)

    first, again, other = (train(features, masks, seed=seed) for seed in (3, 3, 4))

    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["0.layers.0.weight"], other["0.layers.0.weight"])


def test_first_step_of_a_member_equals_one_that_trains_alone() -> None:
    """The batched step against torch's own layers and optimiser."""
    generator = torch.Generator().manual_seed(0)
    members = Members(CONFIG, generator=generator).double()
    start = members.member_state()
    rows = torch.randn(3, 16, 13, generator=generator, dtype=torch.float64)
    labels = torch.randint(4, (3, 16), generator=generator)

    together = torch.optim.Adam(members.parameters(), lr=1e-3, fused=True)
    members_loss(members(rows), labels).backward()
    together.step()

    for member in range(3):
        layers = torch.nn.Sequential(
            torch.nn.Linear(13, 24), torch.nn.ReLU(), torch.nn.BatchNorm1d(24),
            torch.nn.Linear(24, 12), torch.nn.ReLU(), torch.nn.BatchNorm1d(12),
            torch.nn.Linear(12, 4),
        ).double()  # fmt: skip
        own = {k.split("layers.")[1]: v for k, v in start.items() if k.startswith(f"{member}.")}
        layers.load_state_dict(own, strict=False)
        optimizer = torch.optim.Adam(layers.parameters(), lr=1e-3)
        F.cross_entropy(layers(rows[member]), labels[member]).backward()
        optimizer.step()
        expected = layers.state_dict()
        for key, tensor in members.member_state().items():
            if key.startswith(f"{member}."):
                name = key.split("layers.")[1]
                torch.testing.assert_close(tensor, expected[name], atol=1e-9, rtol=1e-9)


def test_training_ends_early_when_the_loss_stands_still() -> None:
    generator = torch.Generator().manual_seed(0)
    features = [
        torch.zeros(1, c, s, s) for c, s in zip(CONFIG.feature_channels, SIZES, strict=True)
    ]
    masks = torch.randint(4, (1, 16, 16), generator=generator)
    steps: dict[int, dict[str, Any]] = {}

    # features that tell nothing teach how common each part is, and no more
    with pytest.raises(DivergedError, match=r"at the end of round 1, .* for one answer everywhere"):
        train_segmentation(
            features,
            masks,
            CONFIG,
            seed=0,
            settings=SegmentationTraining(num_steps=2000, ramp_down=0.05, patience_steps=200),
            on_step=steps.__setitem__,
        )

    assert 300 <= max(steps) < 1500
    assert steps[max(steps)]["learning_rate"] < 1e-5


def test_every_image_is_judged_by_members_that_have_not_seen_it() -> None:
    """Each image shows a part of its own: who has not seen the image does not know the part."""
    features, _ = draw_problem(4, seed=0)
    features[0] += 3 * torch.randn(4, 3, 1, 1, generator=torch.Generator().manual_seed(1))
    masks = torch.arange(4)[:, None, None].repeat(1, 16, 16)
    trainee = trainee_of(features, masks, settings=SegmentationTraining(num_steps=100), num_folds=2)

    for step in range(trainee.total_steps):
        trainee.step(step)
    held_out = trainee.held_out
    seen = SegmentationBranch.from_members(trainee.members.member_state(), CONFIG)(features)

    assert sorted(trainee.folds.tolist()) == [0, 0, 1, 1]
    assert mean_iou(seen.argmax(dim=1), masks, num_labels=4) > 0.8
    assert mean_iou(held_out.masks, masks, num_labels=4) == 0
    assert (held_out.uncertainty.flatten(1).mean(dim=1) > 0).all()


def test_pixels_outside_the_valid_rectangle_teach_nothing() -> None:
    features, masks = draw_problem(2, seed=0)
    valid = torch.zeros(16, 16, dtype=torch.bool)
    valid[4:12] = True
    other = masks.clone()
    other[:, ~valid] = 0

    first, second = (trainee_of(features, one, valid=valid) for one in (masks, other))
    for step in range(3):
        first.step(step)
        second.step(step)

    for name, tensor in first.members.member_state().items():
        assert torch.equal(tensor, second.members.member_state()[name])


@pytest.mark.parametrize("killed_after", [5, 12, 15])
def test_training_that_is_resumed_ends_as_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_after: int
) -> None:
    """Within a round, between two rounds, and after the first one."""
    monkeypatch.setattr(editvec.engine.training.segmentation, "CALIBRATION_STEPS", 4)
    features, masks = draw_problem(4, seed=0)
    short = SegmentationTraining(num_steps=12, batch_size=16)
    whole, killed, resumed = (
        trainee_of(features, masks, num_folds=2, settings=short) for _ in range(3)
    )

    def run(trainee: SegmentationTrainee, folder: str, **changes: Any) -> None:
        run_training(
            trainee,
            tmp_path / folder,
            **{"num_steps": trainee.total_steps, "settings": {}, "memory_advice": "", **changes},
        )

    run(whole, "whole")
    run(killed, "killed", num_steps=killed_after)
    run(resumed, "killed")

    expected = copy.deepcopy(whole.state())
    for name, tensor in resumed.state().tensors.items():
        assert torch.equal(tensor, expected.tensors[name]), name
    assert (resumed.held_out.masks != NOT_PREDICTED).all()


def test_wrong_masks_and_settings_are_refused() -> None:
    features, masks = draw_problem(2, seed=0)

    with pytest.raises(ShapeError, match=r"masks: expected \[N, 16, 16\]"):
        train(features, masks[:, :8])
    with pytest.raises(ShapeError, match="masks: expected 2 images, got 1"):
        train(features, masks[:1])
    with pytest.raises(ShapeError, match="masks: expected labels 0 to 3, got 0 to 9"):
        train(features, masks.masked_fill(masks == 1, 9))
    with pytest.raises(
        EngineSettingsError, match="num_folds: expected 0, or 2 to 2 for as many images"
    ):
        trainee_of(features, masks, num_folds=3)
    with pytest.raises(EngineSettingsError, match="label_power: expected 0 to 1, got 2"):
        SegmentationTraining(label_power=2)
    with pytest.raises(EngineSettingsError, match="batch_size: expected 2 to 65536, got 1"):
        SegmentationTraining(batch_size=1)


def test_features_that_are_not_numbers_are_reported() -> None:
    features, masks = draw_problem(1, seed=0)
    features[1][0, 0] = torch.nan

    with pytest.raises(NonFiniteError, match=r"features\[1\]: expected finite values of image 0"):
        train(features, masks)


def test_training_that_diverges_stops() -> None:
    features, masks = draw_problem(1, seed=0)
    trainee = trainee_of(features, masks, settings=SegmentationTraining(num_steps=100))
    trainee.members.weights["6_bias"].data.fill_(torch.nan)

    for step in range(99):
        trainee.step(step)
    with pytest.raises(DivergedError, match="the loss is nan"):
        trainee.step(99)


def test_ignored_pixels_teach_nothing() -> None:
    features, masks = draw_problem(4, seed=0)
    valid = torch.rand(16, 16, generator=torch.Generator().manual_seed(5)) < 0.5
    ignoring = trainee_of(features, masks.masked_fill(~valid, IGNORED), num_folds=2)
    limited = trainee_of(features, masks, num_folds=2, valid=valid)

    for step in range(ignoring.total_steps):
        ignoring.step(step)
        limited.step(step)

    for one, other in zip(
        ignoring.members.state_dict().values(), limited.members.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other)
    assert torch.equal(ignoring.held_out.masks, limited.held_out.masks)
    masks[2] = IGNORED
    with pytest.raises(EngineMaskError, match="every pixel of image 2 that counts is ignored"):
        trainee_of(features, masks)
