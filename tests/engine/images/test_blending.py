"""Gradient-domain blending: no seam, no change outside, the edit's own gradients inside."""

import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from editvec.engine.images.compositing import composite, gradient_blend


def card(size: int) -> Tensor:
    """A test card: ramps, a checkerboard and a disc, [1, 3, size, size]."""
    row = torch.linspace(-0.6, 0.6, size)
    ramp = row[None, :].expand(size, size)
    checks = ((torch.arange(size)[:, None] // 8 + torch.arange(size)[None, :] // 8) % 2) * 0.3
    disc = ((row[:, None] ** 2 + row[None, :] ** 2) < 0.1).float() * 0.3
    return torch.stack([ramp, ramp.T + checks - 0.3, disc - 0.3])[None]


def disc_roi(size: int, *, radius: float = 0.35) -> Tensor:
    row = torch.linspace(-0.5, 0.5, size)
    return ((row[:, None] ** 2 + row[None, :] ** 2) < radius**2)[None, None]


def _reference(original: Tensor, edited: Tensor, roi: Tensor) -> Tensor:
    """The same equations by plain relaxation, pixel sums over shifted copies."""
    result = edited.double().clone()
    outside = ~roi
    result = torch.where(outside, original.double(), result)
    kernel = torch.tensor([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]]).double().expand(3, 1, 3, 3)
    neighbours = F.conv2d(torch.ones_like(result), kernel, padding=1, groups=3)
    guide = edited.double()
    divergence = neighbours * guide - F.conv2d(guide, kernel, padding=1, groups=3)
    for _ in range(6000):
        relaxed = (F.conv2d(result, kernel, padding=1, groups=3) + divergence) / neighbours
        result = torch.where(outside, result, relaxed)
    return result


def test_it_solves_poissons_equation() -> None:
    original = card(24)
    edited = (original.flip(3) * 0.7 + 0.1).clamp(-1, 1)
    roi = disc_roi(24)
    roi[..., 0:6, 10:14] = True  # reaches the edge of the image

    result = gradient_blend(original, edited, roi)

    expected = _reference(original, edited, roi).clamp(-1, 1).float()
    torch.testing.assert_close(result, expected, atol=1e-4, rtol=0)


def _solved(original: np.ndarray, edited: np.ndarray, roi: np.ndarray) -> np.ndarray:
    """[3, H, W] of one image: an equation for every pixel of the region, written down one by one.

    The sum over the neighbours of f - f(neighbour) is that of the edit; around the region f is the
    original, and beyond the edge of the image there is no neighbour.
    """
    height, width = roi.shape
    places = [(y, x) for y in range(height) for x in range(width) if roi[y, x]]
    number = {place: count for count, place in enumerate(places)}
    matrix, wanted = np.zeros((len(places), len(places))), np.zeros((len(places), 3))
    for (y, x), row in number.items():
        for other in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if not (0 <= other[0] < height and 0 <= other[1] < width):
                continue
            matrix[row, row] += 1
            wanted[row] += edited[:, y, x] - edited[:, other[0], other[1]]
            if other in number:
                matrix[row, number[other]] -= 1
            else:
                wanted[row] += original[:, other[0], other[1]]
    result = original.copy()
    for place, value in zip(places, np.linalg.solve(matrix, wanted), strict=True):
        result[:, place[0], place[1]] = value
    return result


# (top, left, bottom, right) in an image of 9 x 13 pixels
REGIONS = {
    "top": (0, 4, 3, 9),
    "bottom": (6, 4, 9, 9),
    "left": (3, 0, 7, 4),
    "right": (3, 9, 7, 13),
    "a corner": (5, 8, 9, 13),
    "left and right": (3, 0, 6, 13),
    "top and bottom": (0, 5, 9, 8),
    "inside": (2, 3, 7, 9),
}


@pytest.mark.parametrize("place", REGIONS)
def test_a_region_at_each_border_of_the_image_follows_its_equations(place: str) -> None:
    random = np.random.default_rng(3)
    original, edited = random.uniform(-0.3, 0.3, (2, 3, 9, 13))
    original[:, :, 0] += 0.3  # each border has a level of its own
    original[:, :, -1] -= 0.3
    original[:, 0] += 0.15
    top, left, bottom, right = REGIONS[place]
    roi = np.zeros((9, 13), bool)
    roi[top:bottom, left:right] = True
    roi[top, left] = place == "inside"  # no plain rectangle at the borders

    result = gradient_blend(*(torch.from_numpy(one)[None] for one in (original, edited, roi[None])))

    expected = _solved(original, edited, roi)
    assert np.abs(expected).max() < 1  # nothing is cut off
    np.testing.assert_allclose(result[0].numpy(), expected, atol=1e-9)


def test_an_edit_and_a_result_beyond_the_range_are_cut_off() -> None:
    original = np.full((3, 7, 8), 0.9)
    original[:, :, :4] = -0.9
    edited = np.random.default_rng(4).uniform(-3, 3, original.shape)
    roi = np.zeros((7, 8), bool)
    roi[2:5, 1:7] = True

    result = gradient_blend(*(torch.from_numpy(one)[None] for one in (original, edited, roi[None])))

    solved = _solved(original, edited.clip(-1, 1), roi)
    assert solved.min() < -1
    assert solved.max() > 1
    np.testing.assert_allclose(result[0].numpy(), solved.clip(-1, 1), atol=1e-9)


def test_no_seam_shows_on_a_test_card_that_was_edited_brighter() -> None:
    original = card(64)
    edited = original * 0.9 + 0.15  # another exposure, and nothing else
    roi = disc_roi(64)

    blended = gradient_blend(original, edited, roi)
    pasted = torch.where(roi, edited, original)

    def worst_jump(images: Tensor) -> float:
        """Across the border, beyond what the original itself jumps there."""
        crossing = roi[..., 1:] != roi[..., :-1]
        steps = (images - original)[..., 1:] - (images - original)[..., :-1]
        return float(steps.abs()[crossing.expand_as(steps)].max())

    assert worst_jump(pasted) > 0.1
    # what is left is a tenth of the checkerboard's own step: the edit's lower contrast
    assert worst_jump(blended) < 0.031


def test_a_plain_brightening_vanishes() -> None:
    original = card(32)

    result = gradient_blend(original, original + 0.2, disc_roi(32))

    torch.testing.assert_close(result, original, atol=1e-6, rtol=0)


def test_every_value_outside_stays_bit_for_bit_and_each_image_has_its_own_region() -> None:
    original = torch.cat([card(32), card(32).flip(2)])
    edited = torch.cat([card(32).flip(3), card(32) * 0.5])
    roi = torch.cat([disc_roi(32), disc_roi(32, radius=0.2).roll(5, 3)])

    result = gradient_blend(original, edited, roi)

    outside = (~roi).expand_as(original)
    assert torch.equal(result[outside], original[outside])
    alone = gradient_blend(original[1:], edited[1:], roi[1:])
    torch.testing.assert_close(result[1:], alone)


@pytest.mark.parametrize("value", [True, False])
def test_a_region_of_everything_is_the_edit_and_of_nothing_the_original(value: bool) -> None:
    original, edited = card(16), card(16).flip(3)

    result = gradient_blend(original, edited, torch.full((1, 1, 16, 16), value))

    torch.testing.assert_close(result, edited if value else original)


def test_composite_knows_the_mode() -> None:
    original, edited, roi = card(16), card(16).flip(3), disc_roi(16)

    result = composite(original, edited, roi, mode="gradient")

    torch.testing.assert_close(result, gradient_blend(original, edited, roi))


def test_a_box_of_128_pixels_takes_a_twentieth_of_a_second() -> None:
    original = card(256)
    roi = torch.zeros(1, 1, 256, 256, dtype=torch.bool)
    roi[..., 64:192, 64:192] = True
    gradient_blend(original, original.flip(3), roi)

    seconds = []
    for _ in range(5):
        began = time.thread_time()  # of this core: other processes do not count
        gradient_blend(original, original.flip(3), roi)
        seconds.append(time.thread_time() - began)

    assert np.median(seconds) < 0.1  # 0.05 on a quiet core
