"""Layers of StyleGAN2 (Karras et al. 2020), with the modulated convolution in its un-fused form.

    FullyConnected   affine map with equalised learning rate
    blur             [1, 3, 3, 1] low-pass filter after a transposed convolution
    upsample         doubling of images or maps with the same filter
    SynthesisLayer   modulated 3x3 convolution, noise, bias, leaky ReLU
    ToRGB            modulated 1x1 convolution to colours
    Skip             1x1 convolution around a block of the resnet architecture

Un-fused: x * s -> one ordinary convolution with the shared weight -> * d. It equals the fused
form, lets a whole batch share one convolution, and optimising latents then needs no
weight-gradient convolutions per sample.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from editvec.cuda_ext.bias_act import bias_act
from editvec.cuda_ext.dispatch import takes_kernel
from editvec.cuda_ext.upfirdn2d import upfirdn2d
from editvec.engine.networks.frozen_layer import FrozenTensors, frozen_layer
from editvec.engine.networks.layouts import is_channels_last, pixel_matrix

NoiseMode = Literal["const", "random", "none"]


class FullyConnected(nn.Module):
    """y = act(x (gain W)^T + lr b), gain = lr / sqrt(in_features)."""

    def __init__(
        self,
        in_features: int,  # Size of the input.
        out_features: int,  # Size of the output.
        *,
        activation: Literal["linear", "lrelu"] = "linear",
        lr_multiplier: float = 1.0,  # Equalised learning rate.
        bias_init: float = 0.0,  # Initial value of the bias.
    ) -> None:
        super().__init__()
        self.activation = activation
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), float(bias_init)))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_features] to [N, out_features]."""
        weight = self.weight * self.weight_gain
        bias = self.bias * self.bias_gain if self.bias_gain != 1 else self.bias
        if self.activation == "linear":
            return F.linear(x, weight, bias)
        x = F.linear(x, weight)
        return bias_act(x, bias.to(x.dtype), act="lrelu")


# ---------------------------------------------------------------------------------------------
# Resampling with the separable filter [1, 3, 3, 1] / 8.


