"""Layouts of maps in memory: contiguous, or channels_last."""

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
