"""Noise, bias, activation, gain and clamp in one: the end of almost every StyleGAN2 layer.

    y = clamp(act(x + noise + bias) * gain, -clamp, +clamp)

`bias_act_reference` defines the operation; the CUDA kernel is right when it equals the reference.
"""

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from editvec.cuda_ext.dispatch import dense_format, takes_kernel
from editvec.cuda_ext.errors import OperandError

Activation = Literal["linear", "lrelu"]

LRELU_SLOPE = 0.2
DEFAULT_GAINS: dict[str, float] = {"linear": 1.0, "lrelu": math.sqrt(2.0)}


def bias_act(
    x: Tensor,
    bias: Tensor | None = None,
    *,
    noise: Tensor | None = None,
    act: Activation = "lrelu",
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """Add noise per pixel and a bias per channel, activate, multiply by a gain, and clamp.

    Where `editvec.cuda_ext.dispatch` chooses it, one CUDA kernel does it all. Any derivative works.

    Args:
        x: Floating-point tensor [N, C, ...].
        bias: [C], of the dtype and device of `x`; None adds nothing.
        noise: [H, W] for all images or [N or 1, 1, H, W], of the dtype and device of `x`, which is
            then [N, C, H, W]; None adds nothing.
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
    if takes_kernel("bias_act", x):
        return bias_act_cuda(x, bias, noise=noise, act=act, gain=gain, clamp=clamp)
    return bias_act_reference(x, bias, noise=noise, act=act, gain=gain, clamp=clamp)


def bias_act_reference(
    x: Tensor,
    bias: Tensor | None = None,
    *,
    noise: Tensor | None = None,
    act: Activation = "lrelu",
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """The definition of `bias_act` in PyTorch operations, on any device."""
    _check_operands(x, bias, noise, act=act, gain=gain, clamp=clamp)
    y = x if noise is None else x + noise
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
    noise: Tensor | None = None,
    act: Activation = "lrelu",
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """`bias_act` as one CUDA kernel; `load_extension()` must have succeeded."""
    _check_operands(x, bias, noise, act=act, gain=gain, clamp=clamp)
    settings = _KernelSettings(
        activation=("linear", "lrelu").index(act),
        gain=DEFAULT_GAINS[act] if gain is None else gain,
        clamp=-1.0 if clamp is None else clamp,
    )
    x = x.contiguous(memory_format=dense_format(x))
    bias = None if bias is None else bias.contiguous()
    if noise is not None:
        noise = noise.reshape(-1, 1, *x.shape[2:]).contiguous()
    y: Tensor = _BiasAct.apply(x, bias, noise, settings)
    return y


class _KernelSettings(NamedTuple):
    """What the operators take after their tensors."""

    activation: int
    gain: float
    clamp: float  # negative: none


class _BiasAct(torch.autograd.Function):
    """The kernel with its derivative."""

    @staticmethod
    def forward(
        x: Tensor, bias: Tensor | None, noise: Tensor | None, settings: _KernelSettings
    ) -> Any:
        return torch.ops.editvec.bias_act(x, bias, noise, *settings)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, bias, noise, ctx.settings = inputs
        ctx.save_for_backward(x, bias, noise)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, bias, noise = ctx.saved_tensors
        grad_x = _BiasActGrad.apply(grads[0], x, bias, noise, ctx.settings)
        grad_bias = grad_noise = None
        if ctx.needs_input_grad[1]:
            grad_bias = grad_x.sum([dim for dim in range(x.ndim) if dim != 1])
        if ctx.needs_input_grad[2]:
            grad_noise = grad_x.sum_to_size(noise.shape)
        return grad_x, grad_bias, grad_noise, None


class _BiasActGrad(torch.autograd.Function):
    """The derivative: linear in the gradient, and piecewise constant in everything else."""

    @staticmethod
    def forward(
        grad: Tensor,
        x: Tensor,
        bias: Tensor | None,
        noise: Tensor | None,
        settings: _KernelSettings,
    ) -> Any:
        grad = grad.contiguous(memory_format=dense_format(x))
        return torch.ops.editvec.bias_act_grad(grad, x, bias, noise, *settings)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        _, x, bias, noise, ctx.settings = inputs
        ctx.save_for_backward(x, bias, noise)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, bias, noise = ctx.saved_tensors
        grad = _BiasActGrad.apply(grads[0], x, bias, noise, ctx.settings)
        return grad, None, None, None, None


def _check_operands(
    x: Tensor,
    bias: Tensor | None,
    noise: Tensor | None,
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
    if bias is not None:
        if list(bias.shape) != [x.shape[1]]:
            raise OperandError(f"bias must have shape [{x.shape[1]}], got {list(bias.shape)}")
        _check_like(bias, x, name="bias")
    if noise is not None:
        _check_noise(noise, x)
        _check_like(noise, x, name="noise")


def _check_noise(noise: Tensor, x: Tensor) -> None:
    if x.ndim != 4:
        raise OperandError(f"noise goes with x of shape [N, C, H, W], got {list(x.shape)}")
    count, _, height, width = x.shape
    fits = [[height, width], [1, 1, height, width], [count, 1, height, width]]
    if list(noise.shape) not in fits:
        raise OperandError(
            f"noise must have shape {fits[0]} or [{count} or 1, 1, {height}, {width}], "
            f"got {list(noise.shape)}"
        )


def _check_like(tensor: Tensor, x: Tensor, *, name: str) -> None:
    if tensor.dtype != x.dtype or tensor.device != x.device:
        raise OperandError(
            f"{name} must be {x.dtype} on {x.device} as x is, got {tensor.dtype} on {tensor.device}"
        )
