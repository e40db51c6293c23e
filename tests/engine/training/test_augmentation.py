"""Adaptive augmentation."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from editvec.engine.errors import EngineSettingsError
from editvec.engine.training.augmentation import (
    KINDS,
    AugmentationControl,
    augment,
    resample,
    sample_bilinear,
)


def smooth_images(count: int, side: int = 32, *, seed: int = 0) -> Tensor:
    """Images without fine detail, which survive resampling: float64 [N, 3, side, side]."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 5, generator=random, dtype=torch.float64) * 2 - 1
    return torch.nn.functional.interpolate(
        coarse, size=(side, side), mode="bicubic", align_corners=True
    )


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_nothing_happens_at_p_0() -> None:
    images = smooth_images(4)

    assert augment(images, 0.0, generator=seeded()) is images


@pytest.mark.parametrize("kinds", [KINDS, *((kind,) for kind in KINDS)])
def test_images_are_left_alone_with_the_probability_that_p_leaves(kinds: Sequence[str]) -> None:
    images = smooth_images(3, side=12).float().repeat(700, 1, 1, 1)

    seen = augment(images, 0.03, generator=seeded(), kinds=kinds)

    same = (seen - images).abs().amax(dim=(1, 2, 3)) < 1e-5
    # blits: mirror 1/2, turn 3/4 and shift of two directions; geometry: 2 turns as one, 2 scales,
    # a shift; colours: brightness, contrast, half a flip, hue, saturation
    draws = {"blits": 0.5 + 0.75 + 1.7, "geometry": 1 + 2 + 1, "colours": 1 + 1 + 0.5 + 1 + 1}
    kept = 0.97 ** sum(draws[kind] for kind in kinds)
    assert float(same.double().mean()) == pytest.approx(kept, abs=0.025)


def test_everything_comes_from_the_generator() -> None:
    images = smooth_images(4)

    first, again, other = (augment(images, 0.8, generator=seeded(seed)) for seed in (3, 3, 4))

    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_blits_only_move_pixels() -> None:
    images = torch.rand(40, 3, 16, 16, dtype=torch.float64)

    seen = augment(images, 1.0, generator=seeded(), kinds=("blits",))

    for before, after in zip(images, seen, strict=True):
        values = set(before.flatten(1).t().reshape(-1, 3).sum(dim=1).tolist())
        assert set(after.flatten(1).t().reshape(-1, 3).sum(dim=1).tolist()) <= values
    # without a shift, a blit is one of the eight symmetries of the square
    symmetries = [
        turned if not mirrored else turned.flip(3)
        for mirrored in (False, True)
        for turned in (images.rot90(turns, (2, 3)) for turns in range(4))
    ]
    found = torch.stack([(seen == one).flatten(1).all(dim=1) for one in symmetries], dim=1)
    assert int(found.any(dim=1).sum()) >= 1
    assert int(found.sum(dim=1).max()) == 1


def test_blits_reach_every_symmetry() -> None:
    images = torch.rand(1, 3, 8, 8, dtype=torch.float64).repeat(400, 1, 1, 1)

    seen = augment(images, 1.0, generator=seeded(), kinds=("blits",))

    symmetries = [
        turned if not mirrored else turned.flip(2)
        for mirrored in (False, True)
        for turned in (images[0].rot90(turns, (1, 2)) for turns in range(4))
    ]
    counts = [int((seen == one).flatten(1).all(dim=1).sum()) for one in symmetries]
    assert min(counts) > 0


def test_resampling_in_place_gives_the_images_back() -> None:
    images = torch.rand(3, 3, 16, 16, dtype=torch.float64)
    inverse = torch.eye(3, dtype=torch.float64).repeat(3, 1, 1)

    torch.testing.assert_close(resample(images, inverse), images, atol=1e-9, rtol=0)


def matrix(rows: Sequence[Sequence[float]], count: int) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64).repeat(count, 1, 1)


def test_resampling_turns_and_shifts_as_its_matrix_says() -> None:
    images = smooth_images(2)

    turned = resample(images, matrix([[0, -1, 0], [1, 0, 0], [0, 0, 1]], 2))
    shifted = resample(images, matrix([[1, 0, -0.25], [0, 1, 0], [0, 0, 1]], 2))

    middle = (slice(None), slice(None), slice(4, -4), slice(4, -4))
    torch.testing.assert_close(turned[middle], images.rot90(1, (2, 3))[middle], atol=0.01, rtol=0)
    # a quarter of half a side to the right
    torch.testing.assert_close(shifted[..., 4:], images[..., :-4], atol=1e-9, rtol=0)


