"""Files in, files out: what the `engine` commands do, as functions."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from editvec.engine.editing.inversion import EmbedSettings
from editvec.engine.editor import Editor
from editvec.engine.errors import EngineCompatibilityError, EngineSettingsError
from editvec.engine.images.images import (
    encode_mask,
    encode_png,
    fit_pixels,
    read_image,
    to_images,
    to_pixels,
)
from editvec.engine.shapes import check_finite
from editvec.outputs import OutputFile

BATCH_SIZE = 16
MAX_DELTA_BYTES = 64 * 2**20


def read_delta(path: Path, *, num_ws: int, w_dim: int) -> Tensor:
    """Read one delta.

    Args:
        path: A safetensors file with one tensor, or a .npy file; [num_ws, w_dim], also with a
            leading 1.
        num_ws: Rows to expect.
        w_dim: Columns to expect.

    Returns:
        float32 [num_ws, w_dim].

    Raises:
        CompatibilityError: The file holds no delta of this shape.
        NonFiniteError: It holds NaN or infinity.
    """
    if path.stat().st_size > MAX_DELTA_BYTES:
        raise EngineCompatibilityError(f"{path.name}: too large for a delta")
    try:
        if path.suffix == ".npy":
            delta = torch.from_numpy(np.load(path, allow_pickle=False).astype(np.float32))
        else:
            tensors = list(safetensors.torch.load_file(path).values())
            if len(tensors) != 1:
                raise EngineCompatibilityError(
                    f"{path.name}: expected one tensor, got {len(tensors)}"
                )
            delta = tensors[0].float()
    except (ValueError, EOFError, TypeError, safetensors.SafetensorError) as exc:
        if isinstance(exc, EngineCompatibilityError):
            raise
        raise EngineCompatibilityError(f"{path.name}: expected safetensors or .npy: {exc}") from exc
    if tuple(delta.shape) not in {(num_ws, w_dim), (1, num_ws, w_dim)}:
        raise EngineCompatibilityError(
            f"{path.name}: expected a delta [{num_ws}, {w_dim}], got {list(delta.shape)}"
        )
    check_finite(delta, name=path.name)
    return delta.reshape(num_ws, w_dim)


def write_samples(
    editor: Editor,
    folder: Path | OutputFile,
    *,
    count: int,
    seed: int,
    truncation_psi: float = 1.0,
) -> Iterator[Path]:
    """Sample images and write them, with their masks where the bundle can segment.

    Args:
        editor: The bundle.
        folder: Where `00000.png` and `00000.mask.png` go; made when it is not there. Files of
            others are not replaced.
        count: How many.
        seed: The same seed gives the same images.
        truncation_psi: 1 is none, 0 is the average image.

    Yields:
        Each image's path after it was written.

    Raises:
        OutputError: A file of others has one of the names, before the first is written.
    """
    out = folder if isinstance(folder, OutputFile) else OutputFile(folder)
    pictures = [replace(out, path=out.path / f"{index:05d}.png") for index in range(count)]
    if editor.segmentation is None:
        files = pictures
    else:
        files = [*pictures, *map(_mask_beside, pictures)]
    for file in files:
        file.check(makes_folder=True)
    colors = [label.color for label in editor.bundle.labels]
    for first in range(0, count, BATCH_SIZE):
        size = min(BATCH_SIZE, count - first)
        ws = editor.sample(size, seed, truncation_psi, first=first)
        masks: Sequence[Tensor | None] = [None] * size
        if editor.segmentation is None:
            images = editor.synthesize(ws)
        else:
            images, mask, _ = editor.synthesize_with_mask(ws)
            masks = list(mask.cpu())
        for index, (pixels, labels) in enumerate(zip(to_pixels(images), masks, strict=True)):
            picture = pictures[first + index]
            if labels is not None:
                data = encode_mask(labels.numpy(), colors=colors)
                _mask_beside(picture).write(data, makes_folder=True)
            picture.write(encode_png(pixels), makes_folder=True)
            yield picture.path


def _mask_beside(picture: OutputFile) -> OutputFile:
    return replace(picture, path=picture.path.with_suffix(".mask.png"))


def edit_file(
    editor: Editor,
    source: Path,
    target: Path | OutputFile,
    *,
    delta: Tensor,
    scale: float,
    settings: EmbedSettings | None = None,
) -> float:
    """Embed one picture, add a scaled delta, and write the generator's picture of it.

    Args:
        editor: The bundle.
        source: A picture; it is stretched to the generator's square.
        target: The PNG to write; a file of others is not replaced.
        delta: [num_ws, w_dim].
        scale: How far along the delta.
        settings: How to embed; None is the default.

    Returns:
        PSNR of the embedding in dB: how well the generator knows the picture.

    Raises:
        ImageError: The picture cannot be read.
        SettingsError: Source and target are the same file.
        OutputError: The target cannot be written, or is a file of others.
    """
    out = checked_target(source, target)
    pixels = fit_pixels(read_image(source), editor.bundle.resolution)
    embedded = editor.embed(to_images([pixels]).to(editor.device), settings)
    scales = torch.tensor([scale], device=editor.device)
    ws = editor.apply(embedded.ws, delta[None].to(editor.device), scales)
    out.write(encode_png(to_pixels(editor.synthesize(ws))[0]))
    return float(embedded.psnr[0])


def checked_target(source: Path, target: Path | OutputFile) -> OutputFile:
    """Where an edited picture goes.

    Raises:
        SettingsError: Source and target are the same file.
        OutputError: The target cannot be written, or is a file of others.
    """
    out = target if isinstance(target, OutputFile) else OutputFile(target)
    if out.path.exists() and out.path.samefile(source):
        raise EngineSettingsError(f"target: expected another file than the source, got {out}")
    out.check()
    return out
