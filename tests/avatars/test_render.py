"""Tests of the avatar renderer."""

from avatars.parameters import sample
from avatars.render import LABELS, render


def test_shapes_and_labels() -> None:
    rendered = render(sample(3, seed=0), 64)
    assert rendered.pixels.shape == (3, 64, 64, 3)
    assert rendered.mask.shape == (3, 64, 64)
    assert rendered.mask.max() < len(LABELS)
