"""How long inputs take, guessed and measured; and from it, the sizes of chunks and the limits.

A chunk should take a minute: short enough that a death loses little and workers share a run evenly,
long enough that its bookkeeping costs nothing. The time of an input is measured on inputs of the
same run and device. Before that it is a guess: a chunk is planned for a fast device, and the
process that computes it cuts off what would take too long.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from editvec.batch.recipes.settings import MAX_CHUNK_SIZE, Mode, Output
from editvec.batch.runs.plan import RunPlan

_LOG = logging.getLogger(__name__)

CHUNK_SECONDS = 45.0
LONGEST_CHUNK_SECONDS = 60.0
MINI_BATCH_SECONDS = 20.0

SHORTEST_LIMIT_SECONDS = 300
LONGEST_LIMIT_SECONDS = 1500
"""Shorter than any broker waits for an acknowledgement: RabbitMQ 30 minutes, Redis what we say."""

_PACED_KINDS = ("batch", "generate", "embed")
# A pass is one synthesis of one image; a step of an optimisation is worth three.
_PASSES_PER_STEP = 3
_FAST_SECONDS_PER_PASS = 0.01
# one core of a CPU, at 512 pixels
_SLOW_SECONDS_PER_PASS = 2.5
_SLOW_RESOLUTION = 512


def planned_chunk_size(plan: RunPlan) -> int:
    """Inputs per chunk: what was asked for, or what a fast device does in `CHUNK_SECONDS`.

    A chunk of a WebDataset run is a shard, and no smaller than it may be.
    """
    if plan.settings.chunk_size:
        return plan.settings.chunk_size
    if not may_be_cut(plan):
        return MAX_CHUNK_SIZE
    return _count(CHUNK_SECONDS, _passes(plan) * _FAST_SECONDS_PER_PASS, MAX_CHUNK_SIZE)


def may_be_cut(plan: RunPlan) -> bool:
    """Whether a chunk of a run may end before its last input: nobody asked for its size."""
    return not plan.settings.chunk_size and plan.settings.output is not Output.WEBDATASET


def slow_seconds(plan: RunPlan, *, resolution: int) -> float:
    """What one input may take on one core of a CPU, with every recipe.

    Args:
        plan: of the run.
        resolution: of the generator, in pixels.
    """
    return _passes(plan) * _SLOW_SECONDS_PER_PASS * (resolution / _SLOW_RESOLUTION) ** 2


def limit_seconds(plan: RunPlan, *, resolution: int, attempts: int = 0) -> int:
    """After how many seconds on one chunk a process counts as hung and is killed.

    A chunk is cut to a minute, so one input decides, on the slowest device. Whatever was killed
    gets twice the time at its next attempt.

    Args:
        plan: of the run.
        resolution: of the generator, in pixels.
        attempts: at the chunk so far.

    Returns:
        `SHORTEST_LIMIT_SECONDS` to `LONGEST_LIMIT_SECONDS`.
    """
    if plan.kind not in _PACED_KINDS:
        return LONGEST_LIMIT_SECONDS
    wanted = LONGEST_CHUNK_SECONDS + 3 * slow_seconds(plan, resolution=resolution)
    return int(min(max(SHORTEST_LIMIT_SECONDS, wanted) * 2**attempts, LONGEST_LIMIT_SECONDS))


class Cut(NamedTuple):
    """Where a chunk is to end, and what becomes of the rest.

    Attributes:
        keep: inputs that stay in the chunk, of those that are left.
        size: of the chunks that the others make.
    """

    keep: int
    size: int


class Pace:
    """What one process measured of the inputs of one run."""

    def __init__(self, plan: RunPlan, *, resolution: int, mini_batch: int) -> None:
        """Begins with the guess of a slow device.

        Args:
            plan: of the run.
            resolution: of the generator, in pixels.
            mini_batch: the most inputs that are computed at a time.
        """
        self._most = mini_batch
        self._seconds = slow_seconds(plan, resolution=resolution)
        self._batches = 0

    @property
    def batch_size(self) -> int:
        """Inputs to compute at a time: as many as take `MINI_BATCH_SECONDS`."""
        return _count(MINI_BATCH_SECONDS, self._seconds, self._most)

    def did_not_fit(self, inputs: int) -> None:
        """Takes note of a mini-batch that memory had no room for; says so once for each size."""
        if inputs <= self._most:
            self._most = max(inputs // 2, 1)
            _LOG.warning(
                "out of memory with %d images together: %d from now on", inputs, self._most
            )

    def add(self, inputs: int, seconds: float) -> None:
        """Takes note of a mini-batch."""
        self._seconds = seconds / inputs
        self._batches += 1

    def cut(self, *, elapsed: float, coming: int, left: int) -> Cut | None:
        """Where to end a chunk that would take longer than `LONGEST_CHUNK_SECONDS`.

        The first mini-batch of a process warms it up: by it alone no sizes are chosen.

        Args:
            elapsed: seconds that the chunk took so far.
            coming: inputs that are on their way.
            left: inputs after them.

        Returns:
            None: it is well as it is.
        """
        whole = elapsed + (coming + left) * self._seconds
        is_known = self._batches > 1
        if not left or whole <= LONGEST_CHUNK_SECONDS:
            return None
        if not is_known:
            return Cut(0, left) if elapsed > LONGEST_CHUNK_SECONDS else None
        keep = int((CHUNK_SECONDS - elapsed) / self._seconds) - coming
        size = _count(CHUNK_SECONDS, self._seconds, MAX_CHUNK_SIZE)
        return Cut(max(keep, 0), size)


def _passes(plan: RunPlan) -> int:
    """Synthesis of one input with all its recipes, in passes."""
    settings = plan.settings
    steps = settings.embedding.num_steps
    for recipe in plan.recipes:
        mode = plan.mode_of(recipe)
        if mode is Mode.OPTIMIZE or plan.kind == "learn":
            steps += settings.optimize_steps
        elif mode is Mode.REFINE or settings.refine_auto:
            steps += plan.refine_steps_of(recipe)
    # the embedding and its picture; then a picture and its files for each recipe
    return 2 + 2 * len(plan.recipes) + _PASSES_PER_STEP * steps


def _count(seconds: float, seconds_each: float, most: int) -> int:
    """How many fit; at least one."""
    return most if seconds_each * most <= seconds else max(1, int(seconds / seconds_each))
