"""How a process that computes is told to stop: after the images in work; told again, at once."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

STOP_SECONDS = 60
"""What is not finished this long after the first request is given up."""
_SAME_REQUEST_SECONDS = 1.0


class StopRequest:
    """Whether this process was told to stop; look at it where stopping loses nothing."""

    def __init__(self) -> None:
        self._told_at: float | None = None

    @property
    def is_made(self) -> bool:
        """True once TERM came."""
        return self._told_at is not None

    def listen(self) -> None:
        """Takes TERM from now on. Call it in the main thread, any number of times."""
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGALRM, _leave)

    def _on_term(self, number: int, frame: object) -> None:
        # a group is often told as a whole, and its parent tells its children once more
        if self._told_at is None:
            self._told_at = time.monotonic()
            signal.alarm(STOP_SECONDS)
        elif time.monotonic() - self._told_at > _SAME_REQUEST_SECONDS:
            _leave(number, frame)


class _Leaving:
    """Of this process: what must not be interrupted, and whether an interruption waits for it."""

    depth = 0
    is_due = False


@contextmanager
def undisturbed() -> Iterator[None]:
    """Puts off an interruption by a second request to stop. Use it in the main thread.

    Giving back what is held is what an interruption is for: a third request, or a second one that
    comes while the first is being answered, must not end it half way.

    Raises:
        SystemExit: at the end, if an interruption was put off.
    """
    _Leaving.depth += 1
    try:
        yield
    finally:
        _Leaving.depth -= 1
        if _Leaving.is_due and _Leaving.depth == 0:
            _Leaving.is_due = False
            _leave()


def _leave(_number: int = signal.SIGTERM, _frame: object = None) -> None:
    """Unwinds the main thread, which gives back what it holds."""
    if _Leaving.depth:
        _Leaving.is_due = True
    else:
        raise SystemExit(128 + signal.SIGTERM)
