"""Architectures of the networks of a bundle, as they stand in bundle.json."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from editvec.engine.errors import EngineSettingsError
from editvec.engine.shapes import block_resolutions, channels_at, check_resolution, num_ws_for
from editvec.json_codec import JsonFields
from editvec.settings import setting

ARCHITECTURES = ("skip", "resnet", "orig")
MAX_CLAMP = 1e30
MAX_ITERATIONS = 1000
ENCODER_WIDTH = 32
CHANNEL_BASE, LARGE_CHANNEL_BASE = 16384, 32768
LARGE_RESOLUTION = 512


class JsonConfig(JsonFields):
    """A network's or a training's settings, as bundles keep them."""

    json_error = EngineSettingsError

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Build the settings from a JSON object.

        Raises:
            SettingsError: A name is unknown or missing, or a value is out of range.
        """
        known = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
        unknown = sorted(set(values) - known)
        if unknown:
            raise EngineSettingsError(f"{cls.__name__}: unknown setting {unknown[0]!r}")
        try:
            return super().from_json(values)
        except TypeError as exc:
            raise EngineSettingsError(f"{cls.__name__}: {exc}") from exc


def check_positive(config: object, *names: str) -> None:
    """Check that the named integer settings are at least 1.

    Raises:
        SettingsError: One is not.
    """
    for name in names:
        value = getattr(config, name)
        if not _is_positive(value):
            raise EngineSettingsError(
                f"{type(config).__name__}.{name}: expected a positive integer, got {value!r}"
            )


def check_sizes(config: object, *names: str) -> None:
    """Check that the named settings are tuples of integers of at least 1.

    Raises:
        SettingsError: One is not.
    """
    for name in names:
        values = getattr(config, name)
        if not isinstance(values, tuple) or not all(map(_is_positive, values)):
            raise EngineSettingsError(
                f"{type(config).__name__}.{name}: expected positive integers, got {values!r:.200}"
            )


def _is_positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


