"""Training of the encoder: reconstruct images through the frozen synthesis network."""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from engine.encoder import Encoder
from engine.errors import NonFiniteError, SettingsError
from engine.generator import Synthesis
from engine.perceptual import PerceptualDistance
from engine.training.averages import update_average


@dataclass(frozen=True)
class EncoderTraining:
    """Settings of `train_encoder`.

    Attributes:
        num_steps: Batches to train on.
        warmup_steps: First steps that see nothing but the error of ws where ws is known.
        learning_rate: Adam's, before the cosine that ends at 0.
        mse_weight: Mean squared error of images in [0, 1].
        perceptual_weight: Perceptual distance of the same.
        ws_weight: Mean squared error of ws where ws is known.
        ema_decay: Decay of the averaged weights that are returned.
        clip_norm: Largest norm of the gradient.
    """

    num_steps: int
    warmup_steps: int = 0
    learning_rate: float = 1e-3
    mse_weight: float = 10.0
    perceptual_weight: float = 1.0
    ws_weight: float = 1.0
    ema_decay: float = 0.995
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.num_steps < 1 or not 0 <= self.warmup_steps <= self.num_steps:
            raise SettingsError(
                f"num_steps, warmup_steps: expected 0 <= warmup_steps <= num_steps, num_steps >= 1,"
                f" got {self.num_steps}, {self.warmup_steps}"
            )
        if self.learning_rate <= 0 or self.clip_norm <= 0 or not 0 <= self.ema_decay < 1:
            raise SettingsError(
                "learning_rate, clip_norm, ema_decay: expected > 0, > 0 and [0, 1), got "
                f"{self.learning_rate}, {self.clip_norm}, {self.ema_decay}"
            )
        if min(self.mse_weight, self.perceptual_weight, self.ws_weight) < 0:
            raise SettingsError("mse_weight, perceptual_weight, ws_weight: expected >= 0")


class EncoderStep(NamedTuple):
    """What one step measured, on the batch it trained on and before its update.

    Attributes:
        step: 0 for the first.
        loss: The weighted sum.
        mse: Of images in [0, 1]; None during the warm-up.
        perceptual: Mean distance; None during the warm-up or without a perceptual network.
        ws_mse: None where ws is not known.
    """

    step: int
    loss: float
    mse: float | None
    perceptual: float | None
    ws_mse: float | None


def train_encoder(
    encoder: Encoder,
    synthesis: Synthesis,
    batches: Iterator[tuple[Tensor, Tensor | None]],
    *,
    perceptual: PerceptualDistance | None,
    settings: EncoderTraining,
    on_step: Callable[[EncoderStep], None] | None = None,
) -> Encoder:
    """Train `encoder` in place and return a copy with averaged weights.

    Args:
        encoder: Trained in place, left in eval mode.
        synthesis: Frozen; receives no gradients.
        batches: Images [N, 3, H, W] in [-1, 1] with their ws [N, num_ws, w_dim], or None where
            ws is not known (a photograph). At least `num_steps` of them.
        perceptual: Frozen; None leaves the term out.
        settings: Steps, schedule and weights.
        on_step: Called after each step.

    Returns:
        The averaged encoder, in eval mode and frozen.

    Raises:
        NonFiniteError: The loss diverged.
        SettingsError: `batches` ended early, or a batch has nothing to learn from.
    """
    averaged = copy.deepcopy(encoder).eval().requires_grad_(False)
    encoder.train()
    parameters = list(encoder.parameters())
    optimizer = torch.optim.Adam(parameters, lr=settings.learning_rate, betas=(0.9, 0.99))
    for step in range(settings.num_steps):
        batch = next(batches, None)
        if batch is None:
            raise SettingsError(f"batches: expected {settings.num_steps}, got {step}")
        images, ws = batch
        rendered = step >= settings.warmup_steps
        loss, report = _loss(
            encoder(images),
            images,
            ws,
            synthesis=synthesis if rendered else None,
            perceptual=perceptual,
            settings=settings,
        )
        if not math.isfinite(loss.item()):
            raise NonFiniteError(f"loss: expected a finite value, got {loss.item()} at step {step}")
        # asking for these gradients only keeps autograd off the frozen networks' weights
        gradients = torch.autograd.grad(loss, parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        nn.utils.clip_grad_norm_(parameters, settings.clip_norm)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _cosine(step / settings.num_steps)
        optimizer.step()
        update_average(averaged, encoder, decay=min(settings.ema_decay, (1 + step) / (10 + step)))
        if on_step is not None:
            on_step(EncoderStep(step, loss.item(), *report))
    encoder.eval()
    return averaged


def _loss(
    ws: Tensor,
    images: Tensor,
    target_ws: Tensor | None,
    *,
    synthesis: Synthesis | None,
    perceptual: PerceptualDistance | None,
    settings: EncoderTraining,
) -> tuple[Tensor, tuple[float | None, float | None, float | None]]:
    """The weighted loss and its parts; without `synthesis` only ws is compared."""
    loss = ws.new_zeros(())
    mse_value = perceptual_value = ws_value = None
    if target_ws is not None:
        ws_mse = (ws - target_ws).square().mean()
        loss, ws_value = loss + settings.ws_weight * ws_mse, ws_mse.item()
    elif synthesis is None:
        raise SettingsError("batches: the warm-up needs ws with every batch, got None")
    if synthesis is not None:
        output01, target01 = (synthesis(ws) + 1) / 2, (images + 1) / 2
        mse = (output01 - target01).square().mean()
        loss, mse_value = loss + settings.mse_weight * mse, mse.item()
        if perceptual is not None:
            distance = perceptual(output01, target01).mean()
            loss = loss + settings.perceptual_weight * distance
            perceptual_value = distance.item()
    return loss, (mse_value, perceptual_value, ws_value)


def _cosine(progress: float) -> float:
    """1 at the start, 0 at the end."""
    return 0.5 * (1 + math.cos(math.pi * progress))
