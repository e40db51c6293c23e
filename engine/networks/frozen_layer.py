"""A layer of a frozen generator in few passes over its maps, with a derivative that keeps two.

    y = clamp(gain lrelu(conv(x s) d + noise + bias))

Gain and leaky ReLU commute, so d, noise and bias carry the gain, and everything behind the
convolution happens in place. Written with ordinary operations, a gradient keeps half a dozen maps
of each layer. Here it keeps x and y, which are feature maps that exist anyway: with
v = conv(x s) gain d + gain noise + gain bias and leaky ReLU f, f'(v) v = f(v), so that

    dL/d(d) = sum(dL/dy f'(v) conv(x s) gain) = (sum(dL/dy y) - sum(dL/dv gain (noise + bias))) / d

needs neither v nor the convolution's result.
"""

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from editvec.cuda_ext.bias_act import LRELU_SLOPE
from editvec.cuda_ext.upfirdn2d import upfirdn2d
from editvec.engine.networks.layouts import pixel_matrix

_GAIN = math.sqrt(2.0)
_LONG = 4096  # values of a sum from which on a product of vectors beats a reduction, on a CPU


class FrozenTensors(NamedTuple):
    """What does not depend on latents.

    Attributes:
        weight: [C_out, C_in, 3, 3].
        bias: [C_out].
        noise: [H, W] or [N, 1, H, W], already with its strength; None is none.
        up: Double the size?
        clamp: Bound of the result; None does not clamp.
    """

    weight: Tensor
    bias: Tensor
    noise: Tensor | None
    up: bool
    clamp: float | None


def frozen_layer(x: Tensor, styles: Tensor, demodulation: Tensor, layer: FrozenTensors) -> Tensor:
    """The layer on x under styles s and demodulation d; it has any derivative for these three.

    Args:
        x: [N, C_in, h, w], float32 or float64.
        styles: s, [N, C_in].
        demodulation: d, [N, C_out], above 0.
        layer: Tensors that ask for no gradient.

    Returns:
        [N, C_out, H, W], H = h or 2h.
    """
    if torch.is_grad_enabled():
        y: Tensor = _FrozenLayer.apply(x, styles, demodulation, layer)
        return y
    return _forward(x, styles, demodulation, layer)


def _forward(x: Tensor, styles: Tensor, demodulation: Tensor, layer: FrozenTensors) -> Tensor:
    y = x * styles[:, :, None, None]
    if layer.up:
        y = F.conv_transpose2d(y, layer.weight.transpose(0, 1), stride=2)
        y = upfirdn2d(y, padding=(1, 1), gain=4.0)
    else:
        y = F.conv2d(y, layer.weight, padding=1)
    y.mul_((demodulation * _GAIN)[:, :, None, None])
    if layer.noise is not None:
        y.add_(layer.noise, alpha=_GAIN)
    y.add_(layer.bias[:, None, None], alpha=_GAIN)
    F.leaky_relu_(y, LRELU_SLOPE)
    return y if layer.clamp is None else y.clamp_(-layer.clamp, layer.clamp)


class _FrozenLayer(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, styles: Tensor, demodulation: Tensor, layer: FrozenTensors) -> Any:
        return _forward(x, styles, demodulation, layer)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, styles, demodulation, layer = inputs
        # saved with the others, so that a change in place before the derivative is an error
        ctx.save_for_backward(x, styles, demodulation, output, *layer[:3])
        ctx.settings = layer[3:]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, styles, demodulation, y, *tensors = ctx.saved_tensors
        layer = FrozenTensors(*tensors, *ctx.settings)
        derive = _derive_again if torch.is_grad_enabled() else _derive
        return *derive(grads[0], x, styles, demodulation, y, layer, ctx.needs_input_grad), None


def _derive(
    grad_y: Tensor,
    x: Tensor,
    styles: Tensor,
    demodulation: Tensor,
    y: Tensor,
    layer: FrozenTensors,
    needed: tuple[bool, ...],
) -> tuple[Tensor | None, ...]:
    """Gradients of x, styles and demodulation."""
    if layer.clamp is not None:
        grad_y = grad_y * (y.abs() < layer.clamp)
    grad = torch.ops.aten.leaky_relu_backward(grad_y, y, LRELU_SLOPE, True)
    grad_demodulation = None
    if needed[2]:
        constant = _noise_sums(grad, layer.noise) + layer.bias * grad.sum(dim=(2, 3))
        grad_demodulation = (_inner_products(grad_y, y) - _GAIN * constant) / demodulation
    if not (needed[0] or needed[1]):
        return None, None, grad_demodulation
    grad.mul_((demodulation * _GAIN)[:, :, None, None])
    if layer.up:
        grad = upfirdn2d(grad, padding=(2, 2), gain=4.0)
        grad = F.conv2d(grad, layer.weight.transpose(0, 1), stride=2)
    else:
        grad = F.conv_transpose2d(grad, layer.weight, padding=1)
    grad_styles = _inner_products(grad, x) if needed[1] else None
    grad_x = grad.mul_(styles[:, :, None, None]) if needed[0] else None
    return grad_x, grad_styles, grad_demodulation


def _derive_again(
    grad_y: Tensor,
    x: Tensor,
    styles: Tensor,
    demodulation: Tensor,
    y: Tensor,  # noqa: ARG001 (as `_derive`)
    layer: FrozenTensors,
    needed: tuple[bool, ...],
) -> tuple[Tensor | None, ...]:
    """The same with a graph, for further derivatives."""
    # what the inputs were made from is not to be derived here: d is made from s
    x, styles, demodulation = (one.view_as(one) for one in (x, styles, demodulation))
    again = x * styles[:, :, None, None]
    if layer.up:
        again = F.conv_transpose2d(again, layer.weight.transpose(0, 1), stride=2)
        again = upfirdn2d(again, padding=(1, 1), gain=4.0)
    else:
        again = F.conv2d(again, layer.weight, padding=1)
    again = again * demodulation[:, :, None, None] + layer.bias[:, None, None]
    if layer.noise is not None:
        again = again + layer.noise
    again = F.leaky_relu(again, LRELU_SLOPE) * _GAIN
    if layer.clamp is not None:
        again = again.clamp(-layer.clamp, layer.clamp)
    inputs = (x, styles, demodulation)
    wanted = [tensor for tensor, is_needed in zip(inputs, needed, strict=False) if is_needed]
    found = iter(torch.autograd.grad(again, wanted, grad_y, create_graph=True))
    return tuple(next(found) if is_needed else None for is_needed in needed[:3])


def _inner_products(a: Tensor, b: Tensor) -> Tensor:
    """Of the maps of each channel: [N, C, H, W], twice -> [N, C]."""
    if (
        a.is_cuda
        or not len(a)
        or a.shape[2] * a.shape[3] < _LONG
        or not (a.is_contiguous() and b.is_contiguous())
    ):
        return (a * b).sum(dim=(2, 3))
    pairs = zip(a.flatten(0, 1).flatten(1), b.flatten(0, 1).flatten(1), strict=True)
    return torch.stack([torch.dot(one, other) for one, other in pairs]).view(a.shape[:2])


def _noise_sums(maps: Tensor, noise: Tensor | None) -> Tensor:
    """Inner products of each channel's map with the noise: [N, C]."""
    if noise is None:
        return maps.new_zeros(maps.shape[:2])
    rows = noise.expand(len(maps), 1, -1, -1).flatten(2)  # [N, 1, H*W]
    return (rows @ pixel_matrix(maps))[:, 0]
