"""The end of a run: manifests, report, final state; and a report of it at any other time."""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from editvec.batch.errors import RunNotFoundError
from editvec.batch.reports.library_report import write_library_report, write_results
from editvec.batch.reports.page import ReportFiles, ReportRun
from editvec.batch.reports.report import write_report
from editvec.batch.reports.rows import ReportRows
from editvec.batch.runs.entities import RunRecord
from editvec.batch.runs.progress import run_status
from editvec.batch.runs.store import Runs
from editvec.batch.sinks.files import raise_if_full
from editvec.batch.sinks.manifests import run_summary
from editvec.batch.sinks.opening import open_sink
from editvec.registry.library.library import Library
from editvec.registry.tables.database import now


def complete(library: Library, run: RunRecord, state: str) -> RunRecord:
    """Writes what describes the whole run, from SQL alone, and then closes it.

    A process that is killed on the way leaves a run that is still open, and whoever comes next
    does all of it again. Of several that come at once, one does it and the others wait.

    Args:
        library: where the run is.
        run: a run of which every chunk is decided.
        state: from `Runs.final_state`.

    Raises:
        DiskFullError: no space is left; the run stays open.
    """
    run.work_folder.mkdir(parents=True, exist_ok=True)
    with _alone_in(run.work_folder):
        run = Runs(library.engine).get(run.id)
        return run if run.is_finished else _complete(library, run, state)


def _complete(library: Library, run: RunRecord, state: str) -> RunRecord:
    runs = Runs(library.engine)
    ending = replace(run, state=state, reason=None, finished_at=now())
    model = library.get_class(run.plan.class_address)
    summary = run_summary(ending, model, runs.counts(run.id), now=now())
    if run.writes_images:
        sink = open_sink(run, model.labels, writer_name=uuid.uuid4().hex)
        sink.write_manifests(runs, summary)
        try:
            report_run(library, ending)
        except OSError as exc:
            raise_if_full(exc, run.plan.output_folder / "report.html")
            raise
        sink.clean()
    else:
        report_run(library, ending)
        write_results(runs, run, summary | {"request": run.plan.request})
    return runs.close(run.id, state)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Holds a lock on a folder; it ends with the process, however that ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


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
    status = run_status(library.engine, run.id)
    model = library.get_class(run.plan.class_address)
    about = ReportRun(run, model, status.counts, status.workers)
    if not run.writes_images:
        return write_library_report(runs, about)
    rows = ReportRows(runs, run, open_sink(run, model.labels, writer_name=uuid.uuid4().hex))
    return write_report(about, rows, complete=rows.complete)