@dataclass(frozen=True)
class GeneratorConfig(JsonConfig):
    """StyleGAN2.

    Attributes:
        resolution: Output size in pixels, a power of two from 16 to 1024.
        z_dim: Size of the Z latent; None becomes `w_dim`.
        w_dim: Size of the W latent.
        channel_base: Channels times resolution, before the cap; 32768 is config-f. None becomes
            16384 below 512 pixels, else 32768.
        channel_max: Cap of the channels of a block.
        mapping_layers: Fully connected layers of the mapping network; 8 were published first.
        conv_clamp: Clamp of the activations, None for none.
        architecture: How blocks become colours: "skip" adds up the colours of all blocks,
            "resnet" adds a 1x1 path around each block and "orig" none; both colour the last only.
        block_channels: Channels of each block, coarse to fine, where `channel_base` and
            `channel_max` do not describe them; empty where they do.
        label_size: Numbers that stand for the class label a conditional generator was imported
            for; they join z before it is normalised. 0 for none.
    """

    written_if_given = frozenset({"architecture", "block_channels", "label_size"})

    resolution: int
    z_dim: int = setting(None, kind=int, least=1)
    w_dim: int = setting(512, least=1, most=4096, help="Size of Z and of W.")
    channel_base: int = setting(
        None,
        kind=int,
        least=16,
        most=1 << 17,
        help=f"Channels times resolution. [default: {CHANNEL_BASE} below {LARGE_RESOLUTION} "
        f"pixels, else {LARGE_CHANNEL_BASE}]",
    )
    channel_max: int = setting(512, least=1, most=4096, help="Most channels.")
    mapping_layers: int = setting(
        2,
        least=1,
        most=16,
        help="Layers of the mapping network: 2 learn faster, 8 were published first.",
    )
    conv_clamp: float | None = None
    architecture: str = "skip"
    block_channels: tuple[int, ...] = ()
    label_size: int = 0

    def __post_init__(self) -> None:
        """Check the ranges, which are wider than those of a network that is trained anew."""
        check_resolution(self.resolution)
        given: tuple[object, object] = self.z_dim, self.channel_base
        if given[0] is None:
            object.__setattr__(self, "z_dim", self.w_dim)
        if given[1] is None:
            base = CHANNEL_BASE if self.resolution < LARGE_RESOLUTION else LARGE_CHANNEL_BASE
            object.__setattr__(self, "channel_base", base)
        check_positive(self, "z_dim", "w_dim", "channel_base", "channel_max", "mapping_layers")
        check_sizes(self, "block_channels")
        clamp: object = self.conv_clamp
        if clamp is not None and not (
            isinstance(clamp, int | float)
            and not isinstance(clamp, bool)
            and 0 < clamp <= MAX_CLAMP
        ):
            raise EngineSettingsError(
                f"GeneratorConfig.conv_clamp: expected a positive number or none, got {clamp!r}"
            )
        if self.architecture not in ARCHITECTURES:
            raise EngineSettingsError(
                f"GeneratorConfig.architecture: expected one of {', '.join(ARCHITECTURES)}, "
                f"got {self.architecture!r}"
            )
        blocks = len(block_resolutions(self.resolution))
        if self.block_channels and len(self.block_channels) != blocks:
            raise EngineSettingsError(
                f"GeneratorConfig.block_channels: expected {blocks} positive numbers, "
                f"got {list(self.block_channels)}"
            )
        size: object = self.label_size
        if type(size) is not int or size < 0:
            raise EngineSettingsError(
                f"GeneratorConfig.label_size: expected 0 or more, got {size!r:.200}"
            )
        if not self.block_channels and self.channel_base < self.resolution:
            raise EngineSettingsError(
                f"GeneratorConfig.channel_base: expected at least the resolution "
                f"{self.resolution}, got {self.channel_base}"
            )

    @property
    def num_ws(self) -> int:
        """Rows of `ws`."""
        return num_ws_for(self.resolution)

    def channels(self, resolution: int) -> int:
        """Feature channels of the block at `resolution`."""
        if self.block_channels:
            return self.block_channels[block_resolutions(self.resolution).index(resolution)]
        return channels_at(resolution, channel_base=self.channel_base, channel_max=self.channel_max)

    @property
    def feature_channels(self) -> tuple[int, ...]:
        """Channels of each feature map, coarse to fine, the constant input first."""
        return tuple(
            self.channels(res) for res in block_resolutions(self.resolution) for _ in range(2)
        )


@dataclass(frozen=True)
class SegmentationConfig(JsonConfig):
    """Pixel classifiers on the generator's features (DatasetGAN's interpreter).

    Attributes:
        num_labels: Labels of the class's scheme.
        feature_channels: Channels of each feature map, coarse to fine.
        members: Independently initialised classifiers whose logits are averaged.
        hidden: Sizes of the two hidden layers: (256, 128) for 32 or more labels, else (128, 32).
        constant_input: Whether the first feature map is the generator's constant, the same for
            every image, so that its part of the first layer can be folded into a bias map.
    """

    num_labels: int
    feature_channels: tuple[int, ...]
    members: int = setting(
        10,
        least=1,
        most=100,
        help="Classifiers whose mean is the branch; their disagreement is the uncertainty.",
    )
    hidden: tuple[int, ...] = (128, 32)
    constant_input: bool = True

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_positive(self, "num_labels", "members")
        check_sizes(self, "hidden", "feature_channels")
        if len(self.hidden) != 2:
            raise EngineSettingsError(
                f"SegmentationConfig.hidden: expected two sizes, got {self.hidden}"
            )
        constant: object = self.constant_input
        if not isinstance(constant, bool):
            raise EngineSettingsError(
                f"SegmentationConfig.constant_input: expected true or false, got {constant!r:.200}"
            )
        if not self.feature_channels:
            raise EngineSettingsError(
                f"SegmentationConfig.feature_channels: expected positive numbers, "
                f"got {self.feature_channels}"
            )


