"""A training of a segmentation branch that is killed: a program of its own.

    python -m tests.support.killed_segmentations HOME PAIRS STEP

Trains what `request` says and kills itself, as `kill -9` does, after a step; at step 0, after the
first images were embedded.
"""

import os
import signal
import sys
from pathlib import Path

import editvec.engine.training.segmentation
from editvec.batch.recipes.settings import EmbeddingMethod
from editvec.batch.training.requests import SegmentationRequest
from editvec.batch.training.segmentation import train_segmentation
from editvec.engine.training.loop import TrainingProgress
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library

STEPS = 6
CALIBRATION_STEPS = 5


def request(pairs: Path) -> SegmentationRequest:
    """Three rounds of six steps."""
    return SegmentationRequest(
        class_name="tiny",
        pairs=pairs,
        embed=EmbeddingMethod(num_steps=2),
        training={"num_steps": STEPS, "batch_size": 16},
        members=2,
        folds=2,
        save_seconds=0,
    )


def main(home: Path, pairs: Path, step: int) -> None:
    """Does what the program does."""

    def die(progress: TrainingProgress) -> None:
        if progress.step == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def die_embedding(done: int, count: int) -> None:
        if step == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    editvec.engine.training.segmentation.CALIBRATION_STEPS = CALIBRATION_STEPS
    config = RegistryConfig.for_home(home)
    with Library.open(config) as library:
        train_segmentation(
            library,
            request(pairs),
            device="cpu",
            on_embed=die_embedding,
            on_progress=die,
        )


if __name__ == "__main__":
    _home, _pairs, _step = sys.argv[1:]
    main(Path(_home), Path(_pairs), int(_step))
