"""The command `train encoder`."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from editvec.batch.cli.options import options as options_of
from editvec.batch.cli.output import note, open_library
from editvec.batch.cli.settings import setting_option, take
from editvec.batch.cli.train.commands import (
    CLASS,
    FIT,
    TRAINING,
    WORK,
    progress_line,
    show_photographs,
    show_read,
)
from editvec.batch.training.requests import EncoderRequest, Watcher
from editvec.engine.training.settings import EncoderTraining

if TYPE_CHECKING:
    from editvec.batch.quality.likeness import Unlike
    from editvec.batch.training.encoder import TrainedEncoder
    from editvec.engine.training.loop import TrainingProgress

_LISTED = 20

NETWORK = options_of(
    setting_option(EncoderRequest, "iterations"),
    setting_option(EncoderRequest, "width"),
    setting_option(EncoderRequest, "goes_on", "--continue"),
)

METHOD = options_of(
    setting_option(EncoderRequest, "warmup_steps", "--steps"),
    setting_option(EncoderTraining, "ws_steps"),
    setting_option(EncoderRequest, "joint_steps", "--photo-steps"),
    setting_option(EncoderRequest, "batch_size", "--batch-size"),
    setting_option(EncoderTraining, "learning_rate"),
    setting_option(EncoderTraining, "perceptual_weight"),
    setting_option(EncoderTraining, "mse_weight"),
    setting_option(EncoderTraining, "ws_weight"),
    setting_option(EncoderRequest, "trunk"),
    click.option(
        "--trunk-weights",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="torchvision's weights of that trunk. [default: its cache, or a download]",
    ),
)

MEASURES = options_of(
    setting_option(EncoderTraining, "validate_steps"),
    setting_option(EncoderTraining, "patience"),
    setting_option(EncoderRequest, "held_out"),
    setting_option(EncoderRequest, "keep_unlike"),
    setting_option(EncoderRequest, "compared"),
    setting_option(EncoderRequest, "compared_steps"),
)


@click.command("encoder")
@click.argument("photographs", type=click.Path(path_type=Path), metavar="[PHOTOS]", required=False)
@CLASS
@NETWORK
@METHOD
@MEASURES
@FIT
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

    The encoder finds the latents of a picture at once; without one, embedding begins at the average
    and takes many more steps. Photographs that do not look like the class are named and left out.
    The new version of the class has the same generator, so all vectors go on working. After a kill,
    type the same command again.

    \b
    editvec train encoder --class car PHOTOS
    """  # noqa: D301 (click reads the backspace)
    from editvec.batch.quality.reconstruction import embedding_table
    from editvec.batch.training.encoder import train_encoder as train

    request = _request(**chosen)
    _, library = open_library(ctx)
    with library, _Phases(request.class_address) as phases:
        trained = train(
            library,
            request,
            work=work,
            device=device,
            watcher=Watcher(
                show_read,
                show_photographs,
                lambda unlike: _show_unlike(unlike, is_kept=request.keep_unlike),
                phases.begin,
                phases.show,
            ),
        )
    for text in trained.notes:
        note(text)
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
    return EncoderRequest(
        class_address=chosen.pop("class_name"),
        **take(EncoderRequest, chosen),
        training=take(EncoderTraining, chosen),
    )


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
        "skipped": dict(trained.skipped),
        "unlike": [one.to_json() for one in trained.unlike],
        "measured": {"network": trained.perceptual_name, **trained.measured},
        "comparison": [row._asdict() for row in trained.comparison],
        "compared_on": trained.compared_on,
        "notes": trained.notes,
        "folder": str(trained.folder),
    }
