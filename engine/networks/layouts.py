"""Layouts of maps in memory, and derivatives of functions that make their own."""

import torch
from torch import Tensor


def is_channels_last(maps: Tensor) -> bool:
    """Whether the channels of each pixel of [N, C, H, W] lie side by side, and not its pixels."""
    return maps.is_contiguous(memory_format=torch.channels_last) and not maps.is_contiguous()


def pixel_matrix(maps: Tensor) -> Tensor:
    """Maps [N, C, H, W] as products of matrices read them, a view in both layouts: [N, H*W, C]."""
    if is_channels_last(maps):
        return maps.permute(0, 2, 3, 1).flatten(1, 2)
    return maps.flatten(2).transpose(1, 2)


def refuse_second_derivative(what: str) -> None:
    """Call it in the backward pass of a function that has a first derivative only.

    `once_differentiable` refuses less: a graph of the first derivative is built without a word
    where the gradient that comes in has none itself.

    Raises:
        RuntimeError: The derivative is to be derived.
    """
    if torch.is_grad_enabled():
        raise RuntimeError(f"{what} has a first derivative only: create_graph must be False")
