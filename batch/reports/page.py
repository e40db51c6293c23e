"""What the page about any run says, computed for its template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import editvec.registry.errors
from editvec.batch.errors import DiskFullError
from editvec.batch.reports.charts import Chart, RowName, chart
from editvec.batch.reports.metrics import bound_of, in_order, metric_of
from editvec.batch.reports.rendering import Figure, render
from editvec.batch.reports.tally import ReasonTally, RunTally
from editvec.batch.runs.entities import RunCounts, RunRecord
from editvec.batch.runs.progress import WorkerRow
from editvec.batch.sinks.manifests import run_summary
from editvec.registry.entities.classes import ClassModel
from editvec.registry.files import write_atomically
from editvec.registry.tables.database import now

MAX_REASONS = 20
MAX_CHARTS = 10
# What the page shows better than as a line of its table of settings.
_SHOWN_ELSEWHERE = ("labels", "recipes")
_UNFINISHED = {
    "planned": "This run has not begun.",
    "running": "This run is still going on.",
    "paused": "This run is paused.",
}


class ReportFiles(NamedTuple):
    """What was written about a run, and the numbers behind it; None for a sheet of no images."""

    report: Path
    contact_sheet: Path | None
    numbers: dict[str, Any]


class ReportRun(NamedTuple):
    """A run, and what else is known of it now.

    Attributes:
        record: The run; its state may be the one that it is about to get.
        model: The class of the run.
        counts: Of its items.
        workers: Who worked on it.
    """

    record: RunRecord
    model: ClassModel
    counts: RunCounts
    workers: Sequence[WorkerRow] = ()


class Reason(NamedTuple):
    """Why items gave no image: some of these inputs, and the names of some that cannot be read."""

    tally: ReasonTally
    examples: Sequence[Figure] = ()
    unread: Sequence[str] = ()


def write_page(
    template: str,
    run: ReportRun,
    tally: RunTally,
    *,
    names: Mapping[str, RowName],
    reasons: Sequence[Reason],
    **own: Any,
) -> ReportFiles:
    """Writes `report.html` into the output folder of a run.

    Args:
        template: of the page.
        run: what it is about.
        tally: of its items.
        names: of its recipes, as its charts show them.
        reasons: why items gave no image; the most frequent ones.
        own: what this template shows beside what all pages do.

    Returns:
        The page, and the numbers behind it.

    Raises:
        DiskFullError: no space is left.
    """
    record = run.record
    summary = run_summary(record, run.model, run.counts, now=now())
    known = summary | ({"reason": record.reason} if record.reason else {})
    if not record.writes_images:
        known["request"] = record.plan.request
    charts = _measures(tally, names, record)
    page = render(
        template,
        title=title_of(record),
        subtitle=subtitle_of(record),
        state=record.state,
        note=_note(run),
        tiles=_tiles(run, tally, summary["seconds"]),
        tally=tally,
        names=names,
        charts=charts[:MAX_CHARTS],
        measures_note=_measures_note(tally, len(charts) - MAX_CHARTS),
        reasons=reasons,
        worked=run.workers,
        known={name: one for name, one in known.items() if name not in _SHOWN_ELSEWHERE},
        run=record,
        **own,
    )
    report = record.plan.output_folder / "report.html"
    write_file(report, page.encode())
    return ReportFiles(report, None, tally.to_json())


def write_file(path: Path, data: bytes) -> None:
    """Writes a file of a report. Raises DiskFullError."""
    try:
        write_atomically(path, data)
    except editvec.registry.errors.LibraryDiskFullError as exc:
        raise DiskFullError(f"output folder: {exc}") from exc


def title_of(run: RunRecord) -> str:
    """The headline of a page or a sheet."""
    return f"Run {run.id[:8]}"


def subtitle_of(run: RunRecord) -> str:
    """Class and inputs; the kind too where it does not make images."""
    kind = "" if run.writes_images else run.kind
    source = run.plan.input_folder
    parts = (kind, run.plan.class_address, "" if source is None else str(source))
    return "  ·  ".join(part for part in parts if part)


def _note(run: ReportRun) -> str:
    """What to know of a run that is not over."""
    record, counts = run.record, run.counts
    if record.is_finished:
        return ""
    reason = f" {record.reason}." if record.reason else ""
    return (
        f"{_UNFINISHED[record.state]}{reason} {counts.finished:,} of {counts.total:,} items were "
        f"decided when this page was written, {now():%Y-%m-%d %H:%M:%S} UTC."
    )


def _tiles(run: ReportRun, tally: RunTally, seconds: float) -> dict[str, str]:
    """Counts in a fixed order; states without items are left out, except those that matter."""
    makes_images, made = run.record.writes_images, tally.state("done")
    tiles = {
        "images" if makes_images else "done": f"{made:,}",
        "inputs": f"{run.record.input_count:,}",
    }
    for name, is_always in (
        ("rejected", makes_images),
        ("failed", True),
        ("quarantined", False),
        ("cancelled", False),
    ):
        count = getattr(run.counts, name)
        if count or is_always:
            tiles[name] = f"{count:,}"
    if seconds > 0:
        tiles["duration"] = _duration(seconds)
        if makes_images:
            tiles["images per second"] = f"{made / seconds:.3g}"
    return tiles


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.3g} s"


def _measures(tally: RunTally, names: Mapping[str, RowName], run: RunRecord) -> list[Chart]:
    """A chart of every metric."""
    recipes = [recipe for recipe in tally.recipes.values() if recipe.metrics]
    charts = []
    for name in in_order(name for recipe in recipes for name in recipe.metrics):
        metric = metric_of(name)
        rows = [(names[one.name], one.metrics[name]) for one in recipes if name in one.metrics]
        if metric.is_of_input:
            rows = [max(rows, key=lambda row: row[1].count)]
        # a number of steps is worth a picture only where images stopped early
        if not name.endswith("num_steps") or not all(one.is_constant for _, one in rows):
            bound = bound_of(name, run.plan.settings)
            charts.append(chart(metric.title, rows, bound=bound, hint=metric.hint))
    return charts


def _measures_note(tally: RunTally, more: int) -> str:
    note = "of images and of rejected items" if tally.state("rejected") else ""
    return f"{note} {more} further metrics are in metadata.jsonl" if more > 0 else note
