"""Bias, activation, gain and clamp: the end of almost every StyleGAN2 layer, as one operation.

    y = clamp(act(x + bias) * gain, -clamp, +clamp)

`bias_act_reference` defines the operation; the CUDA kernel is right when it equals the reference.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from cuda_ext.errors import OperandError

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

    Args:
        x: Floating-point tensor [N, C, ...].
        bias: [C], of the dtype and device of `x`; None adds nothing.
        act: "lrelu" (slope 0.2 below zero) or "linear" (no activation).
        gain: Factor after the activation; None is sqrt(2) for "lrelu" and 1 for "linear".
        clamp: Bound of the absolute value of the result; None does not clamp.

    Returns:
        A new tensor of the shape and dtype of `x`.

    Raises:
        OperandError: An argument does not fit the description above.

    Example:
        >>> bias_act(torch.tensor([[1.0, -1.0]]), act="lrelu", gain=1.0)
        tensor([[ 1.0000, -0.2000]])
    """
    _check_operands(x, bias, act=act, clamp=clamp)
    return bias_act_reference(x, bias, act=act, gain=gain, clamp=clamp)


def bias_act_reference(
    x: Tensor,
    bias: Tensor | None = None,
    *,
    act: Activation = "lrelu",
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """The definition of `bias_act` in PyTorch operations, on any device and to any derivative."""
    _check_operands(x, bias, act=act, clamp=clamp)
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


def _check_operands(x: Tensor, bias: Tensor | None, *, act: str, clamp: float | None) -> None:
    if not x.is_floating_point() or x.ndim < 2:
        raise OperandError(
            f"x must be a floating-point tensor [N, C, ...], got {x.dtype} {list(x.shape)}"
        )
    if act not in DEFAULT_GAINS:
        raise OperandError(f"act must be one of {sorted(DEFAULT_GAINS)}, got {act!r}")
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
