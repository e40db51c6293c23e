"""How far a run is, read from SQL: rate, workers, and why items failed."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Engine, case, func, select
from sqlalchemy.orm import Session

from editvec.batch.recipes.settings import LEASE_SECONDS
from editvec.batch.runs.entities import RunCounts, RunRecord
from editvec.batch.runs.models import Chunk, RunInput, RunItem
from editvec.batch.runs.store import Runs
from editvec.registry.tables.database import now, reading

RATE_SECONDS = 60.0
_MOST_REASONS = 10
_ROWS_AT_A_TIME = 2_000
_WITH_REASON = ("rejected", "failed", "quarantined")


class WorkerRow(NamedTuple):
    """What one worker did for a run.

    Attributes:
        name: host, process and device.
        chunks_done: chunks that it was the last to hold and that are done.
        inputs_done: inputs in them.
        chunk: position of the chunk that it holds now; None = none.
        silent_seconds: since its last heartbeat, while it holds one.
    """

    name: str
    chunks_done: int
    inputs_done: int
    chunk: int | None
    silent_seconds: float | None


class ReasonRow(NamedTuple):
    """How many items ended in a state for a reason, as `general_reason` writes it."""

    state: str
    reason: str
    items: int


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """A run at one moment.

    Attributes:
        run: the run.
        counts: its items.
        chunks: how many chunks are in which state.
        rate: items per second over the last minute; 0 when none was decided.
        workers: who works or worked on it.
        reasons: why items were rejected, failed or quarantined, the most frequent first.
    """

    run: RunRecord
    counts: RunCounts
    chunks: dict[str, int]
    rate: float
    workers: list[WorkerRow]
    reasons: list[ReasonRow]

    @property
    def finished(self) -> int:
        """Items that are decided."""
        return self.counts.finished

    @property
    def total(self) -> int:
        """Items of the run."""
        return self.counts.total

    @property
    def seconds_left(self) -> float | None:
        """At the present rate; None while there is none, and of a finished run."""
        if self.run.is_finished or not self.rate:
            return None
        return (self.total - self.finished) / self.rate


def run_status(engine: Engine, run_id: str) -> RunStatus:
    """Everything that is to be told about a run now.

    Raises:
        RunNotFoundError: there is no such run.
    """
    runs = Runs(engine)
    run = runs.get(run_id)
    with reading(engine) as session:
        rate = 0.0 if run.is_finished else _rate(session, run)
        workers, reasons = _workers(session, run.id), _reasons(session, run.id)
    return RunStatus(
        run=run,
        counts=runs.counts(run.id),
        chunks=runs.chunk_states(run.id),
        rate=rate,
        workers=workers,
        reasons=reasons,
    )


def _rate(session: Session, run: RunRecord) -> float:
    instant = now()
    since = instant - timedelta(seconds=RATE_SECONDS)
    # only the items of chunks that were in work since: a run may have millions of others
    within = (RunItem.position >= Chunk.first_input) & (
        RunItem.position < Chunk.first_input + Chunk.input_count
    )
    query = (
        select(func.count(), func.min(RunItem.finished_at))
        .select_from(Chunk)
        .join(RunItem, (RunItem.run_id == run.id) & within)
        .where(
            Chunk.run_id == run.id,
            Chunk.worker.is_not(None),
            Chunk.state != "split",
            Chunk.finished_at.is_(None) | (Chunk.finished_at > since),
            RunItem.finished_at > since,
        )
    )
    count, first = session.execute(query).one()
    if not count:
        return 0.0
    began = max(since, run.started_at or first)
    return float(count) / max((instant - began).total_seconds(), 1.0)


def _workers(session: Session, run_id: str) -> list[WorkerRow]:
    is_done = Chunk.state == "done"
    is_leased = Chunk.state == "leased"
    query = (
        select(
            Chunk.worker,
            func.sum(case((is_done, 1), else_=0)),
            func.sum(case((is_done, Chunk.input_count), else_=0)),
            func.max(case((is_leased, Chunk.position))),
            func.max(case((is_leased, Chunk.lease_expires_at))),
        )
        .where(Chunk.run_id == run_id, Chunk.worker.is_not(None))
        .group_by(Chunk.worker)
        .order_by(Chunk.worker)
    )
    return [
        WorkerRow(name, int(chunks), int(inputs), position, _silence(expires_at))
        for name, chunks, inputs, position, expires_at in session.execute(query)
    ]


def _silence(expires_at: datetime | None) -> float | None:
    """How long ago a lease was given or prolonged."""
    if expires_at is None:
        return None
    return max(0.0, LEASE_SECONDS - (expires_at - now()).total_seconds())


def _reasons(session: Session, run_id: str) -> list[ReasonRow]:
    # a reason that names its input is that of one item, and so of the first one
    equal = (
        select(
            RunItem.state,
            RunItem.reason,
            func.count().label("count"),
            func.min(RunItem.position).label("first"),
        )
        .where(RunItem.run_id == run_id, RunItem.state.in_(_WITH_REASON))
        .group_by(RunItem.state, RunItem.reason)
        .subquery()
    )
    query = (
        select(equal.c.state, equal.c.reason, equal.c.count, RunInput.relative_path)
        .join(RunInput, (RunInput.run_id == run_id) & (RunInput.position == equal.c.first))
        .execution_options(yield_per=_ROWS_AT_A_TIME)
    )
    counted: Counter[tuple[str, str]] = Counter()
    for state, reason, count, source in session.execute(query):
        key = (state, general_reason(reason or "", source))
        if key not in counted and len(counted) >= MAX_REASONS:
            key = (state, OTHER_REASONS)
        counted[key] += count
    return [
        ReasonRow(state, reason, count)
        for (state, reason), count in counted.most_common(_MOST_REASONS)
    ]


# --- reasons without what is an item's own, so that they can be counted ---

# different reasons that are told apart in one run
MAX_REASONS = 200
OTHER_REASONS = "(other reasons)"
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def general_reason(reason: str, source: str) -> str:
    """A reason with its numbers written as ``#``, and without the name of its input.

    Example:
        >>> general_reason("a/7.png: cannot be read: 12 bytes", "a/7.png")
        'cannot be read: # bytes'
    """
    named = f"{source}: "
    place = reason.find(named)
    if place >= 0 and len(named) > 2:
        reason = reason[place + len(named) :]
    return _NUMBER.sub("#", reason)
