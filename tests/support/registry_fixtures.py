"""A small class bundle, vectors and mask pairs that fit it, for the tests of the library."""

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from PIL import Image
from sqlalchemy import inspect, text

from editvec.registry.bundles.manifest import bundle_digest_of
from editvec.registry.entities.vectors import NewMaskPair, NewVector
from editvec.registry.library.library import Library
from editvec.registry.masks.png import encode_mask

NUM_WS = 6
W_DIM = 4
RESOLUTION = 16
CONFIG = {
    "resolution": RESOLUTION,
    "z_dim": W_DIM,
    "w_dim": W_DIM,
    "channel_base": 64,
    "channel_max": 4,
    "mapping_layers": 1,
    "conv_clamp": None,
}
"""Of the small bundle's generator."""

PARTS = ("background", "skin", "mouth", "teeth", "eye")


Run = Callable[..., str]
"""Runs a command; returns what it printed."""


class Failure(AssertionError):
    """A command that ended with another status than 0."""


def write_small_bundle(folder: Path, *, name: str = "avatars", weights: bytes = b"w1") -> Path:
    """A bundle folder of a generator that can be built; `weights` seeds its numbers."""
    folder.mkdir(parents=True)
    tensors = _small_generator(weights)
    content_of_file = safetensors.numpy.save(tensors)
    (folder / "generator.safetensors").write_bytes(content_of_file)
    content: dict[str, Any] = {
        "format": "editvec-bundle",
        "format_version": 1,
        "class_name": name,
        "description": "a class for tests",
        "license": "Apache-2.0",
        "resolution": RESOLUTION,
        "num_ws": NUM_WS,
        "w_dim": W_DIM,
        "z_dim": W_DIM,
        "valid_rectangle": [0, 0, RESOLUTION, RESOLUTION],
        "labels": [
            {"index": index, "name": part, "color": [index * 10, 0, 255 - index]}
            for index, part in enumerate(PARTS)
        ],
        "networks": {"generator": {"file": "generator.safetensors", "config": CONFIG}},
        "files": {
            "generator.safetensors": {
                "sha256": hashlib.sha256(content_of_file).hexdigest(),
                "bytes": len(content_of_file),
            }
        },
        "generator_digest": _digest_of_tensors(tensors),
        "built": {},
    }
    rewrite_manifest(folder, content)
    return folder


def _small_generator(seed: bytes) -> dict[str, npt.NDArray[np.float32]]:
    """Tensors of a StyleGAN2 generator of 16 pixels with 4 channels everywhere."""
    random = np.random.default_rng(list(seed))
    shapes: dict[str, tuple[int, ...]] = {
        "mapping.w_avg": (4,),
        "mapping.fc0.weight": (4, 4),
        "mapping.fc0.bias": (4,),
        "synthesis.b4.const": (4, 4, 4),
    }
    for size, layer in ((4, "conv1"), (8, "conv0"), (8, "conv1"), (16, "conv0"), (16, "conv1")):
        shapes |= {
            f"synthesis.b{size}.{layer}.weight": (4, 4, 3, 3),
            f"synthesis.b{size}.{layer}.bias": (4,),
            f"synthesis.b{size}.{layer}.noise_strength": (),
            f"synthesis.b{size}.{layer}.noise_const": (size, size),
        }
    for size in (4, 8, 16):
        shapes |= {
            f"synthesis.b{size}.torgb.weight": (3, 4, 1, 1),
            f"synthesis.b{size}.torgb.bias": (3,),
        }
    for layer in [name.rpartition(".")[0] for name in shapes if name.startswith("synthesis.b")]:
        if layer[-5:] in ("conv0", "conv1", "torgb"):
            shapes |= {f"{layer}.affine.weight": (4, 4), f"{layer}.affine.bias": (4,)}
    return {
        name: np.asarray(random.normal(size=shape), dtype=np.float32)
        for name, shape in shapes.items()
    }


def _digest_of_tensors(tensors: dict[str, npt.NDArray[np.float32]]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        header = [name, "float32", list(tensors[name].shape)]
        digest.update(json.dumps(header, separators=(",", ":")).encode() + b"\n")
        digest.update(tensors[name].astype("<f4").tobytes())
    return digest.hexdigest()


def rewrite_manifest(folder: Path, content: dict[str, Any]) -> None:
    """Writes bundle.json with the digest that its content has."""
    content["bundle_digest"] = bundle_digest_of(content)
    (folder / "bundle.json").write_text(json.dumps(content))


def random_delta(seed: int = 0) -> npt.NDArray[np.float32]:
    """A delta that fits the small bundle."""
    return np.random.default_rng(seed).normal(size=(NUM_WS, W_DIM)).astype(np.float32)


def new_vector(name: str = "smile", **changes: Any) -> NewVector:
    """A vector's record that fits the small bundle."""
    values: dict[str, Any] = {"class_name": "avatars", "roi_labels": ("mouth", "teeth")}
    return NewVector(name=name, **{**values, **changes})


def mask_pair(labels: Any, *, size: int = RESOLUTION) -> NewMaskPair:
    """A mask pair that fits the small bundle."""
    stream = io.BytesIO()
    Image.new("RGB", (size, size), (200, 150, 100)).save(stream, format="PNG")
    before = np.zeros((size, size), np.uint8)
    after = before.copy()
    after[4:8, 4:8] = 2
    return NewMaskPair(
        image_png=stream.getvalue(),
        mask_before_png=encode_mask(before, labels),
        mask_after_png=encode_mask(after, labels),
        source_ws=random_delta(9),
    )


def contents(library: Library) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, and every blob's digest: what must not change."""
    tables = {"blobs": [(digest,) for digest in sorted(library.blobs.digests())]}
    with library.engine.connect() as connection:
        for name in sorted(inspect(connection).get_table_names()):
            rows = connection.execute(text(f"SELECT * FROM {name}"))
            tables[name] = sorted((tuple(row) for row in rows), key=repr)
    return tables
