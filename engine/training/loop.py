"""The loop that every training of the engine runs in: resumable, logged, with its time left.

A folder holds the training: `state.safetensors` (see `checkpoints`), `log.jsonl` with one JSON
object per step, and `lock`. The same call after a kill goes on where the last state was written;
since all randomness comes from the seed and the step (see `chance`), it ends where an undisturbed
one ends.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TextIO

import torch
from torch import Tensor, nn

from editvec.engine.errors import CheckpointError, DivergedError, OutOfMemoryError
from editvec.engine.training.checkpoints import (
    Checkpoint,
    check_settings,
    load_checkpoint,
    save_checkpoint,
)
from editvec.whole_files import write_whole

STATE_FILE = "state.safetensors"
LOG_FILE = "log.jsonl"
LOCK_FILE = "lock"

_DIVERGED, _RELEASED = "diverged", "released"  # marks of a state

_MEMORY_WORDS = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")


class TrainingState(NamedTuple):
    """What a trainee keeps between steps.

    Attributes:
        tensors: Networks, averages, moments.
        record: Numbers that belong to them; JSON.
    """

    tensors: Mapping[str, Tensor]
    record: Mapping[str, Any]


class Trainee(Protocol):
    """What is trained: networks, their averages and optimisers."""

    def step(self, step: int) -> Mapping[str, Any]:
        """Make the update with this number, from 0.

        Everything random comes from `step_generator`, everything else from the state.

        Returns:
            What was measured, as JSON; an empty mapping is not logged.

        Raises:
            DivergedError: Going on is of no use. What was best before is still there.
        """

    def state(self) -> TrainingState:
        """What `restore` needs; it may share memory with what is trained."""

    def restore(self, state: TrainingState) -> None:
        """Put everything back."""


class TrainingProgress(NamedTuple):
    """How far a training is, after a step.

    Attributes:
        step: Steps done.
        num_steps: Steps in all.
        metrics: What the step measured; see `Trainee.step`.
        seconds_left: None until it can be told.
    """

    step: int
    num_steps: int
    metrics: Mapping[str, Any]
    seconds_left: float | None


OnProgress = Callable[[TrainingProgress], None]


def run_training(
    trainee: Trainee,
    folder: Path,
    *,
    num_steps: int,
    settings: Mapping[str, Any],
    memory_advice: str,
    save_seconds: float = 60.0,
    on_progress: OnProgress | None = None,
    is_over: Callable[[], bool] | None = None,
) -> None:
    """Train to the end, beginning where the folder's last state was written.

    Args:
        trainee: Freshly built from the settings; restored from the folder where it holds a state.
        folder: Of this training alone; made when it is missing.
        num_steps: Steps in all. More than before goes on; fewer than were done does nothing.
        settings: What may not change under a training, data and seed included; JSON.
        memory_advice: Which settings need less memory, for the error: "lower --batch-size (32
            now)".
        save_seconds: Least time between two states; the last one is always written.
        on_progress: Called after every step.
        is_over: Asked before every step whether the trainee is done with early; None goes on to
            the last step.

    Raises:
        CheckpointError: The folder's training was begun with other settings, its state is
            damaged, or another process trains in it.
        DivergedError: The trainee gave up, now or in an earlier call; its state is kept. Other
            settings then begin anew in the same folder.
        OutOfMemoryError: A step did not fit.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with hold_folder(folder), memory_errors(memory_advice):
        begun = _begun(folder, settings)
        first, clocks = 0, _Clocks()
        if begun is not None:
            trainee.restore(TrainingState(begun.tensors, begun.record["trainee"]))
            first, clocks = begun.step, _Clocks(**begun.record["clocks"])
            if _DIVERGED in begun.record:
                raise DivergedError(begun.record[_DIVERGED])
        with _open_log(folder / LOG_FILE, first) as log:
            saved_at, started = time.monotonic(), time.monotonic()
            for step in range(first, num_steps):
                if is_over is not None and is_over():
                    break
                try:
                    metrics = trainee.step(step)
                except DivergedError as exc:
                    _save(folder, trainee, step, settings, clocks, log, {_DIVERGED: str(exc)})
                    raise
                if metrics:
                    _write_line(log, {"step": step, **metrics, **clocks.now()})
                done, now = step + 1, time.monotonic()
                is_last = done == num_steps or (is_over is not None and is_over())
                if is_last or now - saved_at >= save_seconds:
                    _save(folder, trainee, done, settings, clocks, log)
                    saved_at = time.monotonic()
                if on_progress is not None:
                    left = (num_steps - done) * (now - started) / (done - first)
                    on_progress(TrainingProgress(done, num_steps, metrics, left))


