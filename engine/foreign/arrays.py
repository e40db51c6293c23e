"""numpy's part of a pickle: dtypes, arrays and scalars, of numbers only."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

CODES = frozenset(
    {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"}
)  # fmt: skip

MAX_DIMENSIONS = 32


class DtypeRecord:
    """A dtype: its code and its byte order, which comes as its state."""

    def __init__(self, code: str, align: object = False, copy: object = True) -> None:
        if code not in CODES:
            raise ValueError(f"expected numbers, got numpy dtype {code!r}")
        self.dtype = np.dtype(code)

    def set_state(self, state: object) -> None:
        """Take the byte order: (version, order, ...)."""
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in ("<", ">", "|", "="):
            raise ValueError(f"expected a byte order, got {order!r}")
        self.dtype = self.dtype.newbyteorder("=" if order == "|" else order)


class ArrayRecord:
    """An array: empty first, then its state."""

    def __init__(self, kind: object, shape: object, code: object) -> None:
        self.array: npt.NDArray[Any] = np.empty(0)

    def set_state(self, state: object) -> None:
        """Take (version, shape, dtype, whether columns come first, bytes)."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise TypeError("expected an array's state")
        self.array = _array(state[4], state[2], state[1], "F" if state[3] else "C")


def frombuffer(content: object, dtype: object, shape: object, order: object) -> ArrayRecord:
    """An array of protocol 5."""
    record = ArrayRecord(None, None, None)
    record.array = _array(content, dtype, shape, order)
    return record


def scalar(dtype: object, content: object) -> object:
    """A number as Python has it."""
    return _array(content, dtype, (), "C").item()


def _array(content: object, dtype: object, shape: object, order: object) -> npt.NDArray[Any]:
    """A copy of the numbers in `content`."""
    if not isinstance(dtype, DtypeRecord) or not isinstance(shape, tuple):
        raise TypeError("expected an array of numbers")
    if not isinstance(content, bytes | bytearray):
        raise TypeError(f"expected an array's bytes, got {type(content).__name__}")
    if len(shape) > MAX_DIMENSIONS or not all(
        type(size) is int and 0 <= size < 1 << 63 for size in shape
    ):
        raise ValueError(f"expected an array's shape, got {shape}")
    if len(content) != math.prod(shape) * dtype.dtype.itemsize:
        raise ValueError(f"expected an array of shape {list(shape)}, got {len(content)} bytes")
    flat = np.frombuffer(content, dtype=dtype.dtype)
    return flat.reshape(shape, order="F" if order == "F" else "C").astype(
        dtype.dtype.newbyteorder("=")
    )
