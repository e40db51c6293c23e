"""A small class bundle, vectors and mask pairs that fit it, for the tests of the library."""

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from sqlalchemy import inspect, text

from editvec.registry.bundles.manifest import bundle_digest_of
from editvec.registry.entities.vectors import NewMaskPair, NewVector
from editvec.registry.library.library import Library
from editvec.registry.masks.png import encode_mask

NUM_WS = 6
W_DIM = 4
RESOLUTION = 16
PARTS = ("background", "skin", "mouth", "teeth", "eye")


Run = Callable[..., str]
"""Runs a command; returns what it printed."""


class Failure(AssertionError):
    """A command that ended with another status than 0."""


def write_small_bundle(folder: Path, *, name: str = "avatars", weights: bytes = b"w1") -> Path:
    """A bundle folder; the generator digest is that of the weights."""
    folder.mkdir(parents=True)
    (folder / "generator.safetensors").write_bytes(weights)
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
        "networks": {"generator": {"file": "generator.safetensors", "config": {}}},
        "files": {
            "generator.safetensors": {
                "sha256": hashlib.sha256(weights).hexdigest(),
                "bytes": len(weights),
            }
        },
        "generator_digest": hashlib.sha256(b"generator" + weights).hexdigest(),
    }
    rewrite_manifest(folder, content)
    return folder


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
