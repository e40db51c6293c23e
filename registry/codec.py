"""Deltas and latents as bytes: safetensors written and read, .npy read. Never pickle.

Header limits are checked before a library parses anything, because a header announces sizes.
"""

from __future__ import annotations

import io
import json
import stat
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from tokenize import TokenError
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from safetensors import SafetensorError

from editvec.registry.entities.vectors import FloatArray
from editvec.registry.errors import CodecError
from editvec.registry.json_fields import unique_keys

MAX_FILE_BYTES = 64 << 20
MAX_HEADER_BYTES = 1 << 20
_NPY_MAGIC = b"\x93NUMPY"
_ZIP_MAGIC = b"PK"
_PICKLE_MAGIC = b"\x80"
_FORMAT = "editvec-latent/1"


class LoadedTensor(NamedTuple):
    """The only tensor of a file, of any shape and dtype, and what safetensors says beside it."""

    array: npt.NDArray[Any]
    metadata: Mapping[str, str]


def check_delta(delta: npt.ArrayLike, *, num_ws: int, w_dim: int, of: str = "delta") -> FloatArray:
    """Returns a delta as finite float32 [num_ws, w_dim].

    Args:
        delta: any float dtype, [num_ws, w_dim] or [1, num_ws, w_dim].
        num_ws: rows that are wanted; 1 in the spaces Z and S.
        w_dim: columns that are wanted.
        of: what the message calls it.

    Raises:
        CodecError: another dtype or shape, NaN or infinity (also after float64 -> float32), or
            all zeros.
    """
    array = finite_float32(np.asarray(delta), of=of)
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    if array.shape != (num_ws, w_dim):
        axes = " (num_ws, w_dim)" if num_ws > 1 else ""
        raise CodecError(f"{of}: expected shape [{num_ws}, {w_dim}]{axes}, got {list(array.shape)}")
    if not array.any():
        raise CodecError(f"{of}: all values are zero, so it would change nothing")
    return np.ascontiguousarray(array)


def check_shape(array: npt.ArrayLike, shape: tuple[int, ...], *, of: str) -> FloatArray:
    """Returns an array as finite float32 of exactly this shape.

    Raises:
        CodecError: another dtype or shape, NaN or infinity.
    """
    checked = finite_float32(np.asarray(array), of=of)
    if checked.shape != shape:
        raise CodecError(f"{of}: expected shape {list(shape)}, got {list(checked.shape)}")
    return checked


def encode_latent(array: FloatArray) -> bytes:
    """The safetensors bytes of a delta or of ws; equal arrays give equal bytes."""
    # one metadata key only: the writer orders several of them at random
    tensors = {"latent": np.ascontiguousarray(array, dtype="<f4")}
    return safetensors.numpy.save(tensors, metadata={"format": _FORMAT})


def decode_latent(data: bytes, *, of: str = "latent") -> FloatArray:
    """The inverse of `encode_latent`.

    Raises:
        CodecError: the bytes are not ours.
    """
    return finite_float32(_load_safetensors(data, of=of).array, of=of)


def read_file(path: Path, *, of: str) -> bytes:
    """The bytes of a vector file; nothing is opened that could block or never end.

    Raises:
        CodecError: it cannot be read, is no regular file, or is too large.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise CodecError(f"{of}: expected a regular file")
        if status.st_size > MAX_FILE_BYTES:
            raise CodecError(f"{of}: larger than {MAX_FILE_BYTES >> 20} MiB")
        return path.read_bytes()
    except (OSError, ValueError) as exc:
        if isinstance(exc, CodecError):
            raise
        raise CodecError(f"{of}: {getattr(exc, 'strerror', None) or exc}") from exc


def load_tensor(data: bytes, *, of: str) -> LoadedTensor:
    """The tensor of a vector file: safetensors with one tensor, or .npy, told apart by content.

    Raises:
        CodecError: another format (pickles and zip archives are refused unopened), or damaged.
    """
    if data.startswith(_NPY_MAGIC):
        return LoadedTensor(_load_npy(data, of=of), {})
    if _looks_like_safetensors(data):
        return _load_safetensors(data, of=of)
    if data.startswith(_ZIP_MAGIC):
        raise CodecError(f"{of}: a zip archive (.npz or .pt); expected safetensors or .npy")
    if data.startswith(_PICKLE_MAGIC):
        raise CodecError(f"{of}: a pickle, which could run code; expected safetensors or .npy")
    return _load_safetensors(data, of=of)


def _load_npy(data: bytes, *, of: str) -> npt.NDArray[Any]:
    """Checks the header's promise against the bytes that are there, then reads."""
    try:
        with warnings.catch_warnings():
            # numpy tells of headers that Python 2 wrote; old direction files have them
            warnings.simplefilter("ignore", UserWarning)
            return _parse_npy(data, of=of)
    except CodecError:
        raise
    except (ValueError, TypeError, EOFError, OSError, SyntaxError, TokenError) as exc:
        raise CodecError(f"{of}: not a readable .npy file (broken header)") from exc


