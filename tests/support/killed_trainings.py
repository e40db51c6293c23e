"""A training that is killed: a program of its own.

    python -m tests.support.killed_trainings HOME PHOTOGRAPHS STEP

Trains what `request` says and kills itself, as `kill -9` does, after a step.
"""

import os
import signal
import sys
from pathlib import Path

from editvec.batch.training.generator import train_generator
from editvec.batch.training.requests import GeneratorRequest
from editvec.engine.training.loop import TrainingProgress
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library

STEPS = 6


def request(photographs: Path, *, seed: int = 4) -> GeneratorRequest:
    """A training of six tiny steps, with everything on."""
    return GeneratorRequest(
        class_name="toy",
        photographs=photographs,
        images=4 * STEPS,
        resolution=16,
        network={
            "z_dim": 6,
            "w_dim": 6,
            "channel_base": 96,
            "channel_max": 8,
            "mapping_layers": 2,
        },
        training={"batch_size": 4, "r1_interval": 2, "path_length_interval": 2, "mirror": True},
        snapshot_images=12,
        measured=16,
        seed=seed,
        save_seconds=0,
    )


def main(home: Path, photographs: Path, step: int) -> None:
    """Does what the program does."""

    def die(progress: TrainingProgress) -> None:
        if progress.step == step:
            os.kill(os.getpid(), signal.SIGKILL)

    config = RegistryConfig.for_home(home)
    with Library.open(config) as library:
        train_generator(library, request(photographs), device="cpu", on_progress=die)


if __name__ == "__main__":
    _home, _photographs, _step = sys.argv[1:]
    main(Path(_home), Path(_photographs), int(_step))
