"""Which kind of run is processed by what: the one place that knows all kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from editvec.batch.chunks.images import ChunkProcessor
from editvec.batch.chunks.library import Work, WorkProcessor
from editvec.batch.editing.memory import demand_of, images_that_fit
from editvec.batch.embedding.work import EmbedWork
from editvec.batch.evaluation.work import EvaluateWork
from editvec.batch.learning.work import LearnWork
from editvec.batch.recipes.settings import MINI_BATCH
from editvec.batch.runs.entities import RunRecord
from editvec.engine.editor import Editor
from editvec.registry.library.library import Library

Processor = ChunkProcessor | WorkProcessor

_WORK: dict[str, Callable[[Library, Editor, RunRecord], Work]] = {
    "learn": LearnWork,
    "embed": EmbedWork,
    "evaluate": EvaluateWork,
}


def open_processor(
    library: Library,
    editor: Editor,
    run: RunRecord,
    *,
    mini_batch: int = MINI_BATCH,
    max_memory: int | None = None,
    **options: Any,
) -> Processor:
    """What processes the chunks of a run, by the run's kind.

    Args:
        library: where the run is, and what it needs.
        editor: the class of the run, loaded.
        run: the run.
        mini_batch: the most inputs that are computed at a time; fewer where memory is short.
        max_memory: bytes for them; None takes EDITVEC_MAX_MEMORY, or most of what is free.
        options: `heartbeat_seconds`, `on_items`, `is_stopping` and `on_cut` of both kinds of
            processors.

    Raises:
        WorkerError: the loaded class is not the run's.
        SettingsError: the variable holds no size.
    """
    work = None if run.writes_images else _WORK[run.kind](library, editor, run)
    options["mini_batch"] = images_that_fit(
        editor.generator.config,
        demand_of(run.plan),
        device=str(editor.device),
        most=mini_batch if work is None else min(mini_batch, work.most_at_a_time),
        max_memory=max_memory,
    )
    if work is None:
        return ChunkProcessor(library, editor, run, **options)
    resolution = editor.bundle.resolution
    return WorkProcessor(library, run, work, resolution=resolution, **options)
