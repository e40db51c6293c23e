"""The command `train encoder`."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from editvec.batch.cli.options import options as options_of
from editvec.batch.cli.output import note, open_library
from editvec.batch.cli.train.commands import (
    CLASS,
    TRAINING,
    WORK,
    progress_line,
    show_photographs,
    show_read,
)

if TYPE_CHECKING:
    from editvec.batch.quality.likeness import Unlike
    from editvec.batch.training.encoder import TrainedEncoder
    from editvec.batch.training.encoder_request import EncoderRequest
    from editvec.engine.training.loop import TrainingProgress

_LISTED = 20

NETWORK = options_of(
    click.option(
        "--iterations",
        type=click.IntRange(1, 10),
        default=1,
        show_default=True,
        help="Passes over an image: each but the first sees what the one before made of it.",
    ),
    click.option(
        "--width",
        type=click.IntRange(4, 256),
        default=32,
        show_default=True,
        help="Channels of the first stage, at full size; those that follow have up to 8 times as "
        "many.",
    ),
    click.option(
        "--continue",
        "goes_on",
        is_flag=True,
        help="Begin with the encoder that the class has; its size is kept.",
    ),
)

METHOD = options_of(
    click.option(
        "--steps",
        "warmup_steps",
        type=click.IntRange(1),
        default=20_000,
        show_default=True,
        help="Batches of samples of the generator, before any photograph.",
    ),
    click.option(
        "--ws-steps",
        type=click.IntRange(0),
        help="The first of these see the error of latents alone, which is cheap. [default: half]",
    ),
    click.option(
        "--photo-steps",
        "joint_steps",
        type=click.IntRange(1),
        default=10_000,
        show_default=True,
        help="Batches of samples and photographs, after that.",
    ),
    click.option(
        "--batch",
        "batch_size",
        type=click.IntRange(1, 4096),
        default=16,
        show_default=True,
        help="Images of a step.",
    ),
    click.option(
        "--learning-rate",
        type=click.FloatRange(0, 1, min_open=True),
        default=1e-3,
        show_default=True,
        help="At the start; it falls to 0.",
    ),
    click.option("--perceptual-weight", type=click.FloatRange(0), default=10, show_default=True),
    click.option("--mse-weight", type=click.FloatRange(0), default=1, show_default=True),
    click.option(
        "--ws-weight",
        type=click.FloatRange(0),
        default=5,
        show_default=True,
        help="Of the latents of samples.",
    ),
    click.option(
        "--trunk",
        type=click.Choice(["vgg", "alex", "squeeze"]),
        help="Compare images by published LPIPS. [default: by the trunk that the class has]",
    ),
    click.option(
        "--trunk-weights",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="torchvision's weights of that trunk. [default: its cache, or a download]",
    ),
)

MEASURES = options_of(
    click.option(
        "--validate-steps",
        type=click.IntRange(1),
        default=500,
        show_default=True,
        help="Steps between two validations, on images that are held out.",
    ),
    click.option(
        "--patience",
        type=click.IntRange(0),
        default=10,
        show_default=True,
        help="Validations without a better one that end the training early; 0 never does.",
    ),
    click.option(
        "--held-out",
        type=click.IntRange(1),
        default=64,
        show_default=True,
        help="Samples to validate on, and at most so many photographs, a tenth of them.",
    ),
    click.option(
        "--keep-unlike",
        is_flag=True,
        help="Train on photographs that do not look like the class, too.",
    ),
    click.option(
        "--compared",
        type=click.IntRange(0),
        default=8,
        show_default=True,
        help="Held-out images of the table of ways to embed; 0 leaves it out.",
    ),
    click.option(
        "--compared-steps",
        type=click.IntRange(1),
        default=50,
        show_default=True,
        help="Steps of inversion in that table.",
    ),
)


@click.command("encoder")
@click.argument("photographs", type=click.Path(path_type=Path), metavar="[PHOTOS]", required=False)
@CLASS
@NETWORK
@METHOD
@MEASURES
@click.option(
    "--fit",
    type=click.Choice(["crop", "stretch", "pad"]),
    default="crop",
    show_default=True,
    help="How a photograph of another shape becomes a square.",
)
@WORK
@TRAINING
@click.pass_context
def train_encoder(
    ctx: click.Context,
    /,
    *,
    work: Path | None,
    device: str | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Train an encoder for CLASS, on samples and the folder PHOTOS, and store a new version of it.

    The encoder finds the latents of a picture at once; without one, embedding begins at the
    average and takes many more steps. Photographs that do not look like the class are named and
    left out. The generator stays, and with it every vector. Type the same command again after a
    kill.

    \b
    editvec train encoder --class car PHOTOS
    """  # noqa: D301 (click reads the backspace)
    from editvec.batch.quality.reconstruction import embedding_table
    from editvec.batch.training.encoder import train_encoder as train
    from editvec.batch.training.encoder_request import Watcher
    from editvec.batch.workbench import default_device

    request = _request(**chosen)
    config, library = open_library(ctx)
    with library, _Phases(request.class_address) as phases:
        trained = train(
            library,
            config,
            request,
            work=work,
            device=device or default_device(),
            watcher=Watcher(
                show_read,
                show_photographs,
                lambda unlike: _show_unlike(unlike, is_kept=request.keep_unlike),
                phases.begin,
                phases.show,
            ),
        )
    if as_json:
        click.echo(json.dumps(_as_json(trained), indent=2))
        return
    click.echo(trained.model.address)
    for name, text in _rows(trained).items():
        click.echo(f"  {name:12} {text}")
    if trained.comparison:
        click.echo()
        click.echo(embedding_table(trained.comparison, trained.perceptual_name))


