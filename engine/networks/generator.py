"""The StyleGAN2 generator: Z -> W+ -> images, with the features that segmentation reads.

Parameter names are those of the common PyTorch layout (`mapping.fc0.weight`,
`synthesis.b8.conv0.affine.weight`), so foreign checkpoints map onto it without renaming.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from editvec.engine.errors import EngineSettingsError, ShapeError
from editvec.engine.networks.config import GeneratorConfig
from editvec.engine.networks.layers import (
    FullyConnected,
    NoiseMode,
    Skip,
    SynthesisLayer,
    ToRGB,
    upsample,
)
from editvec.engine.shapes import block_resolutions, check_ws

NOISE_MODES = ("const", "random", "none")

# Size of a layer's map of as many images as a CPU synthesises at a time. Larger ones leave the
# caches, and the memory of each is given back to the system and asked for again.
CPU_MAP_BYTES = 6 * 2**20


class SynthesisOutput(NamedTuple):
    """Images and the activations that they were made from.

    Attributes:
        images: [N, 3, H, W], nominally in [-1, 1].
        features: The constant input, then every layer's output after noise, bias and
            activation, coarse to fine: two maps per resolution. The second one is what the next
            block reads: of the resnet architecture it holds the way around the block too.
    """

    images: Tensor
    features: list[Tensor]


class Mapping(nn.Module):
    """Z -> W, broadcast to W+."""

    w_avg: Tensor
    label: Tensor

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        for index in range(config.mapping_layers):
            in_features = config.z_dim + config.label_size if index == 0 else config.w_dim
            layer = FullyConnected(
                in_features, config.w_dim, activation="lrelu", lr_multiplier=0.01
            )
            setattr(self, f"fc{index}", layer)
        self.register_buffer("w_avg", torch.zeros(config.w_dim))
        if config.label_size:
            self.register_buffer("label", torch.zeros(config.label_size))

    def forward(
        self,
        z: Tensor,
        *,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
    ) -> Tensor:
        """Map z [N, z_dim] to ws [N, num_ws, w_dim].

        Args:
            z: Z latents, standard normal.
            truncation_psi: 1 leaves W as it is, 0 gives `w_avg`.
            truncation_cutoff: Rows that are truncated, counted from the first; None is all.

        Raises:
            ShapeError: `z` does not fit the network.
        """
        if z.ndim != 2 or z.shape[1] != self.config.z_dim:
            raise ShapeError(f"z: expected [N, {self.config.z_dim}], got {list(z.shape)}")
        if self.config.label_size:
            z = torch.cat([z, self.label.to(z.dtype).expand(len(z), -1)], dim=1)
        x = z * (z.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
        for index in range(self.config.mapping_layers):
            x = getattr(self, f"fc{index}")(x)
        ws = x[:, None, :].repeat(1, self.config.num_ws, 1)
        return self.truncate(ws, psi=truncation_psi, cutoff=truncation_cutoff)

    def truncate(self, ws: Tensor, *, psi: float, cutoff: int | None = None) -> Tensor:
        """w_avg + psi (w - w_avg) on the first `cutoff` rows of ws [N, num_ws, w_dim]."""
        if psi == 1:
            return ws
        head = self.w_avg.lerp(ws[:, :cutoff], psi)
        return head if cutoff is None else torch.cat([head, ws[:, cutoff:]], dim=1)


class SynthesisBlock(nn.Module):
    """One resolution of the synthesis network."""

    def __init__(self, config: GeneratorConfig, resolution: int) -> None:
        super().__init__()
        channels = config.channels(resolution)
        self.resolution = resolution
        self.first = resolution == 4
        if self.first:
            self.const = nn.Parameter(torch.randn(channels, 4, 4))
        else:
            self.conv0 = SynthesisLayer(
                config.channels(resolution // 2),
                channels,
                w_dim=config.w_dim,
                resolution=resolution,
                up=True,
                clamp=config.conv_clamp,
            )
        self.conv1 = SynthesisLayer(
            channels,
            channels,
            w_dim=config.w_dim,
            resolution=resolution,
            clamp=config.conv_clamp,
        )
        if config.architecture == "skip" or resolution == config.resolution:
            self.torgb = ToRGB(channels, w_dim=config.w_dim, clamp=config.conv_clamp)
        self.skip: Skip | None = None
        if config.architecture == "resnet" and not self.first:
            self.skip = Skip(config.channels(resolution // 2), channels)

    def forward(
        self,
        x: Tensor | None,
        ws: Tensor,
        *,
        noise_mode: NoiseMode,
        generator: torch.Generator | None,
    ) -> tuple[Tensor, Tensor]:
        """Run the block's two layers.

        Args:
            x: Activations of the block before, None for the first.
            ws: The block's rows: [N, 1 or 2, w_dim] for the layers (ToRGB is separate).
            noise_mode: See `Synthesis.forward`.
            generator: Source of random noise.

        Returns:
            The two feature maps; the second one feeds the next block.
        """
        if self.first:
            first = self.const.expand(ws.shape[0], -1, -1, -1)
        else:
            assert x is not None
            first = self.conv0(x, ws[:, 0], noise_mode=noise_mode, generator=generator)
        second: Tensor = self.conv1(first, ws[:, -1], noise_mode=noise_mode, generator=generator)
        if self.skip is not None:
            second = (second + self.skip(x)) * math.sqrt(0.5)
        return first, second


class Synthesis(nn.Module):
    """W+ -> images."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        for resolution in block_resolutions(config.resolution):
            setattr(self, f"b{resolution}", SynthesisBlock(config, resolution))

    def forward(
        self,
        ws: Tensor,
        *,
        noise_mode: NoiseMode = "const",
        generator: torch.Generator | None = None,
        resolution: int | None = None,
    ) -> Tensor:
        """Synthesise images [N, 3, H, W] from ws [N, num_ws, w_dim].

        Args:
            ws: Latents in W+.
            noise_mode: "const" uses the stored maps, "random" draws them, "none" adds none.
            generator: Source of random noise; required by nothing but reproducibility.
            resolution: Stop after this block and return its skip image, as progressive
                training does; None runs the whole network.

        Raises:
            ShapeError: `ws` does not fit the network.
            SettingsError: The noise mode is unknown, or the block has no image of its own.
        """
        return self.with_features(
            ws, noise_mode=noise_mode, generator=generator, resolution=resolution
        ).images

    def with_features(
        self,
        ws: Tensor,
        *,
        noise_mode: NoiseMode = "const",
        generator: torch.Generator | None = None,
        resolution: int | None = None,
    ) -> SynthesisOutput:
        """Like `forward`, and keep every layer's output; see there."""
        check_ws(ws, num_ws=self.config.num_ws, w_dim=self.config.w_dim)
        if noise_mode not in NOISE_MODES:
            raise EngineSettingsError(
                f"noise_mode: expected one of {NOISE_MODES}, got {noise_mode!r}"
            )
        if resolution is not None and self.config.architecture != "skip":
            raise EngineSettingsError(
                f"resolution: expected None, because only the skip architecture has images of "
                f"single blocks, got {resolution}"
            )
        x: Tensor | None = None
        images: Tensor | None = None
        features: list[Tensor] = []
        for index, size in enumerate(block_resolutions(resolution or self.config.resolution)):
            block: SynthesisBlock = getattr(self, f"b{size}")
            # A ToRGB shares its row with the next block's first layer.
            rows = ws[:, max(2 * index - 1, 0) : 2 * index + 1]
            first, x = block(x, rows, noise_mode=noise_mode, generator=generator)
            features += [first, x]
            if self.config.architecture != "skip" and size != self.config.resolution:
                continue
            colours = block.torgb(x, ws[:, 2 * index + 1])
            images = colours if images is None else upsample(images) + colours
        assert images is not None
        return SynthesisOutput(images, features)


