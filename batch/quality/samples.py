"""How good the samples of a generator are while it is trained: KID, FID, and grids to look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from editvec.engine.images.images import Pixels, to_images, to_pixels, write_png
from editvec.engine.metrics.distribution import (
    FeatureNetwork,
    features_of,
    frechet_distance,
    kernel_distance,
    standardised,
)
from editvec.engine.networks.generator import Generator
from editvec.engine.training.generator import grid_latents
from editvec.engine.training.loop import read_log

GRID_SIDE = 8  # pictures in a row of a grid
GRID_PIXELS = 4096  # no grid is wider
SAMPLE_BATCH = 16


class SampleQuality:
    """Compares the samples of a generator with photographs, always the same latents and files.

    Attributes:
        columns: Pictures in a row of a grid, and rows.
    """

    def __init__(
        self,
        network: FeatureNetwork,
        photographs: Pixels,
        *,
        folder: Path,
        count: int,
        seed: int,
        fid: bool = False,
        device: str,
    ) -> None:
        """Take the features of the photographs.

        Args:
            network: What images are compared by; its features are standardised on them.
            photographs: uint8 [N, H, W, 3], read by need.
            folder: Where grids are written.
            count: Samples to compare with as many photographs, if there are as many.
            seed: Of the latents.
            fid: Measure FID as well.
            device: Where the generator and `network` are.
        """
        self._device = device
        self._folder = folder
        self._seed = seed
        self._fid = fid
        self._pixels = photographs
        self._count = min(count, len(photographs))
        # evenly spread over the files, which may be in some order
        self._chosen = np.linspace(0, len(photographs) - 1, self._count).round().astype(int)
        self.columns = max(2, min(GRID_SIDE, GRID_PIXELS // photographs.shape[1]))
        self._network = standardised(network, features_of(self._photographs(), network))
        self._reference = features_of(self._photographs(), self._network)

    def measure(self, generator: Generator, images: int) -> dict[str, Any]:
        """KID, and FID where it is wanted; draws a grid of samples, named by `images`.

        Returns:
            `kid`, `fid`, the name of the `network`, and how many samples were `measured`.
        """
        shown = self.columns**2
        if images == 0:
            self._draw("photographs", self._pixels[self._chosen[:shown]])
        z = grid_latents(max(self._count, shown), generator.config.z_dim, seed=self._seed)
        grid: list[Pixels] = []

        def samples() -> Iterator[Tensor]:
            for part in torch.split(z, SAMPLE_BATCH):
                with torch.no_grad():
                    made = generator(part.to(self._device))
                if len(grid) < shown:
                    grid.extend(to_pixels(made))
                yield made

        features = features_of(samples(), self._network)[: self._count]
        self._draw(f"{images:06d}", np.stack(grid[:shown]))
        measured: dict[str, Any] = {
            "kid": kernel_distance(features, self._reference),
            "network": self._network.name,
            "measured": self._count,
        }
        if self._fid:
            measured["fid"] = frechet_distance(features, self._reference)
        return measured

    def distance(self, pixels: Pixels) -> float:
        """KID of other pictures, uint8 [N, H, W, 3], by the same network and photographs."""
        parts = (pixels[start:stop] for start, stop in _spans(len(pixels)))
        features = features_of((self._images(part) for part in parts), self._network)
        return kernel_distance(features, self._reference)

    def _photographs(self) -> Iterator[Tensor]:
        for start, stop in _spans(self._count):
            yield self._images(self._pixels[self._chosen[start:stop]])

    def _images(self, pixels: Pixels) -> Tensor:
        return to_images(list(pixels)).to(self._device)

    def _draw(self, name: str, pixels: Pixels) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        write_png(self._folder / f"{name}.png", grid_of(pixels, columns=self.columns))


def grid_of(pixels: Pixels, *, columns: int) -> Pixels:
    """Pictures [N, H, W, 3] side by side; places without one are black."""
    count, height, width, _ = pixels.shape
    rows = -(-count // columns)
    full = np.zeros((rows * columns, height, width, 3), np.uint8)
    full[:count] = pixels
    tiled = full.reshape(rows, columns, height, width, 3).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(tiled.reshape(rows * height, columns * width, 3))


def read_curve(folder: Path) -> list[dict[str, Any]]:
    """The measurements of the training in a folder so far, in order; see `SampleQuality`."""
    return [entry for entry in read_log(folder) if "kid" in entry]


def _spans(count: int) -> Iterator[tuple[int, int]]:
    for start in range(0, count, SAMPLE_BATCH):
        yield start, min(start + SAMPLE_BATCH, count)
