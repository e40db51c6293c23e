"""Leases of chunks: claimed, kept alive, ended by a token; and what happens when one is lost."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Engine, func, insert, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from editvec.batch.errors import LeaseLostError
from editvec.batch.recipes.settings import LEASE_SECONDS, MAX_ATTEMPTS
from editvec.batch.runs.models import Chunk, Run, RunInput, RunItem
from editvec.batch.runs.owner import Owner
from editvec.batch.runs.placements import Placement, record_placement
from editvec.batch.runs.plan import ChunkRange
from editvec.registry.tables.database import now, reading, transaction

# databases take some ten thousand parameters in one statement
_IDS_AT_A_TIME = 5_000


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The right to process one chunk and to write its items, while its token is in SQL."""

    run_id: str
    chunk_id: int
    chunk_position: int
    first_input: int
    input_count: int
    token: str


@dataclass(frozen=True, kw_only=True)
class ItemResult:
    """What became of one (input, recipe); `result` is what it added to the library."""

    position: int
    recipe_position: int
    state: str
    reason: str | None = None
    content_key: str | None = None
    file_name: str | None = None
    mask_file_name: str | None = None
    metrics: dict[str, Any] | None = None
    result: dict[str, Any] | None = None


class Reaped(NamedTuple):
    """What became of the chunks whose leases had ended without word."""

    pending: int = 0
    split: int = 0
    quarantined: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.pending + self.split + self.quarantined


