"""The end of a run: manifests, report, and the final state."""

from __future__ import annotations

from batch.entities import RunRecord
from batch.report import write_report
from batch.runs import Runs
from batch.sinks.imagefolder import ImageFolderSink, manifest_row, run_summary
from registry.database import now
from registry.store import Library


def complete(library: Library, run: RunRecord, state: str) -> RunRecord:
    """Writes what describes the whole run, from SQL alone, and then closes it.

    A process that is killed on the way leaves a run that is still open, and whoever comes next
    does all of it again.

    Args:
        library: where the run is.
        run: a run of which every chunk is decided.
        state: from `Runs.final_state`.

    Raises:
        DiskFullError: no space is left; the run stays open.
    """
    runs = Runs(library.engine)
    model = library.get_class(run.plan.class_address)
    run = runs.get(run.id)
    summary = run_summary(run, model, runs.counts(run.id), state=state, finished_at=now())
    sink = ImageFolderSink(run, model.labels, writer_name="manifests")
    sink.write_manifests(
        done=runs.items(run.id, states=["done"]),
        rejected=runs.items(run.id, states=["rejected"]),
        failed=runs.items(run.id, states=["failed", "quarantined"]),
        summary=summary,
    )
    folder = run.plan.output_folder
    rows = (manifest_row(run.plan, item) for item in runs.items(run.id, states=["done"]))
    write_report(folder, summary, rows, inputs_root=run.plan.input_folder or folder)
    sink.writer.clean()
    return runs.close(run.id, state)
