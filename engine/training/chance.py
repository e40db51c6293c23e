"""Randomness that depends on the seed and the step alone, so that a resumed training repeats it."""

import numpy as np
import torch
from torch import Tensor


def step_generator(
    seed: int, step: int, *, stream: int = 0, device: torch.device | str = "cpu"
) -> torch.Generator:
    """The random numbers of one step: the same whatever was drawn before.

    Args:
        seed: Of the training, at least 0.
        step: At least 0.
        stream: Another number gives other random numbers of the same step.
        device: Where to draw.
    """
    words = np.random.SeedSequence([seed, step, stream]).generate_state(2, np.uint32)
    generator = torch.Generator(device)
    # 53 bits: torch reads the seed as a signed number, and the CPU's generator takes 32 of it
    return generator.manual_seed(int(words[0]) + (int(words[1]) % 2**21 << 32))


def epoch_indices(count: int, *, size: int, seed: int, step: int) -> Tensor:
    """The samples of one step, of a data set that is shuffled anew for each pass through it.

    Args:
        count: Samples of the data set.
        size: Samples of a step; may be larger than `count`.
        seed: Of the training.
        step: 0 is the first.

    Returns:
        long [size]; over the steps every sample comes once before any comes again.
    """
    position = step * size + torch.arange(size)
    epochs = position // count
    indices = torch.empty_like(position)
    for epoch in sorted(set(epochs.tolist())):
        order = torch.randperm(count, generator=step_generator(seed, epoch, stream=1))
        chosen = epochs == epoch
        indices[chosen] = order[position[chosen] % count]
    return indices
