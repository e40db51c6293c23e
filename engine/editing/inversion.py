"""Embedding: images -> ws, by the encoder and, where more is wanted, by inversion."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from editvec.engine.editing.descent import OnStep, descend, ramped_rate
from editvec.engine.editing.losses import PRESETS, LossTerms, LossWeights, Networks, Objective
from editvec.engine.errors import EngineSettingsError
from editvec.engine.metrics.edits import psnr
from editvec.engine.networks.encoder import encode
from editvec.engine.networks.generator import cut_for_synthesis
from editvec.engine.shapes import check_finite, check_images, check_ws

Space = Literal["W", "W+"]


@dataclass(frozen=True)
class EmbedSettings:
    """How images are embedded.

    Attributes:
        num_steps: Steps of inversion after the encoder; 0 is the encoder alone.
        space: "W+" lets every row differ, "W" has one row for all.
        target: PSNR of the reconstruction in dB at which a sample stops early; None runs all
            steps.
        learning_rate: Adam's, ramped up over the first 5% and down over the last 25%.
        weights: Factors of the loss terms.
    """

    num_steps: int = 50
    space: Space = "W+"
    target: float | None = None
    learning_rate: float = 0.1
    weights: LossWeights = PRESETS["embed"]

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.num_steps < 0:
            raise EngineSettingsError(f"num_steps: expected at least 0, got {self.num_steps}")
        if self.space not in ("W", "W+"):
            raise EngineSettingsError(f"space: expected 'W' or 'W+', got {self.space!r}")
        if self.target is not None and not 0 < self.target < 100:
            raise EngineSettingsError(
                f"target: expected a PSNR from 0 to 100 dB, got {self.target}"
            )
        if not 0 < self.learning_rate < float("inf"):
            raise EngineSettingsError(f"learning_rate: expected above 0, got {self.learning_rate}")
        if self.weights.cross_entropy_weight:
            raise EngineSettingsError(
                "cross_entropy_weight: expected 0, an embedding has no target mask"
            )


class EmbedResult(NamedTuple):
    """Embeddings with their measured error.

    Attributes:
        ws: [N, num_ws, w_dim].
        perceptual: Perceptual distance of G(ws) to the images, [N]; None without a network.
        psnr: PSNR of G(ws) against the images in dB, [N].
        perceptual_name: What `perceptual` was measured with; None without a network.
        num_steps: Updates made for each sample, [N]; fewer than asked for after an early stop.
    """

    ws: Tensor
    perceptual: Tensor | None
    psnr: Tensor
    perceptual_name: str | None
    num_steps: Tensor


@torch.inference_mode(False)
def invert(
    networks: Networks,
    images: Tensor,
    *,
    w_avg: Tensor,
    settings: EmbedSettings,
    on_step: OnStep | None = None,
    see: Callable[[Tensor], Tensor] | None = None,
) -> EmbedResult:
    """Embed N images: the encoder's answer, then `settings.num_steps` of inversion.

    Of the iterates of a sample the one with the lowest loss is returned, or the first one that
    reached the target.

    Args:
        networks: Frozen; without an encoder the start is `w_avg`.
        images: [N, 3, H, W] in [-1, 1].
        w_avg: [w_dim].
        settings: Steps, space, target and weights.
        on_step: Called with every iterate's losses.
        see: Makes the pictures of the found ws, whose error is measured, for whoever has a use for
            them; None is synthesis.

    Raises:
        SettingsError: Neither an encoder nor a step, or a weight without its network.
        NonFiniteError: A loss, or an image, is NaN or infinite.
    """
    config = networks.synthesis.config
    check_images(images, resolution=config.resolution)
    check_finite(images, name="images")
    if networks.encoder is None and settings.num_steps == 0:
        raise EngineSettingsError(
            "num_steps: expected at least 1, because the class has no encoder; `editvec train "
            "encoder` makes one"
        )
    start = initial_ws(networks, images, w_avg=w_avg)
    if settings.space == "W":
        start = start.mean(dim=1, keepdim=True)
    ws, taken = start, torch.zeros(len(images), dtype=torch.long, device=images.device)
    if settings.num_steps and len(images):
        result = descend(
            Objective(networks, settings.weights, images=images),
            start,
            num_steps=settings.num_steps,
            learning_rate=ramped_rate(settings.learning_rate, settings.num_steps),
            accept=None if settings.target is None else _Reached(settings.target, settings.weights),
            on_step=on_step,
        )
        ws, taken = result.best, result.steps_taken
    ws = ws.expand(-1, config.num_ws, -1).contiguous()
    name = None if networks.perceptual is None else networks.perceptual.name
    return EmbedResult(ws, *reconstruction_error(networks, images, ws, see=see), name, taken)


def initial_ws(networks: Networks, images: Tensor, *, w_avg: Tensor) -> Tensor:
    """Where inversion starts, [N, num_ws, w_dim]: the encoder's answer, or `w_avg` without one."""
    config = networks.synthesis.config
    if networks.encoder is None:
        return w_avg.to(images.dtype).expand(len(images), config.num_ws, -1).clone()
    with torch.no_grad():
        ws = encode(networks.encoder, networks.synthesis, images)
    check_ws(ws, num_ws=config.num_ws, w_dim=config.w_dim, name="the encoder's ws")
    return ws


@torch.no_grad()
def reconstruction_error(
    networks: Networks,
    images: Tensor,
    ws: Tensor,
    *,
    see: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor | None, Tensor]:
    """Perceptual distance [N] (None without a network) and PSNR [N] in dB of G(ws).

    `see` makes the pictures, see `invert`.
    """
    perceptual, decibels = [], []
    seen = None if see is None else see(ws)
    first = 0
    for part in cut_for_synthesis(networks.synthesis, ws):
        own = slice(first, first + len(part))
        first = own.stop
        targets = images[own]
        reconstructed = (networks.synthesis(part) if seen is None else seen[own]).clamp(-1, 1)
        decibels.append(psnr(reconstructed, targets))
        if networks.perceptual is not None:
            perceptual.append(networks.perceptual((reconstructed + 1) / 2, (targets + 1) / 2))
    return torch.cat(perceptual) if perceptual else None, torch.cat(decibels)


class _Reached:
    """Tells which samples have reached a PSNR; the clamped result can only be better."""

    def __init__(self, target: float, weights: LossWeights) -> None:
        assert weights.mse_divisor in ("kept", "all")  # nothing is masked: both are the mean
        self.mse = 10 ** (-target / 10)

    def __call__(self, terms: LossTerms) -> Tensor:
        return terms.mse <= self.mse
