"""What is written about a run that makes no images: results, failures, a page, run.json."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from editvec.batch.reports.contact_sheet import number_text
from editvec.batch.reports.html import card, document, header, table, text
from editvec.batch.reports.pictures import numbers
from editvec.batch.reports.report import ReportFiles
from editvec.batch.reports.sections import Reason, leftovers, measures, record, workers
from editvec.batch.reports.tally import RunTally
from editvec.batch.runs.entities import ItemRow, RunRecord
from editvec.batch.runs.progress import run_status
from editvec.batch.runs.store import Runs
from editvec.batch.sinks.files import FileWriter
from editvec.batch.sinks.manifests import FAILED, RESULTS, RUN_FILE, failure_row, lines, result_row

REPORT = "report.html"
_MOST_ROWS = 500
_MOST_METRICS = 5
_ALL = ("done", "rejected", "failed", "quarantined", "cancelled")
# What the page shows better than as a line of its table of settings.
_SHOWN_ELSEWHERE = ("labels", "recipes")


def write_work(runs: Runs, run: RunRecord, summary: Mapping[str, Any]) -> None:
    """Writes everything about a run of which every chunk is decided; run.json last of all.

    Args:
        runs: where its items are.
        run: the run.
        summary: what run.json says.

    Raises:
        DiskFullError: no space is left.
    """
    writer = _writer(run)
    folder = run.plan.output_folder
    writer.write_parts(folder / RESULTS, lines(_results(runs, run)))
    writer.write_parts(folder / FAILED, lines(_failures(runs, run)))
    _write_page(writer, runs, run, summary)
    content = json.dumps(summary, indent=2, ensure_ascii=False).encode() + b"\n"
    writer.write(folder / RUN_FILE, content)
    writer.sync()
    writer.clean()


def write_work_report(runs: Runs, run: RunRecord, summary: Mapping[str, Any]) -> ReportFiles:
    """Writes the page about a run, at any time.

    Raises:
        DiskFullError: no space is left.
    """
    behind_it = _write_page(_writer(run), runs, run, summary)
    return ReportFiles(run.plan.output_folder / REPORT, None, behind_it)


def _writer(run: RunRecord) -> FileWriter:
    return FileWriter(run.work_folder / "tmp", prefix=uuid.uuid4().hex)


def _results(runs: Runs, run: RunRecord) -> Iterator[dict[str, Any]]:
    for item in runs.items(run.id, states=["done"]):
        yield result_row(item)


def _failures(runs: Runs, run: RunRecord) -> Iterator[dict[str, Any]]:
    for item in runs.items(run.id, states=["failed", "quarantined"]):
        yield failure_row(item)


# --- the page ---


def _write_page(
    writer: FileWriter, runs: Runs, run: RunRecord, summary: Mapping[str, Any]
) -> dict[str, Any]:
    tally = RunTally(samples_per_recipe=0)
    shown: list[ItemRow] = []
    failed: list[ItemRow] = []
    for item in runs.items(run.id, states=_ALL):
        tally.add(_row(run, item))
        rows = shown if item.state == "done" else failed
        if item.state != "cancelled" and len(rows) < _MOST_ROWS:
            rows.append(item)
    status = run_status(runs.engine, run.id)
    found = [row._asdict() for row in status.workers]
    title = f"Run {run.id[:8]}"
    parts = [
        header(
            title,
            f"{run.kind}  ·  {run.plan.class_address}  ·  {summary['input_folder']}",
            state=str(summary["state"]),
            note="" if run.is_finished or summary["state"] != run.state else _note(run),
            tiles=_tiles(summary, tally),
        ),
        _table(run, shown, tally),
        measures(tally, {run.kind: text(run.kind)}, {}),
        leftovers(tally, _reasons(tally)),
        _failed_table(failed, tally.state("failed") + tally.state("quarantined")),
        workers(found),
        record({name: value for name, value in summary.items() if name not in _SHOWN_ELSEWHERE}),
    ]
    page = document(title, [part for part in parts if part])
    writer.write(run.plan.output_folder / REPORT, page.encode())
    return tally.to_json()


def _row(run: RunRecord, item: ItemRow) -> dict[str, Any]:
    return {
        "position": item.input.position,
        "recipe": run.kind,
        "state": item.state,
        "reason": item.reason,
        "source": item.input.source,
        "metrics": item.metrics,
    }


def _note(run: RunRecord) -> str:
    reason = f": {run.reason}" if run.reason else ""
    return f"This run is {run.state}{reason}. The page tells of what is decided."


def _tiles(summary: Mapping[str, Any], tally: RunTally) -> dict[str, str]:
    tiles = {"done": f"{tally.state('done'):,}", "inputs": f"{summary['counts']['inputs']:,}"}
    for name in ("failed", "quarantined", "cancelled"):
        if (count := tally.state(name)) or name == "failed":
            tiles[name] = f"{count:,}"
    tiles["seconds"] = number_text(summary["seconds"])
    return tiles


def _table(run: RunRecord, shown: list[ItemRow], tally: RunTally) -> str:
    """What was added to the library, with what was measured of it."""
    if not shown:
        return ""
    measured = [dict(numbers(item.metrics)) for item in shown]
    names = list(dict.fromkeys(name for row in measured for name in row))[:_MOST_METRICS]
    rows = []
    for item, values in zip(shown, measured, strict=True):
        made = (item.result or {}).get("vector") or item.input.output_name
        cells = [f"<b>{text(made)}</b>", text(item.input.source)]
        cells += [number_text(values[name]) if name in values else "–" for name in names]
        rows.append(cells)
    head = ["image" if run.kind == "embed" else "vector", "source", *map(text, names)]
    note = f"{len(shown):,} of {tally.state('done'):,}" if len(shown) < tally.state("done") else ""
    body = table(head, rows, numbers=range(2, len(head)))
    return card("results", "Added to the library", body, note=note)


def _reasons(tally: RunTally) -> list[Reason]:
    return [Reason(one, [], []) for one in tally.reasons()]


def _failed_table(failed: list[ItemRow], count: int) -> str:
    """Every input that failed, with its reason."""
    rows = [
        [text(item.input.output_name), text(item.input.source), text(item.state), text(item.reason)]
        for item in failed
    ]
    if not rows:
        return ""
    note = "" if len(rows) == count else f"{len(rows):,} of {count:,}"
    return card("failed", "Failed", table(["name", "source", "state", "reason"], rows), note=note)
