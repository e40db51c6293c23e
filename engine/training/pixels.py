"""Single pixels of labelled images: which are drawn, and their features.

The features of every pixel of 32 images at 512 pixels are 200 GB. The maps that they are
interpolated from, in the size in which the generator makes them and in float16, are 4 GB, and may
lie in a file that the system reads by need.
"""

import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import torch
from torch import Tensor

from editvec.cuda_ext.bilinear import gather_bilinear
from editvec.engine.errors import NonFiniteError, ShapeError

# Larger values are stored as shares of a power of two.
_LARGEST = 2.0**15


class _Map(NamedTuple):
    """One feature map of all images."""

    stored: Tensor  # float16 [N, h, w, C]
    scales: Tensor  # float32 [N], on the CPU

    @property
    def size(self) -> tuple[int, int]:
        return self.stored.shape[1], self.stored.shape[2]


class PixelFeatures:
    """Native feature maps of N images in float16, read at single pixels or image by image.

    Attributes:
        count: N.
        size: Height and width of the pixels, those of the last map.
        device: Where rows and maps come out.
    """

    def __init__(
        self,
        shapes: Sequence[tuple[int, int, int]],
        count: int,
        *,
        folder: Path | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """Make room for the maps.

        Args:
            shapes: Channels, height and width of each map, coarse to fine.
            count: Images.
            folder: Keep the maps in a file in this folder, without a name, that the system reads
                by need; it is gone when the process is. None keeps them in the device's memory,
                and so does any other device than the CPU.
            device: Where to.

        Raises:
            OSError: The file cannot be written, or the disk is full.
        """
        self.count = count
        self.size = shapes[-1][1:]
        self.device = torch.device(device)
        lengths = [count * math.prod(shape) for shape in shapes]
        flat = _room(sum(lengths), folder=folder, device=self.device)
        self._maps = [
            _Map(part.view(count, height, width, channels), torch.ones(count))
            for part, (channels, height, width) in zip(
                torch.split(flat, lengths), shapes, strict=True
            )
        ]

    @classmethod
    def of_maps(cls, features: Sequence[Tensor]) -> Self:
        """Those of features that are in memory already: maps [N, C_i, h_i, w_i]."""
        shapes = [(maps.shape[1], maps.shape[2], maps.shape[3]) for maps in features]
        made = cls(shapes, len(features[0]), device=features[0].device)
        for image in range(made.count):
            made.put(image, [maps[image : image + 1].detach() for maps in features])
        return made

    @property
    def num_bytes(self) -> int:
        """Of the stored maps."""
        return sum(one.stored.numel() * one.stored.element_size() for one in self._maps)

    def put(self, image: int, features: Sequence[Tensor]) -> None:
        """Store the maps [1, C_i, h_i, w_i] of one image.

        Raises:
            ShapeError: They are others than there is room for.
            NonFiniteError: A value is NaN or infinite.
        """
        if len(features) != len(self._maps):
            raise ShapeError(f"features: expected {len(self._maps)} maps, got {len(features)}")
        for index, (one, maps) in enumerate(zip(self._maps, features, strict=True)):
            rows = maps.permute(0, 2, 3, 1)
            if rows.shape != one.stored[:1].shape:
                raise ShapeError(
                    f"features[{index}]: expected [1, C, h, w] like {list(one.stored.shape)}, "
                    f"got {list(maps.shape)}"
                )
            largest = float(maps.abs().amax())
            if not math.isfinite(largest):
                raise NonFiniteError(f"features[{index}]: expected finite values of image {image}")
            scale = 2.0 ** max(0, math.ceil(math.log2(max(largest, 1) / _LARGEST)))
            one.scales[image] = scale
            one.stored[image] = (rows[0] / scale).to(torch.float16)

    def rows(self, pixels: Tensor) -> Tensor:
        """Features of single pixels.

        The maps are interpolated before any linear layer, other than in
        `SegmentationBranch.forward`: in a training step the pixels are few and the layer is new.

        Args:
            pixels: Integers (n, y, x), [P, 3].

        Returns:
            float32 [P, D].
        """
        parts = []
        for one in self._maps:
            flat = one.stored.view(-1, one.stored.shape[3])
            rows = gather_bilinear(flat, pixels, source=one.size, target=self.size).float()
            if bool((one.scales != 1).any()):
                rows *= one.scales.to(rows.device)[pixels[:, 0]][:, None]
            parts.append(rows)
        return torch.cat(parts, dim=1)

    def maps(self, image: int) -> list[Tensor]:
        """The maps [1, C_i, h_i, w_i] of one image in float32, as the generator gave them."""
        return [
            (one.stored[image].float() * float(one.scales[image])).permute(2, 0, 1)[None]
            for one in self._maps
        ]


class PixelSampler:
    """Draws pixels by label."""

    def __init__(self, masks: Tensor, allowed: Tensor, *, label_power: float) -> None:
        """Sort the pixels by label.

        Args:
            masks: Labels, integers [N, H, W].
            allowed: Pixels that may be drawn, bool [N, H, W], at least one.
            label_power: A label is drawn in proportion to (its pixels)^label_power.
        """
        self._size = masks.shape[1:]
        chosen = allowed.flatten().nonzero()[:, 0]
        labels = masks.flatten()[chosen]
        self._order = chosen[labels.argsort(stable=True)]
        self._counts = labels.long().bincount()
        self._starts = self._counts.cumsum(0) - self._counts
        shares = self._counts.double().pow(label_power)
        self._shares = torch.where(self._counts > 0, shares, torch.zeros_like(shares))

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Pixels (n, y, x), with replacement: long [count, 3], on the generator's device."""
        label = self._shares.multinomial(count, replacement=True, generator=generator)
        uniform = torch.rand(count, generator=generator, device=label.device, dtype=torch.float64)
        offset = (uniform * self._counts[label]).long()
        picked = self._order[self._starts[label] + offset]
        height, width = self._size
        inside = picked % (height * width)
        return torch.stack([picked // (height * width), inside // width, inside % width], dim=1)


def _room(length: int, *, folder: Path | None, device: torch.device) -> Tensor:
    """float16 [length], in a file or in memory."""
    if folder is None or device.type != "cpu":
        return torch.empty(length, dtype=torch.float16, device=device)
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".f16") as file:
        # all of it now: a disk that is full later would end the process, without a word
        os.posix_fallocate(file.fileno(), 0, 2 * length)
        return torch.from_file(file.name, shared=True, size=length, dtype=torch.float16)
