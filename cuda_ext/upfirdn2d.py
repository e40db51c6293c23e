"""Up-sampling, a separable filter and down-sampling, as one operation.

Zeros are put between the pixels of the input (`up`), the result is padded with zeros, filtered with
the same taps along both axes, and every `down`-th pixel is kept:

    y[o] = gain * sum_t taps[t] * stretched[o * down - padding[0] + t]

along each axis, where stretched[i * up] = x[i]. `upfirdn2d_reference` defines the operation; the
CUDA kernel is right when it equals the reference. StyleGAN2's filter is [1, 3, 3, 1] / 8.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from editvec.cuda_ext.dispatch import dense_format, takes_kernel
from editvec.cuda_ext.errors import OperandError

TAPS = (0.125, 0.375, 0.375, 0.125)

MAX_TAPS = 16
MAX_FACTOR = 64


def upfirdn2d(
    x: Tensor,
    *,
    taps: Sequence[float] = TAPS,
    up: int = 1,
    down: int = 1,
    padding: tuple[int, int] = (0, 0),
    gain: float = 1.0,
) -> Tensor:
    """Stretch, filter and thin out images or maps.

    Where `editvec.cuda_ext.dispatch` chooses it, one CUDA kernel does it all. Any derivative works.

    Args:
        x: Floating-point tensor [N, C, H, W].
        taps: The filter along each axis, 1 to 16 numbers; not flipped.
        up: Factor of the stretching, 1 to 64.
        down: Which pixels are kept: every `down`-th, 1 to 64.
        padding: Zeros before and after the stretched input (size * up), along both axes;
            negative cuts off.
        gain: Factor of the result.

    Returns:
        [N, C, H', W'] of the dtype of `x`; H' = (H * up + padding - taps) // down + 1.

    Raises:
        OperandError: A tensor or a setting does not fit the description above.

    Example:
        >>> x = torch.ones(1, 1, 4, 4)
        >>> upfirdn2d(x, up=2, padding=(2, 1), gain=4.0).shape
        torch.Size([1, 1, 8, 8])
    """
    implementation = upfirdn2d_reference
    if takes_kernel("upfirdn2d", x):
        implementation = upfirdn2d_cuda
    return implementation(x, taps=taps, up=up, down=down, padding=padding, gain=gain)


def upfirdn2d_reference(
    x: Tensor,
    *,
    taps: Sequence[float] = TAPS,
    up: int = 1,
    down: int = 1,
    padding: tuple[int, int] = (0, 0),
    gain: float = 1.0,
) -> Tensor:
    """The definition of `upfirdn2d` in PyTorch operations, on any device."""
    settings = _check_operands(x, taps, up=up, down=down, padding=padding, gain=gain)
    channels = x.shape[1]
    before, after = padding
    if up > 1:
        return _stretch(x, settings, padding)[:, :, ::down, ::down]
    kernel = _kernel(settings.taps, gain, False, x.dtype, x.device)
    if before != after or before < 0:
        x = F.pad(x, [before, after, before, after])
        before = 0
    weight = kernel.expand(channels, 1, -1, -1)
    return F.conv2d(x, weight, padding=before, stride=down, groups=channels)


def upfirdn2d_cuda(
    x: Tensor,
    *,
    taps: Sequence[float] = TAPS,
    up: int = 1,
    down: int = 1,
    padding: tuple[int, int] = (0, 0),
    gain: float = 1.0,
) -> Tensor:
    """`upfirdn2d` as one CUDA kernel; `load_extension()` must have succeeded."""
    settings = _check_operands(x, taps, up=up, down=down, padding=padding, gain=gain)
    y: Tensor = _Upfirdn2d.apply(x, settings)
    return y


class _FilterSettings(NamedTuple):
    """What the operator takes after its tensor."""

    taps: tuple[float, ...]
    up: int
    down: int
    pad: int  # before the first row and column
    height: int  # of the result
    width: int
    gain: float


class _Upfirdn2d(torch.autograd.Function):
    """The kernel; its derivative is the same operation with the factors exchanged."""

    @staticmethod
    def forward(x: Tensor, settings: _FilterSettings) -> Any:
        x = x.contiguous(memory_format=dense_format(x))
        return torch.ops.editvec.upfirdn2d(x, *settings)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, ctx.settings = inputs
        ctx.size = x.shape[2:]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return _Upfirdn2d.apply(grads[0], derivative_settings(ctx.settings, *ctx.size)), None


def derivative_settings(settings: _FilterSettings, height: int, width: int) -> _FilterSettings:
    """The settings that map the gradient of the result to that of an input of a size.

    Input i reaches output o through tap i * up + pad - o * down; read from the other side, that is
    tap T - 1 - (i * up + pad - o * down) of the flipped filter.
    """
    return _FilterSettings(
        taps=settings.taps[::-1],
        up=settings.down,
        down=settings.up,
        pad=len(settings.taps) - 1 - settings.pad,
        height=height,
        width=width,
        gain=settings.gain,
    )


def _stretch(x: Tensor, settings: _FilterSettings, padding: tuple[int, int]) -> Tensor:
    """Stretch and filter, without the zeros: a transposed convolution with the flipped filter."""
    channels, up, num_taps = x.shape[1], settings.up, len(settings.taps)
    cut = num_taps - 1 - padding[0]
    rest = up - 1 + padding[1] - padding[0]
    kernel = _kernel(settings.taps, settings.gain, True, x.dtype, x.device)
    weight = kernel.expand(channels, 1, -1, -1)
    if cut >= 0 and 0 <= rest < up:
        return F.conv_transpose2d(
            x, weight, stride=up, padding=cut, output_padding=rest, groups=channels
        )
    whole = F.conv_transpose2d(x, weight, stride=up, groups=channels)
    sizes = [(size * up + sum(padding) - num_taps + 1) for size in (x.shape[3], x.shape[2])]
    edges = [(-cut, size + cut - old) for size, old in zip(sizes, whole.shape[:1:-1], strict=True)]
    return F.pad(whole, [side for edge in edges for side in edge])


@functools.lru_cache(maxsize=64)
def _kernel(
    taps: tuple[float, ...], gain: float, flip: bool, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """The filter in two dimensions, [T, T]."""
    # What is made under inference_mode could never be part of a derivative.
    with torch.inference_mode(mode=False), torch.no_grad():
        line = torch.tensor(taps[::-1] if flip else taps, dtype=torch.float64)
        return (torch.outer(line, line) * gain).to(device, dtype)


def _check_operands(
    x: Tensor,
    taps: Sequence[float],
    *,
    up: int,
    down: int,
    padding: tuple[int, int],
    gain: float,
) -> _FilterSettings:
    if not x.is_floating_point() or x.ndim != 4:
        raise OperandError(
            f"x must be a floating-point tensor [N, C, H, W], got {x.dtype} {list(x.shape)}"
        )
    if not 1 <= len(taps) <= MAX_TAPS or not all(math.isfinite(tap) for tap in taps):
        raise OperandError(f"taps must be 1 to {MAX_TAPS} finite numbers, got {list(taps)}")
    for name, factor in (("up", up), ("down", down)):
        if not 1 <= factor <= MAX_FACTOR:
            raise OperandError(f"{name} must be 1 to {MAX_FACTOR}, got {factor}")
    if not math.isfinite(gain):
        raise OperandError(f"gain must be a finite number, got {gain}")
    extra = sum(padding) - len(taps)
    height, width = ((size * up + extra) // down + 1 for size in x.shape[2:])
    if min(x.shape[1:]) < 1 or min(height, width) < 1:
        raise OperandError(
            f"x must be large enough for {len(taps)} taps, got {list(x.shape)} with padding "
            f"{tuple(padding)} and up {up}"
        )
    return _FilterSettings(tuple(taps), up, down, padding[0], height, width, float(gain))
