"""What edits of avatars are judged by."""

import numpy as np
import pytest

from editvec.avatars.drawing.attributes import ATTRIBUTE_NAMES
from editvec.avatars.drawing.render import LABELS
from editvec.avatars.judging import can_render, exact_edits, expected_attribute
from editvec.avatars.starter import STARTERS


def test_every_expected_attribute_is_one_of_the_classifier() -> None:
    expected = {expected_attribute(starter.name) for starter in STARTERS} - {None}

    assert expected <= set(ATTRIBUTE_NAMES)
    assert expected_attribute("smile") == "smiling"


@pytest.mark.parametrize("name", ["smile", "worried", "surprise"])
def test_exact_edits_are_the_same_for_the_same_seed(name: str) -> None:
    edits = exact_edits(name, 6, seed=0, resolution=64)
    again = exact_edits(name, 6, seed=0, resolution=64)

    assert edits.pixels.shape == (6, 64, 64, 3)
    assert edits.targets.shape == (6, 64, 64)
    assert edits.targets.max() < len(LABELS)
    np.testing.assert_array_equal(edits.targets, again.targets)
    different = exact_edits(name, 6, seed=1, resolution=64)
    assert (edits.pixels != different.pixels).any()


def test_the_renderer_knows_the_starter_library_only() -> None:
    assert can_render("stern")
    assert not can_render("my-vector")
    with pytest.raises(ValueError, match="expected one of smile"):
        exact_edits("my-vector", 1, seed=0, resolution=64)


def test_faces_that_smile_already_are_not_asked_to() -> None:
    pixels, targets = exact_edits("smile", 8, seed=0, resolution=64)

    mouth = LABELS.index("mouth")
    assert len(pixels) == len(targets)
    assert ((targets == mouth).sum(axis=(1, 2)) > 0).all()
