"""Computes a batch so that one bad input fails alone, and one that is too large is halved."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

import torch

from batch.errors import DeviceLostError

_A = TypeVar("_A")
_T = TypeVar("_T")


class Outcome(NamedTuple, Generic[_A, _T]):
    """Part of a batch with its result, or with the reason why there is none."""

    inputs: Sequence[_A]
    result: _T | None
    reason: str


def isolated(
    inputs: Sequence[_A], compute: Callable[[Sequence[_A]], _T]
) -> Iterator[Outcome[_A, _T]]:
    """Computes the inputs together; what fails together is halved until one input is left.

    Out of memory and an input that the engine refuses look alike from here: both pass when
    the batch is smaller, or belong to one input.

    Raises:
        DeviceLostError: the device itself failed, so nothing can be said about any input.
    """
    try:
        outcome = Outcome(inputs, compute(inputs), "")
    except Exception as exc:  # noqa: BLE001 (around one item of a chunk: recorded with its reason)
        _raise_if_device_lost(exc)
        outcome = Outcome(inputs, None, _describe(exc))
    if outcome.result is not None or len(inputs) == 1:
        yield outcome
        return
    _free_memory()
    middle = len(inputs) // 2
    yield from isolated(inputs[:middle], compute)
    yield from isolated(inputs[middle:], compute)


def _raise_if_device_lost(error: Exception) -> None:
    if isinstance(error, torch.AcceleratorError):
        raise DeviceLostError(f"device: it stopped working ({_first_line(error)})") from error


def _describe(error: Exception) -> str:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return "out of memory, even alone"
    return _first_line(error)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
