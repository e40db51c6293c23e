"""The generator: StyleGAN2's synthesis network by regression on renders, then the mapping.

Growing 16 -> 32 -> 64 pixels. The loss is L1 + 0.3 L2, weighted towards the small parts that
editing is about. Regression from a known code converges in minutes where adversarial training
would take days on a CPU; through a fresh mapping network it would not, so the mapping is fitted
afterwards, to the prior of the parameters.
"""

import copy
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from editvec.avatars.building.checkpoints import load_state, save_state
from editvec.avatars.building.dataset import Renders, as_images, batches, w_codes
from editvec.avatars.drawing import codes
from editvec.avatars.drawing.render import LABELS
from editvec.engine.networks.config import GeneratorConfig
from editvec.engine.networks.generator import Generator
from editvec.engine.training.checkpoints import (
    adam_tensors,
    restore_adam,
    with_prefix,
    without_prefix,
)
from editvec.engine.training.loop import update_average

_log = logging.getLogger(__name__)

RESOLUTION = 64
CONFIG = GeneratorConfig(
    resolution=RESOLUTION,
    z_dim=codes.Z_DIM,
    w_dim=codes.W_DIM,
    channel_base=3072,
    channel_max=128,
    mapping_layers=4,
)
LABEL_WEIGHTS = {"brow": 6.0, "eye": 6.0, "iris": 6.0, "nose": 4.0, "mouth": 6.0, "teeth": 6.0}
SAVE_EVERY = 1000


@dataclass(frozen=True)
class Phase:
    """One resolution of the growth.

    Attributes:
        resolution: Pixels of a side.
        steps: Steps of the optimiser.
        batch: Images of a step.
        learning_rate: At the start of the phase.
        final_learning_rate: At its end; the fall is a cosine.
        half: Compute in bfloat16.
    """

    resolution: int
    steps: int
    batch: int
    learning_rate: float
    final_learning_rate: float
    half: bool


PHASES = (
    Phase(16, 3000, 16, 4e-3, 3e-3, half=True),
    Phase(32, 4500, 16, 3e-3, 2e-3, half=True),
    Phase(64, 26000, 8, 2.5e-3, 3e-4, half=True),
    Phase(64, 2500, 8, 3e-4, 2e-5, half=True),
)


def train_generator(work: Path, renders: Renders, *, device: str, seed: int) -> Generator:
    """Train, resuming from `work`; returns the averaged network in eval mode."""
    training = _Training(work / "generator.safetensors", device=device, seed=seed)
    images = torch.from_numpy(renders.pixels)
    weights = _weight_maps(renders)
    w = w_codes(renders.params)
    total = sum(phase.steps for phase in PHASES)
    started, started_at = time.monotonic(), training.done
    first = 0
    for phase in PHASES:
        begin = max(training.done, first)
        order = batches(len(w), size=phase.batch, seed=seed, start=begin)
        for step in range(begin, first + phase.steps):
            index = next(order)
            target = images[index].permute(0, 3, 1, 2).float() / 127.5 - 1
            rate = _learning_rate(phase, (step - first) / phase.steps)
            loss = training.step(phase, w[index], target, weights(index), learning_rate=rate)
            if training.done % SAVE_EVERY == 0 or training.done == total:
                training.save()
                speed = (training.done - started_at) / (time.monotonic() - started)
                _log.info(
                    "  generator %d px step %d/%d loss %.4f, %.1f steps/s",
                    *(phase.resolution, training.done, total, loss.item(), speed),
                )
        first += phase.steps
    generator = training.generator
    generator.synthesis.load_state_dict(training.average.state_dict())
    codes.project(generator)
    return generator.eval().requires_grad_(False)


class _Training:
    """Network, moving average and optimiser, with their copy on disk."""

    def __init__(self, path: Path, *, device: str, seed: int) -> None:
        torch.manual_seed(seed)
        self.path = path
        self.device = device
        self.done = 0
        self.generator = Generator(CONFIG).to(device)
        self.synthesis = self.generator.synthesis.to(memory_format=torch.channels_last)
        for name, parameter in self.synthesis.named_parameters():
            parameter.requires_grad_(not name.endswith("noise_strength"))
        self.average = copy.deepcopy(self.synthesis)
        self.optimizer = torch.optim.Adam(self.synthesis.parameters(), lr=1e-3, betas=(0.9, 0.99))
        state = load_state(path)
        if state is not None:
            self.done = state.step
            self.synthesis.load_state_dict(without_prefix("model", state.tensors))
            self.average.load_state_dict(without_prefix("average", state.tensors))
            restore_adam(self.optimizer, self.synthesis, without_prefix("adam", state.tensors))

    def step(
        self, phase: Phase, w: Tensor, target: Tensor, weights: Tensor, *, learning_rate: float
    ) -> Tensor:
        """One update; returns the loss before it."""
        self.optimizer.param_groups[0]["lr"] = learning_rate
        target, weights = target.to(self.device), weights.to(self.device)
        loss = _loss(self.synthesis, w.to(self.device), target, weights, phase)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.optimizer.step()
        update_average(
            self.average, self.synthesis, decay=min(0.999, (1 + self.done) / (10 + self.done))
        )
        self.done += 1
        return loss.detach()

    def save(self) -> None:
        """Write everything that a restart needs."""
        save_state(
            self.path,
            self.done,
            with_prefix("model", self.synthesis.state_dict())
            | with_prefix("average", self.average.state_dict())
            | with_prefix("adam", adam_tensors(self.optimizer, self.synthesis)),
        )