@dataclass(frozen=True)
class EncoderConfig(JsonConfig):
    """Residual pyramid from images to W+.

    Attributes:
        resolution: Input size in pixels.
        num_ws: Rows of the output.
        w_dim: Columns of the output.
        channels: Channels of the pyramid's stages, fine to coarse; each stage halves the size.
        head_channels: Width of the heads that produce the rows.
        iterations: Passes over an image. With more than one, every pass sees the image beside
            what the pass before made of it, and adds to its ws (Alaluf et al. 2021).
    """

    written_if_given = frozenset({"iterations"})

    resolution: int
    num_ws: int
    w_dim: int
    channels: tuple[int, ...] = (32, 64, 96, 128)
    head_channels: int = 128
    iterations: int = setting(
        1,
        least=1,
        most=10,
        help="Passes over an image: each but the first sees what the one before made of it.",
    )

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_resolution(self.resolution)
        check_positive(self, "num_ws", "w_dim", "head_channels", "iterations")
        check_sizes(self, "channels")
        if self.iterations > MAX_ITERATIONS:
            raise EngineSettingsError(
                f"EncoderConfig.iterations: expected at most {MAX_ITERATIONS}, "
                f"got {self.iterations}"
            )
        if not self.channels or self.resolution >> len(self.channels) < 2:
            raise EngineSettingsError(
                f"EncoderConfig.channels: expected stages that leave at least 2x2 pixels of "
                f"{self.resolution}, got {len(self.channels)} stages"
            )

    @classmethod
    def for_generator(
        cls, generator: GeneratorConfig, *, width: int = ENCODER_WIDTH, iterations: int = 1
    ) -> "EncoderConfig":
        """The size that suits a generator: halved to 4x4 pixels, and wider as it gets smaller.

        Args:
            generator: Whose ws are wanted.
            width: Channels of the first stage.
            iterations: Passes over an image.
        """
        stages = max(1, generator.resolution.bit_length() - 3)
        channels = tuple(min(width * (1 + stage), width * 8) for stage in range(stages))
        head = max(4 * width, min(generator.w_dim, 16 * width))
        return cls(
            generator.resolution, generator.num_ws, generator.w_dim, channels, head, iterations
        )


@dataclass(frozen=True)
class PerceptualConfig(JsonConfig):
    """A bundle's own small trunk for perceptual distances.

    Attributes:
        trunk: Name of the trunk; values are named `perceptual/<trunk>`.
        channels: Channels of the stages whose activations are compared.
    """

    trunk: str
    channels: tuple[int, ...] = (24, 48, 96, 96)

    def __post_init__(self) -> None:
        """Check the types."""
        check_sizes(self, "channels")
        trunk: object = self.trunk
        if not isinstance(trunk, str) or not self.channels:
            raise EngineSettingsError(
                f"PerceptualConfig: expected a name and at least one stage, got {self.trunk!r}"
            )


@dataclass(frozen=True)
class ClassifierConfig(JsonConfig):
    """A small convolutional classifier or embedding network.

    Attributes:
        resolution: Input size in pixels.
        outputs: Names of the attributes, one logit each, or of the embedding's dimensions.
        channels: Channels of the stages, each of which halves the size.
    """

    resolution: int
    outputs: tuple[str, ...]
    channels: tuple[int, ...] = (24, 48, 96, 96)

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_resolution(self.resolution)
        check_sizes(self, "channels")
        outputs: object = self.outputs
        if not isinstance(outputs, tuple) or not all(isinstance(one, str) for one in outputs):
            raise EngineSettingsError(
                f"ClassifierConfig.outputs: expected names, got {self.outputs!r:.200}"
            )
        if not self.outputs or not self.channels:
            raise EngineSettingsError(
                "ClassifierConfig: expected at least one output and one stage"
            )
        if not self.resolution >> len(self.channels):
            raise EngineSettingsError(
                f"ClassifierConfig.channels: expected stages that leave at least one pixel of "
                f"{self.resolution}, got {len(self.channels)} stages"
            )
