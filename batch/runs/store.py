"""Runs in SQL: planned, found again, counted, cancelled, closed."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Row, delete, exists, func, insert, literal, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from editvec.batch.errors import RunConflictError, RunNotFoundError
from editvec.batch.naming import display_path
from editvec.batch.recipes.boxes import Box
from editvec.batch.recipes.settings import Priority
from editvec.batch.runs.entities import ACTIVE_STATES, ItemRow, RunCounts, RunRecord
from editvec.batch.runs.models import Chunk, Run, RunInput, RunItem
from editvec.batch.runs.pace import planned_chunk_size
from editvec.batch.runs.plan import PlannedInput, RunPlan, cut_chunks
from editvec.registry.release import engine_version
from editvec.registry.tables.database import entity_of, now, reading, transaction

OPEN_CHUNK_STATES = ("pending", "leased")
_ROWS_AT_A_TIME = 5_000
# of an item and of its input, as `items` streams them
_ITEM_COLUMNS = (
    *(RunItem.recipe_position, RunItem.state, RunItem.reason, RunItem.content_key),
    *(RunItem.file_name, RunItem.mask_file_name, RunItem.metrics, RunItem.result),
    *(RunInput.position, RunInput.relative_path_bytes, RunInput.output_name, RunInput.size),
    *(RunInput.mtime_ns, RunInput.seed, RunInput.digest, RunInput.box, RunInput.job),
)


class Runs:
    """The runs of one database. Each method is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def create(self, plan: RunPlan, inputs: Sequence[PlannedInput]) -> RunRecord:
        """Stores a planned run with its inputs and chunks.

        Raises:
            RunConflictError: another run is active in this output folder.
        """
        run_id = uuid.uuid4().hex
        chunks = cut_chunks(len(inputs), planned_chunk_size(plan))
        try:
            with transaction(self.engine) as session:
                session.add(_run_row(run_id, plan, len(inputs)))
                session.flush()
                for start in range(0, len(inputs), _ROWS_AT_A_TIME):
                    part = inputs[start : start + _ROWS_AT_A_TIME]
                    session.execute(insert(RunInput), [_input_row(run_id, one) for one in part])
                rows = [
                    {"run_id": run_id, "position": position, "state": "pending", "attempts": 0}
                    | chunk._asdict()
                    for position, chunk in enumerate(chunks)
                ]
                session.execute(insert(Chunk), rows)
        except IntegrityError as exc:
            raise RunConflictError(
                f"output folder: another run was just planned into {plan.output_folder}"
            ) from exc
        return self.get(run_id)

    def get(self, run_id: str) -> RunRecord:
        """The run of an id or of the first letters of one, or the latest of an output folder.

        Raises:
            RunNotFoundError: none has it, or several do.
        """
        with reading(self.engine) as session:
            query = select(Run).where(Run.id.startswith(run_id, autoescape=True)).limit(2)
            rows = session.scalars(query).all() if run_id else []
            if len(rows) == 1:
                return _record(rows[0])
        if not rows and run_id:
            # as it was typed; the folder may be gone from the disk
            known = self.latest_in(Path(os.path.realpath(run_id)))
            if known is not None:
                return known
        problem = "several runs have" if rows else "no run has"
        raise RunNotFoundError(
            f"run: {problem} the id or output folder {run_id!r} (see `editvec batch list`)"
        )

    def latest(self, *, limit: int = 100) -> list[RunRecord]:
        """The latest runs, the newest first."""
        with reading(self.engine) as session:
            query = select(Run).order_by(Run.created_at.desc(), Run.id).limit(limit)
            return [_record(row) for row in session.scalars(query)]

    def latest_in(self, output_folder: Path) -> RunRecord | None:
        """The latest run that was planned into a folder."""
        with reading(self.engine) as session:
            query = select(Run).where(Run.output_digest == _folder_digest(output_folder))
            row = session.scalars(query.order_by(Run.created_at.desc()).limit(1)).first()
            return None if row is None else _record(row)

    def active(self, class_address: str | None = None) -> list[RunRecord]:
        """The runs that are planned or running, the oldest first."""
        with reading(self.engine) as session:
            query = select(Run).where(Run.state.in_(("planned", "running")))
            if class_address is not None:
                query = query.where(Run.class_address == class_address)
            return [_record(row) for row in session.scalars(query.order_by(Run.created_at, Run.id))]

    def counts(self, run_id: str) -> RunCounts:
        """The items of a run, counted now."""
        with reading(self.engine) as session:
            return _counts(session, run_id)

    def chunk_states(self, run_id: str) -> dict[str, int]:
        """How many chunks of a run are in which state."""
        with reading(self.engine) as session:
            query = select(Chunk.state, func.count()).where(Chunk.run_id == run_id)
            return dict(session.execute(query.group_by(Chunk.state)).all())

    def inputs(self, run_id: str, first: int, count: int) -> list[PlannedInput]:
        """A stretch of the inputs of a run, in order."""
        with reading(self.engine) as session:
            query = select(RunInput).where(
                RunInput.run_id == run_id,
                RunInput.position >= first,
                RunInput.position < first + count,
            )
            return [_input(row) for row in session.scalars(query.order_by(RunInput.position))]

    def decided_items(self, run_id: str, first: int, count: int) -> set[tuple[int, int]]:
        """The (input, recipe) positions of a stretch that are recorded already."""
        with reading(self.engine) as session:
            query = select(RunItem.position, RunItem.recipe_position).where(
                RunItem.run_id == run_id,
                RunItem.position >= first,
                RunItem.position < first + count,
            )
            return {(position, recipe) for position, recipe in session.execute(query)}

    def items(
        self, run_id: str, *, states: Sequence[str], first: int = 0, count: int | None = None
    ) -> Iterator[ItemRow]:
        """Streams the items in some states, in the order of inputs and recipes."""
        # columns and not entities: a run may have millions of items
        query = (
            select(*_ITEM_COLUMNS)
            .join(
                RunInput,
                (RunInput.run_id == RunItem.run_id) & (RunInput.position == RunItem.position),
            )
            .where(RunItem.run_id == run_id, RunItem.state.in_(states), RunItem.position >= first)
            .order_by(RunItem.position, RunItem.recipe_position)
            .execution_options(yield_per=1000)
        )
        if count is not None:
            query = query.where(RunItem.position < first + count)
        with reading(self.engine) as session:
            for row in session.execute(query):
                yield ItemRow(
                    input=_input(row),
                    recipe_position=row.recipe_position,
                    state=row.state,
                    reason=row.reason,
                    content_key=row.content_key,
                    file_name=row.file_name,
                    mask_file_name=row.mask_file_name,
                    metrics=row.metrics,
                    result=row.result,
                )

    # --- changes of state ---

    def pause(self, run_id: str, reason: str) -> None:
        """Stops claims until the run is resumed."""
        with transaction(self.engine) as session:
            session.execute(
                update(Run)
                .where(Run.id == run_id, Run.state.in_(("planned", "running")))
                .values(state="paused", reason=reason)
            )

    def unpause(self, run_id: str) -> None:
        """Lets a paused run go on."""
        with transaction(self.engine) as session:
            session.execute(
                update(Run)
                .where(Run.id == run_id, Run.state == "paused")
                .values(state="running", reason=None)
            )

    def set_priority(self, run_id: str, priority: Priority) -> None:
        """Has the chunks of a run taken sooner or later; messages about them are sent anew."""
        with transaction(self.engine) as session:
            waiting = (Chunk.run_id == run_id) & (Chunk.state == "pending")
            session.execute(update(Chunk).where(waiting).values(published_at=None))
            session.execute(update(Run).where(Run.id == run_id).values(priority=priority))

    def request_cancel(self, run_id: str) -> bool:
        """Asks for a stop: no further chunk is claimed, no further mini-batch begun.

        Returns:
            False if the run had finished already.
        """
        with transaction(self.engine) as session:
            changed = session.execute(
                update(Run)
                .where(Run.id == run_id, Run.state.in_(ACTIVE_STATES))
                .values(cancel_requested=True)
                .returning(Run.id)
            )
            return changed.first() is not None

    def is_cancel_requested(self, run_id: str) -> bool:
        """True once somebody asked for a stop."""
        with reading(self.engine) as session:
            return bool(session.scalar(select(Run.cancel_requested).where(Run.id == run_id)))

    def final_state(self, run_id: str) -> str | None:
        """The state that a run is to be closed with; None while work is left.

        Of a run that is to be cancelled, every chunk that nobody holds is cancelled first.
        """
        with transaction(self.engine) as session:
            run = session.get_one(Run, run_id)
            if run.state not in ACTIVE_STATES:
                return run.state
            if run.cancel_requested:
                _cancel_pending(session, run)
            is_open = exists().where(Chunk.run_id == run_id, Chunk.state.in_(OPEN_CHUNK_STATES))
            if session.scalar(select(is_open)):
                return None
            counts = _counts(session, run_id)
            if counts.cancelled:
                return "cancelled"
            return "completed_with_failures" if counts.with_failures else "completed"

    def close(self, run_id: str, state: str) -> RunRecord:
        """Closes a run whose files are written; closing twice changes nothing."""
        with transaction(self.engine) as session:
            counts = _counts(session, run_id)
            session.execute(
                update(Run)
                .where(Run.id == run_id, Run.state.in_(ACTIVE_STATES))
                .values(state=state, reason=None, finished_at=now(), counts=counts.to_json())
            )
        return self.get(run_id)

    def abandon(self, run_id: str, reason: str) -> None:
        """Closes an active run whose output folder is gone; its items are forgotten.

        Raises:
            RunConflictError: a worker holds one of its chunks.
        """
        with transaction(self.engine) as session:
            leased = exists().where(Chunk.run_id == run_id, Chunk.state == "leased")
            if session.scalar(select(leased)):
                raise RunConflictError(f"output folder: run {run_id[:8]} is writing to it")
            session.execute(delete(RunItem).where(RunItem.run_id == run_id))
            run = session.get_one(Run, run_id)
            decided = Chunk.state.in_(("done", "quarantined"))
            session.execute(
                update(Chunk).where(Chunk.run_id == run_id, decided).values(state="pending")
            )
            _cancel_pending(session, run)
            run.state, run.reason, run.cancel_requested = "cancelled", reason, True
            run.finished_at, run.counts = now(), _counts(session, run_id).to_json()


