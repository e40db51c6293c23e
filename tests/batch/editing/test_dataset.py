"""A folder as a data set: items follow from seed, epoch and index, whoever makes them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from editvec.batch.editing.dataset import EditedFolder
from editvec.batch.errors import PlanError, SettingsError
from editvec.batch.recipes.settings import OutputSize, RunSettings

EDITS = ["smile=uniform(-1,1)"]
Items = list[dict[str, Any]]


@pytest.fixture
def make(home: Path, make_pictures: Callable[..., Path]) -> Callable[..., EditedFolder]:
    folder = make_pictures(6)

    def made(edits: list[str] = EDITS, **options: Any) -> EditedFolder:
        return EditedFolder(folder, edits, home=home, device="cpu", **options)

    return made


def same(first: Items, second: Items) -> bool:
    return len(first) == len(second) and all(
        one["labels"] == other["labels"]
        and one["recipe"] == other["recipe"]
        and one["source"] == other["source"]
        and torch.equal(one["image"], other["image"])
        and torch.equal(one["mask"], other["mask"])
        for one, other in zip(first, second, strict=True)
    )


def items_of(loader: DataLoader[Any]) -> Items:
    return [item for batch in loader for item in batch]


def test_an_item_is_image_mask_and_labels(make: Callable[..., EditedFolder]) -> None:
    dataset = make(["smile=1"])

    item = dataset[4]

    assert len(dataset) == 6
    assert item["image"].shape == (3, 32, 32)
    assert item["image"].dtype == torch.float32
    assert item["image"].aminmax().min >= -1
    assert item["mask"].shape == (32, 32)
    assert item["mask"].dtype == torch.int64
    assert item["labels"] == {"smile": 1.0}
    assert item["source"] == dataset.names[4] == "4.png"
    assert item["recipe"] == "smile+1.00"
    with pytest.raises(IndexError):
        dataset[6]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_size": 4},
        {"num_workers": 2},
        {"num_workers": 2, "multiprocessing_context": "spawn"},
    ],
    ids=["one", "batches", "forked", "spawned"],
)
def test_items_are_the_same_however_they_are_loaded(
    make: Callable[..., EditedFolder], options: dict[str, Any]
) -> None:
    expected = [make()[index] for index in range(6)]

    dataset = make()
    dataset[0]  # what a process has opened is not what its children use
    loader = DataLoader(dataset, **{"batch_size": 2, **options}, collate_fn=list)

    assert same(items_of(loader), expected)


def test_an_epoch_draws_anew_and_reaches_workers_that_live_on(
    make: Callable[..., EditedFolder],
) -> None:
    dataset = make()
    loader = DataLoader(
        dataset, batch_size=2, num_workers=1, persistent_workers=True, collate_fn=list
    )

    epochs = []
    for epoch in (0, 1, 0):
        dataset.set_epoch(epoch)
        epochs.append(items_of(loader))

    assert same(epochs[0], epochs[2])
    drawn = [[item["labels"]["smile"] for item in items] for items in epochs[:2]]
    assert not set(drawn[0]) & set(drawn[1])


def test_seeds_draw_other_edits(make: Callable[..., EditedFolder]) -> None:
    choices = ["smile=-1:1:3"]
    drawn = [[make(choices, seed=seed)[i]["recipe"] for i in range(6)] for seed in range(3)]

    assert len({tuple(one) for one in drawn}) == 3


def test_a_share_stays_as_it_is(make: Callable[..., EditedFolder], tmp_path: Path) -> None:
    dataset = make(edited=0.5, seed=2)

    items = [dataset[index] for index in range(6)]

    plain = [item for item in items if item["recipe"] == "source"]
    assert 0 < len(plain) < 6
    for item in plain:
        assert item["labels"] == {"smile": 0.0}
        levels = np.asarray(Image.open(tmp_path / "in" / item["source"]))
        shown = (item["image"].permute(1, 2, 0) + 1) * 127.5
        assert torch.equal(shown.round().to(torch.uint8), torch.from_numpy(levels.copy()))
    assert all(make(edited=0.0)[index]["recipe"] == "source" for index in range(6))


def test_what_a_gate_refuses_comes_unedited(make: Callable[..., EditedFolder]) -> None:
    item = make(["smile=1"], settings=RunSettings(max_uncertainty=0.0))[0]

    assert item["recipe"] == "source"
    assert item["labels"] == {"smile": 0.0}


def test_torch_can_collate_items(make: Callable[..., EditedFolder]) -> None:
    batch = next(iter(DataLoader(make(), batch_size=3)))

    assert batch["image"].shape == (3, 3, 32, 32)
    assert batch["mask"].shape == (3, 32, 32)
    assert batch["labels"]["smile"].shape == (3,)
    assert batch["source"] == ["0.png", "1.png", "2.png"]


def test_what_cannot_be_is_refused_at_once(
    make: Callable[..., EditedFolder], home: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="share from 0 to 1, got 2"):
        make(edited=2.0)
    with pytest.raises(SettingsError, match="of the generator's"):
        make(settings=RunSettings(output_size=OutputSize.ORIGINAL))
    with pytest.raises(PlanError, match="cannot list"):
        EditedFolder(tmp_path / "nowhere", EDITS, home=home)


def test_a_gpu_in_a_forked_worker_is_told(
    make: Callable[..., EditedFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    def cuda_says(*_: object, **__: object) -> None:
        raise RuntimeError("Cannot re-initialize CUDA in forked subprocess")

    monkeypatch.setattr("editvec.batch.editing.dataset.PictureEditor", cuda_says)
    loader = DataLoader(make(), num_workers=1)

    with pytest.raises(SettingsError, match='multiprocessing_context="spawn"'):
        next(iter(loader))


def test_a_picture_gets_scales_of_the_whole_range_over_the_epochs(
    home: Path, make_pictures: Callable[..., Path]
) -> None:
    # 4 pictures: numbers that go on evenly from epoch to epoch would give each a quarter of it
    edits = ["smile=uniform(-1,1)"]
    dataset = EditedFolder(make_pictures(4), edits, home=home, device="cpu")

    drawn = []
    for epoch in range(16):
        dataset.set_epoch(epoch)
        drawn.append([item["labels"]["smile"] for item in dataset.__getitems__(range(4))])

    scales = np.array(drawn)  # [epochs, pictures]
    assert np.all(np.ptp(scales, axis=0) > 1.2), "each picture sees most of the range"
    assert np.all(np.diff(np.sort(scales, axis=1), axis=1) > 0.3), "an epoch stays balanced"
    assert len(np.unique(scales)) == scales.size
