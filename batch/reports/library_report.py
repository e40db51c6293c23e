"""What is written about a run that makes no images: results, failures, a page, run.json."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from editvec.batch.reports.charts import RowName
from editvec.batch.reports.page import MAX_REASONS, Reason, ReportFiles, ReportRun, write_page
from editvec.batch.reports.pictures import numbers
from editvec.batch.reports.tally import RunTally
from editvec.batch.runs.entities import ItemRow, RunRecord
from editvec.batch.runs.store import Runs
from editvec.batch.sinks.files import FileWriter
from editvec.batch.sinks.manifests import FAILED, RESULTS, RUN_FILE, failure_row, lines, result_row

_MOST_ROWS = 500
_MOST_METRICS = 5
_ALL = ("done", "rejected", "failed", "quarantined", "cancelled")


def write_results(runs: Runs, run: RunRecord, summary: Mapping[str, Any]) -> None:
    """Writes the manifests of a run of which every chunk is decided; run.json last of all.

    Args:
        runs: where its items are.
        run: the run.
        summary: what run.json says.

    Raises:
        DiskFullError: no space is left.
    """
    writer = FileWriter(run.work_folder / "tmp", prefix=uuid.uuid4().hex)
    folder = run.plan.output_folder
    done = runs.items(run.id, states=["done"])
    failed = runs.items(run.id, states=["failed", "quarantined"])
    writer.write_parts(folder / RESULTS, lines(map(result_row, done)))
    writer.write_parts(folder / FAILED, lines(map(failure_row, failed)))
    content = json.dumps(summary, indent=2, ensure_ascii=False).encode() + b"\n"
    writer.write(folder / RUN_FILE, content)
    writer.sync()
    writer.clean()


def write_library_report(runs: Runs, run: ReportRun) -> ReportFiles:
    """Writes the page about a run, at any time.

    Raises:
        DiskFullError: no space is left.
    """
    record = run.record
    tally = RunTally(samples_per_recipe=0)
    shown: list[tuple[ItemRow, dict[str, float]]] = []
    failed: list[ItemRow] = []
    for item in runs.items(record.id, states=_ALL):
        tally.add(_row(record, item))
        if item.state == "done" and len(shown) < _MOST_ROWS:
            shown.append((item, dict(numbers(item.metrics))))
        elif item.state not in ("done", "cancelled") and len(failed) < _MOST_ROWS:
            failed.append(item)
    failures = tally.state("failed") + tally.state("quarantined")
    return write_page(
        "reports/templates/library.html",
        run,
        tally,
        names={record.kind: RowName(record.kind)},
        reasons=[Reason(one) for one in tally.reasons()[:MAX_REASONS]],
        made="image" if record.kind == "embed" else "vector",
        shown=shown,
        shown_note=_part(len(shown), tally.state("done")),
        measured=list(dict.fromkeys(name for _, row in shown for name in row))[:_MOST_METRICS],
        failed=failed,
        failed_note=_part(len(failed), failures),
    )


def _row(run: RunRecord, item: ItemRow) -> dict[str, Any]:
    return {
        "position": item.input.position,
        "recipe": run.kind,
        "state": item.state,
        "reason": item.reason,
        "source": item.input.source,
        "metrics": item.metrics,
    }


def _part(shown: int, count: int) -> str:
    return f"{shown:,} of {count:,}" if shown < count else ""