def _learning_rate(phase: Phase, fraction: float) -> float:
    fall = 0.5 + 0.5 * math.cos(math.pi * fraction)
    return phase.final_learning_rate + fall * (phase.learning_rate - phase.final_learning_rate)


def _weight_maps(renders: Renders) -> Callable[[Tensor], Tensor]:
    """A function from indices [N] to pixel weights [N, 1, H, W], small parts and their edges up."""
    table = torch.tensor([LABEL_WEIGHTS.get(name, 1.0) for name in LABELS])
    mask = torch.from_numpy(renders.mask)

    def weights(index: Tensor) -> Tensor:
        own = table[mask[index].long()][:, None]
        return F.max_pool2d(own, 3, stride=1, padding=1)

    return weights


def _loss(
    synthesis: torch.nn.Module, w: Tensor, target: Tensor, weights: Tensor, phase: Phase
) -> Tensor:
    factor = RESOLUTION // phase.resolution
    if factor > 1:
        target, weights = F.avg_pool2d(target, factor), F.avg_pool2d(weights, factor)
    ws = codes.to_ws(w, num_ws=CONFIG.num_ws)
    with torch.autocast(w.device.type, torch.bfloat16, enabled=phase.half):
        images = synthesis(ws, noise_mode="none", resolution=phase.resolution)
    error = images.float() - target
    loss: Tensor = (weights * (error.abs() + 0.3 * error.square())).sum() / (3 * weights.sum())
    return loss


# ---------------------------------------------------------------------------------------------
# The mapping network.

MAPPING_STEPS = 12_000
MAPPING_BATCH = 256


def fit_mapping(work: Path, generator: Generator, *, seed: int) -> None:
    """Fit Z -> W to the prior of the parameters and set `w_avg`; skipped when it is in `work`."""
    path = work / "mapping.safetensors"
    mapping = generator.mapping
    state = load_state(path)
    if state is not None:
        mapping.load_state_dict(state.tensors)
        return
    rng = np.random.default_rng(seed)
    mapping.w_avg.zero_()  # The prior is symmetric, so the mean code is zero.
    mapping.requires_grad_(True)
    optimizer = torch.optim.Adam(mapping.parameters(), lr=1.0, betas=(0.9, 0.99))
    for step in range(MAPPING_STEPS):
        # The stored weights are 100 times the used ones, and so is the learning rate.
        rate = 0.3 * (0.5 + 0.5 * math.cos(math.pi * step / MAPPING_STEPS)) + 1e-3
        optimizer.param_groups[0]["lr"] = rate
        z = rng.standard_normal((MAPPING_BATCH, codes.Z_DIM))
        target = w_codes(codes.from_z(z)).to(mapping.w_avg.device)
        w = mapping(torch.from_numpy(z).float().to(mapping.w_avg.device))[:, 0]
        loss = F.mse_loss(w, target)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        if (step + 1) % 2000 == 0:
            _log.info("  mapping step %d/%d loss %.5f", step + 1, MAPPING_STEPS, loss.item())
    mapping.requires_grad_(False)
    save_state(path, MAPPING_STEPS, mapping.state_dict())


def holdout_psnr(generator: Generator, renders: Renders, *, batch: int = 50) -> Tensor:
    """PSNR in dB of the generator's picture of each render's own code: [N]."""
    device = generator.w_avg.device
    values = []
    with torch.inference_mode():
        for start in range(0, len(renders.params), batch):
            stop = start + batch
            ws = codes.to_ws(w_codes(renders.params[start:stop]), num_ws=CONFIG.num_ws)
            images = generator.synthesis(ws.to(device)).clamp(-1, 1).cpu()
            error = (images - as_images(renders.pixels[start:stop])).square().mean(dim=(1, 2, 3))
            values.append(10 * torch.log10(4 / error))
    return torch.cat(values)
