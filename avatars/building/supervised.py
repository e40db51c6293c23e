"""The training loop of the small networks that learn from renders and exact facts."""

import copy
import logging
import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from editvec.avatars.building.checkpoints import load_state, save_state
from editvec.avatars.building.dataset import Renders, batches
from editvec.engine.training.loop import update_average

_log = logging.getLogger(__name__)


def fit(
    module: nn.Module,
    loss_of: Callable[[nn.Module, Tensor, Tensor], Tensor],
    renders: Renders,
    *,
    path: Path,
    steps: int,
    batch: int = 64,
    learning_rate: float = 2e-3,
    device: str,
    seed: int,
) -> nn.Module:
    """Train `module` on augmented renders, or read what `path` holds.

    Args:
        module: Trained in place.
        loss_of: (module, images [N, 3, H, W] in [-1, 1], index [N]) -> scalar.
        renders: The training set.
        path: Where the averaged weights go.
        steps: Steps of Adam under a cosine.
        batch: Renders of a step.
        learning_rate: At the start.
        device: Where to train.
        seed: Seed of the order and the augmentation.

    Returns:
        The averaged module, in eval mode and frozen.
    """
    average = copy.deepcopy(module).to(device).eval().requires_grad_(False)
    state = load_state(path)
    if state is not None:
        average.load_state_dict(state.tensors)
        return average
    module = module.to(device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(module.parameters(), lr=learning_rate, betas=(0.9, 0.99))
    order = batches(len(renders.params), size=batch, seed=seed)
    pixels = torch.from_numpy(renders.pixels)
    noise = torch.Generator().manual_seed(seed)
    for step in range(steps):
        index = next(order)
        images = augmented(pixels[index].permute(0, 3, 1, 2).float() / 127.5 - 1, noise)
        optimizer.param_groups[0]["lr"] = (
            learning_rate * (0.5 + 0.5 * math.cos(math.pi * step / steps)) + 1e-6
        )
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            loss = loss_of(module, images.to(device, memory_format=torch.channels_last), index)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        update_average(average, module, decay=min(0.998, (1 + step) / (10 + step)))
        if (step + 1) % 500 == 0:
            _log.info("  %s step %d/%d loss %.4f", path.stem, step + 1, steps, loss.item())
    save_state(path, steps, average.state_dict())
    return average


def augmented(images: Tensor, noise: torch.Generator) -> Tensor:
    """Contrast, brightness, colour cast, blur and grain: what separates renders from photographs.

    Args:
        images: [N, 3, H, W] in [-1, 1].
        noise: Source of randomness.

    Returns:
        Half of the images changed, all of them in [-1, 1].
    """
    count = len(images)

    def uniform(low: float, high: float, channels: int = 1) -> Tensor:
        values = torch.rand((count, channels, 1, 1), generator=noise)
        return low + (high - low) * values

    changed = images * uniform(0.85, 1.15) + uniform(-0.12, 0.12) + uniform(-0.06, 0.06, 3)
    soft = torch.nn.functional.avg_pool2d(changed, 3, stride=1, padding=1, count_include_pad=False)
    changed = torch.lerp(changed, soft, uniform(0.0, 0.6))
    grain = torch.randn(images.shape, generator=noise)
    changed = (changed + uniform(0.0, 0.06) * grain).clamp(-1, 1)
    return torch.where(uniform(0, 1) < 0.5, changed, images)
