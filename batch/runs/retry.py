"""Retries: the failed items of a finished run are open again, and only they."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Engine, delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from editvec.batch.errors import RunConflictError
from editvec.batch.runs.entities import RunRecord
from editvec.batch.runs.leases import add_single_chunks
from editvec.batch.runs.models import Chunk, Run, RunInput, RunItem
from editvec.registry.tables.database import reading, transaction

FAILURES = ("failed", "quarantined")
_POSITIONS_AT_A_TIME = 500


class Retried(NamedTuple):
    """What a retry opened again.

    Attributes:
        inputs: inputs with an item to be made again.
        changed: of them, files that are not what they were when the run was planned; all their
            items are made again.
    """

    inputs: int
    changed: int


def retry(engine: Engine, run: RunRecord, *, with_rejected: bool = False) -> Retried:
    """Opens a finished run again for the items that failed or were quarantined.

    A file that was replaced since is planned as it is now.

    Args:
        engine: the database of the runs.
        run: a finished run.
        with_rejected: also what a gate rejected.

    Raises:
        RunConflictError: the run goes on still, was cancelled, or its output folder belongs to a
            later run.
    """
    if run.state == "cancelled":
        raise RunConflictError(f"run {run.id[:8]} was cancelled; give its command again elsewhere")
    if not run.is_finished:
        raise RunConflictError(f"run {run.id[:8]} is {run.state}; `editvec batch resume` goes on")
    states = (*FAILURES, "rejected") if with_rejected else FAILURES
    # a run may have failed as a whole: its million inputs are never listed
    inputs = changed = 0
    with reading(engine) as session:
        if not _positions_after(session, run.id, -1, states):
            return Retried(0, 0)
    try:
        with transaction(engine) as session:
            session.execute(
                update(Run)
                .where(Run.id == run.id)
                .values(state="running", reason=None, finished_at=None, counts=None)
            )
            last = -1
            while some := _positions_after(session, run.id, last, states):
                changed += _open_again(session, run, some, states)
                inputs, last = inputs + len(some), some[-1]
    except IntegrityError as exc:
        raise RunConflictError(
            f"output folder: a later run is active in {run.plan.output_folder}"
        ) from exc
    return Retried(inputs, changed)


def _positions_after(session: Session, run_id: str, last: int, states: Sequence[str]) -> list[int]:
    """The next inputs with an item in one of the states, some at a time."""
    query = select(RunItem.position).where(
        RunItem.run_id == run_id, RunItem.state.in_(states), RunItem.position > last
    )
    query = query.distinct().order_by(RunItem.position).limit(_POSITIONS_AT_A_TIME)
    return list(session.scalars(query))


def _open_again(
    session: Session, run: RunRecord, positions: Sequence[int], states: Sequence[str]
) -> int:
    """Opens some inputs again; returns how many of their files changed.

    An input that was decided before its chunk was split is in none of the parts: it gets a chunk.
    """
    replaced = _plan_anew(session, run, positions)
    of_run = (RunItem.run_id == run.id, RunItem.position.in_(positions))
    session.execute(delete(RunItem).where(*of_run, RunItem.state.in_(states)))
    if replaced:
        of_replaced = (RunItem.run_id == run.id, RunItem.position.in_(replaced))
        session.execute(delete(RunItem).where(*of_replaced))
    query = select(Chunk).where(
        Chunk.run_id == run.id,
        Chunk.state.in_(("done", "quarantined")),
        Chunk.first_input <= positions[-1],
        Chunk.first_input + Chunk.input_count > positions[0],
    )
    uncovered = set(positions)
    for chunk in session.scalars(query):
        covered = uncovered.intersection(
            range(chunk.first_input, chunk.first_input + chunk.input_count)
        )
        if covered:
            uncovered -= covered
            chunk.state, chunk.attempts = "pending", 0
            chunk.published_at = chunk.finished_at = None
    add_single_chunks(session, run.id, sorted(uncovered))
    return len(replaced)


def _plan_anew(session: Session, run: RunRecord, positions: Sequence[int]) -> list[int]:
    """Takes size and time of the files that were replaced; returns their positions."""
    if run.plan.input_folder is None:
        return []
    query = select(RunInput).where(RunInput.run_id == run.id, RunInput.position.in_(positions))
    rows: list[dict[str, Any]] = []
    for planned in session.scalars(query):
        try:
            path = run.plan.input_folder / os.fsdecode(planned.relative_path_bytes)
            status = path.stat()
        except OSError:
            continue  # it fails again, with this reason
        if (status.st_size, status.st_mtime_ns) != (planned.size, planned.mtime_ns):
            rows.append(
                {
                    "run_id": run.id,
                    "position": planned.position,
                    "size": status.st_size,
                    "mtime_ns": status.st_mtime_ns,
                    "digest": None,
                }
            )
    if rows:
        session.execute(update(RunInput), rows)
    return [row["position"] for row in rows]
