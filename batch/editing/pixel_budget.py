"""Room in memory for photographs, shared by the threads that read, finish and encode them.

Pixels are counted, not photographs: a bound on the number of photographs would bound no memory,
because they may be of any size, and a machine with more cores would hold more of them.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ROOM_BYTES = 768 << 20
"""Two photographs of 24 megapixels at a time, or hundreds of small ones."""
BYTES_PER_PIXEL = 16
"""Of a photograph while it is decoded and fitted, or finished and encoded."""
_LARGE_BYTES = 64 << 20


class PixelBudget:
    """Bytes that photographs in work may take together; safe in several threads."""

    def __init__(self, size_bytes: int = ROOM_BYTES) -> None:
        """Makes an untouched budget.

        Args:
            size_bytes: for all photographs that are held at the same time; one always fits.
        """
        self._size = size_bytes
        self._taken = 0
        self._given_back = threading.Condition()

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        """Waits until there is room for a photograph, and keeps it while the block runs.

        A thread that holds some must not ask for more: it could wait for itself.

        Args:
            pixels: of the photograph.
        """
        need = min(self._size, pixels * BYTES_PER_PIXEL)
        with self._given_back:
            self._given_back.wait_for(lambda: self._taken + need <= self._size)
            self._taken += need
        try:
            yield
        finally:
            with self._given_back:
                if need >= _LARGE_BYTES:
                    _return_freed_memory()
                self._taken -= need
                self._given_back.notify_all()


def _return_freed_memory() -> None:
    """Gives the system what was freed: the C library keeps some of it for each thread."""
    if (trim := _trim()) is not None:
        trim(0)


@functools.cache
def _trim() -> Callable[[int], int] | None:
    """What the C library has for this; None where it has nothing."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