def test_resampling_there_and_back_changes_little() -> None:
    images = smooth_images(2, side=64)
    angle, scale = 0.4, 1.25
    turn = torch.tensor(
        [
            [scale * math.cos(angle), -scale * math.sin(angle), 0.1],
            [scale * math.sin(angle), scale * math.cos(angle), -0.05],
            [0, 0, 1],
        ],
        dtype=torch.float64,
    )

    there = resample(images, turn.inverse().repeat(2, 1, 1))
    back = resample(there, turn.repeat(2, 1, 1))

    middle = (slice(None), slice(None), slice(20, 44), slice(20, 44))
    assert float((back - images)[middle].abs().max()) < 0.02
    assert float((there - images)[middle].abs().max()) > 0.2


def test_colours_are_affine_and_leave_shapes_alone() -> None:
    images = smooth_images(6)

    seen = augment(images, 1.0, generator=seeded(), kinds=("colours",))

    ones = torch.ones(6, 1, 32 * 32, dtype=torch.float64)
    sources = torch.cat([images.flatten(2), ones], dim=1).transpose(1, 2)
    fit = torch.linalg.lstsq(sources, seen.flatten(2).transpose(1, 2)).solution
    residual = sources @ fit - seen.flatten(2).transpose(1, 2)
    assert float(residual.abs().max()) < 1e-5


def test_hue_alone_keeps_grey_grey() -> None:
    grey = smooth_images(20)[:, :1].expand(-1, 3, -1, -1).contiguous()

    seen = augment(grey, 1.0, generator=seeded(), kinds=("colours",))

    assert float((seen - seen.mean(dim=1, keepdim=True)).abs().max()) < 1e-5


def test_samples_can_be_derived_twice() -> None:
    images = torch.randn(1, 1, 5, 5, dtype=torch.float64, requires_grad=True)
    grid = torch.rand(1, 4, 4, 2, dtype=torch.float64, generator=seeded()) * 2.4 - 1.2

    assert torch.autograd.gradcheck(lambda x: sample_bilinear(x, grid), images)
    assert torch.autograd.gradgradcheck(lambda x: sample_bilinear(x, grid).square(), images)


def test_whole_pipeline_can_be_derived_twice() -> None:
    images = smooth_images(2, side=8).requires_grad_(True)

    def seen(x: Tensor) -> Tensor:
        return augment(x, 0.9, generator=seeded(5)).square().sum().reshape(1)

    assert torch.autograd.gradgradcheck(seen, images, fast_mode=True)


def test_control_moves_towards_the_target() -> None:
    control = AugmentationControl(target=0.6, images=1000)

    control.observe(torch.tensor([3.0, 1.0, 2.0, 4.0]))
    control.observe(torch.tensor([3.0, 1.0, 2.0, -4.0]))
    sign = control.adjust()
    raised = control.p
    control.observe(torch.tensor([-1.0] * 4 + [1.0] * 4))
    control.adjust()

    assert sign == 0.75
    assert raised == pytest.approx(8 / 1000)
    assert control.p == pytest.approx(0)
    control.observe(-torch.ones(64))
    control.adjust()
    assert control.p == 0  # never below


def test_control_comes_back_to_exactly_nothing() -> None:
    control = AugmentationControl(images=300_000)
    for sign in (1, -1):
        for _ in range(7):
            control.observe(sign * torch.ones(16))
            control.adjust()
        assert (control.p == 0) is (sign < 0)


def test_control_goes_on_from_its_record() -> None:
    control = AugmentationControl(0.2, images=100)
    control.observe(torch.ones(3))
    again = AugmentationControl(images=100)
    again.restore(control.record())

    for one in (control, again):
        one.observe(-torch.ones(1))
        one.adjust()

    assert again.p == control.p


def test_bad_strength_or_kind_is_refused() -> None:
    for p, kinds in ((1.5, KINDS), (0.5, ("noise",))):
        with pytest.raises(EngineSettingsError, match="p, kinds"):
            augment(smooth_images(1), p, generator=seeded(), kinds=kinds)
