"""Settings of the trainings: defaults and ranges, for functions and commands alike. No torch."""

from dataclasses import dataclass
from typing import Any, Literal

from editvec.engine.errors import EngineSettingsError
from editvec.engine.networks.config import JsonConfig
from editvec.settings import check_settings, setting

AUGMENTATIONS = ("blits", "geometry", "colours")
TARGET_SIGN = 0.6  # of the mean sign of logits on photographs
AUGMENT_IMAGES = 500_000
LEARNING_RATE, LARGE_LEARNING_RATE = 0.0025, 0.002
LARGE_RESOLUTION = 1024


@dataclass(frozen=True, kw_only=True)
class GeneratorTraining(JsonConfig):
    """Settings of a training; `for_resolution` finds those that depend on the resolution.

    Attributes:
        batch_size: Photographs, and samples, of a step.
        learning_rate: Adam's, of both networks.
        r1_gamma: Weight of the R1 penalty.
        ema_images: Images after which the averaged weights have forgotten half.
        group_size: Samples that the discriminator compares, see `minibatch_deviation`.
        r1_interval: Steps between two R1 penalties; each counts that often.
        path_length_weight: Weight of the path length penalty; 0 leaves it out.
        path_length_interval: Steps between two of them; each counts that often.
        style_mixing: Share of the samples whose finer rows come from another z.
        mirror: Show every photograph mirrored as well.
        augment: "ada" adapts the strength, "none" leaves it at 0.
        augment_target: Mean sign of logits on photographs that "ada" aims at.
        augment_images: Images in which the strength can go from 0 to 1.
        augment_kinds: Of `AUGMENTATIONS`.
        precision: "float32", or "bfloat16" for the networks where they need no second derivative;
            "auto" is bfloat16 on CUDA.
    """

    batch_size: int = setting(
        kind=int, least=1, most=4096, help="Images of a step. [default: auto]"
    )
    learning_rate: float = setting(
        kind=float,
        above=0,
        most=1,
        help=f"Of both networks. [default: {LEARNING_RATE}, at {LARGE_RESOLUTION} pixels "
        f"{LARGE_LEARNING_RATE}]",
    )
    r1_gamma: float = setting(kind=float, least=0, help="Weight of the R1 penalty. [default: auto]")
    ema_images: float = setting(kind=float, above=0)
    group_size: int = setting(kind=int, least=1)
    r1_interval: int = setting(16, least=1)
    path_length_weight: float = setting(
        2.0,
        least=0,
        help="Weight of the path length penalty; 0 saves about a fifth of the time.",
    )
    path_length_interval: int = setting(4, least=1)
    style_mixing: float = setting(0.9, least=0, most=1)
    mirror: bool = setting(
        default=False, help="Show every photograph mirrored, too. Not for left and right."
    )
    augment: Literal["ada", "none"] = setting(
        "ada",
        choices=("ada", "none"),
        help="What the discriminator sees is varied as much as it begins to know by heart, or not.",
    )
    augment_target: float = setting(TARGET_SIGN, least=-1, most=1)
    augment_images: int = setting(AUGMENT_IMAGES, least=1)
    augment_kinds: tuple[str, ...] = AUGMENTATIONS
    precision: Literal["auto", "float32", "bfloat16"] = setting(
        "auto",
        choices=("auto", "float32", "bfloat16"),
        help="auto: bfloat16 on CUDA, where it is faster.",
    )

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_settings(self, EngineSettingsError)
        if not set(self.augment_kinds) <= set(AUGMENTATIONS):
            raise EngineSettingsError(f"augment_kinds: expected some of {AUGMENTATIONS}")

    @classmethod
    def for_resolution(cls, resolution: int, **settings: Any) -> "GeneratorTraining":
        """The published heuristics for one device; `settings` win over them.

        Args:
            resolution: Of the images in pixels.
            **settings: Attributes of this class.
        """
        batch = settings.get("batch_size") or max(1, min(4096 // resolution, 32))
        chosen: dict[str, Any] = {
            "batch_size": batch,
            "group_size": min(batch, 4),
            "learning_rate": LEARNING_RATE
            if resolution < LARGE_RESOLUTION
            else LARGE_LEARNING_RATE,
            "r1_gamma": 0.0002 * resolution**2 / batch,
            "ema_images": batch * 10_000 / 32,
        }
        return cls(**{**chosen, **settings})


@dataclass(frozen=True)
class EncoderTraining(JsonConfig):
    """How an encoder is trained.

    Attributes:
        num_steps: Batches to train on; the learning rate falls to 0 over them, as a cosine.
        ws_steps: First steps that see nothing but the error of ws where ws is known: they need no
            synthesis and cost a fraction of the others. None becomes half of the steps.
        learning_rate: Adam's, at the start.
        perceptual_weight: Perceptual distance between an image and its reconstruction.
        mse_weight: Mean squared error of the same, in [0, 1].
        ws_weight: Mean squared error of ws where ws is known.
        ema_decay: Decay of the averaged weights, which are the result.
        clip_norm: Largest norm of the gradient.
        validate_steps: Steps between two validations; the last step is followed by one, too.
        patience: Validations without a better one after which the training ends; 0 never ends it.
    """

    num_steps: int = setting(kind=int, least=1)
    ws_steps: int = setting(
        None,
        kind=int,
        least=0,
        help="The first of these see the error of latents alone, which is cheap. [default: half]",
    )
    learning_rate: float = setting(1e-3, above=0, most=1, help="At the start; it falls to 0.")
    perceptual_weight: float = setting(10.0, least=0)
    mse_weight: float = setting(1.0, least=0)
    ws_weight: float = setting(5.0, least=0, help="Of the latents of samples.")
    ema_decay: float = setting(0.995, least=0, most=1)
    clip_norm: float = setting(1.0, above=0)
    validate_steps: int = setting(
        500, least=1, help="Steps between two validations, on images that are held out."
    )
    patience: int = setting(
        10,
        least=0,
        help="Validations without a better one that end the training early; 0 never does.",
    )

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_settings(self, EngineSettingsError)
        given: object = self.ws_steps
        if given is None:
            object.__setattr__(self, "ws_steps", self.num_steps // 2)
        if self.ws_steps > self.num_steps:
            raise EngineSettingsError(
                f"ws_steps: expected at most num_steps, {self.num_steps}, got {self.ws_steps}"
            )
        if self.ema_decay == 1:
            raise EngineSettingsError("ema_decay: expected less than 1, got 1")
        if not any((self.perceptual_weight, self.mse_weight, self.ws_weight)):
            raise EngineSettingsError(
                "perceptual_weight, mse_weight, ws_weight: expected one of them above 0, got 0"
            )


@dataclass(frozen=True)
class SegmentationTraining(JsonConfig):
    """Settings of a training of a segmentation branch.

    Attributes:
        num_steps: Most steps of a round.
        batch_size: Pixels per member and step.
        learning_rate: Adam's, until the ramp-down.
        ramp_down: Share of `num_steps` at the end in which the learning rate falls to 0.
        patience_steps: Start the ramp-down early after this many steps without improvement.
        label_power: A label is drawn in proportion to (its pixels)^label_power: 1 draws every
            pixel alike, 0 every label alike.
    """

    num_steps: int = setting(
        3000,
        least=1,
        most=1_000_000,
        help="Most steps of a round; it ends early where nothing improves.",
    )
    batch_size: int = setting(64, least=2, most=1 << 16, help="Pixels of a step for each member.")
    learning_rate: float = setting(
        1e-3, above=0, most=1, help="Until the last quarter of the steps; then it falls to 0."
    )
    ramp_down: float = setting(0.25, least=0, most=1)
    patience_steps: int = setting(500, least=1)
    label_power: float = setting(0.5, least=0, most=1)

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_settings(self, EngineSettingsError)
