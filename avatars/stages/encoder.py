"""The encoder: first on the codes of renders, then also through the frozen generator."""

import logging
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from avatars import codes
from avatars.checkpoints import load_state, save_state
from avatars.dataset import Renders, as_images, batches, w_codes
from avatars.stages.generator import CONFIG
from avatars.stages.supervised import augmented, fit
from engine.config import EncoderConfig
from engine.encoder import Encoder
from engine.generator import Generator
from engine.perceptual import PerceptualDistance
from engine.training.encoder import EncoderStep, EncoderTraining, train_encoder

_log = logging.getLogger(__name__)

ENCODER = EncoderConfig(
    resolution=CONFIG.resolution, num_ws=CONFIG.num_ws, w_dim=CONFIG.w_dim, head_channels=96
)
WARMUP_STEPS, JOINT_STEPS, JOINT_BATCH = 3000, 700, 16


def train(
    work: Path,
    renders: Renders,
    generator: Generator,
    perceptual: PerceptualDistance,
    *,
    device: str,
    seed: int,
) -> Encoder:
    """Train, or read what `work` holds; returns the averaged encoder in eval mode."""
    path = work / "encoder.safetensors"
    encoder = Encoder(ENCODER, w_avg=generator.w_avg).to(device)
    state = load_state(path)
    if state is not None:
        encoder.load_state_dict(state.tensors)
        return encoder.eval().requires_grad_(False)
    w = w_codes(renders.params)

    def code_error(module: torch.nn.Module, images: Tensor, chosen: Tensor) -> Tensor:
        target = codes.to_ws(w[chosen].to(images.device), num_ws=CONFIG.num_ws)
        error: Tensor = (module(images).float() - target).square().mean()
        return error

    warm = fit(
        encoder,
        code_error,
        renders,
        path=work / "encoder_warm.safetensors",
        steps=WARMUP_STEPS,
        batch=32,
        device=device,
        seed=seed,
    )
    assert isinstance(warm, Encoder)
    settings = EncoderTraining(
        num_steps=JOINT_STEPS, learning_rate=3e-4, mse_weight=10, perceptual_weight=1, ws_weight=0.5
    )
    averaged = train_encoder(
        warm.requires_grad_(True),
        generator.synthesis,
        _batches(renders, w, device=device, seed=seed),
        perceptual=perceptual,
        settings=settings,
        on_step=_report,
    )
    save_state(path, JOINT_STEPS, averaged.state_dict())
    return averaged


def _batches(
    renders: Renders, w: Tensor, *, device: str, seed: int
) -> Iterator[tuple[Tensor, Tensor | None]]:
    noise = torch.Generator().manual_seed(seed)
    for index in batches(len(w), size=JOINT_BATCH, seed=seed + 1):
        images = augmented(as_images(renders.pixels[index.numpy()]), noise)
        yield images.to(device), codes.to_ws(w[index].to(device), num_ws=CONFIG.num_ws)


def _report(step: EncoderStep) -> None:
    if (step.step + 1) % 200 == 0:
        _log.info(
            "  encoder step %d/%d loss %.4f mse %.5f perceptual %.4f ws %.4f",
            *(step.step + 1, JOINT_STEPS, step.loss, step.mse, step.perceptual, step.ws_mse),
        )