class _Phases(contextlib.ExitStack):
    """The line of progress of one training after the other."""

    def __init__(self, class_name: str) -> None:
        super().__init__()
        self._class_name = class_name

    def begin(self, what: str) -> None:
        self.close()
        self._line = self.enter_context(progress_line(f"encoder of {self._class_name}, on {what}"))

    def show(self, progress: TrainingProgress) -> None:
        self._line(progress)


def _request(**chosen: Any) -> EncoderRequest:
    """The request that the options make."""
    from editvec.batch.training.encoder_request import EncoderRequest

    ws_steps = chosen.pop("ws_steps")
    training = {
        "ws_steps": chosen["warmup_steps"] // 2 if ws_steps is None else ws_steps,
        **{
            name: chosen.pop(name)
            for name in (
                *("learning_rate", "perceptual_weight", "mse_weight", "ws_weight"),
                *("validate_steps", "patience"),
            )
        },
    }
    return EncoderRequest(class_address=chosen.pop("class_name"), training=training, **chosen)


def _show_unlike(unlike: list[Unlike], *, is_kept: bool) -> None:
    word = "kept" if is_kept else "left out"
    for one in unlike[:_LISTED]:
        perceptual = "" if one.perceptual is None else f", perceptual {one.perceptual:.3g}"
        note(f"{word} {one.name}: reconstructed with {one.psnr:.1f} dB{perceptual}")
    text = f"{len(unlike)} photographs do not look like the class: {word}"
    note(text if is_kept else f"{text}; --keep-unlike trains on them, too")


def _rows(trained: TrainedEncoder) -> dict[str, str]:
    config, found = trained.config, trained.measured
    passes = "1 pass" if config.iterations == 1 else f"{config.iterations} passes"
    on = "samples"
    if trained.photographs:
        on += f" and {trained.photographs} photographs"
    if trained.unlike:
        on += f"; {len(trained.unlike)} of them" if not trained.photographs else ""
    rows = {
        "encoder": f"{config.resolution} x {config.resolution} pixels, {passes}",
        "trained": f"on {on}, compared by {trained.perceptual_name}",
    }
    for name in ("samples", "photographs"):
        if f"{name}_psnr" in found:
            rows[name] = (
                f"{found[f'{name}_psnr']:.2f} dB, {trained.perceptual_name} "
                f"{found[f'{name}_perceptual']:.4g}, n={found[f'{name}_count']}, held out"
            )
    return {**rows, "folder": str(trained.folder)}


def _as_json(trained: TrainedEncoder) -> dict[str, Any]:
    return {
        "class": trained.model.name,
        "version": trained.model.version,
        "address": str(trained.model.address),
        "generator_digest": trained.model.generator_digest,
        "bundle_digest": trained.model.bundle_digest,
        "encoder": trained.config.to_json(),
        "photographs": trained.photographs,
        "skipped": [{"path": path, "reason": reason} for path, reason in trained.skipped],
        "unlike": [one.to_json() for one in trained.unlike],
        "measured": {"network": trained.perceptual_name, **trained.measured},
        "comparison": [row._asdict() for row in trained.comparison],
        "compared_on": trained.compared_on,
        "folder": str(trained.folder),
    }