def cut_for_synthesis(synthesis: Synthesis, ws: Tensor, *, at_least: int = 1) -> list[Tensor]:
    """Cut ws [N, num_ws, w_dim] into parts that are synthesised faster one after the other.

    The parts are of about equal length, at least one; on a CPU `at_least` so many, if there are as
    many ws. They depend on the device, on sizes and on that only.
    """
    if ws.device.type != "cpu" or not len(ws):
        return [ws]
    config = synthesis.config
    largest = max(size**2 * config.channels(size) for size in block_resolutions(config.resolution))
    together = max(CPU_MAP_BYTES // (largest * ws.element_size()), 1)
    parts = max(math.ceil(len(ws) / together), min(at_least, len(ws)))
    return list(ws.tensor_split(parts))


class Generator(nn.Module):
    """Mapping and synthesis."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.mapping = Mapping(config)
        self.synthesis = Synthesis(config)

    @property
    def num_ws(self) -> int:
        """Rows of `ws`."""
        return self.config.num_ws

    @property
    def w_avg(self) -> Tensor:
        """Moving average of W: [w_dim]."""
        return self.mapping.w_avg

    @property
    def feature_channels(self) -> list[int]:
        """Channels of each feature map, coarse to fine."""
        return list(self.config.feature_channels)

    @property
    def constant(self) -> Tensor:
        """The image-independent first feature map: [C, 4, 4]."""
        block = self.synthesis.b4
        assert isinstance(block, SynthesisBlock)
        return block.const

    def forward(
        self,
        z: Tensor,
        *,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        noise_mode: NoiseMode = "const",
    ) -> Tensor:
        """Sample images [N, 3, H, W] from z [N, z_dim]."""
        ws = self.mapping(z, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff)
        images: Tensor = self.synthesis(ws, noise_mode=noise_mode)
        return images
