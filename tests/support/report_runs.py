"""Runs that were never planned, to report on: records as SQL would give them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from editvec.batch.recipes.recipe import Recipe
from editvec.batch.recipes.settings import Priority, RunSettings
from editvec.batch.reports.page import ReportRun
from editvec.batch.runs.entities import RunCounts, RunRecord
from editvec.batch.runs.plan import RunPlan
from editvec.batch.runs.progress import WorkerRow
from editvec.registry.entities.classes import ClassModel
from editvec.registry.labels.label import Label

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def report_run(
    out: Path,
    *,
    inputs: Path | None = None,
    recipes: Sequence[Recipe] = (),
    edits: Sequence[dict[str, Any]] = (),
    settings: RunSettings | None = None,
    labels: Sequence[Label] = (),
    counts: RunCounts | None = None,
    workers: Sequence[WorkerRow] = (),
    class_address: str = "avatars@1",
    **values: Any,
) -> ReportRun:
    """A run that is over, unless `values` of its record say otherwise."""
    plan = RunPlan(
        kind="batch",
        class_address=class_address,
        generator_digest="0" * 64,
        bundle_digest="1" * 64,
        input_folder=inputs,
        output_folder=out,
        request={"edits": list(edits)},
        recipes=tuple(recipes),
        settings=settings or RunSettings(),
    )
    about = {
        "id": "r1",
        "kind": plan.kind,
        "state": "completed",
        "reason": None,
        "plan": plan,
        "plan_digest": plan.digest,
        "input_count": 3,
        "cancel_requested": False,
        "priority": Priority.NORMAL,
        "engine_version": "editvec 0",
        "created_at": BEGAN,
        "started_at": BEGAN,
        "finished_at": BEGAN + timedelta(minutes=1),
    }
    model = ClassModel(
        id=1,
        name="avatars",
        version=1,
        generator_digest="0" * 64,
        bundle_digest="1" * 64,
        resolution=32,
        num_ws=8,
        w_dim=16,
        z_dim=16,
        valid_rectangle=(0, 0, 32, 32),
        labels=tuple(labels),
        files=(),
        license="",
        description="",
        created_at=BEGAN,
        created_by="",
    )
    out.mkdir(parents=True, exist_ok=True)
    record = RunRecord(**about | values)  # type: ignore[arg-type]
    return ReportRun(record, model, counts or RunCounts(total=3, done=3), workers)
