"""Training state on disk: one safetensors file with a JSON record in it, written whole or not."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from editvec.engine.errors import CheckpointError
from editvec.whole_files import write_whole

_RECORD = "editvec-checkpoint"
_ADAM_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Checkpoint:
    """What a training needs to go on after a kill.

    Attributes:
        step: Steps done.
        tensors: Networks, averages, moments of optimisers and states of random generators, by
            name; see `with_prefix`, `adam_tensors`.
        settings: What the training was begun with; `check_settings` compares it. JSON.
        record: Everything else that changes from step to step; JSON.
    """

    step: int
    tensors: Mapping[str, Tensor]
    settings: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint under a temporary name, sync it, and rename it over the one before.

    Raises:
        OSError: It cannot be written; the one before is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {
        "step": checkpoint.step,
        "settings": dict(checkpoint.settings),
        "record": dict(checkpoint.record),
    }
    content = safetensors.torch.save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in _apart(checkpoint.tensors)},
        metadata={_RECORD: json.dumps(header)},
    )
    write_whole(path, content)


def load_checkpoint(path: Path) -> Checkpoint | None:
    """Read a checkpoint back; None where there is none.

    Returns:
        The checkpoint, its tensors on the CPU.

    Raises:
        CheckpointError: The file is no checkpoint, or damaged.
    """
    if not path.exists():
        return None
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})[_RECORD])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return Checkpoint(header["step"], tensors, header["settings"], header["record"])
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError) as exc:
        raise CheckpointError(
            f"{path}: expected the state of a training, got {exc}; remove it to begin anew"
        ) from exc


def check_settings(
    checkpoint: Checkpoint, settings: Mapping[str, Any], *, place: Path | str
) -> None:
    """Check that a training goes on with what it was begun with.

    Args:
        checkpoint: What is on disk.
        settings: What is asked for now; JSON. Leave out what may change.
        place: Where it is, for the message.

    Raises:
        CheckpointError: Names the first setting that differs, with both values.
    """
    asked = json.loads(json.dumps(dict(settings)))
    for name in sorted({*asked, *checkpoint.settings}):
        begun, now = checkpoint.settings.get(name), asked.get(name)
        if begun != now:
            raise CheckpointError(
                f"{place}: this training was begun with {name} {_shown(begun)}, not {_shown(now)}; "
                "give the same setting again, or another folder to begin anew"
            )


# ----------------------------------------------------------------------------------------------
# Tensors by name


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under `prefix.`."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under `prefix.`, without it."""
    start = len(prefix) + 1
    return {k[start:]: v for k, v in tensors.items() if k.startswith(prefix + ".")}


def adam_tensors(optimizer: torch.optim.Optimizer, module: nn.Module) -> dict[str, Tensor]:
    """Adam's moments and step counts by parameter name; parameters without any are left out."""
    tensors = {}
    for name, parameter in module.named_parameters():
        state = optimizer.state.get(parameter)
        if state:
            for key in ("step", *_ADAM_MOMENTS):
                tensors[f"{key}/{name}"] = state[key]
    return tensors


def restore_adam(
    optimizer: torch.optim.Optimizer, module: nn.Module, tensors: Mapping[str, Tensor]
) -> None:
    """Put back what `adam_tensors` took; copies, so that `tensors` stay as they are."""
    fused = any(group.get("fused") for group in optimizer.param_groups)
    for name, parameter in module.named_parameters():
        if f"step/{name}" not in tensors:
            continue
        count = tensors[f"step/{name}"]
        state = {"step": count.to(parameter.device if fused else "cpu", copy=True)}
        for key in _ADAM_MOMENTS:
            moment = torch.empty_like(parameter, requires_grad=False)
            state[key] = moment.copy_(tensors[f"{key}/{name}"])
        optimizer.state[parameter] = state


def _apart(tensors: Mapping[str, Tensor]) -> list[tuple[str, Tensor]]:
    """The tensors, none sharing memory with another: safetensors refuses those that do."""
    seen: set[int] = set()
    apart = []
    for name, tensor in tensors.items():
        shared = tensor.untyped_storage().data_ptr() in seen
        seen.add(tensor.untyped_storage().data_ptr())
        whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
        apart.append((name, tensor.detach().clone() if shared or not whole else tensor))
    return apart


def _shown(value: Any) -> str:
    if value is None:
        return "(none)"
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
