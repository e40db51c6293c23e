"""The safetensors files of a bundle, checked without a network: each number is there, once, finite.

Only the engine knows what the numbers mean: see `load_bundle` there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeGuard

import numpy as np

from editvec.registry.codec import MAX_HEADER_BYTES, safetensors_header
from editvec.registry.errors import BundleFormatError, CodecError

MAX_DIMENSIONS = 8
BLOCK_BYTES = 8 << 20
BYTES = {"F16": 2, "BF16": 2, "F32": 4, "I64": 8}
"""Bytes of a number by the dtypes that weights have; I64 counts the batches of a training."""


class _Tensor(NamedTuple):
    """Where a tensor is in its file, from the end of the header on."""

    start: int
    end: int
    name: str
    dtype: str


def check_weights(path: Path, *, of: str) -> None:
    """Refuses a file of weights that is no safetensors, or holds what cannot be computed with.

    Args:
        path: a regular file.
        of: what messages call it.

    Raises:
        BundleFormatError: names the tensor, what was expected and what came.
    """
    with path.open("rb") as file:
        head = file.read(8 + MAX_HEADER_BYTES)
        if head[8:9] != b"{":
            raise BundleFormatError(f"{of}: expected a safetensors file, got something else")
        try:
            header = safetensors_header(head, of=of)
        except CodecError as exc:
            raise BundleFormatError(str(exc)) from exc
        begin = 8 + int.from_bytes(head[:8], "little")
        tensors = sorted(_tensor(name, entry, of=of) for name, entry in _entries(header))
        place = 0
        for tensor in tensors:
            if tensor.start != place:
                raise BundleFormatError(
                    f"{of}: {tensor.name}: expected its bytes from {place} on, after those of the "
                    f"tensor before, got {tensor.start}"
                )
            place = tensor.end
        there = path.stat().st_size - begin
        if not tensors or place != there:
            raise BundleFormatError(f"{of}: expected {place} bytes of tensors, got {there}")
        for tensor in tensors:
            _require_finite(file, begin, tensor, of=of)


def _entries(header: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((name, entry) for name, entry in header.items() if name != "__metadata__")


def _tensor(name: str, entry: object, *, of: str) -> _Tensor:
    """One entry of the header, whose offsets fit its shape."""
    what = f"{of}: {name:.100}"
    if not isinstance(entry, dict):
        raise BundleFormatError(f"{what}: expected dtype, shape and offsets, got {entry!r:.80}")
    dtype, shape, offsets = (entry.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or dtype not in BYTES:
        raise BundleFormatError(f"{what}: expected dtype {', '.join(BYTES)}, got {dtype!r:.80}")
    if not _are_sizes(shape) or len(shape) > MAX_DIMENSIONS:
        raise BundleFormatError(f"{what}: expected a shape, got {shape!r:.80}")
    if not _are_sizes(offsets) or len(offsets) != 2:
        raise BundleFormatError(f"{what}: expected two offsets, got {offsets!r:.80}")
    size = math.prod(shape) * BYTES[dtype]
    if offsets[1] - offsets[0] != size:
        raise BundleFormatError(
            f"{what}: expected {size} bytes for {dtype} {shape}, got offsets {offsets}"
        )
    return _Tensor(offsets[0], offsets[1], name, dtype)


def _are_sizes(values: object) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(
        type(value) is int and 0 <= value < 1 << 48 for value in values
    )


def _require_finite(file: IO[bytes], begin: int, tensor: _Tensor, *, of: str) -> None:
    """Reads the numbers a block at a time."""
    if tensor.dtype == "I64":
        return
    file.seek(begin + tensor.start)
    left = tensor.end - tensor.start
    while left:
        block = file.read(min(left, BLOCK_BYTES))
        if not block:
            raise BundleFormatError(f"{of}: it became shorter while it was read")
        left -= len(block)
        if tensor.dtype == "BF16":
            # the upper half of a float32: all bits of the exponent set is infinity or NaN
            is_finite = bool(((np.frombuffer(block, "<u2") & 0x7F80) != 0x7F80).all())
        else:
            code = f"<f{BYTES[tensor.dtype]}"
            is_finite = bool(np.isfinite(np.frombuffer(block, code)).all())
        if not is_finite:
            raise BundleFormatError(
                f"{of}: {tensor.name:.100}: expected finite weights, got NaN or infinity"
            )
