"""Exponential moving averages of weights, which are what training returns."""

import torch
from torch import nn


@torch.no_grad()
def update_average(average: nn.Module, current: nn.Module, *, decay: float) -> None:
    """Move averaged parameters and running statistics towards the current ones, in place.

    Args:
        average: The averaged copy of `current`.
        current: The module in training.
        decay: In [0, 1); 0 copies.
    """
    sources = current.state_dict()
    for name, target in average.state_dict().items():
        if target.is_floating_point():
            target.lerp_(sources[name], 1 - decay)
        else:
            target.copy_(sources[name])
