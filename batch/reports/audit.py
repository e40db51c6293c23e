"""Compares what SQL says about a run with what lies on the disk, in constant memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from editvec.batch.errors import DiskFullError
from editvec.batch.runs.entities import RunRecord
from editvec.batch.runs.store import Runs
from editvec.batch.sinks.findings import IMAGES, Audit
from editvec.batch.sinks.ledger import Entry, Ledger
from editvec.batch.sinks.manifests import METADATA
from editvec.batch.sinks.opening import open_sink
from editvec.batch.sinks.sink import Sink
from editvec.registry.library.library import Library

__all__ = ["Audit", "audit"]

_EXPECTED, _PRESENT = "files in SQL", "files"


def audit(library: Library, run: RunRecord) -> Audit:
    """Checks that counts add up, that every done item has its files, and that there are no others.

    Args:
        library: where the run is.
        run: any run; of one that goes on, manifests are not compared.

    Raises:
        DiskFullError: the folder for temporary files cannot take the names.
    """
    if not run.writes_images:
        # it knows reports, and so torch, which an audit of images does not need
        from editvec.batch.reports.work_audit import audit_work

        return audit_work(library, run)
    runs = Runs(library.engine)
    counts = runs.counts(run.id)
    found = Audit(items=counts.finished)
    if run.is_finished and counts.finished != counts.total:
        found.problems.append(f"{counts.finished} items are decided, planned were {counts.total}")
    sink = open_sink(run, (), writer_name="audit")
    with Ledger() as ledger:
        ledger.add(_recorded(runs, run, sink))
        ledger.add(Entry(_PRESENT, name) for name in sink.files())
        found.add("missing", ledger.only_in(_EXPECTED, _PRESENT))
        if run.is_finished:
            found.add("not recorded", ledger.only_in(_PRESENT, _EXPECTED))
            _compare_manifest(found, run.plan.output_folder / METADATA, ledger)
        sink.check(found, ledger, is_finished=run.is_finished)
    return found


def _recorded(runs: Runs, run: RunRecord, sink: Sink) -> Iterator[Entry]:
    """The files of the done items, and their images with their content keys."""
    for item in runs.items(run.id, states=["done"]):
        assert item.file_name is not None
        yield Entry(IMAGES, item.file_name, item.content_key)
        for name in sink.names_of(item):
            yield Entry(_EXPECTED, name)


def _compare_manifest(found: Audit, path: Path, ledger: Ledger) -> None:
    try:
        twice = ledger.add(_listed(path))
    except DiskFullError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as exc:
        found.problems.append(f"{path.name} cannot be read: {exc}")
        return
    if twice:
        found.problems.append(f"{path.name} lists {twice} images twice")
    found.compare(path.name, ledger)


def _listed(path: Path) -> Iterator[Entry]:
    """The images of a manifest, each with its content key."""
    with path.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            row = json.loads(line)
            yield Entry(path.name, row["file_name"], row["content_key"])
