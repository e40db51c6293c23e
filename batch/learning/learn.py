"""Learn an editing vector from one edited part mask, measure it, and store it."""

from __future__ import annotations

import functools
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from PIL import Image

from editvec.batch.errors import SettingsError
from editvec.batch.learning.lesson import (
    AskedPair,
    Mask,
    check_asked,
    check_success,
    check_taught,
    pair_of_prediction,
    read_pair,
    roi_of,
)
from editvec.batch.learning.request import LearnRequest, LearnSettings
from editvec.batch.runs.requirements import require_segmentation
from editvec.cuda_ext.dispatch import kernel_version
from editvec.engine.editing.descent import OnStep
from editvec.engine.editing.editing import EditResult, EditSettings
from editvec.engine.images.images import crop_box, fit_pixels, read_image, resize_mask, to_images
from editvec.engine.images.roi import default_dilation
from editvec.engine.metrics.edits import leakage, success
from editvec.engine.networks.perceptual import PerceptualDistance, load_lpips
from editvec.engine.networks.trunks import PUBLISHED_TRUNKS, PublishedTrunk
from editvec.registry.addresses import parse_new_address
from editvec.registry.entities.classes import ClassModel
from editvec.registry.entities.metrics import Direction, NewMetric
from editvec.registry.entities.vectors import EditingVector, NewMaskPair, NewVector, VectorParcel
from editvec.registry.labels.scheme import LabelScheme
from editvec.registry.library.contents import scheme_of_class
from editvec.registry.masks.png import check_counted, encode_mask
from editvec.registry.release import engine_version

if TYPE_CHECKING:
    from editvec.engine.editing.inversion import EmbedResult
    from editvec.engine.editor import Editor, Segmented
    from editvec.registry.library.library import Library

OnProgress = Callable[[str, int, int], None]
"""Called with the stage ("embed" or "learn"), the steps made and the steps to be made."""

JOB_KEY = "job_key"
"""In a vector's settings: digest of the job that it was learned from, files included."""

_PROBE = "the mask pair that it was learned from"
# Equal images have an infinite PSNR, which neither JSON nor every database holds.
_MAX_PSNR = 200.0


class Learned(NamedTuple):
    """A learned vector that is not stored yet.

    Attributes:
        parcel: All that is to be stored of it.
        reason: For the history.
        metrics: Its metrics by name.
        num_steps: Steps of learning.
        seconds: Time that learning took, embedding apart.
        embed_seconds: Time that embedding took.
        device: Where.
    """

    parcel: VectorParcel
    reason: str
    metrics: dict[str, NewMetric]
    num_steps: int
    seconds: float
    embed_seconds: float
    device: str


class LearnedVector(NamedTuple):
    """A vector as it is stored, and how it was learned."""

    vector: EditingVector
    learned: Learned


