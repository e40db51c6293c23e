"""The command `train generator`."""

from __future__ import annotations

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
from editvec.batch.training.requests import GeneratorRequest
from editvec.engine.networks.config import GeneratorConfig
from editvec.engine.training.settings import GeneratorTraining
from editvec.registry.cli.completion import complete_class

if TYPE_CHECKING:
    from editvec.batch.training.generator import TrainedGenerator

NETWORK = options_of(
    setting_option(GeneratorRequest, "resolution"),
    setting_option(GeneratorConfig, "mapping_layers", is_asked=False),
    setting_option(GeneratorConfig, "channel_base", is_asked=False),
    setting_option(GeneratorConfig, "channel_max", is_asked=False),
    setting_option(GeneratorConfig, "w_dim", is_asked=False),
    click.option(
        "--from",
        "start",
        metavar="CLASS",
        shell_complete=complete_class,
        help="Train on from the generator of a class; its size is kept.",
    ),
)

METHOD = options_of(
    setting_option(GeneratorRequest, "images", "--kimg", times=1000),
    setting_option(GeneratorTraining, "batch_size", "--batch-size"),
    setting_option(GeneratorTraining, "learning_rate"),
    setting_option(GeneratorTraining, "r1_gamma", "--gamma"),
    setting_option(GeneratorTraining, "path_length_weight", "--path-length"),
    setting_option(GeneratorTraining, "mirror"),
    setting_option(GeneratorTraining, "augment"),
    setting_option(GeneratorTraining, "precision"),
    FIT,
)

MEASURES = options_of(
    setting_option(GeneratorRequest, "snapshot_images", "--snapshot-kimg", times=1000),
    setting_option(GeneratorRequest, "measured"),
    setting_option(GeneratorRequest, "features", metavar="trunk|inception|CLASS"),
    setting_option(GeneratorRequest, "fid"),
)


@click.command("generator")
@click.argument("photographs", type=click.Path(path_type=Path), metavar="PHOTOS")
@CLASS
@NETWORK
@METHOD
@MEASURES
@setting_option(GeneratorRequest, "description")
@setting_option(GeneratorRequest, "license_name", "--license")
@WORK
@TRAINING
@click.pass_context
def train_generator(
    ctx: click.Context,
    /,
    *,
    photographs: Path,
    work: Path | None,
    device: str | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Train a generator on the folder PHOTOS, and store it as a version of CLASS.

    StyleGAN2 with adaptive augmentation. It takes days on a GPU for large pictures, hours for small
    ones; on a CPU only small ones make sense. After a kill, type the same command again. The folder
    of the training holds its state, log.jsonl with all measurements, and samples/.

    \b
    editvec train generator --class car --resolution 64 --mirror PHOTOS
    """  # noqa: D301 (click reads the backspace)
    from editvec.batch.training.generator import train_generator as train

    _, library = open_library(ctx)
    request = _request(photographs, **chosen)
    with library, progress_line(f"generator of {request.class_name}") as show:
        trained = train(
            library,
            request,
            work=work,
            device=device,
            on_read=show_read,
            on_photographs=show_photographs,
            on_progress=show,
        )
    for text in trained.notes:
        note(text)
    if as_json:
        click.echo(json.dumps(_as_json(trained), indent=2))
        return
    click.echo(trained.model.address)
    for name, text in _rows(trained).items():
        click.echo(f"  {name:12} {text}")


def _request(photographs: Path, **chosen: Any) -> GeneratorRequest:
    """The request that the options make."""
    # Z is as wide as W where nothing else is said, and a generator that is there keeps its size
    return GeneratorRequest(
        photographs=photographs,
        **take(GeneratorRequest, chosen),
        network=take(GeneratorConfig, chosen),
        training=take(GeneratorTraining, chosen),
    )


def _rows(trained: TrainedGenerator) -> dict[str, str]:
    rows = {"trained": f"on {trained.images} images, from {trained.photographs} photographs"}
    found = trained.measured
    if found:
        fid = f", FID {found['fid']:.4g}" if "fid" in found else ""
        rows["samples"] = (
            f"KID {found['kid']:.4g}{fid} after {found['images']} images, by {found['network']}, "
            f"n={found['measured']}"
        )
    return {**rows, "folder": str(trained.folder)}


def _as_json(trained: TrainedGenerator) -> dict[str, Any]:
    return {
        "class": trained.model.name,
        "version": trained.model.version,
        "address": str(trained.model.address),
        "generator_digest": trained.model.generator_digest,
        "bundle_digest": trained.model.bundle_digest,
        "images": trained.images,
        "photographs": trained.photographs,
        "skipped": dict(trained.skipped),
        "measured": trained.measured,
        "notes": trained.notes,
        "folder": str(trained.folder),
    }
