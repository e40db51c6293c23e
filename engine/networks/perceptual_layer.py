"""One layer of a perceptual distance, with a derivative that keeps one map.

    D = mean over pixels of sum_c w_c (a_c / (|a| + eps) - b_c)^2

Written with ordinary operations, a gradient keeps half a dozen maps of each layer. Here the
derivative with respect to a is made along with the value.
"""

from typing import Any

import torch
from torch import Tensor

from editvec.engine.networks.layouts import pixel_matrix, refuse_second_derivative

SMALLEST_LENGTH = 1e-10


def length(activation: Tensor) -> Tensor:
    """Length over the channels: [N, C, h, w] -> [N, 1, h, w]."""
    return activation.square().sum(dim=1, keepdim=True).sqrt()


def layer_distance(activation: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Distance of an activation to a target of unit length; it has a first derivative.

    Where all channels of a pixel are 0 the derivative is 0.

    Args:
        activation: a, [N, C, h, w].
        target: b, [N, C, h, w].
        weight: w, [C]; neither it nor the target is derived.

    Returns:
        D, [N].
    """
    distance: Tensor = _LayerDistance.apply(activation, target, weight)
    return distance


class _LayerDistance(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, activation: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        norm = length(activation)
        unit = activation / (norm + SMALLEST_LENGTH)
        difference = unit - target
        squares = difference.square()
        distance = (pixel_matrix(squares) @ weight).mean(dim=1)
        if ctx.needs_input_grad[0]:
            pixels = activation.shape[2] * activation.shape[3]
            grad = difference.mul_((2 / pixels) * weight[:, None, None])  # of the unit
            along = torch.mul(grad, unit, out=squares).sum(dim=1, keepdim=True)
            along.mul_(1 + SMALLEST_LENGTH / norm.clamp_min(SMALLEST_LENGTH))
            grad.sub_(unit.mul_(along)).div_(norm + SMALLEST_LENGTH)
            ctx.save_for_backward(grad.masked_fill_(norm == 0, 0))
        return distance

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        refuse_second_derivative("the perceptual distance")
        (grad,) = ctx.saved_tensors
        return grad * grads[0][:, None, None, None], None, None
