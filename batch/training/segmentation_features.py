"""Features of embedded images, as a training of the segmentation branch reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from editvec.batch.errors import SettingsError
from editvec.engine.images.images import Pixels, to_pixels
from editvec.engine.networks.generator import Generator
from editvec.engine.shapes import block_resolutions
from editvec.engine.training.pixels import PixelFeatures

# Larger features lie in a file of the training's folder.
_MEMORY_BYTES = 1 << 28


def features_of(
    generator: Generator, ws: Tensor, folder: Path, device: str
) -> tuple[PixelFeatures, Pixels]:
    """Make the features of embedded images, and the images that the generator makes of them.

    Args:
        generator: Of the class.
        ws: [N, num_ws, w_dim].
        folder: For a file with the features, where they are large and the device is the CPU.
        device: Where the generator is.

    Returns:
        The features, and uint8 [N, H, W, 3].

    Raises:
        SettingsError: The folder cannot take them.
    """
    config = generator.config
    sizes = [size for size in block_resolutions(config.resolution) for _ in range(2)]
    shapes = [(c, size, size) for c, size in zip(config.feature_channels, sizes, strict=True)]
    num_bytes = 2 * len(ws) * sum(c * size * size for c, size, _ in shapes)
    place = folder if num_bytes > _MEMORY_BYTES else None
    try:
        features = PixelFeatures(shapes, len(ws), folder=place, device=device)
    except OSError as exc:
        raise SettingsError(
            f"work: {folder} cannot take {num_bytes / 2**30:.1f} GiB of features "
            f"({exc.strerror}); --work names another folder"
        ) from exc
    seen = np.empty((len(ws), config.resolution, config.resolution, 3), np.uint8)
    with torch.no_grad():
        for row in range(len(ws)):
            made = generator.synthesis.with_features(ws[row : row + 1].to(device))
            features.put(row, made.features)
            seen[row] = to_pixels(made.images)[0]
    return features, seen
