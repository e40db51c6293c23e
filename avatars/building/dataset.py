"""Renders on disk: shards that are written once and read as one array."""

import logging
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from editvec.avatars.drawing import codes, parameters
from editvec.avatars.drawing.render import render

_log = logging.getLogger(__name__)

SHARD_SIZE = 2000


class Renders(NamedTuple):
    """Rendered avatars.

    Attributes:
        pixels: uint8 [N, H, W, 3].
        mask: uint8 [N, H, W], label indices.
        params: float64 [N, P].
    """

    pixels: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.uint8]
    params: parameters.FloatArray


def rendered(folder: Path, *, count: int, resolution: int, seed: int) -> Renders:
    """Render `count` avatars into `folder`, or read what is there already.

    Args:
        folder: Where the shards live; made when it is missing.
        count: Avatars, a multiple of `SHARD_SIZE`.
        resolution: Pixels of a side.
        seed: Seed of the first shard; each next shard adds one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [
        (folder / f"{seed + shard}-{resolution}.npz", seed + shard, resolution)
        for shard in range(count // SHARD_SIZE)
    ]
    missing = [job for job in jobs if not job[0].exists()]
    if missing:
        context = get_context("spawn")
        with ProcessPoolExecutor(min(os.cpu_count() or 1, 8), mp_context=context) as pool:
            for done, _ in enumerate(pool.map(_write_shard, missing), start=1):
                _log.info("  rendered %d of %d", done * SHARD_SIZE, len(missing) * SHARD_SIZE)
    shards = [np.load(path) for path, _, _ in jobs]
    return Renders(*(np.concatenate([shard[name] for shard in shards]) for name in Renders._fields))


def _write_shard(job: tuple[Path, int, int]) -> None:
    path, seed, resolution = job
    params = parameters.sample(SHARD_SIZE, seed=seed)
    result = render(params, resolution)
    temporary = path.with_suffix(".partial.npz")
    np.savez(temporary, pixels=result.pixels, mask=result.mask, params=params)
    temporary.replace(path)


def as_images(pixels: npt.NDArray[np.uint8]) -> Tensor:
    """uint8 [N, H, W, 3] to float32 images [N, 3, H, W] in [-1, 1]."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def w_codes(params: parameters.AnyFloatArray) -> Tensor:
    """float32 W codes [N, W_DIM] of parameter values [N, P]."""
    return torch.from_numpy(codes.encode(params)).float()


def batches(count: int, *, size: int, seed: int, start: int = 0) -> Iterator[Tensor]:
    """Endless random index batches [size]; step `start` is the same whatever came before."""
    step = start
    while True:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        yield torch.randint(count, (size,), generator=generator)
        step += 1
