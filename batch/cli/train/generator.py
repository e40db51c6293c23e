"""The command `train generator`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from editvec.batch.cli.options import options as options_of
from editvec.batch.cli.output import open_library
from editvec.batch.cli.train.commands import (
    CLASS,
    TRAINING,
    WORK,
    progress_line,
    show_photographs,
    show_read,
)
from editvec.registry.cli.completion import complete_class

if TYPE_CHECKING:
    from editvec.batch.training.generator import GeneratorRequest, TrainedGenerator

NETWORK = options_of(
    click.option(
        "--resolution",
        type=click.Choice(["16", "32", "64", "128", "256", "512", "1024"]),
        help="Pixels of a side.",
    ),
    click.option(
        "--mapping-layers",
        type=click.IntRange(1, 16),
        help="Layers of the mapping network: 2 learn faster, 8 were published first. [default: 2]",
    ),
    click.option(
        "--channel-base",
        type=click.IntRange(16, 1 << 17),
        help="Channels times resolution. [default: 16384 below 512 pixels, else 32768]",
    ),
    click.option(
        "--channel-max", type=click.IntRange(1, 4096), help="Most channels. [default: 512]"
    ),
    click.option(
        "--w-dim", type=click.IntRange(1, 4096), help="Size of Z and of W. [default: 512]"
    ),
    click.option(
        "--from",
        "start",
        metavar="CLASS",
        shell_complete=complete_class,
        help="Train on from the generator of a class; its size is kept.",
    ),
)

METHOD = options_of(
    click.option(
        "--kimg",
        type=click.FloatRange(0),
        default=5000,
        show_default=True,
        help="Thousands of images to train on. May be raised later; a lower one stores what is.",
    ),
    click.option("--batch", type=click.IntRange(1, 4096), help="Images of a step. [default: auto]"),
    click.option(
        "--learning-rate",
        type=click.FloatRange(0, 1, min_open=True),
        help="Of both networks. [default: 0.0025, at 1024 pixels 0.002]",
    ),
    click.option(
        "--gamma", type=click.FloatRange(0), help="Weight of the R1 penalty. [default: auto]"
    ),
    click.option(
        "--path-length",
        type=click.FloatRange(0),
        help="Weight of the path length penalty; 0 saves about a fifth of the time. [default: 2]",
    ),
    click.option(
        "--mirror",
        is_flag=True,
        help="Show every photograph mirrored, too. Not for left and right.",
    ),
    click.option(
        "--augment",
        type=click.Choice(["ada", "none"]),
        default="ada",
        show_default=True,
        help="What the discriminator sees is varied as much as it begins to know by heart, or not.",
    ),
    click.option(
        "--precision",
        type=click.Choice(["auto", "float32", "bfloat16"]),
        default="auto",
        show_default=True,
        help="auto: bfloat16 on CUDA, where it is faster.",
    ),
    click.option(
        "--fit",
        type=click.Choice(["crop", "stretch", "pad"]),
        default="crop",
        show_default=True,
        help="How a photograph of another shape becomes a square.",
    ),
)

MEASURES = options_of(
    click.option(
        "--snapshot-kimg",
        type=click.FloatRange(0, min_open=True),
        default=50,
        show_default=True,
        help="Thousands of images between two measurements, each with a grid of samples.",
    ),
    click.option(
        "--measured",
        type=click.IntRange(2),
        default=1000,
        show_default=True,
        help="Samples compared with as many photographs.",
    ),
    click.option(
        "--features",
        default="trunk",
        show_default=True,
        metavar="trunk|inception|CLASS",
        help="What KID compares by: the shipped class's trunk, Inception v3 as published (its "
        "weights are downloaded once), or the trunk of a class.",
    ),
    click.option("--fid", is_flag=True, help="Measure FID as well."),
)


@click.command("generator")
@click.argument("photographs", type=click.Path(path_type=Path), metavar="PHOTOS")
@CLASS
@NETWORK
@METHOD
@MEASURES
@click.option("--description", default="", help="Of the class, for people.")
@click.option("--license", "license_name", default="", help="Of the weights.")
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

    StyleGAN2 with adaptive augmentation. It takes days on a GPU for large pictures, hours for
    small ones; on a CPU only small ones are of use. Type the same command again after a kill.
    The folder of the training holds its state, log.jsonl with everything that was measured, and
    samples/.

    \b
    editvec train generator --class car --resolution 64 --mirror PHOTOS
    """  # noqa: D301 (click reads the backspace)
    from editvec.batch.training.generator import train_generator as train
    from editvec.batch.workbench import default_device

    config, library = open_library(ctx)
    device = device or default_device()
    request = _request(photographs, device=device, **chosen)
    with library, progress_line(f"generator of {request.class_name}") as show:
        trained = train(
            library,
            config,
            request,
            work=work,
            device=device,
            on_read=show_read,
            on_photographs=show_photographs,
            on_progress=show,
        )
    if as_json:
        click.echo(json.dumps(_as_json(trained), indent=2))
        return
    click.echo(trained.model.address)
    for name, text in _rows(trained).items():
        click.echo(f"  {name:12} {text}")


def _request(photographs: Path, *, device: str, **chosen: Any) -> GeneratorRequest:
    """The request that the options make."""
    from editvec.batch.training.generator import GeneratorRequest

    resolution = chosen["resolution"] and int(chosen["resolution"])
    network: dict[str, Any] = {
        "mapping_layers": chosen["mapping_layers"],
        "channel_base": chosen["channel_base"],
        "channel_max": chosen["channel_max"],
        "z_dim": chosen["w_dim"],
        "w_dim": chosen["w_dim"],
    }
    if chosen["start"] is None:
        base = 16384 if (resolution or 0) < 512 else 32768
        network = {"mapping_layers": 2, "channel_base": base} | _given(network)
    precision = chosen["precision"]
    if precision == "auto":
        precision = "bfloat16" if device.startswith("cuda") else "float32"
    training = {
        "batch_size": chosen["batch"],
        "learning_rate": chosen["learning_rate"],
        "r1_gamma": chosen["gamma"],
        "path_length_weight": chosen["path_length"],
        "mirror": chosen["mirror"],
        "augment": chosen["augment"],
        "precision": precision,
    }
    return GeneratorRequest(
        class_name=chosen["class_name"],
        photographs=photographs,
        images=round(chosen["kimg"] * 1000),
        resolution=resolution,
        start=chosen["start"],
        fit=chosen["fit"],
        network=_given(network),
        training=_given(training),
        seed=chosen["seed"],
        snapshot_images=round(chosen["snapshot_kimg"] * 1000),
        measured=chosen["measured"],
        features=chosen["features"],
        fid=chosen["fid"],
        description=chosen["description"],
        license_name=chosen["license_name"],
    )


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """Those that were given."""
    return {name: value for name, value in values.items() if value is not None}


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
        "skipped": [{"path": path, "reason": reason} for path, reason in trained.skipped],
        "measured": trained.measured,
        "folder": str(trained.folder),
    }
