"""Train the segmentation branch of a class on annotated images, and store it as a new version."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from editvec.batch.classes.storing import (
    Rectangle,
    scheme_rectangle,
    store_networks,
    training_folder,
)
from editvec.batch.errors import PlanError, SettingsError
from editvec.batch.quality.annotated_embeddings import MeasuredLatents, embed_pairs
from editvec.batch.quality.likeness import find_unlike
from editvec.batch.quality.pairs import MIN_PAIRS, SENSIBLE_PAIRS, Pairs, chosen_pairs, read_pairs
from editvec.batch.quality.segmentation import SegmentationQuality, judge
from editvec.batch.quality.segmentation_sheet import draw_predictions
from editvec.batch.training.divergence import Dial, refusal
from editvec.batch.training.requests import SegmentationRequest
from editvec.batch.training.segmentation_features import features_of
from editvec.batch.workbench import default_device
from editvec.engine.bundle.bundle import NetworkState
from editvec.engine.bundle.description import Bundle
from editvec.engine.editor import Editor
from editvec.engine.errors import DivergedError
from editvec.engine.images.images import Pixels
from editvec.engine.networks.config import GeneratorConfig, SegmentationConfig
from editvec.engine.training.checkpoints import load_checkpoint
from editvec.engine.training.loop import (
    LOG_FILE,
    STATE_FILE,
    OnProgress,
    hold_folder,
    memory_errors,
    run_training,
)
from editvec.engine.training.segmentation import FEW_STEPS, SegmentationTrainee
from editvec.engine.training.settings import SegmentationTraining
from editvec.registry.labels.label import IGNORED
from editvec.registry.masks.png import check_counted
from editvec.whole_files import write_whole

if TYPE_CHECKING:
    from editvec.registry.entities.classes import ClassModel
    from editvec.registry.labels.scheme import LabelScheme
    from editvec.registry.library.library import Library

PREDICTIONS_FILE = "predictions.png"

_MANY_LABELS = 32


class TrainedSegmentation(NamedTuple):
    """What came of it.

    Attributes:
        model: The class version that was stored.
        folder: Of the training: state, log, picture.
        picture: The annotations beside what was predicted of images left out; None without folds.
        quality: Of each part and each image.
        unlike: Names of images that the generator does not reconstruct as it does the others.
        trained_on: Number of images.
    """

    model: ClassModel
    folder: Path
    picture: Path | None
    quality: SegmentationQuality
    unlike: list[str]
    trained_on: int


def train_segmentation(
    library: Library,
    request: SegmentationRequest,
    *,
    work: Path | None = None,
    device: str | None = None,
    on_note: Callable[[str], None] | None = None,
    on_embed: Callable[[int, int], None] | None = None,
    on_progress: OnProgress | None = None,
) -> TrainedSegmentation:
    """Embed, train, cross-validate, and store; goes on where an earlier call was killed.

    The generator stays what it is, and with it every vector.

    Args:
        library: Where the class is.
        request: What to train.
        work: Folder of the training; None takes one in the home folder.
        device: Where, as torch names it; None takes a CUDA device if there is one.
        on_note: Told, in a sentence each, what is noticed about the images.
        on_embed: Called with the images embedded and those of all.
        on_progress: Called after every step.

    Raises:
        BatchError: The images are too few, or a setting is out of range.
        EngineError: An image cannot be read, the training was begun with other settings, or does
            not fit the memory, or diverged: nothing is stored then.
        RegistryError: There is no such class, a mask does not fit, or the library cannot take the
            result.
    """
    note, device = on_note or (lambda _: None), device or default_device()
    training = SegmentationTraining(**request.training)
    model = library.get_class(request.class_name)
    scheme = _scheme(library, request, model)
    pairs = read_pairs(
        request.pairs,
        scheme,
        resolution=model.resolution,
        fit=request.fit,
        masks=request.masks,
        form=request.form,
        skips_other_shapes=request.skips_other_shapes,
    )
    folder = training_folder(library.config, model.name, "segmentation", work)
    folder.mkdir(parents=True, exist_ok=True)
    bundle_folder = library.materialise_bundle(model)
    advice = _memory_advice(request, training, device)
    with hold_folder(folder), memory_errors(advice):
        editor = Editor.open(bundle_folder, device)
        embedded = embed_pairs(editor, pairs, request.embed, folder, on_embed=on_embed)
    _tell(pairs, scheme, note)
    unlike = find_unlike(embedded.errors)
    rows = _kept(pairs, embedded, unlike, request, note)
    ready = _Ready(
        pairs=chosen_pairs(pairs, rows),
        ws=embedded.ws[rows],
        network=_network(editor.bundle.generator_config, scheme, request),
        training=training,
        folds=min(request.folds, len(rows)),
        rectangle=_checked_rectangle(editor.bundle, request.scheme, chosen_pairs(pairs, rows)),
        generator_digest=model.generator_digest,
    )
    try:
        trainee, seen = _train(
            ready, request, editor, folder, advice=advice, on_progress=on_progress
        )
    except DivergedError as exc:
        raise refusal(f"segmentation of {model.name}", str(exc), _dials(training)) from exc
    quality = judge(
        ready.pairs,
        scheme.label_names,
        trainee,
        embedded=embedded,
        rows=rows,
        rectangle=ready.rectangle,
    )
    picture = None
    if ready.folds:
        picture = folder / PREDICTIONS_FILE
        title = f"class {model.name}"
        drawn = draw_predictions(
            ready.pairs, seen, trainee.held_out, quality, scheme.labels, title=title
        )
        write_whole(picture, drawn)
    stored = _store(library, folder, model, request, ready, trainee, quality)
    if "segmentation" in editor.bundle.networks and stored.version > model.version:
        note(f"the segmentation branch of {model.address} is replaced; all else stays")
    names = [pairs.names[row] for row in unlike]
    return TrainedSegmentation(stored, folder, picture, quality, names, len(rows))


@dataclass(frozen=True, kw_only=True)
class _Ready:
    """Everything that a training needs, checked."""

    pairs: Pairs
    ws: Tensor  # [N, num_ws, w_dim]
    network: SegmentationConfig
    training: SegmentationTraining
    folds: int
    rectangle: Rectangle
    generator_digest: str

    def settings(self, request: SegmentationRequest) -> dict[str, Any]:
        """What may not change under the training."""
        return {
            "generator": self.generator_digest,
            "pairs": self.pairs.digest,
            "embed": str(request.embed),
            "space": request.embed.space.value,
            "seed": request.seed,
            "folds": self.folds,
            "valid_rectangle": list(self.rectangle),
            **self.network.to_json(),
            **self.training.to_json(),
        }


def _train(
    ready: _Ready,
    request: SegmentationRequest,
    editor: Editor,
    folder: Path,
    *,
    advice: str,
    on_progress: OnProgress | None,
) -> tuple[SegmentationTrainee, Pixels]:
    """The trainee after its last step, and the images that the generator makes."""
    settings = ready.settings(request)
    with memory_errors(advice):
        _forget_finished(folder, settings, (ready.folds + 1) * ready.training.num_steps)
        features, seen = features_of(editor.generator, ready.ws, folder, str(editor.device))
        trainee = SegmentationTrainee(
            features,
            torch.from_numpy(ready.pairs.masks.astype(np.int16)),
            ready.network,
            settings=ready.training,
            seed=request.seed,
            num_folds=ready.folds,
            valid=_valid(ready.rectangle, editor.bundle.resolution),
        )
    run_training(
        trainee,
        folder,
        num_steps=trainee.total_steps,
        settings=settings,
        memory_advice=advice,
        save_seconds=request.save_seconds,
        on_progress=on_progress,
    )
    return trainee, seen


# --- what is trained on ---


def _scheme(library: Library, request: SegmentationRequest, model: ClassModel) -> LabelScheme:
    """The scheme that was given, or the class's own."""
    from editvec.registry.library.contents import scheme_of_class

    scheme = request.scheme or scheme_of_class(library, model)
    if len(scheme.labels) < 2:
        raise SettingsError(
            f"scheme: expected at least two parts, class {model.address} has one only "
            f"({scheme.labels[0].name}); --scheme names others"
        )
    return scheme


