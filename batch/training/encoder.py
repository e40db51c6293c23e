"""Train the encoder of a class, and store it in a version that keeps all the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from editvec.batch.classes.importing import shipped_perceptual
from editvec.batch.classes.storing import store_networks, training_folder
from editvec.batch.errors import SettingsError
from editvec.batch.quality.likeness import Unlike
from editvec.batch.quality.photographs import Photographs, load_photographs
from editvec.batch.quality.reconstruction import WayToEmbed
from editvec.batch.training.encoder_course import (
    JOINT_FOLDER,
    MIN_PHOTOGRAPHS,
    WARMUP_FOLDER,
    EncoderCourse,
)
from editvec.batch.training.requests import EncoderRequest, Watcher
from editvec.batch.workbench import default_device
from editvec.engine.bundle.bundle import NetworkState, load_bundle
from editvec.engine.devices import require_device
from editvec.engine.networks.config import EncoderConfig
from editvec.engine.networks.encoder import Encoder
from editvec.engine.training.loop import read_log

if TYPE_CHECKING:
    from editvec.registry.entities.classes import ClassModel
    from editvec.registry.library.library import Library


class TrainedEncoder(NamedTuple):
    """What came of it.

    Attributes:
        model: The class version that was stored.
        folder: Of the training.
        config: Of the encoder.
        photographs: How many it was trained on.
        skipped: Files that could not be used, with the reason.
        unlike: Photographs that do not look like the class; left out unless they were kept.
        measured: The best validation: metrics by name.
        perceptual_name: What the perceptual values were measured with.
        comparison: Ways to embed the same images.
        compared_on: "photographs" or "samples", none of which was trained on.
        notes: What a user should know of the trainings, in sentences.
    """

    model: ClassModel
    folder: Path
    config: EncoderConfig
    photographs: int
    skipped: list[tuple[str, str]]
    unlike: list[Unlike]
    measured: dict[str, Any]
    perceptual_name: str
    comparison: list[WayToEmbed]
    compared_on: str
    notes: list[str]


def train_encoder(
    library: Library,
    request: EncoderRequest,
    *,
    work: Path | None = None,
    device: str | None = None,
    watcher: Watcher | None = None,
) -> TrainedEncoder:
    """Train, going on where an earlier call was killed, and store the encoder in a new version.

    Args:
        library: Where the class is.
        request: What to train.
        work: Folder of the training; None takes one in the home folder.
        device: Where, as torch names it; None takes a CUDA device if there is one.
        watcher: Who is told.

    Raises:
        BatchError: The photographs are too few, cannot be read, or are not of the class.
        EngineError: The training was begun with other settings, does not fit the memory, or
            ends no better than it began, because it diverged or for another reason: nothing is
            stored then; or the perceptual network cannot be had.
        RegistryError: There is no such class, or the library cannot take the result.
    """
    watcher = watcher or Watcher()
    device = device or default_device()
    require_device(device)
    model = library.get_class(request.class_address)
    folder = training_folder(library.config, model.name, "encoder", work)
    photographs = None
    if request.photographs is not None:
        photographs = _photographs(request, folder, model, watcher)
    loaded = load_bundle(library.materialise_bundle(model), device=device)
    school = EncoderCourse(loaded, request, folder, device=device, watcher=watcher)
    encoder = school.warm_up()
    kept, unlike = None, list[Unlike]()
    if photographs is not None:
        kept, unlike = school.choose(photographs, encoder)
        encoder = school.join(photographs, kept, encoder)
    school.require_better()
    measured = school.measure(encoder)
    comparison = school.compare(encoder)
    stored = _store(library, folder, model, school, encoder, photographs, kept, unlike, measured)
    if loaded.encoder is not None and stored.version > model.version:
        school.notes.append(f"the encoder of {model.address} is replaced; all else stays")
    return TrainedEncoder(
        stored,
        folder,
        encoder.config,
        0 if kept is None else len(kept),
        [] if photographs is None else photographs.skipped,
        unlike,
        measured,
        school.perceptual.name,
        comparison,
        school.held_out_name,
        school.notes,
    )


def read_curve(folder: Path) -> list[dict[str, Any]]:
    """The validations of a training so far, in order, each with its `phase`."""
    return [
        {"phase": phase, **entry}
        for phase in (WARMUP_FOLDER, JOINT_FOLDER)
        for entry in read_log(folder / phase)
        if "validation" in entry
    ]


# ----------------------------------------------------------------------------------------------


def _photographs(
    request: EncoderRequest, folder: Path, model: ClassModel, watcher: Watcher
) -> Photographs:
    """Read before anything is trained: what is wrong with them is told at once."""
    assert request.photographs is not None
    photographs = load_photographs(
        request.photographs,
        folder,
        resolution=model.resolution,
        fit=request.fit,
        on_read=watcher.on_read,
    )
    if watcher.on_photographs is not None:
        watcher.on_photographs(photographs)
    if len(photographs.names) < MIN_PHOTOGRAPHS:
        raise SettingsError(
            f"photographs: expected at least {MIN_PHOTOGRAPHS} that can be read, "
            f"{request.photographs} holds {len(photographs.names)}"
        )
    return photographs


def _store(
    library: Library,
    folder: Path,
    model: ClassModel,
    school: EncoderCourse,
    encoder: Encoder,
    photographs: Photographs | None,
    kept: Sequence[int] | None,
    unlike: Sequence[Unlike],
    measured: Mapping[str, Any],
) -> ClassModel:
    """The encoder in a version of the class."""
    built: dict[str, Any] = {
        "by": "editvec train encoder",
        "measured": {"network": school.perceptual.name, **measured},
    }
    if photographs is not None and kept is not None:
        built["photographs"] = {"count": len(kept), "digest": photographs.digest}
        built["unlike"] = len(unlike)
    networks = {"encoder": NetworkState(encoder.config, encoder.state_dict())}
    if school.is_lent:
        networks |= shipped_perceptual()
    return store_networks(
        library,
        folder,
        model,
        networks=networks,
        built={"encoder": built},
    )