def _run_row(run_id: str, plan: RunPlan, input_count: int) -> Run:
    source = None if plan.input_folder is None else os.fsencode(plan.input_folder)
    target = os.fsencode(plan.output_folder)
    return Run(
        id=run_id,
        kind=plan.kind,
        state="planned",
        class_address=plan.class_address,
        generator_digest=plan.generator_digest,
        bundle_digest=plan.bundle_digest,
        input_folder=None if source is None else display_path(source),
        input_folder_bytes=source,
        output_folder=display_path(target),
        output_folder_bytes=target,
        output_digest=_folder_digest(plan.output_folder),
        plan=plan.to_json(),
        plan_digest=plan.digest,
        input_count=input_count,
        recipe_count=len(plan.recipes),
        cancel_requested=False,
        priority=Priority.NORMAL,
        engine_version=engine_version(),
        created_at=now(),
    )


def _input_row(run_id: str, one: PlannedInput) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "position": one.position,
        "relative_path": one.source,
        "relative_path_bytes": one.relative_path,
        "output_name": one.output_name,
        "size": one.size,
        "mtime_ns": one.mtime_ns,
        "seed": one.seed,
        "box": None if one.box is None else one.box._asdict(),
        "job": one.job,
    }


def _folder_digest(folder: Path) -> str:
    return hashlib.sha256(os.fsencode(folder)).hexdigest()


