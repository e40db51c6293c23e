"""Frozen values about runs: what callers get. Rows never leave `runs` and `leases`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from editvec.batch.recipes.settings import Priority
from editvec.batch.runs.plan import PlannedInput, RunPlan
from editvec.json_codec import JsonFields

ACTIVE_STATES = ("planned", "running", "paused")
_WRITE_IMAGES = ("batch", "generate")


@dataclass(frozen=True, kw_only=True)
class RunCounts(JsonFields):
    """Items of a run by what became of them; `total` is what they add up to at its end."""

    total: int
    done: int = 0
    rejected: int = 0
    failed: int = 0
    quarantined: int = 0
    cancelled: int = 0

    @property
    def finished(self) -> int:
        """Items that are decided."""
        return self.done + self.rejected + self.failed + self.quarantined + self.cancelled

    @property
    def with_failures(self) -> bool:
        """True if an item failed or was quarantined; what a gate rejected is no failure."""
        return bool(self.failed or self.quarantined)


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run as SQL knows it."""

    id: str
    kind: str
    state: str
    reason: str | None
    plan: RunPlan
    plan_digest: str
    input_count: int
    cancel_requested: bool
    priority: Priority
    engine_version: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def item_count(self) -> int:
        """Items that the run will have in the end."""
        return self.input_count * len(self.plan.recipes)

    @property
    def is_finished(self) -> bool:
        """True if nothing more will happen to it."""
        return self.state not in ACTIVE_STATES

    @property
    def writes_images(self) -> bool:
        """False if its items are not files but entries of the library."""
        return self.kind in _WRITE_IMAGES

    @property
    def work_folder(self) -> Path:
        """Where its manifest parts are; its existence ties the output folder to this run."""
        return self.plan.output_folder / ".editvec" / self.id


@dataclass(frozen=True, kw_only=True)
class ItemRow:
    """One item with the input that it came from."""

    input: PlannedInput
    recipe_position: int
    state: str
    reason: str | None
    content_key: str | None
    file_name: str | None
    mask_file_name: str | None
    metrics: dict[str, Any] | None
    result: dict[str, Any] | None = None
