"""Losses of adversarial training: logistic, R1 and path length (Karras et al. 2020, sections 2, 3).

Penalties hold gradients of gradients: everything between their inputs and their values has to be
differentiable twice.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

PATH_LENGTH_DECAY = 0.01


def generator_loss(fake_logits: Tensor) -> Tensor:
    """Non-saturating logistic loss of the generator, -log sigmoid(D(G(z))), mean of [N]."""
    return F.softplus(-fake_logits).mean()


def discriminator_loss(fake_logits: Tensor, real_logits: Tensor) -> Tensor:
    """Logistic loss of the discriminator on samples and photographs, mean of [N] each."""
    return F.softplus(fake_logits).mean() + F.softplus(-real_logits).mean()


def r1_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """Squared length of the logit's gradient in the image (Mescheder et al. 2018).

    Args:
        logits: [N], made from `images` with a graph.
        images: Photographs [N, 3, H, W] that require a gradient.

    Returns:
        Mean of [N], with a graph; the loss takes gamma / 2 of it.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()


class PathLengths(NamedTuple):
    """Result of `path_length_penalty`.

    Attributes:
        penalty: Mean squared deviation from the average length, with a graph.
        average: The moving average, updated.
    """

    penalty: Tensor
    average: Tensor


def path_length_penalty(
    images: Tensor, ws: Tensor, average: Tensor, *, generator: torch.Generator
) -> PathLengths:
    """How unevenly images change along W (Karras et al. 2020, section 3.2).

    The length is that of J^T y, where J is the derivative of the image in ws and y is white noise
    over the square root of the number of pixels.

    Args:
        images: [N, 3, H, W], made from `ws` with a graph.
        ws: [N, num_ws, w_dim] that require a gradient.
        average: Moving average of the lengths so far, [].
        generator: Source of y, on the device of the images.
    """
    noise = torch.randn(images.shape, generator=generator, device=images.device)
    product = (images * (noise / math.sqrt(images.shape[2] * images.shape[3]))).sum()
    (gradient,) = torch.autograd.grad(product, ws, create_graph=True)
    lengths = gradient.square().sum(dim=2).mean(dim=1).sqrt()  # [N]
    average = average.lerp(lengths.detach().mean(), PATH_LENGTH_DECAY)
    return PathLengths((lengths - average).square().mean(), average)
