"""Sketches: a few bytes of a delta that tell about the angle between it and others.

A sketch holds the side of the delta on `BITS` fixed random hyperplanes (Charikar, "Similarity
Estimation Techniques from Rounding Algorithms", STOC 2002): of two deltas at the angle a, each bit
differs with the probability a / pi. In front of the bits stands a key, equal for deltas that can
be compared at all.

Measured with 100,000 deltas, the share of the 10 nearest that is among the best 200 sketches: 1.00
of deltas in clusters, 0.995 of deltas near a subspace of 64 dimensions, and 0.17 of random ones,
whose nearest are as far as any other (cosine 0.12). At equal bytes the signs beat the projections
themselves, kept as int8: of 20,000 deltas, 128 bytes of signs find 1.00, 1.00 and 0.10, of int8
1.00, 0.96 and 0.04.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from editvec.registry.entities.vectors import FloatArray

BITS = 1024
KEY_BYTES = 8
SKETCH_BYTES = KEY_BYTES + BITS // 8

_LABEL = "editvec-sketch/1"
"""Another label makes other sketches: the migration that changes it empties their table."""


def sketch_of(delta: FloatArray, *, generator_digest: str, latent_space: str) -> bytes:
    """The sketch of a delta, `SKETCH_BYTES` long.

    Args:
        delta: float32 [num_ws, w_dim], not all zeros.
        generator_digest: whose latents it changes.
        latent_space: where it lives.
    """
    flat = delta.ravel().astype(np.float64)
    unit = (flat / np.abs(flat).max()).astype(np.float32)  # no sum of it can overflow
    sides = unit @ _hyperplanes(unit.size) > 0
    return sketch_key(delta.shape, generator_digest, latent_space) + np.packbits(sides).tobytes()


def estimated_cosines(sketch: bytes, others: Sequence[bytes]) -> npt.NDArray[np.float32]:
    """About the cosine of one delta with others, by their sketches; -2 where none is defined.

    Args:
        sketch: of the one.
        others: theirs.

    Returns:
        [len(others)]; the standard deviation is sin(a) * sqrt(a * (pi - a) / 1024) at the angle a,
        so 0.05 at most.
    """
    table = np.frombuffer(b"".join(others), np.uint8).reshape(len(others), SKETCH_BYTES)
    own = np.frombuffer(sketch, np.uint8)
    words = np.ascontiguousarray(table[:, KEY_BYTES:]).view(np.uint64)
    differing = np.bitwise_count(words ^ own[KEY_BYTES:].copy().view(np.uint64)).sum(
        axis=1, dtype=np.int32
    )
    cosines: npt.NDArray[np.float32] = np.cos(differing * (np.pi / BITS)).astype(np.float32)
    cosines[(table[:, :KEY_BYTES] != own[:KEY_BYTES]).any(axis=1)] = -2.0
    return cosines


def sketch_key(shape: tuple[int, ...], generator_digest: str, latent_space: str) -> bytes:
    """What a sketch begins with: equal for deltas of one generator, space and shape.

    Only these have an angle.
    """
    content = json.dumps([generator_digest, str(latent_space), *shape])
    return hashlib.sha256(content.encode()).digest()[:KEY_BYTES]


@lru_cache(maxsize=2)
def _hyperplanes(size: int) -> npt.NDArray[np.float32]:
    """Normals of the hyperplanes, [size, BITS], of -1 and 1.

    From a hash and not from a random generator: the same for ever, on every machine. (A delta that
    lies in a hyperplane but for rounding may fall on either side of it, where machines add up in
    different orders; that changes a bit, and no result: candidates are compared exactly.)
    """
    label = f"{_LABEL} {size}x{BITS}".encode()
    bits = np.frombuffer(hashlib.shake_256(label).digest(size * BITS // 8), np.uint8)
    signs = np.unpackbits(bits).astype(np.float32)
    signs *= 2.0
    signs -= 1.0
    return signs.reshape(size, BITS)
