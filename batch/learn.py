"""Learn an editing vector from one edited part mask, measure it, and store it."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from batch.errors import SettingsError
from batch.learn_request import LearnRequest, LearnSettings
from batch.parts import repainted_labels
from batch.settings import engine_version
from engine.descent import OnStep
from engine.editing import EditResult
from engine.images import crop_box, fit_pixels, read_image, resize_mask, to_images
from engine.metrics import leakage, success
from engine.roi import default_dilation
from registry.entities import (
    ClassModel,
    Direction,
    EditingVector,
    NewMaskPair,
    NewMetric,
    NewVector,
    parse_address,
)
from registry.masks import check_labels, check_size, encode_mask, read_mask

if TYPE_CHECKING:
    from engine.editor import Editor, EmbedResult
    from registry.store import Library

OnProgress = Callable[[str, int, int], None]
"""Called with the stage ("embed" or "learn"), the steps made and the steps to be made."""

_PROBE = "the mask pair that it was learned from"
# Equal images have an infinite PSNR, which neither JSON nor every database holds.
_MAX_PSNR = 200.0

Mask = npt.NDArray[np.integer[Any]]


class LearnOutcome(NamedTuple):
    """A learned vector and what was measured of it.

    Attributes:
        vector: As stored.
        metrics: Its metrics by name.
        num_steps: Steps of learning.
        seconds: Time that learning took, embedding apart.
        embed_seconds: Time that embedding took.
        device: Where.
    """

    vector: EditingVector
    metrics: dict[str, NewMetric]
    num_steps: int
    seconds: float
    embed_seconds: float
    device: str


def learn_vector(
    library: Library,
    editor: Editor,
    request: LearnRequest,
    *,
    on_progress: OnProgress | None = None,
) -> LearnOutcome:
    """Embed the picture, learn the edit, measure it, and store all of it in one transaction.

    Args:
        library: Where the vector goes.
        editor: Holds the networks of the vector's class.
        request: What to learn.
        on_progress: Told how far it is.

    Returns:
        The vector; if the library already held this very content, the version that holds it.

    Raises:
        RegistryError: The address, the class, a part name or a mask is wrong.
        EngineError: The picture cannot be read, or the masks have no pixel of the ROI.
        SettingsError: The parts to edit are neither given nor to be found.
    """
    model, name, version = _target(library, editor, request.address)
    pair = _read_pair(request, model)
    roi_labels = _roi_labels(request, pair, model)
    resolution = editor.bundle.resolution
    images = to_images([fit_pixels(pair.pixels, resolution, fit="crop")]).to(editor.device)

    began = time.monotonic()
    embedded = editor.embed(
        images, request.settings.embed_settings, on_step=_stage("embed", on_progress)
    )
    embed_seconds = time.monotonic() - began
    learned = editor.learn(
        images,
        _tensor(pair.mask_after, resolution, editor),
        roi_labels=roi_labels,
        mask_before=None
        if pair.mask_before is None
        else _tensor(pair.mask_before, resolution, editor),
        ws=embedded.ws,
        settings=request.settings.edit_settings,
        on_step=_stage("learn", on_progress),
    )
    metrics = [*_measure_edit(editor, learned, roi_labels), *_measure_embedding(embedded)]
    vector = library.add_vector(
        NewVector(
            class_name=model.address,
            name=name,
            version=version,
            generator_digest=editor.bundle.generator_digest,
            roi_labels=tuple(roi_labels),
            dilation=_dilation(request.settings, resolution),
            settings=_record(request.settings, editor),
            license=request.license,
            description=request.description,
            tags=request.tags,
        ),
        learned.deltas[0].detach().cpu().numpy(),
        pairs=[_stored_pair(pair, learned, model)],
        metrics=metrics,
        reason=f"learned from {request.image.name}",
    )
    return LearnOutcome(
        vector=vector,
        metrics={metric.name: metric for metric in metrics},
        num_steps=learned.num_steps,
        seconds=learned.seconds,
        embed_seconds=embed_seconds,
        device=str(editor.device),
    )


# Reading.


class _Pair(NamedTuple):
    """The picture uint8 [H, W, 3] and its masks [H, W], at the picture's own size."""

    pixels: npt.NDArray[np.uint8]
    mask_after: Mask
    mask_before: Mask | None


def _target(library: Library, editor: Editor, address: str) -> tuple[ClassModel, str, int | None]:
    """The class model that the editor holds, and the name and version of the new vector."""
    wanted = parse_address(address)
    model = library.get_class(wanted.class_name)
    editor.check_generator(model.generator_digest)
    return model, wanted.name, wanted.version


def _read_pair(request: LearnRequest, model: ClassModel) -> _Pair:
    pixels = read_image(request.image)

    def read(path: Path) -> Mask:
        mask = read_mask(path)
        check_size(mask, pixels.shape[0], pixels.shape[1], of=f"mask {path}")
        check_labels(mask, model.labels, of=f"mask {path}")
        return mask

    before = request.mask_before
    return _Pair(pixels, read(request.mask_after), None if before is None else read(before))


