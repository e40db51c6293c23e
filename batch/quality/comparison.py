"""What class versions are worth, side by side: how they reconstruct images and find parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from editvec.batch.errors import SettingsError
from editvec.batch.quality.reconstruction import BATCH
from editvec.batch.quality.samples import grid_of
from editvec.batch.quality.settings import Comparison
from editvec.engine.editing.inversion import EmbedResult, EmbedSettings
from editvec.engine.editing.losses import LossWeights
from editvec.engine.editor import Editor
from editvec.engine.images.images import Pixels, encode_png, to_images, to_pixels
from editvec.engine.metrics.edits import mean_iou
from editvec.engine.training.loop import memory_errors
from editvec.outputs import OutputFile

if TYPE_CHECKING:
    from editvec.registry.entities.classes import ClassModel
    from editvec.registry.library.library import Library

COLUMNS = 8  # pictures in a row


@dataclass(frozen=True, kw_only=True)
class MeasuredClass:
    """One class version.

    Attributes:
        address: ``class@version``.
        images: How many were reconstructed.
        psnr: Of what the encoder makes of them, in dB; None without an encoder.
        perceptual: Mean distance of the same; None without a perceptual network.
        psnr_after: After `steps` of inversion.
        perceptual_after: After `steps` of inversion.
        steps: Of inversion.
        perceptual_name: What the distances were measured with, of every class the same.
        pairs: Annotated images that were segmented.
        mean_iou: Of their parts after inversion, pixels pooled; None without a segmentation branch.
    """

    address: str
    images: int
    psnr: float | None
    perceptual: float | None
    psnr_after: float
    perceptual_after: float | None
    steps: int
    perceptual_name: str | None
    pairs: int
    mean_iou: float | None


def compare_models(
    library: Library,
    models: Sequence[ClassModel],
    comparison: Comparison,
    *,
    device: str,
    picture: OutputFile | None = None,
) -> list[MeasuredClass]:
    """Measure class versions on the same images, by the same perceptual network.

    Args:
        library: Where they are.
        models: Of one resolution.
        comparison: By what.
        device: Where, as torch names it.
        picture: Where to draw images and, below them, what each class makes of them.

    Raises:
        BatchError: The classes have different sizes, or the images cannot be read.
        MaskError: A mask cannot be read, or does not fit the parts of a class.
        OutputError: The picture cannot be written.
    """
    first = models[0]
    for model in models:
        if model.resolution != first.resolution:
            raise SettingsError(
                f"compare: expected classes of one size, {first.address} has {first.resolution} "
                f"pixels, {model.address} {model.resolution}"
            )
    with memory_errors(f"lower --count ({comparison.count} now)"):
        editors = [Editor.open(library.materialise_bundle(one), device) for one in models]
        perceptual = next((one.perceptual for one in editors if one.perceptual is not None), None)
        for editor in editors:
            editor.perceptual = perceptual
        images = _images(editors[0], comparison)
        rows, drawn = [], [to_pixels(images[:COLUMNS])]
        for model, editor in zip(models, editors, strict=True):
            at_once, after = _embeddings(editor, images, comparison.steps)
            pairs, iou = _found_parts(library, editor, model, comparison)
            drawn.append(to_pixels(editor.synthesize(after.ws[:COLUMNS])))
            rows.append(
                MeasuredClass(
                    address=model.address,
                    images=len(images),
                    psnr=None if at_once is None else float(at_once.psnr.mean()),
                    perceptual=None if at_once is None else _mean(at_once.perceptual),
                    psnr_after=float(after.psnr.mean()),
                    perceptual_after=_mean(after.perceptual),
                    steps=comparison.steps,
                    perceptual_name=after.perceptual_name,
                    pairs=pairs,
                    mean_iou=iou,
                )
            )
    if picture is not None:
        picture.write(encode_png(grid_of(np.concatenate(drawn), columns=len(drawn[0]))))
    return rows


def draw_samples(editor: Editor, picture: OutputFile, *, count: int, seed: int, psi: float) -> None:
    """A grid of samples as a PNG, as square as it gets."""
    made: list[Pixels] = []
    for start in range(0, count, BATCH):
        ws = editor.sample(min(BATCH, count - start), seed, psi, first=start)
        made.append(to_pixels(editor.synthesize(ws)))
    grid = grid_of(np.concatenate(made), columns=max(1, round(count**0.5)))
    picture.write(encode_png(grid))


def to_json(rows: Sequence[MeasuredClass]) -> list[dict[str, Any]]:
    """For `--json`."""
    return [vars(row) for row in rows]


# ----------------------------------------------------------------------------------------------


def _images(editor: Editor, comparison: Comparison) -> Tensor:
    """Photographs, or samples of the first class."""
    if comparison.photographs is None:
        images = [
            editor.synthesize(
                editor.sample(min(BATCH, comparison.count - start), comparison.seed, first=start)
            )
            for start in range(0, comparison.count, BATCH)
        ]
        return torch.cat(images).clamp(-1, 1)
    import tempfile

    from editvec.batch.quality.photographs import load_photographs

    with tempfile.TemporaryDirectory() as cache:
        found = load_photographs(
            comparison.photographs,
            Path(cache),
            resolution=editor.bundle.resolution,
            fit=comparison.fit.value,
        )
        count = min(comparison.count, len(found.names))
        # evenly spread over the files, which may be in some order
        chosen = np.linspace(0, len(found.names) - 1, count).round().astype(int)
        return to_images([np.array(found.pixels[place]) for place in chosen]).to(editor.device)


def _embeddings(
    editor: Editor, images: Tensor, steps: int
) -> tuple[EmbedResult | None, EmbedResult]:
    """Embeddings by the encoder, if there is one, and after inversion."""
    at_once = None if editor.encoder is None else _embed(editor, images, 0)
    if steps == 0 and at_once is not None:
        return at_once, at_once
    return at_once, _embed(editor, images, steps)


def _embed(editor: Editor, images: Tensor, steps: int) -> EmbedResult:
    settings = EmbedSettings(num_steps=steps)
    if editor.perceptual is None:
        weights = LossWeights(mse_weight=settings.weights.mse_weight)
        settings = EmbedSettings(num_steps=steps, weights=weights)
    found = [editor.embed(part, settings) for part in torch.split(images, BATCH)]
    distances = [one.perceptual for one in found if one.perceptual is not None]
    return EmbedResult(
        torch.cat([one.ws for one in found]),
        torch.cat(distances) if distances else None,
        torch.cat([one.psnr for one in found]),
        found[0].perceptual_name,
        torch.cat([one.num_steps for one in found]),
    )


def _found_parts(
    library: Library, editor: Editor, model: ClassModel, comparison: Comparison
) -> tuple[int, float | None]:
    """How many pairs there are, and the mIoU of the parts that the class finds in them."""
    if comparison.pairs is None:
        return 0, None
    from editvec.batch.quality.pairs import read_pairs
    from editvec.registry.library.contents import scheme_of_class

    if editor.segmentation is None:
        return 0, None
    pairs = read_pairs(
        comparison.pairs,
        scheme_of_class(library, model),
        resolution=model.resolution,
        fit=comparison.fit.value,
    )
    images = to_images(list(pairs.pixels)).to(editor.device)
    ws = _embed(editor, images, comparison.steps).ws
    masks = [editor.synthesize_with_mask(part).mask.cpu() for part in torch.split(ws, BATCH)]
    top, left, bottom, right = model.valid_rectangle
    seen = (slice(None), slice(top, bottom), slice(left, right))
    target = torch.from_numpy(pairs.masks.astype(np.int64))
    iou = mean_iou(torch.cat(masks)[seen], target[seen], num_labels=len(model.labels))
    return len(pairs.names), iou


def _mean(values: Tensor | None) -> float | None:
    return None if values is None else float(values.mean())
