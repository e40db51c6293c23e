"""Shape arithmetic of StyleGAN2 and the checks that public functions make."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from editvec.engine.errors import EngineSettingsError, NonFiniteError, ShapeError

if TYPE_CHECKING:
    from torch import Tensor

MIN_RESOLUTION = 16
MAX_RESOLUTION = 1024
IGNORED = -1
"""Label of pixels that count nowhere, in masks that people give."""


def check_resolution(resolution: int) -> int:
    """Return `resolution` when it is a power of two from 16 to 1024.

    Raises:
        SettingsError: It is not.
    """
    power_of_two = type(resolution) is int and resolution > 0 and resolution & (resolution - 1) == 0
    if not power_of_two or not MIN_RESOLUTION <= resolution <= MAX_RESOLUTION:
        raise EngineSettingsError(
            f"resolution: expected a power of two from {MIN_RESOLUTION} to {MAX_RESOLUTION}, "
            f"got {resolution}"
        )
    return resolution


def num_ws_for(resolution: int) -> int:
    """Rows of `ws`: 2 * log2(resolution) - 2.

    Example:
        >>> num_ws_for(64)
        10
    """
    return 2 * int(math.log2(resolution)) - 2


def block_resolutions(resolution: int) -> list[int]:
    """Resolutions of the synthesis blocks, coarse to fine.

    Example:
        >>> block_resolutions(32)
        [4, 8, 16, 32]
    """
    return [2**power for power in range(2, int(math.log2(resolution)) + 1)]


def channels_at(resolution: int, *, channel_base: int, channel_max: int) -> int:
    """Feature channels of the block at `resolution`; base 32768, max 512 is config-f."""
    return min(channel_base // resolution, channel_max)


def check_ws(ws: Tensor, *, num_ws: int, w_dim: int, name: str = "ws") -> None:
    """Check that `ws` is a floating [N, num_ws, w_dim].

    Raises:
        ShapeError: It is not.
    """
    if ws.ndim != 3 or tuple(ws.shape[1:]) != (num_ws, w_dim):
        raise ShapeError(f"{name}: expected [N, {num_ws}, {w_dim}], got {list(ws.shape)}")
    if not ws.is_floating_point():
        raise ShapeError(f"{name}: expected a floating dtype, got {ws.dtype}")


def check_images(images: Tensor, *, resolution: int | None = None, name: str = "images") -> None:
    """Check that `images` is a floating [N, 3, H, W], square at `resolution` when one is given.

    Raises:
        ShapeError: It is not.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ShapeError(f"{name}: expected [N, 3, H, W], got {list(images.shape)}")
    if not images.is_floating_point():
        raise ShapeError(f"{name}: expected a floating dtype in [-1, 1], got {images.dtype}")
    if resolution is not None and tuple(images.shape[2:]) != (resolution, resolution):
        raise ShapeError(
            f"{name}: expected {resolution}x{resolution} pixels, "
            f"got {images.shape[3]}x{images.shape[2]} (width x height)"
        )


def check_mask(
    mask: Tensor,
    *,
    size: Sequence[int],
    num_labels: int,
    name: str = "mask",
    may_ignore: bool = False,
) -> None:
    """Check that `mask` is an integer [N, H, W] of label indices below `num_labels`.

    Args:
        mask: What is checked.
        size: H and W.
        num_labels: Labels of the scheme.
        name: What messages call the mask.
        may_ignore: `IGNORED` passes too.

    Raises:
        ShapeError: Wrong shape, dtype or label index.
    """
    import torch  # here: the sizes above serve commands that load no torch

    if mask.ndim != 3 or tuple(mask.shape[1:]) != tuple(size):
        raise ShapeError(f"{name}: expected [N, {size[0]}, {size[1]}], got {list(mask.shape)}")
    if mask.is_floating_point() or mask.dtype == torch.bool:
        raise ShapeError(f"{name}: expected integer label indices, got {mask.dtype}")
    least = IGNORED if may_ignore else 0
    if mask.numel() and not least <= int(mask.min()) <= int(mask.max()) < num_labels:
        raise ShapeError(
            f"{name}: expected labels 0 to {num_labels - 1}, "
            f"got {int(mask.min())} to {int(mask.max())}"
        )


def check_finite(tensor: Tensor, *, name: str) -> None:
    """Check that no value is NaN or infinite.

    Raises:
        NonFiniteError: One is.
    """
    import torch

    if not bool(torch.isfinite(tensor).all()):
        raise NonFiniteError(f"{name}: expected finite values, got NaN or infinity")