def _tell(pairs: Pairs, scheme: LabelScheme, note: Callable[[str], None]) -> None:
    """What somebody who annotates should know."""
    for name, other in pairs.same:
        note(f"left out {name}: the same picture as {other}")
    present = set(np.unique(pairs.masks).tolist())
    absent = [label.name for label in scheme.labels if label.index not in present]
    if absent:
        note(f"no image shows {', '.join(absent)}: the branch will never find them")
    if ignored := int((pairs.masks == IGNORED).sum()):
        note(f"{ignored / pairs.masks.size:.1%} of the annotated pixels are ignored")
    if len(pairs.names) < SENSIBLE_PAIRS:
        note(
            f"{len(pairs.names)} annotated images are few: {SENSIBLE_PAIRS} to "
            f"{2 * SENSIBLE_PAIRS} are sensible"
        )


def _kept(
    pairs: Pairs,
    embedded: MeasuredLatents,
    unlike: list[int],
    request: SegmentationRequest,
    note: Callable[[str], None],
) -> list[int]:
    """Rows of the images to train on."""
    note(
        f"{len(pairs.names)} annotated images, reconstructed at "
        f"{np.median(embedded.psnr):.1f} dB (median; {embedded.psnr.min():.1f} at worst)"
    )
    for row in unlike:
        done = "trained on all the same" if request.keep_unlike else "left out"
        note(
            f"{pairs.names[row]}: {embedded.psnr[row]:.1f} dB, far from the others: it does not "
            f"look like the class; {done}"
        )
    gone = set() if request.keep_unlike else set(unlike)
    kept = [row for row in range(len(pairs.names)) if row not in gone]
    if len(kept) < MIN_PAIRS:
        raise PlanError(
            f"PAIRS: expected at least {MIN_PAIRS} images of the class, {len(kept)} of "
            f"{len(pairs.names)} look like it"
        )
    return kept


