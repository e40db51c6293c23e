"""The report of a run that SQL knows, written at any time."""

from __future__ import annotations

import uuid

from editvec.batch.errors import RunNotFoundError
from editvec.batch.reports.library_report import write_work_report
from editvec.batch.reports.report import ReportFiles, write_report
from editvec.batch.reports.rows import ReportRows
from editvec.batch.runs.entities import RunRecord
from editvec.batch.runs.store import Runs
from editvec.batch.sinks.manifests import run_summary
from editvec.batch.sinks.opening import open_sink
from editvec.registry.library.library import Library
from editvec.registry.tables.database import now


def report_run(library: Library, run: RunRecord) -> ReportFiles:
    """Writes the report of a run anew, into its output folder.

    Args:
        library: where the run is.
        run: the run; it may still go on.

    Returns:
        The files and the numbers behind them.

    Raises:
        RunNotFoundError: its output folder is gone.
        DiskFullError: no space is left.
    """
    folder = run.plan.output_folder
    if not folder.is_dir():
        raise RunNotFoundError(f"run: the output folder of {run.id[:8]} is gone: {folder}")
    runs = Runs(library.engine)
    model = library.get_class(run.plan.class_address)
    at = run.finished_at or now()
    summary = run_summary(run, model, runs.counts(run.id), state=run.state, finished_at=at)
    summary["request"] = run.plan.request
    if run.reason:
        summary["reason"] = run.reason
    if not run.writes_images:
        return write_work_report(runs, run, summary)
    rows = ReportRows(runs, run, open_sink(run, model.labels, writer_name=uuid.uuid4().hex))
    return write_report(
        folder,
        summary,
        rows,
        inputs_root=run.plan.input_folder or folder,
        complete=rows.complete,
        workers=rows.workers(),
    )
