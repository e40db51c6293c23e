"""Adaptive discriminator augmentation (Karras et al. 2020, "Training GANs with limited data").

The discriminator sees photographs and samples transformed alike, each transformation with
probability p, so that it does not learn few photographs by heart. p rises with how sure it is of
the photographs that it has seen (`AugmentationControl`). At p = 0 images are left as they are. All
of it can be differentiated twice.

    blits      mirror, quarter turns, whole pixels: copied, exact
    geometry   scale, turn, stretch, shift: one resampling, without aliasing
    colours    brightness, contrast, luma flip, hue, saturation: one 4 x 4 matrix
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from editvec.engine.errors import EngineSettingsError
from editvec.engine.shapes import check_images
from editvec.engine.training.settings import AUGMENT_IMAGES, AUGMENTATIONS, TARGET_SIGN

KINDS = AUGMENTATIONS
_MAX_SHIFT = 0.125  # of the side, in whole pixels
_SCALE_STD = 0.2 * math.log(2)
_SHIFT_STD = 0.125  # of the side
_BRIGHTNESS_STD = 0.2
_CONTRAST_STD = 0.5 * math.log(2)
_SATURATION_STD = math.log(2)

# Low-pass filter of the symlet wavelet with 12 taps (Daubechies 1992), sum sqrt(2).
_SYM6 = (
    *(0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633),
    *(0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252),
    *(-0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148),
)


def augment(
    images: Tensor,
    p: float,
    *,
    generator: torch.Generator,
    kinds: Sequence[str] = KINDS,
) -> Tensor:
    """Do every transformation of `kinds` with probability `p` to each image on its own.

    Args:
        images: [N, 3, H, H], nominally in [-1, 1].
        p: In [0, 1].
        generator: Source of all decisions, on the device of the images.
        kinds: Which groups of transformations, of `KINDS`.

    Returns:
        [N, 3, H, H]; `images` itself at p = 0.

    Raises:
        SettingsError: `p` or a kind is out of range.
        ShapeError: `images` are no images.
    """
    check_images(images)
    if not 0 <= p <= 1 or not set(kinds) <= set(KINDS):
        raise EngineSettingsError(
            f"p, kinds: expected 0 to 1 and some of {KINDS}, got {p}, {kinds}"
        )
    if p == 0:
        return images
    chance = _Chance(len(images), p, generator)
    if "blits" in kinds:
        images = _blit(images, chance)
    if "geometry" in kinds:
        images = _warp(images, chance)
    if "colours" in kinds:
        images = _tint(images, chance)
    return images


class AugmentationControl:
    """Moves p so that the mean sign of the discriminator's logits on photographs meets a target.

    Attributes:
        p: In [0, 1].
    """

    def __init__(
        self, p: float = 0.0, *, target: float = TARGET_SIGN, images: int = AUGMENT_IMAGES
    ):
        """Begin at `p`; `images` is after how many photographs it can go from 0 to 1."""
        self.p = p
        self.target = target
        self.images = images
        self._sign_sum = 0.0
        self._count = 0

    def observe(self, logits: Tensor) -> None:
        """Take the logits [N] of a batch of photographs."""
        self._sign_sum += float(logits.detach().sign().sum())
        self._count += len(logits)

    def adjust(self) -> float:
        """Move p by what was observed since the last time; returns the mean sign, r_t.

        Raises:
            SettingsError: Nothing was observed.
        """
        if not self._count:
            raise EngineSettingsError(
                "augmentation: expected observed logits before it is adjusted"
            )
        sign = self._sign_sum / self._count
        change = math.copysign(self._count / self.images, sign - self.target)
        moved = self.p + (change if sign != self.target else 0.0)
        self.p = min(1.0, max(0.0, round(moved, 12)))  # 0 again after as many steps down as up
        self._sign_sum, self._count = 0.0, 0
        return sign

    def record(self) -> dict[str, Any]:
        """Its state as JSON."""
        return {"p": self.p, "sign_sum": self._sign_sum, "count": self._count}

    def restore(self, record: dict[str, Any]) -> None:
        """Put back what `record` gave."""
        self.p, self._sign_sum, self._count = record["p"], record["sign_sum"], record["count"]


class _Chance:
    """Draws for N images."""

    def __init__(self, count: int, p: float, generator: torch.Generator) -> None:
        self.count = count
        self.p = p
        self.generator = generator

    def uniform(self) -> Tensor:
        """[N] in [0, 1)."""
        return torch.rand(self.count, generator=self.generator, device=self.generator.device)

    def normal(self) -> Tensor:
        """[N], standard."""
        return torch.randn(self.count, generator=self.generator, device=self.generator.device)

    def choose(self, values: Tensor, neutral: float, *, p: float | None = None) -> Tensor:
        """`values` with the probability p, else `neutral`."""
        return torch.where(self.uniform() < (self.p if p is None else p), values, neutral)


# ----------------------------------------------------------------------------------------------
# Blits


def _blit(images: Tensor, chance: _Chance) -> Tensor:
    """Mirror, turn by quarters and shift by whole pixels; what leaves is reflected back in."""
    side = images.shape[-1]
    mirrored = chance.choose((chance.uniform() * 2).floor(), 0)
    turns = chance.choose((chance.uniform() * 4).floor(), 0)
    reach = int(side * _MAX_SHIFT)
    shifts = [
        chance.choose(((2 * chance.uniform() - 1) * (reach + 0.5)).round(), 0) for _ in range(2)
    ]
    axis = torch.arange(side, device=images.device)
    rows, columns = (
        _reflected(axis - shift[:, None].long(), side) for shift in shifts
    )  # [N, H] each
    rows = rows[:, :, None].expand(-1, -1, side)  # where a pixel comes from: [N, H, H]
    columns = columns[:, None, :].expand(-1, side, -1)
    for turn in (1, 2, 3):
        # turning once more: row <- column, column <- side - 1 - row
        now = (turns >= turn)[:, None, None]
        rows, columns = torch.where(now, columns, rows), torch.where(now, side - 1 - rows, columns)
    columns = torch.where(mirrored[:, None, None] > 0, side - 1 - columns, columns)
    index = (rows * side + columns).flatten(1)[:, None].expand(-1, 3, -1)
    return images.flatten(2).gather(2, index).view_as(images)


def _reflected(position: Tensor, side: int) -> Tensor:
    """Whole positions mirrored at the centres of the first and the last pixel."""
    period = max(2 * side - 2, 1)
    position = position.remainder(period)
    return torch.minimum(position, (period - position).remainder(period))


# ----------------------------------------------------------------------------------------------
# Geometry


def _warp(images: Tensor, chance: _Chance) -> Tensor:
    """Scale, turn, stretch and shift: images that none of it happens to stay as they are."""
    inverse = _inverse_matrices(chance)  # [N, 3, 3]
    moved = (inverse - torch.eye(3, device=inverse.device)).abs().amax(dim=(1, 2)) > 0
    index = moved.nonzero()[:, 0]
    if not len(index):
        return images
    warped = resample(images[index], inverse[index])
    return images.index_copy(0, index, warped.to(images.dtype))


def _inverse_matrices(chance: _Chance) -> Tensor:
    """From places in the result to places in the image, in units of half a side: [N, 3, 3]."""
    # so that both turns together happen with probability p
    turn_p = 1 - math.sqrt(1 - chance.p)

    def turn() -> Tensor:
        angle = chance.choose((2 * chance.uniform() - 1) * math.pi, 0, p=turn_p)
        return _matrices([[angle.cos(), -angle.sin(), 0], [angle.sin(), angle.cos(), 0], [0, 0, 1]])

    def scale() -> Tensor:
        return chance.choose((chance.normal() * _SCALE_STD).exp(), 1)

    size = scale()
    inverse = _matrices([[1 / size, 0, 0], [0, 1 / size, 0], [0, 0, 1]]) @ turn()
    ratio = scale()
    inverse = inverse @ _matrices([[1 / ratio, 0, 0], [0, ratio, 0], [0, 0, 1]]) @ turn()
    happens = chance.choose(torch.ones(chance.count, device=size.device), 0)
    across, down = (2 * _SHIFT_STD * happens * chance.normal() for _ in range(2))
    return inverse @ _matrices([[1, 0, -across], [0, 1, -down], [0, 0, 1]])


def resample(images: Tensor, inverse: Tensor) -> Tensor:
    """Transform images without aliasing: up by 2, bilinear, down by 2, with a wavelet's filter.

    Args:
        images: [N, 3, H, H]; reflected at the borders.
        inverse: From places in the result to places in the image, both in [-1, 1]: [N, 3, 3].

    Returns:
        [N, 3, H, H].
    """
    side = images.shape[-1]
    taps = torch.tensor(_SYM6, device=images.device, dtype=images.dtype)
    taps = taps / taps.sum()
    reach = len(_SYM6) // 2
    # margin that the corners of the result can look at, within what a reflection can give
    corners = torch.tensor([[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]], device=inverse.device)
    seen = float((inverse[:, :2] @ corners.to(inverse.dtype).t()).abs().max())
    margin = min(side - 1, max(0, math.ceil((seen - 1) * side / 2)) + reach)
    padded = F.pad(images, [margin] * 4, mode="reflect")
    doubled = _filtered(_spread(padded), 2 * taps)

    out = 2 * (side + 2 * reach)  # pixels that the last filter needs
    size = doubled.shape[-1]
    # The filter is not symmetric: what it doubles lies off by a part of a pixel, until its mirror
    # image takes that back. Turns have to go around the place where things are in between.
    off = reach - 0.5 - float((taps * torch.arange(len(_SYM6), device=taps.device)).sum())
    move = [[1, 0, 2 * off / size], [0, 1, 2 * off / size], [0, 0, 1]]
    back = [[out / size, 0, -2 * off / size], [0, out / size, -2 * off / size], [0, 0, 1]]
    place = inverse.to(images.dtype, copy=True)
    place[:, :2, 2] *= 2 * side / size  # in halves of the doubled image
    place = place.new_tensor(move) @ place @ place.new_tensor(back)
    grid = F.affine_grid(place[:, :2], [len(images), 3, out, out], align_corners=False)
    moved = sample_bilinear(doubled, grid)
    low = _filtered(moved, taps.flip(0))
    first = 2 * reach + 1  # both filters together shift by one
    return low[..., first : -2 * reach : 2, first : -2 * reach : 2]


def _spread(images: Tensor) -> Tensor:
    """Twice the size, zeros between the pixels: [N, C, 2H, 2H]."""
    count, channels, height, width = images.shape
    spread = F.pad(images.view(count, channels, height, 1, width, 1), [0, 1, 0, 0, 0, 1])
    return spread.view(count, channels, 2 * height, 2 * width)


def _filtered(images: Tensor, taps: Tensor) -> Tensor:
    """Rows and columns filtered by an even number of taps; zeros outside, the size stays."""
    channels, reach = images.shape[1], len(taps) // 2
    weight = taps.expand(channels, 1, -1)
    images = F.conv2d(
        F.pad(images, [reach, reach - 1, 0, 0]), weight[:, :, None, :], groups=channels
    )
    return F.conv2d(F.pad(images, [0, 0, reach, reach - 1]), weight[..., None], groups=channels)


def sample_bilinear(images: Tensor, grid: Tensor) -> Tensor:
    """Bilinear samples, zero outside; differentiable any number of times in the images.

    Args:
        images: [N, C, H, W].
        grid: Places (x, y) in [-1, 1], [N, h, w, 2]; gets no gradient.

    Returns:
        [N, C, h, w].
    """
    result: Tensor = _BilinearSample.apply(images, grid)
    return result


class _BilinearSample(torch.autograd.Function):
    """`grid_sample` is linear in its images, but torch cannot derive its derivative."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.size = images.shape
        return F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (grid,) = ctx.saved_tensors
        return _SampleTransposed.apply(grads[0], grid, ctx.size), None


