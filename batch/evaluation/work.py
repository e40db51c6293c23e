"""Runs of kind `evaluate`: every input is a vector, and what is measured is stored with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from editvec.batch.chunks.isolation import isolated
from editvec.batch.chunks.library import Worked
from editvec.batch.chunks.processor import require_generator
from editvec.batch.errors import BatchError
from editvec.batch.evaluation.evaluate import (
    EVALUATION_KEY,
    Evaluation,
    evaluate_vector,
    evaluation_key,
    store_evaluation,
)
from editvec.batch.evaluation.page import page_of
from editvec.batch.evaluation.settings import EvaluateSettings
from editvec.batch.runs.entities import RunRecord
from editvec.batch.runs.leases import ItemResult
from editvec.batch.runs.plan import PlannedInput
from editvec.engine.editor import Editor
from editvec.registry.entities.vectors import EditingVector
from editvec.registry.errors import BlobError, DatabaseError, RegistryError
from editvec.registry.files import write_atomically
from editvec.registry.library.library import Library

PAGES_FOLDER = "pages"


class EvaluateWork:
    """Measures vectors; what was measured in the same way before is not measured again."""

    most_at_a_time = 1

    def __init__(self, library: Library, editor: Editor, run: RunRecord) -> None:
        """Makes the work of a run.

        Raises:
            WorkerError: the loaded class is not the run's.
        """
        require_generator(editor, run)
        self._library = library
        self._editor = editor
        self._pages = run.plan.output_folder / PAGES_FOLDER

    def do(self, inputs: Sequence[PlannedInput], require_lease: Callable[[], None]) -> Worked:
        """Measures some vectors, one after the other."""
        return Worked(items=[self._evaluate(planned, require_lease) for planned in inputs])

    def _evaluate(self, planned: PlannedInput, require_lease: Callable[[], None]) -> ItemResult:
        assert planned.job is not None
        settings = EvaluateSettings.from_json(planned.job["settings"])
        try:
            vector = self._library.get_vector(planned.job["vector"])
            key = evaluation_key(self._editor, vector, settings)
        except (DatabaseError, BlobError):
            raise  # nothing that is wrong with the vector
        except (BatchError, RegistryError, OSError) as exc:
            return _failed(planned, " ".join(str(exc).split()))
        if _is_measured(vector, key):
            return _done(planned, key, vector)
        found, reason = self._measure(vector, settings)
        if found is None:
            return _failed(planned, reason)
        require_lease()
        self._pages.mkdir(parents=True, exist_ok=True)
        page = page_of(found, self._editor.bundle.labels)
        write_atomically(self._pages / f"{planned.output_name}.html", page.encode())
        # whoever held the chunk before may have stored it after his lease had ended
        vector = self._library.get_vector(vector.address)
        if not _is_measured(vector, key):
            vector = store_evaluation(self._library, self._editor, found).vector
        return _done(planned, key, vector)

    def _measure(
        self, vector: EditingVector, settings: EvaluateSettings
    ) -> tuple[Evaluation | None, str]:
        """The evaluation, or why there is none."""
        lost: list[RegistryError] = []

        def compute(_one: Sequence[EditingVector]) -> Evaluation:
            try:
                return evaluate_vector(self._library, self._editor, vector, settings)
            except (DatabaseError, BlobError) as exc:
                lost.append(exc)
                raise

        (outcome,) = isolated([vector], compute)
        if lost:
            raise lost[0]
        return outcome.result, outcome.reason


def _is_measured(vector: EditingVector, key: str) -> bool:
    return any(one.settings.get(EVALUATION_KEY) == key for one in vector.metrics)


def _done(planned: PlannedInput, key: str, vector: EditingVector) -> ItemResult:
    metrics: dict[str, Any] = {
        one.name: one.value for one in vector.metrics if one.settings.get(EVALUATION_KEY) == key
    }
    return ItemResult(
        position=planned.position,
        recipe_position=0,
        state="done",
        content_key=key,
        metrics=metrics,
        result={
            "vector": vector.address,
            "delta_digest": vector.delta_digest,
            "scale_range": [vector.scale_min, vector.scale_max],
        },
    )


def _failed(planned: PlannedInput, reason: str) -> ItemResult:
    return ItemResult(position=planned.position, recipe_position=0, state="failed", reason=reason)