class Leases:
    """The leases of one database. Each method is one transaction."""

    def __init__(self, engine: Engine, *, lease_seconds: float = LEASE_SECONDS) -> None:
        self.engine = engine
        self.lease_seconds = lease_seconds

    def claim(
        self, run_id: str, owner: Owner, *, chunk_id: int | None = None, device: str = ""
    ) -> Lease | None:
        """Takes a pending chunk of a run: the named one, or the first.

        Args:
            run_id: the run.
            owner: who will hold the lease.
            chunk_id: this chunk or none.
            device: where the chunk will be computed, for people.

        Returns:
            None if there is none to take, or the run is paused, cancelled or finished.
        """
        wanted = (
            select(Chunk)
            .join(Run, Run.id == Chunk.run_id)
            .where(
                Chunk.run_id == run_id,
                Chunk.state == "pending",
                Run.state.in_(("planned", "running")),
                Run.cancel_requested.is_(False),
            )
            .order_by(Chunk.position)
            .limit(1)
            .with_for_update(of=Chunk, skip_locked=True)
        )
        if chunk_id is not None:
            wanted = wanted.where(Chunk.id == chunk_id)
        with transaction(self.engine) as session:
            chunk = session.scalars(wanted).first()
            if chunk is None:
                return None
            instant = _database_now(session)
            chunk.state = "leased"
            chunk.lease_token = uuid.uuid4().hex
            chunk.lease_expires_at = instant + timedelta(seconds=self.lease_seconds)
            chunk.processing_began_at = instant
            chunk.owner_host, chunk.owner_pid = owner.host, owner.pid
            chunk.owner_started = owner.started
            chunk.worker = f"{owner.name} {device}".strip()
            session.execute(
                update(Run)
                .where(Run.id == run_id, Run.state == "planned")
                .values(state="running", started_at=instant)
            )
            return Lease(
                run_id=run_id,
                chunk_id=chunk.id,
                chunk_position=chunk.position,
                first_input=chunk.first_input,
                input_count=chunk.input_count,
                token=chunk.lease_token,
            )

    def heartbeat(self, lease: Lease, items: Sequence[ItemResult] = ()) -> None:
        """Prolongs a lease and records the items that were finished meanwhile.

        Raises:
            LeaseLostError: the lease is not this holder's any more; nothing was written.
        """
        with self._held(lease) as (session, chunk):
            expires_at = _database_now(session) + timedelta(seconds=self.lease_seconds)
            chunk.lease_expires_at = expires_at
            if items:
                chunk.processing_began_at = None
            _record_items(session, lease.run_id, items)

    def cut(self, lease: Lease, *, first_input: int, size: int) -> Lease:
        """Shortens a lease: what it leaves waits as chunks of its own, for anybody.

        Args:
            lease: the lease.
            first_input: position of the first input that it leaves; not its own first.
            size: inputs in each of the new chunks; the last may have fewer.

        Returns:
            The shorter lease, of the same token.

        Raises:
            LeaseLostError: the lease is not this holder's any more; nothing was written.
        """
        with self._held(lease) as (session, chunk):
            end = chunk.first_input + chunk.input_count
            assert chunk.first_input < first_input < end
            starts = range(first_input, end, size)
            rest = [ChunkRange(start, min(size, end - start)) for start in starts]
            add_chunks(session, lease.run_id, rest)
            chunk.input_count = first_input - chunk.first_input
            return replace(lease, input_count=chunk.input_count)

    def finish(
        self,
        lease: Lease,
        items: Sequence[ItemResult],
        digests: Mapping[int, str],
        *,
        placement: Placement | None = None,
    ) -> None:
        """Records the remaining items and closes the chunk.

        Args:
            lease: the lease.
            items: every item of the chunk that is not recorded yet.
            digests: of the inputs that were read, by position.
            placement: of the items whose files move as the chunk is closed.

        Raises:
            LeaseLostError: the lease is not this holder's any more; nothing was written.
        """
        with self._held(lease) as (session, chunk):
            _record_items(session, lease.run_id, items)
            _record_digests(session, lease.run_id, digests)
            if placement is not None:
                record_placement(session, lease.run_id, placement)
            _end_lease(chunk, "done")
            chunk.finished_at = now()

    def give_back(self, lease: Lease, items: Sequence[ItemResult] = ()) -> None:
        """Ends a lease in order: finished items are kept, no attempt is counted.

        Raises:
            LeaseLostError: the lease is not this holder's any more; nothing was written.
        """
        with self._held(lease) as (session, chunk):
            _record_items(session, lease.run_id, items)
            _end_lease(chunk, "pending")

    def reap(self, run_id: str | None = None) -> Reaped:
        """Ends the leases that expired or whose owner is gone from this host.

        Args:
            run_id: of one run only.
        """
        with reading(self.engine) as session:
            leased = select(Chunk).where(Chunk.state == "leased")
            if run_id is not None:
                leased = leased.where(Chunk.run_id == run_id)
            instant = _database_now(session)
            lost = [
                (chunk.id, chunk.lease_token)
                for chunk in session.scalars(leased)
                if _is_lost(chunk, instant)
            ]
        outcomes = [self._end_lost(chunk_id, token) for chunk_id, token in lost]
        return Reaped(*(outcomes.count(state) for state in Reaped._fields))

    def pending_chunks(
        self, run_id: str, *, not_published_since: datetime | None = None
    ) -> list[int]:
        """The chunks that wait and about which no message was published: never, or not lately."""
        unpublished: ColumnElement[bool] = Chunk.published_at.is_(None)
        if not_published_since is not None:
            unpublished |= Chunk.published_at < not_published_since
        with reading(self.engine) as session:
            query = select(Chunk.id).where(
                Chunk.run_id == run_id, Chunk.state == "pending", unpublished
            )
            return list(session.scalars(query.order_by(Chunk.position)))

    def attempts(self, run_id: str) -> dict[int, int]:
        """How often each waiting chunk was tried, of those that were."""
        with reading(self.engine) as session:
            query = select(Chunk.id, Chunk.attempts).where(
                Chunk.run_id == run_id, Chunk.state == "pending", Chunk.attempts > 0
            )
            return dict(session.execute(query).all())

    def mark_published(self, chunk_ids: Sequence[int]) -> None:
        """Notes that messages about these chunks are with the broker."""
        with transaction(self.engine) as session:
            for start in range(0, len(chunk_ids), _IDS_AT_A_TIME):
                some = chunk_ids[start : start + _IDS_AT_A_TIME]
                session.execute(update(Chunk).where(Chunk.id.in_(some)).values(published_at=now()))

    @contextmanager
    def _held(self, lease: Lease) -> Iterator[tuple[Session, Chunk]]:
        """A transaction on a chunk that is ours, or LeaseLostError."""
        with transaction(self.engine) as session:
            query = select(Chunk).where(
                Chunk.id == lease.chunk_id,
                Chunk.state == "leased",
                Chunk.lease_token == lease.token,
            )
            chunk = session.scalars(query.with_for_update()).first()
            if chunk is None:
                raise LeaseLostError(
                    f"chunk {lease.chunk_position} of run {lease.run_id[:8]}: the lease was lost"
                )
            yield session, chunk

    def _end_lost(self, chunk_id: int, token: str | None) -> str | None:
        """Ends one lost lease; None if its holder was heard of meanwhile."""
        with transaction(self.engine) as session:
            query = select(Chunk).where(Chunk.id == chunk_id, Chunk.lease_token == token)
            chunk = session.scalars(query.with_for_update()).first()
            if chunk is None or not _is_lost(chunk, _database_now(session)):
                return None
            if chunk.processing_began_at is not None:
                chunk.attempts += 1
            if chunk.attempts < MAX_ATTEMPTS:
                _end_lease(chunk, "pending")
            elif chunk.input_count > 1:
                _split(session, chunk)
                _end_lease(chunk, "split")
            else:
                _quarantine(session, chunk)
                _end_lease(chunk, "quarantined")
            return chunk.state