def _parse_npy(data: bytes, *, of: str) -> npt.NDArray[Any]:
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read_header is None:
        raise CodecError(f"{of}: .npy version {version} is not supported")
    shape, _, dtype = read_header(stream)
    if dtype.hasobject:
        raise CodecError(f"{of}: it holds Python objects (a pickle), not numbers")
    announced = dtype.itemsize
    for length in shape:
        announced *= length
    if announced != len(data) - stream.tell():
        raise CodecError(f"{of}: the header announces {announced} bytes of data, there are "
                         f"{len(data) - stream.tell()}")  # fmt: skip
    stream.seek(0)
    array: npt.NDArray[Any] = np.load(stream, allow_pickle=False)
    return array


def _load_safetensors(data: bytes, *, of: str) -> LoadedTensor:
    header = safetensors_header(data, of=of)
    names = [name for name in header if name != "__metadata__"]
    if len(names) != 1:
        raise CodecError(f"{of}: expected one tensor, got {len(names)}")
    dtype = header[names[0]].get("dtype") if isinstance(header[names[0]], dict) else None
    if dtype not in ("F16", "F32", "F64"):
        raise CodecError(f"{of}: expected dtype F16, F32 or F64, got {dtype}")
    try:
        array: npt.NDArray[Any] = safetensors.numpy.load(data)[names[0]]
    except (SafetensorError, ValueError, KeyError, TypeError) as exc:
        raise CodecError(f"{of}: not a readable safetensors file ({_brief(exc)})") from exc
    return LoadedTensor(array, header.get("__metadata__") or {})


def _looks_like_safetensors(data: bytes) -> bool:
    """Asked before any magic: a header's length may begin with the bytes of one.

    A header of 640 bytes begins like a pickle (0x80), one of 19280 bytes like a zip (PK); a
    pickle or a zip, read as a length, announces more than any header may have.
    """
    (length,) = struct.unpack("<Q", data[:8].ljust(8, b"\0"))
    return data[8:9] == b"{" and length <= MAX_HEADER_BYTES


def safetensors_header(data: bytes, *, of: str) -> dict[str, Any]:
    """The JSON header, after its announced length was compared with the limit and the file.

    Args:
        data: a whole file, or its first bytes, 8 + `MAX_HEADER_BYTES` or more.
        of: what the message calls it.

    Raises:
        CodecError: the bytes do not begin like a safetensors file.
    """
    if len(data) < 10:
        raise CodecError(f"{of}: expected safetensors or .npy, got {len(data)} bytes")
    (length,) = struct.unpack("<Q", data[:8])
    if data[8:9] != b"{":
        raise CodecError(f"{of}: neither safetensors nor .npy")
    if length > min(MAX_HEADER_BYTES, len(data) - 8):
        raise CodecError(f"{of}: the safetensors header announces {length} bytes, too many")
    try:
        header = json.loads(data[8 : 8 + length], object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as exc:
        raise CodecError(f"{of}: broken safetensors header ({_brief(exc)})") from exc
    if not isinstance(header, dict):
        raise CodecError(f"{of}: broken safetensors header (not an object)")
    return header


def finite_float32(array: npt.NDArray[Any], *, of: str) -> FloatArray:
    """An array as float32; refuses other dtypes, NaN and infinity with CodecError."""
    if array.dtype.kind != "f":
        raise CodecError(f"{of}: expected a float dtype, got {array.dtype}")
    if not np.isfinite(array).all():
        place = [int(i) for i in np.argwhere(~np.isfinite(array))[0]]
        raise CodecError(f"{of}: expected finite values, got {array[tuple(place)]} at {place}")
    with np.errstate(over="ignore", under="ignore"):
        converted: FloatArray = array.astype(np.float32)
    if not np.isfinite(converted).all():
        raise CodecError(f"{of}: a value is too large for float32")
    return converted


def _brief(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0][:200] if text else type(error).__name__