def _network(
    generator: GeneratorConfig, scheme: LabelScheme, request: SegmentationRequest
) -> SegmentationConfig:
    """The published sizes."""
    many = len(scheme.labels) >= _MANY_LABELS
    return SegmentationConfig(
        num_labels=len(scheme.labels),
        feature_channels=generator.feature_channels,
        members=request.members,
        hidden=(256, 128) if many else (128, 32),
    )


def _rectangle(bundle: Bundle, scheme: LabelScheme | None) -> Rectangle:
    """Pixels that count: the scheme's, else the class's."""
    return scheme_rectangle(scheme, bundle.resolution) or bundle.valid_rectangle


def _checked_rectangle(bundle: Bundle, scheme: LabelScheme | None, pairs: Pairs) -> Rectangle:
    """The same; every mask says something inside it."""
    found = top, left, bottom, right = _rectangle(bundle, scheme)
    for name, mask in zip(pairs.names, pairs.masks, strict=True):
        check_counted(mask[top:bottom, left:right], of=f"mask of {name}, pixels that count")
    return found


def _valid(rectangle: Rectangle, resolution: int) -> Tensor:
    top, left, bottom, right = rectangle
    valid = torch.zeros(resolution, resolution, dtype=torch.bool)
    valid[top:bottom, left:right] = True
    return valid


def _forget_finished(folder: Path, settings: Mapping[str, Any], num_steps: int) -> None:
    """Make room for a training on other images: one that has ended is in the library."""
    begun = load_checkpoint(folder / STATE_FILE)
    if begun is None or dict(begun.settings) == dict(settings):
        return
    was = begun.settings
    if begun.step >= (was.get("folds", 0) + 1) * was.get("num_steps", num_steps):
        for name in (STATE_FILE, LOG_FILE):
            (folder / name).unlink(missing_ok=True)


def _memory_advice(
    request: SegmentationRequest, training: SegmentationTraining, device: str
) -> str:
    advice = f"lower --members ({request.members} now) or --pixels ({training.batch_size})"
    return advice if device == "cpu" else f"{advice}, or choose --device cpu"


def _dials(training: SegmentationTraining) -> list[Dial]:
    """Settings that may be the reason where a training diverges."""
    usual = SegmentationTraining()
    return [
        Dial("--learning-rate", training.learning_rate, usual.learning_rate, "lower"),
        Dial("--pixels", training.batch_size, usual.batch_size, "raise"),
        Dial("--steps", training.num_steps, FEW_STEPS, "raise"),
    ]


# --- what comes of it ---


def _halved(members: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The members with their linear weights in float16, which halves the file."""
    return {name: tensor.half() if tensor.ndim == 2 else tensor for name, tensor in members.items()}


def _store(
    library: Library,
    folder: Path,
    model: ClassModel,
    request: SegmentationRequest,
    ready: _Ready,
    trainee: SegmentationTrainee,
    quality: SegmentationQuality,
) -> ClassModel:
    """The class as it is now, with this branch and its labels."""
    made = {
        "by": "editvec train segmentation",
        "images": len(ready.pairs.names),
        "settings": ready.settings(request),
        "measured": quality.to_json(),
    }
    members = NetworkState(ready.network, _halved(trainee.members.member_state()))
    return store_networks(
        library,
        folder,
        model,
        networks={"segmentation": members},
        built={"segmentation": made},
        scheme=request.scheme,
        valid_rectangle=ready.rectangle,
    )
