"""The encoder: first on the codes of renders, then also through the frozen generator."""

import logging
from pathlib import Path

import torch
from torch import Tensor

from editvec.avatars.building.checkpoints import load_state, save_state
from editvec.avatars.building.dataset import Renders, as_images, w_codes
from editvec.avatars.building.generator import CONFIG
from editvec.avatars.building.supervised import augmented, fit
from editvec.avatars.drawing import codes
from editvec.engine.networks.config import EncoderConfig
from editvec.engine.networks.encoder import Encoder
from editvec.engine.networks.generator import Generator
from editvec.engine.networks.perceptual import PerceptualDistance
from editvec.engine.training.chance import epoch_indices, step_generator
from editvec.engine.training.encoder import EncoderBatch, EncoderTrainee
from editvec.engine.training.loop import TrainingProgress, run_training
from editvec.engine.training.settings import EncoderTraining

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
        JOINT_STEPS,
        ws_steps=0,
        learning_rate=3e-4,
        mse_weight=10,
        perceptual_weight=1,
        ws_weight=0.5,
    )

    def batch(step: int) -> EncoderBatch:
        index = epoch_indices(len(w), size=JOINT_BATCH, seed=seed, step=step)
        noise = step_generator(seed, step, stream=2)
        images = augmented(as_images(renders.pixels[index.numpy()]), noise)
        ws = codes.to_ws(w[index], num_ws=CONFIG.num_ws)
        return EncoderBatch(images.to(device), ws.to(device))

    trainee = EncoderTrainee(
        ENCODER,
        generator,
        batch,
        perceptual=perceptual,
        settings=settings,
        seed=seed,
        start=warm.state_dict(),
    )
    run_training(
        trainee,
        work / "encoder_joint",
        num_steps=JOINT_STEPS,
        settings={"seed": seed, **settings.to_json()},
        memory_advice=f"lower JOINT_BATCH ({JOINT_BATCH} now)",
        on_progress=_report,
    )
    save_state(path, JOINT_STEPS, trainee.result.state_dict())
    return trainee.result


def _report(progress: TrainingProgress) -> None:
    if progress.metrics and progress.step % 200 == 1:
        _log.info(
            "  encoder step %d/%d loss %.4f mse %.5f perceptual %.4f ws %.4f",
            *(progress.step, progress.num_steps),
            *(progress.metrics[name] for name in ("loss", "mse", "perceptual", "ws_mse")),
        )
