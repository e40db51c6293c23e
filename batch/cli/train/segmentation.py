"""The command `train segmentation`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from editvec.batch.cli.options import options as options_of
from editvec.batch.cli.output import note, open_library
from editvec.batch.cli.settings import setting_option, take
from editvec.batch.cli.train.commands import CLASS, FIT, TRAINING, WORK, progress_line
from editvec.batch.recipes.settings import EmbeddingMethod
from editvec.batch.training.requests import SegmentationRequest
from editvec.engine.training.settings import SegmentationTraining
from editvec.registry.cli.mask import FORMS

if TYPE_CHECKING:
    from editvec.batch.quality.segmentation import SegmentationQuality
    from editvec.batch.training.segmentation import TrainedSegmentation

_PATH = click.Path(path_type=Path)

ANNOTATIONS = options_of(
    click.option(
        "--masks",
        type=_PATH,
        metavar="PATH",
        help="Folder of masks, or the .json, .xml or .txt file of an annotation tool; PAIRS then "
        "holds the images themselves.",
    ),
    click.option(
        "--form",
        type=click.Choice(FORMS),
        help="How the masks are written. [default: found out]",
    ),
    setting_option(SegmentationRequest, "skips_other_shapes", "--skip-other-shapes"),
    click.option(
        "--scheme",
        metavar="NAME|FILE",
        help="Label scheme of the new version: editgan-car, datasetgan-face, celebamask-hq, or a "
        "YAML or JSON file. [default: that of the class]",
    ),
    FIT,
    setting_option(SegmentationRequest, "embed", metavar="encoder|steps:N|target:DB"),
    setting_option(SegmentationRequest, "keep_unlike"),
)

METHOD = options_of(
    setting_option(SegmentationTraining, "num_steps", "--steps"),
    setting_option(SegmentationTraining, "batch_size", "--pixels"),
    setting_option(SegmentationTraining, "learning_rate"),
    setting_option(SegmentationRequest, "members"),
    setting_option(SegmentationRequest, "folds"),
)


@click.command("segmentation")
@click.argument("pairs", type=_PATH, metavar="PAIRS")
@CLASS
@ANNOTATIONS
@METHOD
@WORK
@TRAINING
@click.pass_context
def train_segmentation(
    ctx: click.Context,
    /,
    *,
    pairs: Path,
    work: Path | None,
    device: str | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Train the segmentation branch of CLASS on the annotated images in the folder PAIRS.

    PAIRS holds images/ and masks/ (or masks.json, annotations.xml...): 16 to 32 images, 4 at least.
    The images are embedded, and classifiers learn from the generator's features which part each
    pixel is. Cross-validation measures each part on images that were left out. The new version of
    the class has the same generator, so all vectors go on working.

    After a kill, type the same command again. The folder of the training holds its state, log.jsonl
    and predictions.png.

    \b
    editvec train segmentation --class car PAIRS
    """  # noqa: D301 (click reads the backspace)
    from editvec.batch.training.segmentation import train_segmentation as train

    request = _request(pairs, **chosen)
    _, library = open_library(ctx)
    title = f"segmentation of {request.class_name}"
    with library, progress_line(title) as show:
        trained = train(
            library,
            request,
            work=work,
            device=device,
            on_note=note,
            on_embed=lambda done, count: note(f"embedded {done}/{count} images"),
            on_progress=show,
        )
    if as_json:
        click.echo(json.dumps(_as_json(trained), indent=2))
        return
    click.echo(trained.model.address)
    for line in (*_table(trained.quality), *_rows(trained)):
        click.echo(f"  {line}")


def _request(pairs: Path, **chosen: Any) -> SegmentationRequest:
    """The request that the options make."""
    from editvec.registry.labels.files import read_scheme

    scheme, embed = chosen.pop("scheme"), chosen.pop("embed")
    return SegmentationRequest(
        pairs=pairs,
        scheme=None if scheme is None else read_scheme(scheme),
        embed=EmbeddingMethod.parse(embed),
        **take(SegmentationRequest, chosen),
        training=take(SegmentationTraining, chosen),
    )


def _table(quality: SegmentationQuality) -> list[str]:
    """The parts, as lines."""
    width = max(len("part"), *(len(part.name) for part in quality.parts))
    lines = [f"{'part':{width}}  images   pixels    IoU  uncertainty"]
    lines += [
        f"{part.name:{width}}  {part.images:6}  {part.pixels:7}  {_number(part.iou):>5}  "
        f"{_number(part.uncertainty):>11}"
        for part in quality.parts
    ]
    return lines


def _rows(trained: TrainedSegmentation) -> list[str]:
    quality = trained.quality
    rows = [f"trained on   {trained.trained_on} images"]
    if quality.mean_iou is not None:
        rows.append(
            f"mean IoU     {quality.mean_iou:.3f}, of {quality.folds} folds that were left out"
        )
    if trained.picture is not None:
        rows.append(f"predictions  {trained.picture}")
    return rows


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _as_json(trained: TrainedSegmentation) -> dict[str, Any]:
    return {
        "class": trained.model.name,
        "version": trained.model.version,
        "address": str(trained.model.address),
        "generator_digest": trained.model.generator_digest,
        "bundle_digest": trained.model.bundle_digest,
        "trained_on": trained.trained_on,
        "unlike": trained.unlike,
        "measured": trained.quality.to_json(),
        "predictions": trained.picture and str(trained.picture),
        "folder": str(trained.folder),
    }
