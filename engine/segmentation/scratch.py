"""Memory for results that are read before the next one is made.

A large tensor is fresh memory of the system, and touching it for the first time can take longer
than the product that fills it.
"""

import math
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor


class Scratch:
    """Buffers by name, of one dtype and device; each grows to the largest that was asked for.

    Args:
        like: Gives dtype and device.
    """

    def __init__(self, *, like: Tensor) -> None:
        self._like = like
        self._buffers: dict[Hashable, Tensor] = {}

    def take(self, name: Hashable, shape: Sequence[int]) -> Tensor:
        """A contiguous tensor with any content; what was taken by this name before is gone."""
        size = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.numel() < size:
            self._buffers[name] = buffer = torch.empty(
                size, dtype=self._like.dtype, device=self._like.device
            )
        return buffer[:size].view(*shape)
