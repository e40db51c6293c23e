"""The files to practise on are what they stand for."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from editvec.avatars.default import BUNDLE_FOLDER
from editvec.avatars.practice import rosinality_state, write_practice
from editvec.engine.bundle.bundle import read_networks
from editvec.engine.foreign.checkpoint import read_generator
from editvec.registry.labels.files import read_scheme
from editvec.registry.masks.sources import read_any_mask


@pytest.fixture(scope="module")
def practice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("practice")
    write_practice(folder, pairs=4, photographs=3, unseen=2)
    return folder


def test_the_checkpoint_is_the_shipped_generator_to_the_last_bit(practice: Path) -> None:
    state = read_networks(BUNDLE_FOLDER)[1]["generator"].state

    found = read_generator(practice / "faces.pt")

    assert set(found.state) == set(state)
    assert all(torch.equal(found.state[name], state[name]) for name in state)


def test_names_are_those_of_the_other_program(practice: Path) -> None:
    written = torch.load(practice / "faces.pt", weights_only=True)["g_ema"]

    shapes = {name: tuple(tensor.shape) for name, tensor in written.items()}
    assert shapes["input.input"] == (1, 128, 4, 4)
    assert shapes["conv1.conv.weight"] == (1, 128, 128, 3, 3)
    assert shapes["convs.7.conv.weight"] == (1, 48, 48, 3, 3)
    assert shapes["convs.6.conv.blur.kernel"] == (4, 4)
    assert shapes["to_rgbs.3.bias"] == (1, 3, 1, 1)
    assert shapes["noises.noise_8"] == (1, 1, 64, 64)


def test_a_weight_that_the_other_program_has_no_place_for_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mapping\.label"):
        rosinality_state({"mapping.label": torch.zeros(3)})


def test_no_picture_is_in_two_folders_and_every_image_has_its_mask(practice: Path) -> None:
    counts = {"pairs/images": 4, "pairs/masks": 4, "photos": 3, "unseen": 2}
    files = {name: sorted((practice / name).iterdir()) for name in counts}
    scheme = read_scheme(practice / "faces.yaml")

    assert {name: len(found) for name, found in files.items()} == counts
    pictures = [path.read_bytes() for name in files for path in files[name]]
    assert len(set(pictures)) == len(pictures)
    for image, path in zip(files["pairs/images"], files["pairs/masks"], strict=True):
        mask = read_any_mask(path, scheme)
        assert image.name == path.name
        assert mask.shape == np.asarray(Image.open(image)).shape[:2]
        assert len(np.unique(mask)) >= 8
