"""How well a class reconstructs images: by its encoder, by inversion, by both."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from editvec.engine.editing.inversion import EmbedSettings, invert, reconstruction_error
from editvec.engine.editing.losses import PRESETS, LossWeights, Networks
from editvec.engine.images.images import Pixels, to_images, to_pixels
from editvec.engine.networks.encoder import Encoder, encode
from editvec.engine.networks.generator import Generator
from editvec.engine.networks.perceptual import PerceptualDistance

BATCH = 16
LONGER = (1, 2, 4)  # times as many steps for inversion alone


class Errors(NamedTuple):
    """Errors of reconstructions.

    Attributes:
        psnr: dB, [N].
        perceptual: [N]; None without a perceptual network.
    """

    psnr: npt.NDArray[np.float64]
    perceptual: npt.NDArray[np.float64] | None

    @property
    def badness(self) -> npt.NDArray[np.float64]:
        """One number for each, higher for worse: perceptual distance times RMS error.

        Without a perceptual network it is the mean squared error.
        """
        rms = 10 ** (-self.psnr / 20)
        found: npt.NDArray[np.float64] = rms * (rms if self.perceptual is None else self.perceptual)
        return found


class WayToEmbed(NamedTuple):
    """One way to embed, measured; a row of a table.

    Attributes:
        way: In words.
        psnr: Mean, in dB.
        perceptual: Mean; None without a perceptual network.
        seconds: For an image, on the wall.
    """

    way: str
    psnr: float
    perceptual: float | None
    seconds: float


def encoding_errors(
    generator: Generator,
    encoder: Encoder | None,
    images: Iterator[Tensor],
    *,
    perceptual: PerceptualDistance | None,
) -> Errors:
    """Errors of what the encoder alone makes of images.

    Args:
        generator: Frozen.
        encoder: In eval mode; None stands for the average image, which sees nothing.
        images: Batches [n, 3, H, W] in [-1, 1] on the generator's device.
        perceptual: None leaves it out.
    """
    networks = Networks(generator.synthesis, perceptual=perceptual)
    psnrs, distances = [], []
    for batch in images:
        with torch.no_grad():
            if encoder is None:
                ws = generator.w_avg.expand(len(batch), generator.config.num_ws, -1)
            else:
                ws = encode(encoder, generator.synthesis, batch)
        distance, psnr = reconstruction_error(networks, batch, ws)
        psnrs.append(psnr)
        if distance is not None:
            distances.append(distance)
    return Errors(
        torch.cat(psnrs).double().cpu().numpy(),
        torch.cat(distances).double().cpu().numpy() if distances else None,
    )


def batches_of(pixels: Pixels, device: torch.device | str) -> Iterator[Tensor]:
    """Pictures uint8 [N, H, W, 3], read by need, as images on a device."""
    for start in range(0, len(pixels), BATCH):
        yield to_images(list(np.asarray(pixels[start : start + BATCH]))).to(device)


def compare_embeddings(
    networks: Networks, images: Tensor, *, w_avg: Tensor, num_steps: int
) -> list[WayToEmbed]:
    """Embed the same images by the encoder, with inversion after it, and by inversion alone.

    Args:
        networks: Frozen; without an encoder only inversion is compared.
        images: [N, 3, H, W] in [-1, 1].
        w_avg: [w_dim].
        num_steps: Of inversion after the encoder; inversion alone makes also 2 and 4 times as many.
    """
    weights = PRESETS["embed"]
    if networks.perceptual is None:
        weights = LossWeights(mse_weight=weights.mse_weight)
    bare = networks._replace(encoder=None)
    ways = [(f"w_avg + {times * num_steps} steps", bare, times * num_steps) for times in LONGER]
    if networks.encoder is not None:
        ways = [
            ("encoder", networks, 0),
            (f"encoder + {num_steps} steps", networks, num_steps),
            *ways,
        ]
    rows = []
    for way, used, steps in ways:
        settings = EmbedSettings(num_steps=steps, weights=weights)
        started = time.monotonic()
        found = [
            invert(used, part, w_avg=w_avg, settings=settings)
            for part in torch.split(images, BATCH)
        ]
        seconds = (time.monotonic() - started) / len(images)
        distances = [one.perceptual for one in found if one.perceptual is not None]
        rows.append(
            WayToEmbed(
                way,
                float(torch.cat([one.psnr for one in found]).mean()),
                float(torch.cat(distances).mean()) if distances else None,
                seconds,
            )
        )
    return rows


def embedding_table(rows: Sequence[WayToEmbed], perceptual_name: str) -> str:
    """The ways to embed, one in a row."""
    from editvec.registry.text_tables import format_table

    headers = ["embedded by", "PSNR dB", perceptual_name, "seconds an image"]
    cells = [
        (
            row.way,
            f"{row.psnr:.2f}",
            "" if row.perceptual is None else f"{row.perceptual:.4f}",
            f"{row.seconds:.3f}",
        )
        for row in rows
    ]
    return format_table(headers, cells)


def reconstructed_beside(generator: Generator, encoder: Encoder, images: Tensor) -> Pixels:
    """Images and, below them, their reconstructions: uint8 [2 * N, H, W, 3]."""
    with torch.no_grad():
        found = generator.synthesis(encode(encoder, generator.synthesis, images))
    return np.concatenate([to_pixels(images), to_pixels(found)])