def _database_now(session: Session) -> datetime:
    """The present by the clock that all holders share: PostgreSQL's, or this host's."""
    if session.get_bind().dialect.name == "postgresql":
        instant: datetime = session.execute(text("SELECT clock_timestamp()")).scalar_one()
        return instant
    return now()


def _is_lost(chunk: Chunk, instant: datetime) -> bool:
    if chunk.lease_expires_at is None or chunk.lease_expires_at < instant:
        return True
    if chunk.owner_host is None or chunk.owner_pid is None or chunk.owner_started is None:
        return False
    return Owner(chunk.owner_host, chunk.owner_pid, chunk.owner_started).is_gone()


def _end_lease(chunk: Chunk, state: str) -> None:
    chunk.state = state
    chunk.lease_token = chunk.lease_expires_at = chunk.processing_began_at = None
    chunk.owner_host = chunk.owner_pid = chunk.owner_started = None
    chunk.published_at = None


def _record_items(session: Session, run_id: str, items: Sequence[ItemResult]) -> None:
    if not items:
        return
    finished_at = now()
    rows = [{"run_id": run_id, "finished_at": finished_at, **vars(item)} for item in items]
    # only the holder gets here: what is there already is what it wrote before a connection broke
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    session.execute(dialect.insert(RunItem).on_conflict_do_nothing(), rows)


def _record_digests(session: Session, run_id: str, digests: Mapping[int, str]) -> None:
    rows = [
        {"run_id": run_id, "position": position, "digest": digest}
        for position, digest in digests.items()
    ]
    if rows:
        session.execute(update(RunInput), rows)


def _undecided(session: Session, chunk: Chunk) -> dict[int, list[int]]:
    """The recipe positions that are not recorded yet, by input position."""
    recipe_count = session.get_one(Run, chunk.run_id).recipe_count
    last = chunk.first_input + chunk.input_count
    query = select(RunItem.position, RunItem.recipe_position).where(
        RunItem.run_id == chunk.run_id,
        RunItem.position >= chunk.first_input,
        RunItem.position < last,
    )
    recorded = {(position, recipe) for position, recipe in session.execute(query)}
    missing = {
        position: [r for r in range(recipe_count) if (position, r) not in recorded]
        for position in range(chunk.first_input, last)
    }
    return {position: recipes for position, recipes in missing.items() if recipes}


def _split(session: Session, chunk: Chunk) -> None:
    """Makes a chunk of every input that is not decided: the next death names the guilty one."""
    add_single_chunks(session, chunk.run_id, list(_undecided(session, chunk)))


def add_single_chunks(session: Session, run_id: str, positions: Sequence[int]) -> None:
    """Makes a pending chunk of one input for each position."""
    add_chunks(session, run_id, [ChunkRange(position, 1) for position in positions])


def add_chunks(session: Session, run_id: str, stretches: Sequence[ChunkRange]) -> None:
    """Makes a pending chunk of each stretch of inputs, after the chunks that the run has."""
    if not stretches:
        return
    # two who add at once would give the same positions; rows that refer to the run are not held up
    session.execute(select(Run.id).where(Run.id == run_id).with_for_update(key_share=True))
    newest = select(func.max(Chunk.position)).where(Chunk.run_id == run_id)
    next_position = session.execute(newest).scalar_one() + 1
    rows = [
        {
            "run_id": run_id,
            "position": next_position + number,
            "state": "pending",
            "attempts": 0,
        }
        | stretch._asdict()
        for number, stretch in enumerate(stretches)
    ]
    session.execute(insert(Chunk), rows)


def _quarantine(session: Session, chunk: Chunk) -> None:
    """Records the items of a single input that ended its worker each time."""
    reason = f"the worker died {chunk.attempts} times on this input"
    items = [
        ItemResult(position=position, recipe_position=recipe, state="quarantined", reason=reason)
        for position, recipes in _undecided(session, chunk).items()
        for recipe in recipes
    ]
    _record_items(session, chunk.run_id, items)