class _SampleTransposed(torch.autograd.Function):
    """The transposed of `_BilinearSample`: spreads values [N, C, h, w] over images of a size."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, grid: Tensor, size: Sequence[int]) -> Tensor:
        ctx.save_for_backward(grid)
        # only the size of the images counts here
        images = values.new_zeros(1).expand(*size)
        bilinear, zeros = 0, 0
        spread: Tensor = torch.ops.aten.grid_sampler_2d_backward(
            values.contiguous(), images, grid, bilinear, zeros, False, [True, False]
        )[0]
        return spread

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (grid,) = ctx.saved_tensors
        return _BilinearSample.apply(grads[0], grid), None, None


# ----------------------------------------------------------------------------------------------
# Colours


def _tint(images: Tensor, chance: _Chance) -> Tensor:
    """One affine map of the colours of each image."""
    matrix = _color_matrices(chance).to(images.dtype)  # [N, 4, 4]
    colours = matrix[:, :3, :3] @ images.flatten(2) + matrix[:, :3, 3:]
    return colours.view_as(images)


def _color_matrices(chance: _Chance) -> Tensor:
    """Brightness, contrast, luma flip, hue and saturation, in this order: [N, 4, 4]."""
    shift = chance.choose(chance.normal() * _BRIGHTNESS_STD, 0)
    matrix = _matrices([[1, 0, 0, shift], [0, 1, 0, shift], [0, 0, 1, shift], [0, 0, 0, 1]])
    contrast = chance.choose((chance.normal() * _CONTRAST_STD).exp(), 1)
    gain = contrast[:, None, None] * torch.eye(4, device=shift.device)
    gain[:, 3, 3] = 1
    matrix = gain @ matrix

    axis = torch.tensor([1.0, 1.0, 1.0, 0.0], device=shift.device) / math.sqrt(3)
    luma = torch.outer(axis, axis)  # onto the grey axis
    identity = torch.eye(4, device=shift.device)
    flipped = chance.choose((chance.uniform() * 2).floor(), 0)[:, None, None]
    matrix = (identity - 2 * luma * flipped) @ matrix

    angle = chance.choose((2 * chance.uniform() - 1) * math.pi, 0)[:, None, None]
    cross = torch.zeros(4, 4, device=shift.device)
    cross[:3, :3] = torch.linalg.cross(
        axis[None, :3].expand(3, 3), torch.eye(3, device=shift.device), dim=1
    ).t()
    plane = torch.diag(torch.tensor([1.0, 1.0, 1.0, 0.0], device=shift.device)) - luma
    # Rodrigues: along the axis as before, across it turned; the last row is no colour
    rest = identity - plane
    matrix = (rest + plane * angle.cos() + cross * angle.sin()) @ matrix

    saturation = chance.choose((chance.normal() * _SATURATION_STD).exp(), 1)[:, None, None]
    return (rest + plane * saturation) @ matrix


def _matrices(rows: Sequence[Sequence[Tensor | float]]) -> Tensor:
    """Matrices [N, R, C] of entries that are numbers or [N]."""
    entries = [entry for row in rows for entry in row]
    like = next(entry for entry in entries if isinstance(entry, Tensor))
    full = [
        entry if isinstance(entry, Tensor) else torch.full_like(like, float(entry))
        for entry in entries
    ]
    return torch.stack(full, dim=1).view(len(like), len(rows), len(rows[0]))
