"""Disagreement of the members of an ensemble: of pixels, and of images."""

import torch
from torch import Tensor

from editvec.engine.errors import EngineSettingsError


def image_uncertainty(uncertainty: Tensor, *, fraction: float = 0.1) -> Tensor:
    """Score of each image: the mean of its most uncertain pixels.

    Args:
        uncertainty: [N, H, W], for example from `SegmentationBranch.uncertainty`.
        fraction: Share of the pixels that count, in (0, 1].

    Returns:
        [N].

    Raises:
        SettingsError: `fraction` is out of range.
    """
    if not 0 < fraction <= 1:
        raise EngineSettingsError(f"fraction: expected a number in (0, 1], got {fraction}")
    flat = uncertainty.flatten(1)
    count = max(1, round(fraction * flat.shape[1]))
    return flat.topk(count, dim=1).values.mean(dim=1)


def entropy_sums(member_logits: Tensor) -> Tensor:
    """Of members [E, N, K, H, W]: probabilities and entropy summed over them, [N, K+1, H, W]."""
    log_probabilities = member_logits.log_softmax(dim=2)
    probabilities = log_probabilities.exp()
    entropy = -(probabilities * log_probabilities).sum(dim=(0, 2))
    return torch.cat([probabilities.sum(dim=0), entropy[:, None]], dim=1)


def divergence(sums: Tensor, members: int) -> Tensor:
    """Jensen-Shannon divergence [N, H, W] from what `entropy_sums` gives of all members."""
    mean, own = sums[:, :-1] / members, sums[:, -1] / members
    joint = -torch.xlogy(mean, mean).sum(dim=1)
    return (joint - own).clamp(min=0)
