"""States of the build's stages on disk."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from editvec.engine.training.checkpoints import Checkpoint, load_checkpoint, save_checkpoint


class StageState(NamedTuple):
    """What a stage needs to go on after a kill.

    Attributes:
        step: Steps done.
        tensors: Networks, averages and optimiser moments by name.
    """

    step: int
    tensors: dict[str, Tensor]


def save_state(path: Path, step: int, tensors: Mapping[str, Tensor]) -> None:
    """Write the state, whole or not at all."""
    save_checkpoint(path, Checkpoint(step, tensors))


def load_state(path: Path) -> StageState | None:
    """Read a state back, None when there is none."""
    checkpoint = load_checkpoint(path)
    if checkpoint is None:
        return None
    return StageState(checkpoint.step, dict(checkpoint.tensors))
