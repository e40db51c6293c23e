"""Embeddings of annotated images, kept one by one in the training's folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from editvec.batch.editing.embeddings import networks_digest
from editvec.batch.quality.pairs import Pairs
from editvec.batch.quality.reconstruction import Errors
from editvec.batch.recipes.settings import EmbeddingMethod
from editvec.engine.editing.inversion import EmbedSettings
from editvec.engine.editing.losses import PRESETS, LossWeights
from editvec.engine.editor import Editor
from editvec.engine.images.images import to_images
from editvec.engine.training.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from editvec.registry.release import engine_version

EMBEDDINGS_FILE = "embeddings.safetensors"

_PIXELS_AT_A_TIME = 1 << 18
_MOST_AT_A_TIME = 16


class MeasuredLatents(NamedTuple):
    """Latents of images, and how well they reconstruct them.

    Attributes:
        ws: [N, num_ws, w_dim].
        psnr: In dB, [N].
        perceptual: Distance, [N]; None without a network.
        perceptual_name: Which network; None without one.
    """

    ws: Tensor
    psnr: npt.NDArray[np.float64]
    perceptual: npt.NDArray[np.float64] | None
    perceptual_name: str | None

    @property
    def errors(self) -> Errors:
        """Of the reconstructions."""
        return Errors(self.psnr, self.perceptual)


def embed_pairs(
    editor: Editor,
    pairs: Pairs,
    wanted: EmbeddingMethod,
    folder: Path,
    *,
    on_embed: Callable[[int, int], None] | None = None,
) -> MeasuredLatents:
    """Embed the images that an earlier call has not embedded.

    Args:
        editor: The class.
        pairs: The images.
        wanted: How.
        folder: Of the training; what is embedded is written after every few images.
        on_embed: Called with the images done and those of all.

    Raises:
        SettingsError: Neither an encoder nor a step of inversion.
        CheckpointError: What an earlier call has written is damaged.
    """
    key = {
        "embed": [str(wanted), wanted.space.value],
        "engine": engine_version(),
        "generator": editor.bundle.generator_digest,
        "networks": networks_digest(editor),
    }
    path = folder / EMBEDDINGS_FILE
    kept = load_checkpoint(path)
    known: dict[str, Tensor] = {}
    if kept is not None and dict(kept.settings) == key:
        known.update(kept.tensors)
    missing = [row for row, digest in enumerate(pairs.digests) if digest not in known]
    size = max(1, min(_MOST_AT_A_TIME, _PIXELS_AT_A_TIME // editor.bundle.resolution**2))
    for start in range(0, len(missing), size):
        rows = missing[start : start + size]
        known.update(_embed(editor, pairs, rows, wanted))
        save_checkpoint(path, Checkpoint(len(known), known, key))
        if on_embed is not None:
            on_embed(len(pairs.names) - len(missing) + start + len(rows), len(pairs.names))
    return _collected(editor, pairs, known)


def _embed(
    editor: Editor, pairs: Pairs, rows: list[int], wanted: EmbeddingMethod
) -> Mapping[str, Tensor]:
    """By the digest of each image: its ws, flat, then PSNR and perceptual distance."""
    images = to_images(list(pairs.pixels[rows])).to(editor.device)
    # a class without a perceptual network is embedded by squared error alone
    weights = PRESETS["embed"] if editor.perceptual is not None else LossWeights(mse_weight=1.0)
    settings = EmbedSettings(
        num_steps=wanted.num_steps,
        space=wanted.space.value,
        target=wanted.target_psnr,
        weights=weights,
    )
    result = editor.embed(images, settings)
    perceptual = result.psnr * torch.nan if result.perceptual is None else result.perceptual
    flat = torch.cat([result.ws.flatten(1), result.psnr[:, None], perceptual[:, None]], dim=1)
    return {pairs.digests[row]: one.cpu().clone() for row, one in zip(rows, flat, strict=True)}


def _collected(editor: Editor, pairs: Pairs, known: Mapping[str, Tensor]) -> MeasuredLatents:
    flat = torch.stack([known[digest] for digest in pairs.digests])
    ws = flat[:, :-2].view(len(flat), editor.bundle.num_ws, editor.bundle.w_dim)
    has_distance = editor.perceptual is not None
    return MeasuredLatents(
        ws,
        flat[:, -2].double().numpy(),
        flat[:, -1].double().numpy() if has_distance else None,
        editor.perceptual.name if editor.perceptual is not None else None,
    )
