"""Build the shipped bundle of the class `avatars`: `python -m avatars.build`.

Seeded and resumable: every stage writes its result into the work folder, and the long ones their
state every minute, so that the same command after a kill goes on.
"""

import argparse
import os
from pathlib import Path

import torch

from avatars.dataset import rendered
from avatars.stages.generator import RESOLUTION, fit_mapping, holdout_psnr, train_generator

TRAINING_SEED = 100_000
HOLDOUT_SEED = 900_000
TRAINING_COUNT = 40_000
SEED = 7


def build(work: Path, *, device: str) -> None:
    """Run every stage that is not done yet."""
    print("1 renders", flush=True)
    renders = rendered(
        work / "renders", count=TRAINING_COUNT, resolution=RESOLUTION, seed=TRAINING_SEED
    )
    holdout = rendered(work / "renders", count=2000, resolution=RESOLUTION, seed=HOLDOUT_SEED)
    print("2 generator", flush=True)
    generator = train_generator(work, renders, device=device, seed=SEED)
    print(f"  held-out PSNR {holdout_psnr(generator, holdout).median():.2f} dB", flush=True)
    print("3 mapping", flush=True)
    fit_mapping(work, generator, seed=SEED)


def main() -> None:
    """Parse the command line and build."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("build/avatars"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    build(arguments.work, device=arguments.device)


if __name__ == "__main__":
    main()