def learn_vector(
    library: Library,
    editor: Editor,
    request: LearnRequest,
    *,
    on_progress: OnProgress | None = None,
) -> LearnedVector:
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
        WeightsUnavailableError: The published trunk that is asked for cannot be had.
    """
    model = library.get_class(parse_new_address(request.address).class_name)
    require_segmentation(library, model)
    scheme = scheme_of_class(library, model)
    learned = learn(editor, model, request, scheme=scheme, on_progress=on_progress)
    stored = library.add_vectors([learned.parcel], reason=learned.reason)[0]
    return LearnedVector(stored.vector, learned)


def learn(
    editor: Editor,
    model: ClassModel,
    request: LearnRequest,
    *,
    scheme: LabelScheme | None = None,
    job_key: str | None = None,
    on_progress: OnProgress | None = None,
) -> Learned:
    """Embed the picture, learn the edit and measure it; stores nothing.

    Args:
        editor: Holds the networks of the class.
        model: The class model that the vector is for.
        request: What to learn.
        scheme: How mask files spell the parts, see `scheme_of_class`; None knows the parts' own
            values, colours and names only.
        job_key: Goes into the vector's settings, to find it by.
        on_progress: Told how far it is.

    Raises:
        RegistryError: The address, the generator, a part name or a mask is wrong.
        EngineError: The picture cannot be read, or the masks have no pixel of the ROI.
        SettingsError: The parts to edit are neither given nor to be found, or there is nothing to
            learn: no change is asked for, or the class does not see the part; or the edit reaches
            nothing of the mask, and the request does not accept that; or the class has nothing
            to compare images by, and no published trunk is asked for.
        WeightsUnavailableError: The published trunk that is asked for cannot be had.
    """
    wanted = parse_new_address(request.address)
    editor.check_generator(model.generator_digest)
    editor = _comparing(editor, request.settings)
    edit_settings = request.settings.edit_settings(has_encoder=editor.encoder is not None)
    pixels = read_image(request.image)
    scheme = scheme or model.scheme
    pair = read_pair(request, scheme, pixels)
    roi_labels: list[str] = []
    if pair is not None:
        roi_labels = roi_of(request, pair, model)
        check_asked(pair, model, roi_labels)
    resolution = editor.bundle.resolution
    images = to_images([fit_pixels(pixels, resolution, fit="crop")]).to(editor.device)

    began = time.monotonic()
    embedded = editor.embed(
        images, request.settings.embed_settings, on_step=_stage("embed", on_progress)
    )
    embed_seconds = time.monotonic() - began
    if pair is None:
        predicted = editor.synthesize_with_mask(embedded.ws).mask[0].cpu().numpy()
        pair = pair_of_prediction(request, model, scheme, pixels, predicted)
        roi_labels = roi_of(request, pair, model)
    learned = editor.learn(
        images,
        _tensor(pair.mask_after, resolution, editor, of="mask after"),
        roi_labels=roi_labels,
        mask_before=None
        if pair.mask_before is None
        else _tensor(pair.mask_before, resolution, editor, of="mask before"),
        ws=embedded.ws,
        settings=edit_settings,
        on_step=_stage("learn", on_progress),
    )
    before = editor.synthesize_with_mask(learned.ws)
    check_taught(learned, before.mask[0].cpu().numpy(), request, model, roi_labels)
    metrics = [*_measure_edit(editor, learned, before, roi_labels), *_measure_embedding(embedded)]
    value = {metric.name: metric.value for metric in metrics}
    check_success(value["success_iou"], value["success_iou_unedited"], request, roi_labels)
    job = {} if job_key is None else {JOB_KEY: job_key}
    new = NewVector(
        class_name=model.address,
        name=wanted.name,
        version=wanted.version,
        generator_digest=editor.bundle.generator_digest,
        roi_labels=tuple(roi_labels),
        dilation=_dilation(request.settings, resolution),
        settings=_record(request, editor, edit_settings) | job,
        engine_version=engine_version(),
        kernel_version=kernel_version(editor.device),
        license=request.license,
        description=request.description,
        tags=request.tags,
    )
    return Learned(
        parcel=VectorParcel(
            new=new,
            delta=learned.deltas[0].detach().cpu().numpy(),
            pairs=(_stored_pair(pair, learned, model),),
            metrics=tuple(metrics),
        ),
        reason=_reason(request),
        metrics={metric.name: metric for metric in metrics},
        num_steps=learned.num_steps,
        seconds=learned.seconds,
        embed_seconds=embed_seconds,
        device=str(editor.device),
    )


# Reading.


def _comparing(editor: Editor, settings: LearnSettings) -> Editor:
    """The editor, with the published trunk that is asked for."""
    if settings.trunk is not None:
        return editor.measured_by(_published(settings.trunk, str(editor.device)))
    if editor.perceptual is None and settings.edit_settings().weights.perceptual_weight:
        raise SettingsError(
            f"perceptual: class {editor.bundle.class_name} has no perceptual network to compare "
            f"images by; --trunk {PUBLISHED_TRUNKS[0]} takes the published one"
        )
    return editor


@functools.lru_cache(maxsize=1)
def _published(trunk: PublishedTrunk, device: str) -> PerceptualDistance:
    """LPIPS on a device, loaded once for all lessons of a run."""
    return load_lpips(trunk).to(device)


def _tensor(mask: Mask, resolution: int, editor: Editor, *, of: str) -> torch.Tensor:
    """The mask as the generator sees the picture: the middle square, [1, H, W]."""
    top, left, bottom, right = crop_box(*mask.shape)
    resized = resize_mask(mask[top:bottom, left:right], resolution)
    check_counted(resized, of=f"{of}, middle square")
    return torch.as_tensor(resized, device=editor.device).long()[None]


def _stage(name: str, on_progress: OnProgress | None) -> OnStep | None:
    """Turns the steps of a descent into progress of a named stage."""
    if on_progress is None:
        return None
    return lambda step: on_progress(name, step.step, step.num_steps)


# Measuring and storing.


def _measure_edit(
    editor: Editor, learned: EditResult, before: Segmented, roi_labels: Sequence[str]
) -> list[NewMetric]:
    """Success against the given mask, and leakage against the reconstruction, at scale 1."""
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


def _reason(request: LearnRequest) -> str:
    asked = f": {request.operation}" if request.operation else ""
    return f"learned from {request.image.name}{asked}"


def _record(request: LearnRequest, editor: Editor, edit: EditSettings) -> dict[str, Any]:
    """What it takes to learn the vector again."""
    settings = request.settings
    asked = {"operation": request.operation} if request.operation else {}
    return asked | {
        "preset": settings.preset,
        "num_steps": edit.num_steps,
        "learning_rate": edit.learning_rate,
        "weights": asdict(edit.weights),
        "reference": edit.reference,
        "embed": settings.embed,
        "space": settings.embed_settings.space,
        "perceptual": None if editor.perceptual is None else editor.perceptual.name,
        "bundle_digest": editor.bundle.bundle_digest,
    }


def _stored_pair(pair: AskedPair, learned: EditResult, model: ClassModel) -> NewMaskPair:
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
