"""A few bytes that tell about angles."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from editvec.registry.library.similar import (
    BITS,
    KEY_BYTES,
    SKETCH_BYTES,
    estimated_cosines,
    sketch_of,
)

SHAPE = (6, 32)
PINNED = "baef3a2917024b1e71d18b6cf1ab415767fd81c79edf140fe37344f02a429c37"


def sketch(delta: np.ndarray, *, generator: str = "0" * 64, space: str = "W+") -> bytes:
    return sketch_of(delta.astype(np.float32), generator_digest=generator, latent_space=space)


def pair_at(cosine: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two deltas of different lengths at an angle."""
    generator = np.random.default_rng(seed)
    one, other = generator.normal(size=(2, *SHAPE))
    other -= one * (one * other).sum() / (one * one).sum()
    one, other = one / np.linalg.norm(one), other / np.linalg.norm(other)
    return one * 3, 0.01 * (cosine * one + np.sqrt(1 - cosine**2) * other)


def test_sketches_are_the_same_for_ever() -> None:
    # whole numbers up to a power of two: every machine adds them up without rounding
    delta = (np.arange(192) * 37 % 129 - 64.0).reshape(SHAPE)

    made = sketch(delta)

    assert len(made) == SKETCH_BYTES == 136
    assert hashlib.sha256(made).hexdigest() == PINNED


@given(st.floats(-1, 1), st.integers(0, 1000))
def test_cosine_is_estimated(cosine: float, seed: int) -> None:
    one, other = pair_at(cosine, seed)

    (estimate,) = estimated_cosines(sketch(one), [sketch(other)])

    assert estimate == pytest.approx(cosine, abs=0.25)  # five times the standard deviation


def test_estimates_spread_as_the_docstring_says() -> None:
    cosine = 0.5
    sketches = [tuple(map(sketch, pair_at(cosine, seed))) for seed in range(300)]

    errors = [estimated_cosines(one, [other])[0] - cosine for one, other in sketches]

    angle = np.arccos(cosine)
    expected = np.sin(angle) * np.sqrt(angle * (np.pi - angle) / BITS)
    assert np.std(errors) == pytest.approx(expected, rel=0.2)
    assert abs(np.mean(errors)) < expected / 5


@given(st.floats(1e-30, 1e30))
def test_length_does_not_matter_and_nothing_overflows(scale: float) -> None:
    delta = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)

    scaled = (delta.astype(np.float64) * scale).astype(np.float32)

    assert estimated_cosines(sketch(delta), [sketch(scaled)])[0] > 0.999


def test_largest_and_smallest_numbers_have_a_sketch() -> None:
    signs = np.where(np.random.default_rng(0).normal(size=SHAPE) > 0, 1, -1)

    huge, tiny = (sketch(signs * limit) for limit in (np.finfo(np.float32).max, np.float32(1e-44)))

    assert estimated_cosines(huge, [tiny])[0] > 0.99


def test_opposites_are_as_far_as_can_be() -> None:
    delta = np.random.default_rng(0).normal(size=SHAPE)

    assert estimated_cosines(sketch(delta), [sketch(-delta), sketch(delta)]).tolist() == [-1, 1]


def test_only_one_generator_space_and_shape_is_compared() -> None:
    delta = np.random.default_rng(0).normal(size=SHAPE)
    others = [
        sketch(delta),
        sketch(delta, generator="1" * 64),
        sketch(delta, space="W"),
        sketch(delta.reshape(12, 16)),
    ]

    assert estimated_cosines(others[0], others).tolist() == [1, -2, -2, -2]
    assert len({one[:KEY_BYTES] for one in others}) == 4


def test_no_sketches_have_no_cosines() -> None:
    assert estimated_cosines(sketch(np.ones(SHAPE)), []).shape == (0,)
