"""What a training is told: defaults and ranges, for functions and commands alike. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from editvec.batch.errors import SettingsError
from editvec.batch.recipes.settings import EmbeddingMethod
from editvec.engine.networks.config import ENCODER_WIDTH, EncoderConfig, SegmentationConfig
from editvec.engine.shapes import MAX_RESOLUTION, MIN_RESOLUTION
from editvec.settings import check_settings, same_setting, setting

if TYPE_CHECKING:
    from editvec.batch.quality.likeness import Unlike
    from editvec.batch.quality.photographs import Photographs
    from editvec.engine.images.images import Fit
    from editvec.engine.networks.perceptual import PublishedTrunk
    from editvec.engine.training.loop import OnProgress
    from editvec.registry.labels.scheme import LabelScheme

FITS = ("crop", "stretch", "pad")
TRUNKS = ("vgg", "alex", "squeeze")
RESOLUTIONS = tuple(
    1 << power for power in range(MIN_RESOLUTION.bit_length() - 1, MAX_RESOLUTION.bit_length())
)


@dataclass(frozen=True, kw_only=True)
class TrainingRequest:
    """What every training is told.

    Attributes:
        fit: How a picture of another shape becomes a square.
        seed: Of everything.
        save_seconds: Least time between two states on disk.
    """

    fit: Fit = setting(
        "crop", choices=FITS, help="How a picture of another shape becomes a square."
    )
    seed: int = setting(0, least=0, most=2**32 - 1, help="The same seed gives the same result.")
    save_seconds: float = setting(60.0, least=0)

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            SettingsError: One is out of its range.
        """
        check_settings(self, SettingsError)


@dataclass(frozen=True, kw_only=True)
class GeneratorRequest(TrainingRequest):
    """What to train.

    Attributes:
        class_name: The class that gets a new version.
        photographs: Folder of photographs, also in its sub-folders.
        images: Images to train on, counted with repetition.
        resolution: Of the generator; None takes that of `start`.
        start: Class whose generator is trained on, at any of its versions; None begins anew.
        network: Settings of the generator beside the resolution: `GeneratorConfig`.
        training: Settings of the training: `GeneratorTraining`.
        snapshot_images: Images between two measurements with a grid of samples.
        measured: Samples that a measurement compares with as many photographs.
        features: "trunk" (the trunk of the shipped class), "inception", or a class with a trunk.
        fid: Measure FID as well.
        description: Of the class; empty for one that says how it was made.
        license_name: Of the weights; empty keeps that of the class.
    """

    class_name: str
    photographs: Path
    images: int = setting(
        5_000_000,
        least=0,
        help="Thousands of images to train on. May be raised later; a lower number stores what "
        "there is.",
    )
    resolution: int | None = setting(None, kind=int, choices=RESOLUTIONS, help="Pixels of a side.")
    start: str | None = None
    network: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    snapshot_images: int = setting(
        50_000,
        above=0,
        help="Thousands of images between two measurements, each with a grid of samples.",
    )
    measured: int = setting(1000, least=2, help="Samples compared with as many photographs.")
    features: str = setting(
        "trunk",
        help="What KID compares by: the shipped class's trunk, Inception v3 as published (its "
        "weights are downloaded once), or the trunk of a class.",
    )
    fid: bool = setting(default=False, help="Measure FID as well.")
    description: str = setting("", help="Of the class, for people.")
    license_name: str = setting("", help="Of the weights.")


@dataclass(frozen=True, kw_only=True)
class EncoderRequest(TrainingRequest):
    """What to train.

    Attributes:
        class_address: The class; its latest version that has the same generator gets a successor.
        photographs: Folder of photographs, also in its sub-folders; None for samples alone.
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
    """

    class_address: str
    photographs: Path | None = None
    warmup_steps: int = setting(
        20_000, least=1, help="Batches of samples of the generator, before any photograph."
    )
    joint_steps: int = setting(
        10_000, least=1, help="Batches of samples and photographs, after that."
    )
    batch_size: int = setting(16, least=1, most=4096, help="Images of a step.")
    iterations: int = same_setting(EncoderConfig, "iterations")
    width: int = setting(
        ENCODER_WIDTH,
        least=4,
        most=256,
        help="Channels of the first stage, at full size; those that follow have up to 8 times as "
        "many.",
    )
    training: Mapping[str, Any] = field(default_factory=dict)
    keep_unlike: bool = setting(
        default=False, help="Train on photographs that do not look like the class, too."
    )
    goes_on: bool = setting(
        default=False, help="Begin with the encoder that the class has; its size is kept."
    )
    trunk: PublishedTrunk | None = setting(
        None,
        choices=TRUNKS,
        help="Compare images by published LPIPS. [default: by the trunk that the class has]",
    )
    trunk_weights: Path | None = None
    held_out: int = setting(
        64,
        least=1,
        help="Samples to validate on, and at most so many photographs, a tenth of them.",
    )
    compared: int = setting(
        8,
        least=0,
        help="Held-out images of the table of ways to embed; 0 leaves it out.",
    )
    compared_steps: int = setting(50, least=1, help="Steps of inversion in that table.")

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            SettingsError: One is out of its range.
        """
        super().__post_init__()
        if self.photographs is not None and self.batch_size < 2:
            raise SettingsError(
                "batch_size: expected at least 2, because photographs and samples share a batch, "
                f"got {self.batch_size}"
            )


@dataclass(frozen=True, kw_only=True)
class SegmentationRequest(TrainingRequest):
    """What to train.

    Attributes:
        class_name: The class that gets a new version, at any of its versions.
        pairs: Folder of annotated images; see `read_pairs`.
        masks: Their masks, where they lie elsewhere.
        form: How the masks are written; None finds out.
        skips_other_shapes: Points and lines that somebody drew are left out of the masks.
        scheme: Label scheme; None keeps the class's.
        embed: How images become latents.
        training: Settings of the training: `SegmentationTraining`.
        members: Classifiers whose logits are averaged.
        folds: Rounds of cross-validation; 0 is none.
        keep_unlike: Train also on images that the generator does not reconstruct.
    """

    class_name: str
    pairs: Path
    masks: Path | None = None
    form: str | None = None
    skips_other_shapes: bool = setting(
        default=False,
        help="Leave out points and lines that somebody drew: they are no area.",
    )
    scheme: LabelScheme | None = None
    embed: EmbeddingMethod = setting(
        EmbeddingMethod(num_steps=200),
        help="How the images become latents: well reconstructed ones teach well.",
    )
    training: Mapping[str, Any] = field(default_factory=dict)
    members: int = same_setting(SegmentationConfig, "members")
    folds: int = setting(
        4,
        least=0,
        most=1000,
        help="Rounds of cross-validation, each of which leaves out so many of the images; 0 saves "
        "their time and measures nothing.",
    )
    keep_unlike: bool = setting(
        default=False,
        help="Train also on images whose reconstruction is far worse than that of the others.",
    )


class Watcher(NamedTuple):
    """Who is told what while an encoder is trained; nobody by default.

    Attributes:
        on_read: The photographs read and those of the folder.
        on_photographs: What the folder holds.
        on_unlike: Photographs that do not look like the class.
        on_phase: What is trained from now on.
        on_progress: After every step.
    """

    on_read: Callable[[int, int], None] | None = None
    on_photographs: Callable[[Photographs], None] | None = None
    on_unlike: Callable[[list[Unlike]], None] | None = None
    on_phase: Callable[[str], None] | None = None
    on_progress: OnProgress | None = None
