"""StyleGAN2 after the papers' equations, on variables as the TensorFlow program names and lays
them out; float64, one sample at a time, nothing shared with the engine.

Convolution weights are [kh, kw, in, out] and meant for correlation with an image: the up-sampling
convolution puts zeros between the pixels, correlates, and filters. Weights are scaled at run time
by 1/sqrt(number of inputs); weight and bias of the mapping by the learning rate multiplier too.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

Array = npt.NDArray[np.float32]

TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64) / 8


@dataclass
class Reference:
    """A generator; `variables` are those of Gs and, with their paths, of its components."""

    variables: Mapping[str, Array]
    resolution: int
    architecture: str = "skip"
    conv_clamp: float | None = None
    lrmul: float = 0.01
    features: list[Tensor] = field(default_factory=list)

    def __getitem__(self, path: str) -> Tensor:
        return torch.from_numpy(np.asarray(self.variables[path], dtype=np.float64))

    # Mapping.

    def mapping(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """z [N, z_dim], label [labels] -> w [N, w_dim]."""
        x = z.double()
        if label is not None and "mapping/LabelConcat/weight" in self.variables:
            y = label.double() @ self["mapping/LabelConcat/weight"]
            x = torch.cat([x, y.expand(len(x), -1)], dim=1)
        x = self._normalised(x)
        if label is not None and "mapping/LabelEmbed/weight" in self.variables:
            weight = self["mapping/LabelEmbed/weight"]
            y = label.double() @ weight / math.sqrt(weight.shape[0])
            y = self._normalised((y + self["mapping/LabelEmbed/bias"])[None])
            x = torch.cat([x, y.expand(len(x), -1)], dim=1)
        index = 0
        while f"mapping/Dense{index}/weight" in self.variables:
            weight = self[f"mapping/Dense{index}/weight"]
            x = x @ weight * (self.lrmul / math.sqrt(weight.shape[0]))
            x = self._activated(x + self[f"mapping/Dense{index}/bias"] * self.lrmul)
            index += 1
        return x

    @staticmethod
    def _normalised(x: Tensor) -> Tensor:
        return x / torch.sqrt((x * x).mean(dim=1, keepdim=True) + 1e-8)

    @staticmethod
    def _activated(x: Tensor) -> Tensor:
        return torch.where(x < 0, 0.2 * x, x) * math.sqrt(2)

    # Synthesis.

    def synthesis(self, ws: Tensor) -> Tensor:
        """ws [N, num_ws, w_dim] -> images [N, 3, H, W]; `features` then holds every layer's."""
        samples = [self._sample(rows.double()) for rows in ws]
        self.features = [torch.stack(maps) for maps in zip(*(s[1] for s in samples), strict=True)]
        return torch.stack([image for image, _ in samples])

    def _sample(self, ws: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = self["synthesis/4x4/Const/const"][0]
        features = [x]
        x = self._layer(x, ws[0], "synthesis/4x4/Conv", noise=0)
        features.append(x)
        image = None
        if self.architecture == "skip":
            image = self._colours(x, ws[1], 4)
        for block in range(1, int(math.log2(self.resolution)) - 1):
            size = 4 * 2**block
            before = x
            path = f"synthesis/{size}x{size}"
            x = self._layer(x, ws[2 * block - 1], f"{path}/Conv0_up", noise=2 * block - 1, up=True)
            features.append(x)
            x = self._layer(x, ws[2 * block], f"{path}/Conv1", noise=2 * block)
            if self.architecture == "resnet":
                weight = self[f"{path}/Skip/weight"]
                around = self._up_convolved(before, weight / math.sqrt(weight.shape[2]))
                x = (x + around) / math.sqrt(2)
            features.append(x)
            if self.architecture == "skip" or size == self.resolution:
                colours = self._colours(x, ws[2 * block + 1], size)
                image = colours if image is None else self._doubled(image) + colours
        assert image is not None
        return image, features

    def _layer(self, x: Tensor, w: Tensor, path: str, *, noise: int, up: bool = False) -> Tensor:
        weight = self._modulated(path, w)
        weight = weight / torch.sqrt((weight * weight).sum(dim=(0, 1, 2), keepdim=True) + 1e-8)
        x = self._up_convolved(x, weight) if up else self._convolved(x, weight, padding=1)
        strength = f"{path}/noise_strength"
        if strength in self.variables:
            x = x + self[f"synthesis/noise{noise}"][0, 0] * self[strength]
        return self._clamped(self._activated(x + self[f"{path}/bias"][:, None, None]))

    def _colours(self, x: Tensor, w: Tensor, size: int) -> Tensor:
        path = f"synthesis/{size}x{size}/ToRGB"
        x = self._convolved(x, self._modulated(path, w), padding=0)
        return self._clamped(x + self[f"{path}/bias"][:, None, None])

    def _modulated(self, path: str, w: Tensor) -> Tensor:
        """The weight [kh, kw, in, out], scaled by 1/sqrt(inputs) and by the style."""
        dense, weight = self[f"{path}/mod_weight"], self[f"{path}/weight"]
        style = w @ dense / math.sqrt(len(dense)) + self[f"{path}/mod_bias"] + 1
        inputs = weight.shape[0] * weight.shape[1] * weight.shape[2]
        return weight / math.sqrt(inputs) * style[None, None, :, None]

    def _clamped(self, x: Tensor) -> Tensor:
        return x if self.conv_clamp is None else x.clamp(-self.conv_clamp, self.conv_clamp)

    # Convolutions of one sample [C, H, W].

    @staticmethod
    def _convolved(x: Tensor, weight: Tensor, *, padding: int) -> Tensor:
        return F.conv2d(x[None], weight.permute(3, 2, 0, 1), padding=padding)[0]

    def _up_convolved(self, x: Tensor, weight: Tensor) -> Tensor:
        """Zeros between the pixels, correlation, low-pass filter."""
        spread = self._convolved(self._spread(x), weight, padding=len(weight) - 1)
        return self._filtered(spread, size=2 * x.shape[1])

    def _doubled(self, x: Tensor) -> Tensor:
        return self._filtered(self._spread(x), size=2 * x.shape[1])

    @staticmethod
    def _spread(x: Tensor) -> Tensor:
        """[C, H, W] -> [C, 2H-1, 2W-1]."""
        channels, height, width = x.shape
        spread = x.new_zeros(channels, 2 * height - 1, 2 * width - 1)
        spread[:, ::2, ::2] = x
        return spread

    @staticmethod
    def _filtered(x: Tensor, *, size: int) -> Tensor:
        """[1, 3, 3, 1] with gain 4, centred on the doubled grid of `size` pixels."""
        missing = size + 3 - x.shape[1]
        before = (missing + 1) // 2
        padded = F.pad(x, (before, missing - before, before, missing - before))
        kernel = torch.outer(TAPS, TAPS)[None, None] * 4
        return F.conv2d(padded[:, None], kernel)[:, 0]
