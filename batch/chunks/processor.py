"""Is the loaded class that of a run?"""

from __future__ import annotations

from editvec.batch.errors import WorkerError
from editvec.batch.runs.entities import RunRecord
from editvec.engine.editor import Editor


def require_generator(editor: Editor, run: RunRecord) -> None:
    """Refuses to work on a run with another generator than its own.

    Raises:
        WorkerError: names both.
    """
    if editor.bundle.generator_digest != run.plan.generator_digest:
        raise WorkerError(
            f"class: run {run.id[:8]} needs {run.plan.class_address} "
            f"({run.plan.generator_digest[:12]}), loaded is another generator"
        )
