"""The build: seeded, resumable after a kill."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from editvec.avatars.building import dataset, segmentation, supervised
from editvec.avatars.building import generator as stage
from editvec.avatars.drawing import parameters
from editvec.avatars.drawing.render import render
from editvec.engine.networks.config import GeneratorConfig


@pytest.fixture(scope="module")
def renders() -> dataset.Renders:
    params = parameters.sample(24, seed=8)
    drawn = render(params, stage.RESOLUTION)
    return dataset.Renders(drawn.pixels, drawn.mask, params)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator and a schedule that take seconds."""
    config = GeneratorConfig(
        resolution=stage.RESOLUTION,
        z_dim=stage.CONFIG.z_dim,
        w_dim=stage.CONFIG.w_dim,
        channel_base=256,
        channel_max=8,
        mapping_layers=1,
    )
    phases = (
        stage.Phase(16, 4, 2, 1e-3, 1e-3, half=False),
        stage.Phase(32, 4, 2, 1e-3, 1e-4, half=False),
    )
    monkeypatch.setattr(stage, "CONFIG", config)
    monkeypatch.setattr(stage, "PHASES", phases)
    monkeypatch.setattr(stage, "SAVE_EVERY", 3)


def train(work: Path, renders: dataset.Renders) -> Tensor:
    generator = stage.train_generator(work, renders, device="cpu", seed=1)
    return torch.cat([p.flatten() for p in generator.synthesis.parameters()])


class Killed(Exception):
    """Stands for the kill of the process."""


@pytest.mark.usefixtures("small")
def test_killed_training_goes_on_to_the_same_weights(
    tmp_path: Path, renders: dataset.Renders, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = train(tmp_path / "whole", renders)
    save, saved = stage.save_state, []

    def save_and_die(path: Path, step: int, tensors: dict[str, Tensor]) -> None:
        save(path, step, tensors)
        saved.append(step)
        if step == 6:
            raise Killed

    monkeypatch.setattr(stage, "save_state", save_and_die)
    with pytest.raises(Killed):
        train(tmp_path / "killed", renders)
    monkeypatch.setattr(stage, "save_state", save)
    resumed = train(tmp_path / "killed", renders)

    assert saved == [3, 6]
    torch.testing.assert_close(resumed, expected, atol=1e-6, rtol=1e-5)


def test_batches_do_not_depend_on_where_they_start() -> None:
    whole = dataset.batches(100, size=4, seed=3)
    later = dataset.batches(100, size=4, seed=3, start=5)

    drawn = [next(whole) for _ in range(8)]

    assert all(torch.equal(next(later), expected) for expected in drawn[5:])


def test_renders_are_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "SHARD_SIZE", 3)
    folder = tmp_path / "renders"
    dataset._write_shard((folder.mkdir() or folder / "5-16.npz", 5, 16))
    before = (folder / "5-16.npz").stat().st_mtime_ns

    read = dataset.rendered(folder, count=3, resolution=16, seed=5)

    assert (folder / "5-16.npz").stat().st_mtime_ns == before
    assert len(read.params) == len(np.load(folder / "5-16.npz")["params"])


def test_labelled_images_differ(renders: dataset.Renders) -> None:
    chosen = segmentation.choose_labelled(renders, count=16)

    unit = parameters.to_unit(renders.params)
    distances = np.linalg.norm(unit[chosen][:, None] - unit[chosen][None], axis=2)
    everything = np.linalg.norm(unit[:, None] - unit[None], axis=2)
    assert len(set(chosen)) == 16
    closest = distances[~np.eye(16, dtype=bool)].min()
    assert closest > everything[~np.eye(24, dtype=bool)].min()


def test_augmentation_keeps_shape_and_range(renders: dataset.Renders) -> None:
    images = dataset.as_images(renders.pixels)

    changed = supervised.augmented(images, torch.Generator().manual_seed(0))

    assert changed.shape == images.shape
    assert changed.abs().max() <= 1
    same = (changed == images).flatten(1).all(dim=1)
    assert 0 < same.sum() < len(images)
