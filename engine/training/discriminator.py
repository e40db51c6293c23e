"""The discriminator of StyleGAN2 (Karras et al. 2020): residual blocks, minibatch deviation.

EqualizedConv            convolution whose weight is scaled at run time, with its activation
downsample               low-pass filter [1, 3, 3, 1] and every second pixel
minibatch_deviation      how much the samples of a group differ, as one more channel
Discriminator            images -> logits, high for photographs
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from editvec.cuda_ext.bias_act import bias_act
from editvec.cuda_ext.upfirdn2d import upfirdn2d
from editvec.engine.networks.config import GeneratorConfig, JsonConfig, check_positive
from editvec.engine.networks.layers import FullyConnected
from editvec.engine.shapes import channels_at, check_resolution


@dataclass(frozen=True)
class DiscriminatorConfig(JsonConfig):
    """Size of a discriminator.

    Attributes:
        resolution: Of the images, a power of two.
        channel_base: Channels times resolution, before the cap.
        channel_max: Cap of the channels of a block.
        group_size: Samples that are compared by the minibatch deviation.
        clamp: Clamp of the activations, None for none.
    """

    resolution: int
    channel_base: int = 32768
    channel_max: int = 512
    group_size: int = 4
    clamp: float | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_resolution(self.resolution)
        check_positive(self, "channel_base", "channel_max", "group_size")

    @classmethod
    def beside(cls, generator: GeneratorConfig, *, group_size: int = 4) -> "DiscriminatorConfig":
        """The discriminator that matches a generator."""
        return cls(
            generator.resolution,
            channel_base=generator.channel_base,
            channel_max=generator.channel_max,
            group_size=group_size,
            clamp=generator.conv_clamp,
        )

    def channels(self, resolution: int) -> int:
        """Channels at `resolution`."""
        return channels_at(resolution, channel_base=self.channel_base, channel_max=self.channel_max)


class EqualizedConv(nn.Module):
    """y = clamp(gain act(x * (W / sqrt(fan_in)) + b)), optionally at half the size."""

    def __init__(
        self,
        in_channels: int,  # Channels of the input.
        out_channels: int,  # Channels of the output.
        size: int,  # Side of the kernel, odd.
        *,
        down: bool = False,  # Halve the size?
        activation: Literal["linear", "lrelu"] = "lrelu",
        bias: bool = True,  # Add a bias?
        gain: float = 1.0,  # Factor of the output.
        clamp: float | None = None,  # Clamp of the output, before `gain`.
    ) -> None:
        super().__init__()
        self.down = down
        self.activation: Literal["linear", "lrelu"] = activation
        self.gain = gain * (math.sqrt(2) if activation == "lrelu" else 1)
        self.clamp = None if clamp is None else clamp * gain
        self.weight_gain = 1 / math.sqrt(in_channels * size**2)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, size, size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C_in, H, W] to [N, C_out, H or H / 2, W or W / 2]."""
        weight = self.weight * self.weight_gain
        size = weight.shape[-1]
        if not self.down:
            x = F.conv2d(x, weight, padding=size // 2)
        elif size == 1:
            x = F.conv2d(downsample(x), weight)
        else:
            x = F.conv2d(upfirdn2d(x, padding=(2, 2)), weight, stride=2)
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return bias_act(x, bias, act=self.activation, gain=self.gain, clamp=self.clamp)


def downsample(x: Tensor) -> Tensor:
    """Halve the size of [N, C, H, W] with the low-pass filter."""
    return upfirdn2d(x, down=2, padding=(1, 1))


def minibatch_deviation(x: Tensor, *, group_size: int) -> Tensor:
    """Append the deviation over groups of samples as a channel (Karras et al. 2018, section 3).

    Args:
        x: [N, C, H, W].
        group_size: Samples of a group; the largest divisor of N up to it is taken. Groups hold
            every (N / group_size)th sample.

    Returns:
        [N, C + 1, H, W]; the last channel is the group's standard deviation, averaged over
        channels and pixels.
    """
    count, _, height, width = x.shape
    size = max(d for d in range(1, min(group_size, count) + 1) if count % d == 0)
    groups = x.view(size, count // size, *x.shape[1:]).float()  # [G, M, C, H, W]
    variance = (groups - groups.mean(dim=0)).square().mean(dim=0)
    deviation = (variance + 1e-8).sqrt().mean(dim=(1, 2, 3))  # [M]
    channel = deviation.repeat(size).to(x.dtype).view(count, 1, 1, 1)
    return torch.cat([x, channel.expand(-1, -1, height, width)], dim=1)


class _Block(nn.Module):
    """Two convolutions at half the size beside a linear skip, both scaled to keep the variance."""

    def __init__(self, in_channels: int, out_channels: int, clamp: float | None) -> None:
        super().__init__()
        half = math.sqrt(0.5)
        self.conv0 = EqualizedConv(in_channels, in_channels, 3, clamp=clamp)
        self.conv1 = EqualizedConv(in_channels, out_channels, 3, down=True, gain=half, clamp=clamp)
        self.skip = EqualizedConv(
            in_channels, out_channels, 1, down=True, activation="linear", bias=False, gain=half
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.skip(x) + self.conv1(self.conv0(x))
        return out


class Discriminator(nn.Module):
    """Images [N, 3, H, W] -> logits [N]."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        size = config.resolution
        self.from_rgb = EqualizedConv(3, config.channels(size), 1, clamp=config.clamp)
        blocks = []
        while size > 4:
            channels = config.channels(size), config.channels(size // 2)
            blocks.append(_Block(*channels, config.clamp))
            size //= 2
        self.blocks = nn.ModuleList(blocks)
        last = config.channels(4)
        self.conv = EqualizedConv(last + 1, last, 3, clamp=config.clamp)
        self.fc = FullyConnected(last * 16, last, activation="lrelu")
        self.out = FullyConnected(last, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Judge images [N, 3, H, W] in [-1, 1]; the samples of a batch see each other."""
        x = self.from_rgb(images)
        for block in self.blocks:
            x = block(x)
        x = self.conv(minibatch_deviation(x, group_size=self.config.group_size))
        logits: Tensor = self.out(self.fc(x.flatten(1)))
        return logits[:, 0]
