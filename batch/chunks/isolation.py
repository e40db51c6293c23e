"""Computes a batch so that one bad input fails alone, and one that is too large is halved."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, NamedTuple, TypeVar

import torch

from editvec.batch.errors import DeviceLostError
from editvec.engine.errors import EngineSettingsError

_A = TypeVar("_A")
_T = TypeVar("_T")


class Outcome(NamedTuple, Generic[_A, _T]):
    """Part of a batch with its result, or with the reason why there is none."""

    inputs: Sequence[_A]
    result: _T | None
    reason: str


def isolated(
    inputs: Sequence[_A],
    compute: Callable[[Sequence[_A]], _T],
    *,
    on_out_of_memory: Callable[[int], None] | None = None,
) -> Iterator[Outcome[_A, _T]]:
    """Computes the inputs together; what fails together is halved until one input is left.

    Out of memory and an input that the engine refuses pass alike when the batch is smaller, or
    belong to one input.

    Args:
        inputs: of a batch.
        compute: gives the result of some of them.
        on_out_of_memory: called with how many inputs did not fit, where they were more than one.

    Raises:
        DeviceLostError: the device itself failed, so nothing can be said about any input.
    """
    try:
        outcome = Outcome(inputs, compute(inputs), "")
    except Exception as exc:  # noqa: BLE001 (around one item of a chunk: recorded with its reason)
        _raise_if_device_lost(exc)
        outcome = Outcome(inputs, None, _describe(exc))
        if on_out_of_memory is not None and len(inputs) > 1 and _is_out_of_memory(exc):
            on_out_of_memory(len(inputs))
    if outcome.result is not None or len(inputs) == 1:
        yield outcome
        return
    _free_memory()
    middle = len(inputs) // 2
    for half in (inputs[:middle], inputs[middle:]):
        yield from isolated(half, compute, on_out_of_memory=on_out_of_memory)


@contextmanager
def needing_device() -> Iterator[None]:
    """Around what puts networks on a device: where that fails, other devices may do better.

    Raises:
        DeviceLostError: the device is not there, failed, or has no room for the networks.
    """
    try:
        yield
    except EngineSettingsError as exc:
        if str(exc).startswith("device: "):
            raise DeviceLostError(_first_line(exc)) from exc
        raise
    except RuntimeError as exc:
        if isinstance(exc, torch.OutOfMemoryError | torch.AcceleratorError):
            text = f"device: the networks cannot be loaded ({_first_line(exc)})"
            raise DeviceLostError(text) from exc
        _raise_if_device_lost(exc)
        raise


def _raise_if_device_lost(error: Exception) -> None:
    """Raises DeviceLostError if the device failed, or answers nothing since."""
    if not isinstance(error, RuntimeError):
        return
    lost = isinstance(error, torch.AcceleratorError) and not _is_out_of_memory(error)
    if not lost and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        # libraries on the device (cuBLAS, cuDNN) say in words of their own that it is dead
        try:
            torch.cuda.synchronize()
        except RuntimeError:
            lost = True
    if lost:
        raise DeviceLostError(f"device: it stopped working ({_first_line(error)})") from error


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, torch.AcceleratorError):
        return "out of memory" in str(error)
    return isinstance(error, (MemoryError, torch.OutOfMemoryError))


def _describe(error: Exception) -> str:
    if _is_out_of_memory(error):
        return "out of memory, even alone"
    return _first_line(error)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
