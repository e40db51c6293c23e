"""Chooses the sink of a run."""

from __future__ import annotations

from collections.abc import Sequence

from editvec.batch.recipes.settings import Output
from editvec.batch.runs.entities import RunRecord
from editvec.batch.sinks.coco import CocoSink
from editvec.batch.sinks.imagefolder import ImageFolderSink
from editvec.batch.sinks.sink import Sink
from editvec.batch.sinks.webdataset import WebDatasetSink
from editvec.registry.labels.label import Label

_SINKS: dict[Output, type[ImageFolderSink] | type[WebDatasetSink]] = {
    Output.IMAGEFOLDER: ImageFolderSink,
    Output.COCO: CocoSink,
    Output.WEBDATASET: WebDatasetSink,
}


def open_sink(run: RunRecord, labels: Sequence[Label], *, writer_name: str) -> Sink:
    """The sink that a run's settings ask for.

    Args:
        run: the run.
        labels: the label scheme.
        writer_name: different for all who write at the same time.
    """
    return _SINKS[run.plan.settings.output](run, labels, writer_name=writer_name)
