"""Bias, activation, gain and clamp: the end of almost every StyleGAN2 layer, as one operation.

    y = clamp(act(x + bias) * gain, -clamp, +clamp)

`bias_act_reference` defines the operation; the CUDA kernel is right when it equals the reference.
"""

import functools
import logging
import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from cuda_ext.errors import ExtensionBuildError, OperandError
from cuda_ext.loader import load_extension

logger = logging.getLogger(__name__)

Activation = Literal["linear", "lrelu"]

LRELU_SLOPE = 0.2
DEFAULT_GAINS: dict[str, float] = {"linear": 1.0, "lrelu": math.sqrt(2.0)}


def bias_act(
    x: Tensor,
    bias: Tensor | None = None,
    *,
    act: Activation = "lrelu",
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """Add a bias per channel, activate, multiply by a gain, and clamp.

    On a CUDA device one kernel does it all, compiled at the first call; where it cannot be
    compiled, the reference runs there too, and a warning is logged once. Any derivative works.

    Args:
        x: Floating-point tensor [N, C, ...].
        bias: [C], of the dtype and device of `x`; None adds nothing.
        act: "lrelu" (slope 0.2 below zero) or "linear" (no activation).
        gain: Factor after the activation; None is sqrt(2) for "lrelu" and 1 for "linear".
        clamp: Bound of the absolute value of the result; None does not clamp.

    Returns:
        A new tensor of the shape and dtype of `x`.

    Raises:
        OperandError: A tensor or a setting does not fit the description above.

    Example:
        >>> bias_act(torch.tensor([[1.0, -1.0]]), act="lrelu", gain=1.0)
        tensor([[ 1.0000, -0.2000]])
    """
    if x.is_cuda and kernels_are_available():
        return bias_act_cuda(x, bias, act=act, gain=gain, clamp=clamp)
    return bias_act_reference(x, bias, act=act, gain=gain, clamp=clamp)


def bias_act_reference(
    x: Tensor,
    bias: Tensor | None = None,
    *,
    act: Activation = "lrelu",
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """The definition of `bias_act` in PyTorch operations, on any device."""
    _check_operands(x, bias, act=act, gain=gain, clamp=clamp)
    y = x
    if bias is not None:
        y = y + bias.reshape([-1 if dim == 1 else 1 for dim in range(x.ndim)])
    if act == "lrelu":
        y = torch.nn.functional.leaky_relu(y, LRELU_SLOPE)
    gain = DEFAULT_GAINS[act] if gain is None else gain
    if gain != 1.0:
        y = y * gain
    if clamp is not None:
        y = y.clamp(-clamp, clamp)
    return y


def bias_act_cuda(
    x: Tensor,
    bias: Tensor | None = None,
    *,
    act: Activation = "lrelu",
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """`bias_act` as one CUDA kernel; `load_extension()` must have succeeded."""
    _check_operands(x, bias, act=act, gain=gain, clamp=clamp)
    settings = _KernelSettings(
        activation=("linear", "lrelu").index(act),
        gain=DEFAULT_GAINS[act] if gain is None else gain,
        clamp=-1.0 if clamp is None else clamp,
    )
    x = x.contiguous(memory_format=_dense_format(x))
    bias = None if bias is None else bias.contiguous()
    y: Tensor = _BiasAct.apply(x, bias, settings)
    return y


@functools.cache
def kernels_are_available() -> bool:
    """Whether the kernels are compiled and loaded; the first call tries to, and logs why not."""
    try:
        load_extension()
    except ExtensionBuildError as exc:
        logger.warning("bias_act runs as separate PyTorch operations, more slowly: %s", exc)
        return False
    return True


def kernel_version(device: torch.device) -> str:
    """Which implementation `bias_act` takes on a device, for the records of what it computed.

    Returns:
        "reference", or the name of the compiled kernels, which tells their sources, torch, CUDA
        and the GPU architectures.
    """
    if device.type == "cuda" and kernels_are_available():
        return load_extension()
    return "reference"


class _KernelSettings(NamedTuple):
    """What the operators take after their tensors."""

    activation: int
    gain: float
    clamp: float  # negative: none


class _BiasAct(torch.autograd.Function):
    """The kernel with its derivative."""

    @staticmethod
    def forward(x: Tensor, bias: Tensor | None, settings: _KernelSettings) -> Any:
        return torch.ops.editvec.bias_act(x, bias, *settings)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, bias, ctx.settings = inputs
        ctx.save_for_backward(x, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, bias = ctx.saved_tensors
        grad_x = _BiasActGrad.apply(grads[0], x, bias, ctx.settings)
        grad_bias = None
        if ctx.needs_input_grad[1]:
            grad_bias = grad_x.sum([dim for dim in range(x.ndim) if dim != 1])
        return grad_x, grad_bias, None


class _BiasActGrad(torch.autograd.Function):
    """The derivative: linear in the gradient, and piecewise constant in `x` and `bias`."""

    @staticmethod
    def forward(grad: Tensor, x: Tensor, bias: Tensor | None, settings: _KernelSettings) -> Any:
        grad = grad.contiguous(memory_format=_dense_format(x))
        return torch.ops.editvec.bias_act_grad(grad, x, bias, *settings)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        _, x, bias, ctx.settings = inputs
        ctx.save_for_backward(x, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, bias = ctx.saved_tensors
        return _BiasActGrad.apply(grads[0], x, bias, ctx.settings), None, None, None


def _dense_format(x: Tensor) -> torch.memory_format:
    """The layout of `x` where the kernel takes it, else the usual one."""
    channels_last = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
    if channels_last and not x.is_contiguous():
        return torch.channels_last
    return torch.contiguous_format


def _check_operands(
    x: Tensor,
    bias: Tensor | None,
    *,
    act: str,
    gain: float | None,
    clamp: float | None,
) -> None:
    if not x.is_floating_point() or x.ndim < 2:
        raise OperandError(
            f"x must be a floating-point tensor [N, C, ...], got {x.dtype} {list(x.shape)}"
        )
    if act not in DEFAULT_GAINS:
        raise OperandError(f"act must be one of {sorted(DEFAULT_GAINS)}, got {act!r}")
    if gain is not None and not math.isfinite(gain):
        raise OperandError(f"gain must be a finite number or None, got {gain}")
    if clamp is not None and not clamp >= 0:
        raise OperandError(f"clamp must be at least 0 or None, got {clamp}")
    if bias is None:
        return
    if list(bias.shape) != [x.shape[1]]:
        raise OperandError(f"bias must have shape [{x.shape[1]}], got {list(bias.shape)}")
    if bias.dtype != x.dtype or bias.device != x.device:
        raise OperandError(
            f"bias must be {x.dtype} on {x.device} as x is, got {bias.dtype} on {bias.device}"
        )