def release_folder(folder: Path) -> None:
    """Let other settings begin anew in a training's folder, since nothing came of these.

    The same settings still go on. A folder that is not there stays so.
    """
    if not folder.is_dir():
        return
    with hold_folder(folder):
        begun = load_checkpoint(folder / STATE_FILE)
        if begun is not None:
            record = {**begun.record, _RELEASED: True}
            save_checkpoint(folder / STATE_FILE, dataclasses.replace(begun, record=record))


@contextlib.contextmanager
def memory_errors(advice: str) -> Iterator[None]:
    """Turn running out of memory, on any device, into one line that says what helps.

    Args:
        advice: "lower --batch-size (32 now)".

    Raises:
        OutOfMemoryError: Memory ran out inside.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as exc:
        words = str(exc).lower()
        is_memory = isinstance(exc, MemoryError | torch.OutOfMemoryError)
        if isinstance(exc, OutOfMemoryError) or not (
            is_memory or any(word in words for word in _MEMORY_WORDS)
        ):
            raise
        raise OutOfMemoryError(f"out of memory: {advice}") from exc


@contextlib.contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Keep other processes out of a training's folder; the hold ends with this process.

    Raises:
        CheckpointError: Another process is in it.
    """
    with (folder / LOCK_FILE).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise CheckpointError(f"{folder}: another process is training in it") from exc
        yield


def read_log(folder: Path) -> list[dict[str, Any]]:
    """What was logged, one object per step; see `run_training`."""
    path = folder / LOG_FILE
    if not path.exists():
        return []
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError):  # a line that a kill has torn
            entries.append(json.loads(line))
    return entries


# ----------------------------------------------------------------------------------------------


class _Clocks:
    """Time spent on a training, over all processes that had a part in it."""

    def __init__(self, seconds: float = 0.0, cpu_seconds: float = 0.0) -> None:
        self._seconds = seconds - time.monotonic()
        self._cpu_seconds = cpu_seconds - time.process_time()

    def now(self) -> dict[str, float]:
        """Seconds on the wall and on the processors."""
        return {
            "seconds": round(self._seconds + time.monotonic(), 3),
            "cpu_seconds": round(self._cpu_seconds + time.process_time(), 3),
        }


def _begun(folder: Path, settings: Mapping[str, Any]) -> Checkpoint | None:
    """The state to go on from; None to begin anew."""
    begun = load_checkpoint(folder / STATE_FILE)
    if begun is None:
        return None
    try:
        check_settings(begun, settings, place=folder)
    except CheckpointError:
        if {_DIVERGED, _RELEASED} & set(begun.record):
            return None
        raise
    return begun


def _save(
    folder: Path,
    trainee: Trainee,
    step: int,
    settings: Mapping[str, Any],
    clocks: _Clocks,
    log: TextIO,
    marks: Mapping[str, Any] | None = None,
) -> None:
    """Write the state; the log reaches the disk before it."""
    log.flush()
    os.fsync(log.fileno())
    state = trainee.state()
    record = {"trainee": dict(state.record), "clocks": clocks.now(), **(marks or {})}
    save_checkpoint(folder / STATE_FILE, Checkpoint(step, state.tensors, settings, record))


def _open_log(path: Path, first: int) -> TextIO:
    """The log without what was logged after the state was written, to be continued."""
    kept = [entry for entry in read_log(path.parent) if entry["step"] < first]
    write_whole(path, "".join(json.dumps(entry) + "\n" for entry in kept).encode())
    return path.open("a", encoding="utf-8")


def _write_line(log: TextIO, entry: Mapping[str, Any]) -> None:
    log.write(json.dumps(entry) + "\n")
    log.flush()


@torch.no_grad()
def update_average(average: nn.Module, current: nn.Module, *, decay: float) -> None:
    """Move averaged parameters and running statistics towards the current ones, in place.

    Args:
        average: The averaged copy of `current`.
        current: The module in training.
        decay: In [0, 1); 0 copies.
    """
    sources = current.state_dict()
    for name, target in average.state_dict().items():
        if target.is_floating_point():
            target.lerp_(sources[name], 1 - decay)
        else:
            target.copy_(sources[name])
