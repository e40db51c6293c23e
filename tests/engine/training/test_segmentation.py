"""Training of the segmentation branch on a problem with a known answer."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import engine.training.segmentation
from engine.config import SegmentationConfig
from engine.errors import NonFiniteError, SettingsError, ShapeError
from engine.segmentation import SegmentationBranch
from engine.training.segmentation import (
    SegmentationStep,
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
    generator = torch.Generator().manual_seed(seed)
    return train_segmentation(features, masks, CONFIG, generator=generator, settings=settings)


def test_trained_branch_labels_unseen_images() -> None:
    features, masks = draw_problem(8, seed=0)
    unseen, expected = draw_problem(8, seed=1)
    steps: list[SegmentationStep] = []

    state = train_segmentation(
        features,
        masks,
        CONFIG,
        generator=torch.Generator().manual_seed(0),
        settings=SegmentationTraining(num_steps=1200),
        on_step=steps.append,
    )
    mask = SegmentationBranch.from_members(state, CONFIG)(unseen).argmax(dim=1)

    assert [step.step for step in steps] == list(range(len(steps)))
    assert steps[-1].loss < steps[0].loss / 4
    assert steps[-1].learning_rate < 1e-5
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


def test_gathering_native_maps_gives_the_same_members(monkeypatch: pytest.MonkeyPatch) -> None:
    features, masks = draw_problem(2, seed=0)
    looked_up = train(features, masks)

    monkeypatch.setattr(engine.training.segmentation, "TABLE_BYTES", 0)
    gathered = train(features, masks)

    for name, tensor in looked_up.items():
        torch.testing.assert_close(gathered[name], tensor)


def test_first_step_of_a_member_equals_one_that_trains_alone() -> None:
    """The batched step against torch's own layers and optimiser."""
    generator = torch.Generator().manual_seed(0)
    members = engine.training.segmentation._Members(CONFIG, generator=generator).double()
    start = members.member_state()
    rows = torch.randn(3, 16, 13, generator=generator, dtype=torch.float64)
    labels = torch.randint(4, (3, 16), generator=generator)

    def draw() -> tuple[Tensor, Tensor]:
        return rows, labels

    engine.training.segmentation._optimise(
        members, draw, SegmentationTraining(num_steps=1, ramp_down=0), None
    )

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
    steps: list[SegmentationStep] = []

    train_segmentation(
        features,
        masks,
        CONFIG,
        generator=generator,
        settings=SegmentationTraining(num_steps=2000, ramp_down=0.05, patience_steps=200),
        on_step=steps.append,
    )

    assert 300 <= len(steps) < 1500


@pytest.mark.parametrize(("label_power", "share"), [(1.0, 1 / 16), (0.5, 0.2), (0.0, 0.5)])
def test_rare_labels_are_drawn_by_the_power_of_their_pixels(
    label_power: float, share: float
) -> None:
    labels = torch.zeros(256, dtype=torch.long)
    labels[40:56] = 2
    generator = torch.Generator().manual_seed(0)
    sampler = engine.training.segmentation._PixelSampler(labels, label_power, generator)

    picked = sampler.draw(20000)

    assert (labels[picked] == 2).double().mean() == pytest.approx(share, abs=0.02)
    assert len(picked.unique()) == 256


def test_wrong_masks_and_settings_are_refused() -> None:
    features, masks = draw_problem(2, seed=0)

    with pytest.raises(ShapeError, match=r"masks: expected \[N, 16, 16\]"):
        train(features, masks[:, :8])
    with pytest.raises(ShapeError, match="masks: expected 2 images, got 1"):
        train(features, masks[:1])
    with pytest.raises(ShapeError, match="masks: expected labels 0 to 3, got 0 to 9"):
        train(features, masks.masked_fill(masks == 1, 9))
    with pytest.raises(SettingsError, match="label_power: expected 0 to 1, got 2"):
        SegmentationTraining(label_power=2)
    with pytest.raises(SettingsError, match="batch_size: expected at least 2, got 1"):
        SegmentationTraining(batch_size=1)


def test_features_that_are_not_numbers_are_reported() -> None:
    features, masks = draw_problem(1, seed=0)
    features[1][0, 0] = torch.nan

    with pytest.raises(NonFiniteError, match="segmentation loss"):
        train(features, masks, settings=SegmentationTraining(num_steps=100))