def filter_kernel(gain: float = 1.0) -> Tensor:
    """The two-dimensional [1, 3, 3, 1] filter with sum `gain`: [4, 4]."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    kernel = torch.outer(taps, taps)
    return kernel * (gain / kernel.sum())


def blur(x: Tensor) -> Tensor:
    """Filter the [N, C, 2H+1, 2W+1] output of a stride-2 transposed convolution to 2H x 2W."""
    return upfirdn2d(x, padding=(1, 1), gain=4.0)


def upsample(x: Tensor) -> Tensor:
    """Double the size of images or maps [N, C, H, W]."""
    return upfirdn2d(x, up=2, padding=(2, 1), gain=4.0)


# ---------------------------------------------------------------------------------------------
# Modulated convolutions.


def demodulation(squared_weight: Tensor, styles: Tensor) -> Tensor:
    """d = rsqrt(s^2 (sum_k W^2)^T + 1e-8), of sum_k W^2 [C_out, C_in]: [N, C_out]."""
    return (styles.square() @ squared_weight.t() + 1e-8).rsqrt()


class SynthesisLayer(nn.Module):
    """Modulated 3x3 convolution, optionally up-sampling by 2, with noise, bias and leaky ReLU."""

    noise_const: Tensor

    def __init__(
        self,
        in_channels: int,  # Channels of the input.
        out_channels: int,  # Channels of the output.
        *,
        w_dim: int,  # Size of the W latent.
        resolution: int,  # Size of the output in pixels.
        up: bool = False,  # Double the size?
        clamp: float | None = None,  # Clamp of the activations.
    ) -> None:
        super().__init__()
        self.resolution = resolution
        self.up = up
        self.clamp = clamp
        self.affine = FullyConnected(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self._squared: tuple[object, Tensor] | None = None

    def forward(
        self,
        x: Tensor,
        w: Tensor,
        *,
        noise_mode: NoiseMode = "const",
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Map x [N, C_in, h, h] under w [N, w_dim] to [N, C_out, resolution, resolution]."""
        styles = self.affine(w)
        demodulations = demodulation(self._squared_weight(), styles)
        if self._is_frozen(x):
            noise = self._noise(x, noise_mode, generator)
            layer = FrozenTensors(self.weight, self.bias, noise, self.up, self.clamp)
            return frozen_layer(x, styles, demodulations, layer)
        x = x * styles[:, :, None, None]
        if self.up:
            x = blur(F.conv_transpose2d(x, self.weight.transpose(0, 1), stride=2))
        else:
            x = F.conv2d(x, self.weight, padding=1)
        x = x * demodulations[:, :, None, None]
        noise = self._noise(x, noise_mode, generator)
        if noise is not None and noise.dtype != x.dtype:  # autocast
            x, noise = x + noise, None
        return bias_act(x, self.bias.to(x.dtype), noise=noise, act="lrelu", clamp=self.clamp)

    def _is_frozen(self, x: Tensor) -> bool:
        """Whether nothing but latents is derived, and no kernel has been chosen for it."""
        if x.dtype not in (torch.float32, torch.float64) or takes_kernel("bias_act", x):
            return False
        if torch.is_autocast_enabled(x.device.type):
            return False
        return not (torch.is_grad_enabled() and any(one.requires_grad for one in self._own()))

    def _own(self) -> tuple[Tensor, ...]:
        return self.weight, self.bias, self.noise_strength, self.noise_const

    def _squared_weight(self) -> Tensor:
        """sum_k W^2, kept as long as a frozen weight stays as it is: [C_out, C_in].

        A change through `weight.data` is not seen: nothing tells of it.
        """
        weight = self.weight
        # in training, fused optimisers change weights without a new version
        if self.training or weight.requires_grad or weight.is_inference():
            return weight.square().sum(dim=(2, 3))
        key = (weight.data_ptr(), weight._version, weight.dtype)
        if self._squared is None or self._squared[0] != key:
            with torch.inference_mode(False), torch.no_grad():
                self._squared = key, weight.square().sum(dim=(2, 3))
        return self._squared[1]

    def _noise(
        self, x: Tensor, noise_mode: NoiseMode, generator: torch.Generator | None
    ) -> Tensor | None:
        """The scaled noise map that is added, or None."""
        if noise_mode == "none":
            return None
        if noise_mode == "const":
            return self.noise_const * self.noise_strength
        size = (x.shape[0], 1, self.resolution, self.resolution)
        noise = torch.randn(size, generator=generator, device=x.device, dtype=x.dtype)
        return noise * self.noise_strength


class ToRGB(nn.Module):
    """Modulated 1x1 convolution to three channels, without demodulation."""

    def __init__(self, in_channels: int, *, w_dim: int, clamp: float | None = None) -> None:
        super().__init__()
        self.clamp = clamp
        self.weight_gain = 1 / math.sqrt(in_channels)
        self.affine = FullyConnected(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(3, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map x [N, C_in, h, h] under w [N, w_dim] to colours [N, 3, h, h]."""
        styles = self.affine(w) * self.weight_gain
        # a few rows of weights cost less than another map
        weight = self.weight[:, :, 0, 0] * styles[:, None]  # [N, 3, C_in]
        size = x.shape[2:]
        if is_channels_last(x):  # so that the gradient is, too
            colours = torch.bmm(pixel_matrix(x), weight.transpose(1, 2))
            x = colours.view(len(x), *size, 3).permute(0, 3, 1, 2)
        else:
            x = torch.bmm(weight, x.flatten(2)).view(len(x), 3, *size)
        return bias_act(x, self.bias.to(x.dtype), act="linear", clamp=self.clamp)


# ---------------------------------------------------------------------------------------------
# The resnet architecture.


class Skip(nn.Module):
    """Plain 1x1 convolution and doubling of the size: the way around a block."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.weight_gain = 1 / math.sqrt(in_channels)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, C_in, h, h] to [N, C_out, 2h, 2h]."""
        return upsample(F.conv2d(x, self.weight * self.weight_gain))
