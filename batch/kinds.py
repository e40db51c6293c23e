"""Which kind of run is processed by what: the one place that knows all kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from batch.embed_work import EmbedWork
from batch.entities import RunRecord
from batch.evaluation.work import EvaluateWork
from batch.learn_work import LearnWork
from batch.pipeline import ChunkProcessor
from batch.work import Work, WorkProcessor
from engine.editor import Editor
from registry.store import Library

Processor = ChunkProcessor | WorkProcessor

_WORK: dict[str, Callable[[Library, Editor, RunRecord], Work]] = {
    "learn": LearnWork,
    "embed": EmbedWork,
    "evaluate": EvaluateWork,
}


def open_processor(library: Library, editor: Editor, run: RunRecord, **options: Any) -> Processor:
    """What processes the chunks of a run, by the run's kind.

    Args:
        library: where the run is, and what it needs.
        editor: the class of the run, loaded.
        run: the run.
        options: `mini_batch`, `heartbeat_seconds`, `on_items`, `is_stopping` and `on_cut` of both
            kinds of processors.

    Raises:
        WorkerError: the loaded class is not the run's.
    """
    if run.writes_images:
        return ChunkProcessor(library, editor, run, **options)
    work = _WORK[run.kind](library, editor, run)
    resolution = editor.bundle.resolution
    return WorkProcessor(library, run, work, resolution=resolution, **options)
