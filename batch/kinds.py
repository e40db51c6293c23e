"""Which kind of run is processed by what: the one place that knows all kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from editvec.batch.editing.memory import demand_of_run, images_that_fit
from editvec.batch.recipes.settings import MINI_BATCH
from editvec.batch.runs.entities import RunRecord
from editvec.batch.runs.planning import EMBED, EVALUATE, LEARN
from editvec.engine.editor import Editor
from editvec.registry.library.library import Library

if TYPE_CHECKING:
    from editvec.batch.chunks.library import Work
    from editvec.batch.chunks.processor import Processor


def _learn(library: Library, editor: Editor, run: RunRecord) -> Work:
    from editvec.batch.learning.work import LearnWork

    return LearnWork(library, editor, run)


def _embed(library: Library, editor: Editor, run: RunRecord) -> Work:
    from editvec.batch.embedding.work import EmbedWork

    return EmbedWork(library, editor, run)


def _evaluate(library: Library, editor: Editor, run: RunRecord) -> Work:
    from editvec.batch.evaluation.work import EvaluateWork

    return EvaluateWork(library, editor, run)


# each imports its kind when a run of it comes: a worker that edits folders loads no evaluation
_WORK: dict[str, Callable[[Library, Editor, RunRecord], Work]] = {
    LEARN: _learn,
    EMBED: _embed,
    EVALUATE: _evaluate,
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
        demand_of_run(run.plan),
        device=str(editor.device),
        most=mini_batch if work is None else min(mini_batch, work.most_at_a_time),
        max_memory=max_memory,
    )
    if work is None:
        from editvec.batch.chunks.images import ChunkProcessor

        return ChunkProcessor(library, editor, run, **options)
    from editvec.batch.chunks.library import WorkProcessor

    resolution = editor.bundle.resolution
    return WorkProcessor(library, run, work, resolution=resolution, **options)
