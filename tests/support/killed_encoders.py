"""A training of an encoder that is killed: a program of its own.

    python -m tests.support.killed_encoders HOME PHOTOGRAPHS STEP

Trains what `request` says and kills itself, as `kill -9` does, after a step of the second part.
"""

import os
import signal
import sys
from pathlib import Path

from editvec.batch.training.encoder import train_encoder
from editvec.batch.training.requests import EncoderRequest, Watcher
from editvec.engine.training.loop import TrainingProgress
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library

JOINT_STEPS = 6


def request(photographs: Path | None) -> EncoderRequest:
    """A training of a few tiny steps."""
    return EncoderRequest(
        class_address="tiny",
        photographs=photographs,
        warmup_steps=40,
        joint_steps=JOINT_STEPS,
        batch_size=4,
        width=8,
        training={"ws_steps": 32, "learning_rate": 0.01, "ema_decay": 0.9, "validate_steps": 20},
        held_out=8,
        compared=0,
        save_seconds=0,
    )


def main(home: Path, photographs: Path, step: int) -> None:
    """Does what the program does."""

    def die(progress: TrainingProgress) -> None:
        if progress.num_steps == JOINT_STEPS and progress.step == step:
            os.kill(os.getpid(), signal.SIGKILL)

    config = RegistryConfig.for_home(home)
    with Library.open(config) as library:
        watcher = Watcher(on_progress=die)
        train_encoder(library, request(photographs), device="cpu", watcher=watcher)


if __name__ == "__main__":
    _home, _photographs, _step = sys.argv[1:]
    main(Path(_home), Path(_photographs), int(_step))
