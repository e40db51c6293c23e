"""The end of a run: manifests, report, final state; and a report of it at any other time."""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from editvec.batch.errors import RunNotFoundError
from editvec.batch.reports.library_report import write_work, write_work_report
from editvec.batch.reports.report import ReportFiles, write_report
from editvec.batch.reports.rows import ReportRows
from editvec.batch.runs.entities import RunRecord
from editvec.batch.runs.store import Runs
from editvec.batch.sinks.files import raise_if_full
from editvec.batch.sinks.manifests import run_summary
from editvec.batch.sinks.opening import open_sink
from editvec.batch.sinks.sink import Sink
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
    model = library.get_class(run.plan.class_address)
    summary = run_summary(run, model, runs.counts(run.id), state=state, finished_at=now())
    if not run.writes_images:
        write_work(runs, run, summary | {"request": run.plan.request})
        return runs.close(run.id, state)
    sink = open_sink(run, model.labels, writer_name=uuid.uuid4().hex)
    sink.write_manifests(runs, summary)
    try:
        _write_report(runs, run, sink, summary)
    except OSError as exc:
        raise_if_full(exc, run.plan.output_folder / "report.html")
        raise
    sink.clean()
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
    model = library.get_class(run.plan.class_address)
    at = run.finished_at or now()
    summary = run_summary(run, model, runs.counts(run.id), state=run.state, finished_at=at)
    if run.reason:
        summary["reason"] = run.reason
    if not run.writes_images:
        return write_work_report(runs, run, summary | {"request": run.plan.request})
    sink = open_sink(run, model.labels, writer_name=uuid.uuid4().hex)
    return _write_report(runs, run, sink, summary)


def _write_report(
    runs: Runs, run: RunRecord, sink: Sink, summary: Mapping[str, Any]
) -> ReportFiles:
    """Contact sheet and page of a run that makes images."""
    folder = run.plan.output_folder
    rows = ReportRows(runs, run, sink)
    return write_report(
        folder,
        {**summary, "request": run.plan.request},
        rows,
        inputs_root=run.plan.input_folder or folder,
        complete=rows.complete,
        workers=rows.workers(),
    )