def _record(row: Run) -> RunRecord:
    source = None
    if row.input_folder_bytes is not None:
        source = Path(os.fsdecode(row.input_folder_bytes))
    target = Path(os.fsdecode(row.output_folder_bytes))
    plan = RunPlan.from_json({**row.plan, "input_folder": source, "output_folder": target})
    return entity_of(RunRecord, row, plan=plan, priority=Priority(row.priority))


def _input(row: RunInput | Row[Any]) -> PlannedInput:
    box = None if row.box is None else Box(**row.box)
    return entity_of(PlannedInput, row, relative_path=row.relative_path_bytes, box=box)


def _counts(session: Session, run_id: str) -> RunCounts:
    query = select(RunItem.state, func.count()).where(RunItem.run_id == run_id)
    by_state = dict(session.execute(query.group_by(RunItem.state)).all())
    total = select(Run.input_count * Run.recipe_count).where(Run.id == run_id)
    return RunCounts(total=session.scalar(total) or 0, **by_state)


def _cancel_pending(session: Session, run: Run) -> None:
    """Cancels the chunks that nobody holds, with every item of theirs that is not recorded."""
    pending = (Chunk.run_id == run.id) & (Chunk.state == "pending")
    within = (RunInput.position >= Chunk.first_input) & (
        RunInput.position < Chunk.first_input + Chunk.input_count
    )
    for recipe_position in range(run.recipe_count):
        recorded = exists().where(
            RunItem.run_id == run.id,
            RunItem.position == RunInput.position,
            RunItem.recipe_position == recipe_position,
        )
        missing = (
            select(
                RunInput.run_id,
                RunInput.position,
                literal(recipe_position),
                literal("cancelled"),
                literal("the run was cancelled"),
                literal(now(), RunItem.finished_at.type),
            )
            .join(Chunk, (Chunk.run_id == RunInput.run_id) & within)
            .where(RunInput.run_id == run.id, pending, ~recorded)
        )
        columns = ["run_id", "position", "recipe_position", "state", "reason", "finished_at"]
        session.execute(insert(RunItem).from_select(columns, missing))
    session.execute(update(Chunk).where(pending).values(state="cancelled", finished_at=now()))
