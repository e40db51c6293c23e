r"""The tables of the runs: what is to be done, who is doing it, what came out.

Paths are kept twice: as bytes, which is what the file system knows, and as text for people, with
bytes that are not UTF-8 written as ``\xNN``.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.schema import conv

from editvec.batch.recipes.settings import Priority
from editvec.registry.tables.database import Base, MaskedText, UtcDateTime

RUN_KINDS = ("batch", "generate", "learn", "embed", "evaluate")
RUN_STATES = ("planned", "running", "paused", "completed", "completed_with_failures", "cancelled")
CHUNK_STATES = ("pending", "leased", "done", "split", "quarantined", "cancelled")
ITEM_STATES = ("done", "rejected", "failed", "quarantined", "cancelled")

_ACTIVE_RUN = text("state IN ('planned', 'running', 'paused')")


def _one_of(column: str, values: tuple[str, ...]) -> str:
    """The condition of a CHECK constraint: the column holds one of the values."""
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


class Run(Base):
    """One execution of one plan into one output folder."""

    __tablename__ = "runs"
    __table_args__ = (
        PrimaryKeyConstraint("id", name=conv("pk_runs")),
        CheckConstraint(_one_of("kind", RUN_KINDS), name=conv("ck_runs_kind")),
        CheckConstraint(_one_of("state", RUN_STATES), name=conv("ck_runs_state")),
        CheckConstraint("input_count >= 0", name=conv("ck_runs_input_count")),
        CheckConstraint("recipe_count >= 1", name=conv("ck_runs_recipe_count")),
        Index("ix_runs_output_digest", "output_digest"),
        # Two commands started at once into one folder: the second finds this index occupied.
        Index(
            "uq_runs_active_output",
            "output_digest",
            unique=True,
            sqlite_where=_ACTIVE_RUN,
            postgresql_where=_ACTIVE_RUN,
        ),
    )

    id: Mapped[str] = mapped_column(String(32))
    kind: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(32))
    reason: Mapped[str | None] = mapped_column(MaskedText)
    class_address: Mapped[str] = mapped_column(String(255))
    generator_digest: Mapped[str] = mapped_column(String(64))
    bundle_digest: Mapped[str] = mapped_column(String(64))
    input_folder: Mapped[str | None] = mapped_column(Text)
    input_folder_bytes: Mapped[bytes | None] = mapped_column(LargeBinary)
    output_folder: Mapped[str] = mapped_column(Text)
    output_folder_bytes: Mapped[bytes] = mapped_column(LargeBinary)
    output_digest: Mapped[str] = mapped_column(String(64))
    plan: Mapped[dict[str, Any]] = mapped_column(JSON)
    plan_digest: Mapped[str] = mapped_column(String(64))
    input_count: Mapped[int] = mapped_column(Integer)
    recipe_count: Mapped[int] = mapped_column(Integer)
    counts: Mapped[dict[str, int] | None] = mapped_column(JSON)
    cancel_requested: Mapped[bool] = mapped_column(Boolean, default=False)
    priority: Mapped[str] = mapped_column(String(8), server_default=Priority.NORMAL)
    engine_version: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class RunInput(Base):
    """One input of a run: a file of the input folder, a seed, or a job."""

    __tablename__ = "run_inputs"
    __table_args__ = (
        PrimaryKeyConstraint("run_id", "position", name=conv("pk_run_inputs")),
        ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=conv("fk_run_inputs_run_id_runs"), ondelete="CASCADE"
        ),
        UniqueConstraint("run_id", "output_name", name=conv("uq_run_inputs_output_name")),
        CheckConstraint("position >= 0", name=conv("ck_run_inputs_position")),
    )

    run_id: Mapped[str] = mapped_column(String(32))
    position: Mapped[int] = mapped_column(Integer, autoincrement=False)
    relative_path: Mapped[str] = mapped_column(Text)
    relative_path_bytes: Mapped[bytes] = mapped_column(LargeBinary)
    output_name: Mapped[str] = mapped_column(Text)
    size: Mapped[int | None] = mapped_column(BigInteger)
    mtime_ns: Mapped[int | None] = mapped_column(BigInteger)
    seed: Mapped[int | None] = mapped_column(BigInteger)
    digest: Mapped[str | None] = mapped_column(String(64))
    # of the object in the picture; NULL is the whole picture
    box: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    # what is to be done with it, where the kind of the run does not say all
    job: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class Chunk(Base):
    """A stretch of a run's inputs: what one worker leases at a time.

    Attributes:
        attempts: leases that ended without word and without a finished item.
        processing_began_at: when the present attempt began; NULL once one of its items was
            recorded: its end will then not count against the chunk.
        worker: host, process and device of the last holder, for people; it stays.
        published_at: when a message about it was last given to a broker.
    """

    __tablename__ = "chunks"
    __table_args__ = (
        PrimaryKeyConstraint("id", name=conv("pk_chunks")),
        ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=conv("fk_chunks_run_id_runs"), ondelete="CASCADE"
        ),
        UniqueConstraint("run_id", "position", name=conv("uq_chunks_run_id_position")),
        CheckConstraint(_one_of("state", CHUNK_STATES), name=conv("ck_chunks_state")),
        CheckConstraint("input_count >= 1", name=conv("ck_chunks_input_count")),
        CheckConstraint("attempts >= 0", name=conv("ck_chunks_attempts")),
        CheckConstraint(
            "(state = 'leased') = (lease_token IS NOT NULL)", name=conv("ck_chunks_lease")
        ),
        Index("ix_chunks_run_id_state", "run_id", "state"),
    )

    id: Mapped[int] = mapped_column(Integer, autoincrement=True)
    run_id: Mapped[str] = mapped_column(String(32))
    position: Mapped[int] = mapped_column(Integer)
    first_input: Mapped[int] = mapped_column(Integer)
    input_count: Mapped[int] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    lease_token: Mapped[str | None] = mapped_column(String(32))
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    processing_began_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    owner_host: Mapped[str | None] = mapped_column(String(255))
    owner_pid: Mapped[int | None] = mapped_column(Integer)
    owner_started: Mapped[str | None] = mapped_column(String(64))
    worker: Mapped[str | None] = mapped_column(String(255))
    published_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class RunItem(Base):
    """What became of one (input, recipe): written by the holder of the chunk's lease only."""

    __tablename__ = "run_items"
    __table_args__ = (
        PrimaryKeyConstraint("run_id", "position", "recipe_position", name=conv("pk_run_items")),
        ForeignKeyConstraint(
            ["run_id", "position"],
            ["run_inputs.run_id", "run_inputs.position"],
            name=conv("fk_run_items_run_id_run_inputs"),
            ondelete="CASCADE",
        ),
        CheckConstraint(_one_of("state", ITEM_STATES), name=conv("ck_run_items_state")),
        CheckConstraint("recipe_position >= 0", name=conv("ck_run_items_recipe_position")),
        Index("ix_run_items_run_id_state", "run_id", "state"),
    )

    run_id: Mapped[str] = mapped_column(String(32))
    position: Mapped[int] = mapped_column(Integer, autoincrement=False)
    recipe_position: Mapped[int] = mapped_column(Integer, autoincrement=False)
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(MaskedText)
    content_key: Mapped[str | None] = mapped_column(String(64))
    file_name: Mapped[str | None] = mapped_column(Text)
    mask_file_name: Mapped[str | None] = mapped_column(Text)
    metrics: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    # what it added to the library, in runs that write no images
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    finished_at: Mapped[datetime] = mapped_column(UtcDateTime)
