"""Build the shipped bundle of the class `avatars`: `python -m editvec.avatars.build`.

Seeded and resumable: every stage writes its result into the work folder, and the generator its
state every thousand steps, so that the same command after a kill goes on.
"""

import logging
import time
from collections.abc import Mapping
from pathlib import Path

import click
import torch
from torch import Tensor

from editvec.avatars import default
from editvec.avatars.building import encoder as encoder_stage
from editvec.avatars.building import segmentation as segmentation_stage
from editvec.avatars.building.dataset import SHARD_SIZE, rendered
from editvec.avatars.building.generator import (
    CONFIG,
    PHASES,
    RESOLUTION,
    fit_mapping,
    holdout_psnr,
    train_generator,
)
from editvec.avatars.building.networks import (
    CLASSIFIER,
    IDENTITY,
    PERCEPTUAL,
    train_classifier,
    train_identity,
    train_trunk,
)
from editvec.avatars.drawing.render import LABEL_COLORS, LABELS
from editvec.engine.bundle.bundle import NetworkState, write_bundle
from editvec.engine.bundle.description import BundleLabel
from editvec.engine.editing.losses import Networks
from editvec.engine.networks.perceptual import build_perceptual

_log = logging.getLogger(__name__)

TRAINING_SEED = 100_000
HOLDOUT_SEED = 900_000
TRAINING_COUNT = 40_000
SEED = 7


def build(work: Path, folder: Path, *, device: str) -> None:
    """Run every stage that is not done yet, then write the bundle.

    Args:
        work: Where the stages keep their results.
        folder: Where the bundle goes; a bundle that is there is replaced.
        device: Where to train, as torch names it.
    """
    _log.info("1/8 renders")
    renders = rendered(
        work / "renders", count=TRAINING_COUNT, resolution=RESOLUTION, seed=TRAINING_SEED
    )
    holdout = rendered(work / "renders", count=SHARD_SIZE, resolution=RESOLUTION, seed=HOLDOUT_SEED)
    _log.info("2/8 generator")
    generator = train_generator(work, renders, device=device, seed=SEED)
    quality = holdout_psnr(generator, holdout).median().item()
    _log.info("  held-out PSNR from exact codes: %.2f dB", quality)
    _log.info("3/8 mapping")
    fit_mapping(work, generator, seed=SEED)
    _log.info("4/8 perceptual trunk")
    perceptual = build_perceptual(PERCEPTUAL).to(device).eval().requires_grad_(False)
    perceptual.trunk = train_trunk(work, renders, device=device, seed=SEED)
    _log.info("5/8 encoder")
    encoder = encoder_stage.train(work, renders, generator, perceptual, device=device, seed=SEED)
    _log.info("6/8 segmentation branch")
    networks = Networks(synthesis=generator.synthesis, perceptual=perceptual, encoder=encoder)
    members = segmentation_stage.train(work, renders, networks, w_avg=generator.w_avg, seed=SEED)
    _log.info("7/8 attribute classifier")
    classifier = train_classifier(work, renders, device=device, seed=SEED)
    _log.info("8/8 identity network")
    identity = train_identity(work, renders, device=device, seed=SEED)
    bundle = write_bundle(
        folder,
        class_name=default.CLASS_NAME,
        description="Cartoon faces with exact part masks; the class that editvec comes with.",
        license="Apache-2.0",
        labels=[
            BundleLabel(index, name, (red, green, blue))
            for index, (name, (red, green, blue)) in enumerate(
                zip(LABELS, LABEL_COLORS.tolist(), strict=True)
            )
        ],
        networks={
            "generator": NetworkState(CONFIG, generator.state_dict()),
            "segmentation": NetworkState(segmentation_stage.SEGMENTATION, _halved(members)),
            "encoder": NetworkState(encoder_stage.ENCODER, encoder.state_dict()),
            "perceptual": NetworkState(PERCEPTUAL, perceptual.state_dict()),
            "classifier": NetworkState(CLASSIFIER, classifier.state_dict()),
            "identity": NetworkState(IDENTITY, identity.state_dict()),
        },
        built={
            "command": "python -m editvec.avatars.build",
            "seed": SEED,
            "renders": TRAINING_COUNT,
            "labelled_images": segmentation_stage.LABELLED_COUNT,
            "generator": "regression of the synthesis network on renders, from a fixed linear "
            "code of their parameters; mapping fitted afterwards to the prior",
            "phases": [phase.__dict__ for phase in PHASES],
            "held_out_psnr_db": round(quality, 2),
        },
        replace=True,
    )
    _log.info("bundle %s in %s", bundle.bundle_digest[:12], folder)


def _halved(members: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The members with their linear weights in float16, which halves the largest file."""
    return {name: tensor.half() if tensor.ndim == 2 else tensor for name, tensor in members.items()}


@click.command()
@click.option(
    "--work", type=click.Path(path_type=Path), default=Path("build/avatars"), show_default=True
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=default.BUNDLE_FOLDER,
    show_default=True,
)
@click.option("--device", default=None, help="Default: cuda where there is one, else cpu.")
def main(work: Path, output: Path, device: str | None) -> None:
    """Train every network of the class avatars and write the bundle."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    started = time.monotonic()
    build(work, output, device=device or ("cuda" if torch.cuda.is_available() else "cpu"))
    _log.info("done in %.0f minutes", (time.monotonic() - started) / 60)


if __name__ == "__main__":
    main()