def _roi_labels(request: LearnRequest, pair: _Pair, model: ClassModel) -> list[str]:
    """The parts that the request names, or those that the masks show to be repainted."""
    if request.roi_labels:
        return [model.label(name).name for name in dict.fromkeys(request.roi_labels)]
    if pair.mask_before is None:
        raise SettingsError(
            "roi: give --roi PART,... or --mask-before, so that the repainted parts can be found"
        )
    labels = repainted_labels(pair.mask_before, pair.mask_after)
    if not labels:
        raise SettingsError("mask after: it equals the mask before, there is nothing to learn")
    return [model.labels[label].name for label in labels]


def _tensor(mask: Mask, resolution: int, editor: Editor) -> torch.Tensor:
    """The mask as the generator sees the picture: the middle square, [1, H, W]."""
    top, left, bottom, right = crop_box(*mask.shape)
    resized = resize_mask(mask[top:bottom, left:right], resolution)
    return torch.as_tensor(resized, device=editor.device).long()[None]


def _stage(name: str, on_progress: OnProgress | None) -> OnStep | None:
    """Turns the steps of a descent into progress of a named stage."""
    if on_progress is None:
        return None
    return lambda step: on_progress(name, step.step, step.num_steps)


# Measuring and storing.


def _measure_edit(
    editor: Editor, learned: EditResult, roi_labels: Sequence[str]
) -> list[NewMetric]:
    """Success against the given mask, and leakage against the reconstruction, at scale 1."""
    before = editor.synthesize_with_mask(learned.ws)
    after = editor.synthesize_with_mask(learned.edited_ws.detach())
    indices = editor.bundle.label_indices(roi_labels)
    unedited, edited = (
        float(success(made.mask, learned.mask_target, learned.roi, roi_labels=indices)[0])
        for made in (before, after)
    )
    leaked = leakage(after.images, before.images, learned.roi, perceptual=editor.perceptual)
    metrics = [
        _metric("success_iou", edited, Direction.HIGHER),
        _metric("success_iou_unedited", unedited, Direction.NONE),
        _metric("leakage_psnr", float(leaked.psnr[0]), Direction.HIGHER),
    ]
    if leaked.perceptual is not None:
        distance = float(leaked.perceptual[0])
        metrics.append(
            _metric("leakage_perceptual", distance, Direction.LOWER, leaked.perceptual_name)
        )
    return metrics


def _measure_embedding(embedded: EmbedResult) -> list[NewMetric]:
    """How well the photograph itself was reconstructed, which is another number."""
    metrics = [_metric("reconstruction_psnr", float(embedded.psnr[0]), Direction.HIGHER)]
    if embedded.perceptual is not None:
        distance = float(embedded.perceptual[0])
        metrics.append(
            _metric(
                "reconstruction_perceptual", distance, Direction.LOWER, embedded.perceptual_name
            )
        )
    return metrics


def _metric(
    name: str, value: float, direction: Direction, backbone: str | None = None
) -> NewMetric:
    """One image's value; a PSNR of equal images is cut to a number that JSON can hold."""
    return NewMetric(
        name=name,
        value=min(value, _MAX_PSNR),
        direction=direction,
        backbone=backbone,
        sample_count=1,
        probe_set=_PROBE,
        settings={"scale": 1.0},
    )


def _dilation(settings: LearnSettings, resolution: int) -> int:
    return default_dilation(resolution) if settings.dilation is None else settings.dilation


def _record(settings: LearnSettings, editor: Editor) -> dict[str, Any]:
    """What it takes to learn the vector again."""
    edit = settings.edit_settings
    return {
        "preset": settings.preset,
        "num_steps": edit.num_steps,
        "learning_rate": edit.learning_rate,
        "weights": asdict(edit.weights),
        "reference": edit.reference,
        "embed": settings.embed,
        "space": settings.embed_settings.space,
        "perceptual": None if editor.perceptual is None else editor.perceptual.name,
        "bundle_digest": editor.bundle.bundle_digest,
        "engine_version": engine_version(),
    }


def _stored_pair(pair: _Pair, learned: EditResult, model: ClassModel) -> NewMaskPair:
    """The mask pair at the picture's own size; a segmented mask before is enlarged to it."""
    before = pair.mask_before
    if before is None:
        # beyond the middle square nothing was segmented, and nothing was edited
        top, left, bottom, right = crop_box(*pair.mask_after.shape)
        before = pair.mask_after.copy()
        segmented = learned.mask_before[0].cpu().numpy()
        before[top:bottom, left:right] = resize_mask(segmented, bottom - top)
    stream = io.BytesIO()
    Image.fromarray(pair.pixels).save(stream, "PNG")
    return NewMaskPair(
        image_png=stream.getvalue(),
        mask_before_png=encode_mask(before, model.labels),
        mask_after_png=encode_mask(pair.mask_after, model.labels),
        source_ws=learned.ws[0].detach().cpu().numpy(),
    )
