"""Train the encoder of a class, and store it in a version that keeps all the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from editvec.batch.classes.importing import shipped_perceptual
from editvec.batch.classes.storing import store_networks, training_folder
from editvec.batch.errors import SettingsError
from editvec.batch.quality.likeness import Unlike
from editvec.batch.quality.photographs import Photographs, load_photographs
from editvec.batch.quality.reconstruction import Embedded
from editvec.batch.training.encoder_course import (
    JOINT_FOLDER,
    MIN_PHOTOGRAPHS,
    WARMUP_FOLDER,
    School,
    Watcher,
)
from editvec.engine.bundle.bundle import NetworkState, load_bundle
from editvec.engine.devices import require_device
from editvec.engine.images.images import Fit
from editvec.engine.networks.config import EncoderConfig
from editvec.engine.networks.encoder import Encoder
from editvec.engine.networks.perceptual import PublishedTrunk
from editvec.engine.training.loop import read_log

if TYPE_CHECKING:
    from editvec.registry.config import RegistryConfig
    from editvec.registry.entities.vectors import ClassModel
    from editvec.registry.library.library import Library


@dataclass(frozen=True, kw_only=True)
class EncoderRequest:
    """What to train.

    Attributes:
        class_address: The class; its latest version that has the same generator gets a successor.
        photographs: Folder of photographs, also in its sub-folders; None for samples alone.
        fit: How photographs are brought to the square.
        warmup_steps: Batches of samples alone.
        joint_steps: Batches of as many photographs as samples, after that.
        batch_size: Images of a step.
        iterations: Passes of the encoder over an image.
        width: Channels of its first stage.
        training: Settings of both: `EncoderTraining`, all but the steps; `ws_steps` of the warm-up.
        keep_unlike: Train on photographs that do not look like the class, too.
        goes_on: Begin with the encoder that the class has.
        trunk: Published trunk of the perceptual distance; None takes the class's own.
        trunk_weights: File with its weights; None takes the usual cache, or downloads them.
        held_out: Samples, and at most so many photographs, that validations are made on.
        compared: Images of the table that compares ways to embed; 0 leaves it out.
        compared_steps: Steps of inversion in that table.
        seed: Of everything.
        save_seconds: Least time between two states on disk.
    """

    class_address: str
    photographs: Path | None = None
    fit: Fit = "crop"
    warmup_steps: int = 20_000
    joint_steps: int = 10_000
    batch_size: int = 16
    iterations: int = 1
    width: int = 32
    training: Mapping[str, Any] = field(default_factory=dict)
    keep_unlike: bool = False
    goes_on: bool = False
    trunk: PublishedTrunk | None = None
    trunk_weights: Path | None = None
    held_out: int = 64
    compared: int = 8
    compared_steps: int = 50
    seed: int = 0
    save_seconds: float = 60.0

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            SettingsError: One is out of its range.
        """
        for name in ("warmup_steps", "batch_size", "held_out", "iterations", "width"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.photographs is not None and (self.joint_steps < 1 or self.batch_size < 2):
            raise SettingsError(
                "joint_steps, batch_size: expected at least 1 and 2, because photographs and "
                f"samples share a batch, got {self.joint_steps}, {self.batch_size}"
            )


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
    """

    model: ClassModel
    folder: Path
    config: EncoderConfig
    photographs: int
    skipped: list[tuple[str, str]]
    unlike: list[Unlike]
    measured: dict[str, Any]
    perceptual_name: str
    comparison: list[Embedded]
    compared_on: str


def train_encoder(
    library: Library,
    config: RegistryConfig,
    request: EncoderRequest,
    *,
    work: Path | None = None,
    device: str,
    watcher: Watcher | None = None,
) -> TrainedEncoder:
    """Train, going on where an earlier call was killed, and store the encoder in a new version.

    Args:
        library: Where the class is.
        config: Where the library is.
        request: What to train.
        work: Folder of the training; None takes one in the home folder.
        device: Where, as torch names it.
        watcher: Who is told.

    Raises:
        BatchError: The photographs are too few, cannot be read, or are not of the class.
        EngineError: The training was begun with other settings, does not fit the memory, or
            diverged; or the perceptual network cannot be had.
        RegistryError: There is no such class, or the library cannot take the result.
    """
    watcher = watcher or Watcher()
    require_device(device)
    model = library.get_class(request.class_address)
    folder = training_folder(config, model.name, "encoder", work)
    photographs = None
    if request.photographs is not None:
        photographs = _photographs(request, folder, model, watcher)
    loaded = load_bundle(library.materialise_bundle(model), device=device)
    school = School(loaded, request, folder, device=device, watcher=watcher)
    encoder = school.warm_up()
    kept, unlike = None, list[Unlike]()
    if photographs is not None:
        kept, unlike = school.choose(photographs, encoder)
        encoder = school.join(photographs, kept, encoder)
    measured = school.measure(encoder)
    comparison = school.compare(encoder)
    stored = _store(library, folder, model, school, encoder, photographs, kept, unlike, measured)
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
    school: School,
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
