"""Chooses the sink of a run."""

from __future__ import annotations

from collections.abc import Sequence

from editvec.batch.recipes.settings import Output
from editvec.batch.runs.entities import RunRecord
from editvec.batch.sinks.imagefolder import ImageFolderSink
from editvec.batch.sinks.sink import Sink
from editvec.registry.labels.label import Label


def open_sink(run: RunRecord, labels: Sequence[Label], *, writer_name: str) -> Sink:
    """The sink that a run's settings ask for.

    Args:
        run: the run.
        labels: the label scheme.
        writer_name: different for all who write at the same time.
    """
    output = run.plan.settings.output
    # each is imported when a run writes it
    if output is Output.COCO:
        from editvec.batch.sinks.coco import CocoSink

        return CocoSink(run, labels, writer_name=writer_name)
    if output is Output.WEBDATASET:
        from editvec.batch.sinks.webdataset import WebDatasetSink

        return WebDatasetSink(run, labels, writer_name=writer_name)
    return ImageFolderSink(run, labels, writer_name=writer_name)
