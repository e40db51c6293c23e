"""Training state on disk: safetensors and a JSON header, written whole or not at all."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn


class TrainingState(NamedTuple):
    """What a stage needs to go on after a kill.

    Attributes:
        step: Steps done.
        tensors: Networks, averages and optimiser moments by name.
    """

    step: int
    tensors: dict[str, Tensor]


def save_state(path: Path, step: int, tensors: Mapping[str, Tensor]) -> None:
    """Write the state under a temporary name, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    detached = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    save_file(detached, temporary, metadata={"step": json.dumps(step)})
    temporary.replace(path)


def load_state(path: Path) -> TrainingState | None:
    """Read a state back, None when there is none."""
    if not path.exists():
        return None
    with safe_open(path, framework="pt") as file:
        step = json.loads(file.metadata()["step"])
    return TrainingState(step, load_file(path))


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under `prefix.`."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under `prefix.`, without it."""
    start = len(prefix) + 1
    return {k[start:]: v for k, v in tensors.items() if k.startswith(prefix + ".")}


def adam_tensors(optimizer: torch.optim.Adam, module: nn.Module) -> dict[str, Tensor]:
    """Adam's moments by parameter name."""
    tensors = {}
    for name, parameter in module.named_parameters():
        state = optimizer.state.get(parameter)
        if state:
            for key in ("step", "exp_avg", "exp_avg_sq"):
                tensors[f"{key}/{name}"] = state[key]
    return tensors


def restore_adam(
    optimizer: torch.optim.Adam, module: nn.Module, tensors: Mapping[str, Tensor]
) -> None:
    """Put Adam's moments back."""
    for name, parameter in module.named_parameters():
        if f"step/{name}" in tensors:
            optimizer.state[parameter] = {
                "step": tensors[f"step/{name}"],
                "exp_avg": tensors[f"exp_avg/{name}"].to(parameter.device),
                "exp_avg_sq": tensors[f"exp_avg_sq/{name}"].to(parameter.device),
            }
