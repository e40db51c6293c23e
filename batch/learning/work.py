"""Runs of kind `learn`: every input is a job, and every job becomes a vector of the library."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from editvec.batch.chunks.isolation import isolated
from editvec.batch.chunks.library import Worked
from editvec.batch.chunks.processor import require_generator
from editvec.batch.editing.reading import checked_digest
from editvec.batch.errors import BatchError
from editvec.batch.learning.learn import JOB_KEY, Learned, learn
from editvec.batch.learning.request import LearnRequest
from editvec.batch.runs.entities import RunRecord
from editvec.batch.runs.leases import ItemResult
from editvec.batch.runs.plan import PlannedInput, canonical_json
from editvec.engine.editor import Editor
from editvec.registry.addresses import parse_new_address
from editvec.registry.entities.queries import VectorQuery
from editvec.registry.entities.vectors import EditingVector
from editvec.registry.errors import BlobError, DatabaseError, RegistryError
from editvec.registry.library.contents import scheme_of_class
from editvec.registry.library.library import Library
from editvec.registry.masks.operation_text import pasted_files
from editvec.registry.release import engine_version


class LearnWork:
    """Learns a vector from each job; one that the library holds already is not learned again."""

    most_at_a_time = 1

    def __init__(self, library: Library, editor: Editor, run: RunRecord) -> None:
        """Makes the work of a run.

        Raises:
            WorkerError: the loaded class is not the run's.
        """
        require_generator(editor, run)
        assert run.plan.input_folder is not None
        self._library = library
        self._editor = editor
        self._folder = run.plan.input_folder
        self._model = library.get_class(run.plan.class_address)
        self._scheme = scheme_of_class(library, self._model)

    def do(self, inputs: Sequence[PlannedInput], require_lease: Callable[[], None]) -> Worked:
        """Learns from some jobs, one after the other."""
        worked = Worked()
        for planned in inputs:
            worked.items.append(self._learn(planned, require_lease, worked.digests))
        return worked

    def _learn(
        self, planned: PlannedInput, require_lease: Callable[[], None], digests: dict[int, str]
    ) -> ItemResult:
        assert planned.job is not None
        request = LearnRequest.from_json(planned.job, folder=self._folder)
        try:
            digest = checked_digest(request.image, planned)
            key = self._job_key(request, digest)
        except (BatchError, OSError) as exc:
            return _failed(planned, _words(exc))
        digests[planned.position] = digest
        known = self._find(request, key)
        if known is not None:
            return _done(planned, key, known)

        def compute(_one: Sequence[LearnRequest]) -> Learned:
            return learn(self._editor, self._model, request, scheme=self._scheme, job_key=key)

        (outcome,) = isolated([request], compute)
        if outcome.result is None:
            return _failed(planned, outcome.reason)
        require_lease()
        # whoever held the chunk before may have added it after his lease had ended
        known = self._find(request, key)
        if known is not None:
            return _done(planned, key, known)
        return self._store(planned, key, outcome.result)

    def _store(self, planned: PlannedInput, key: str, learned: Learned) -> ItemResult:
        try:
            stored = self._library.add_vectors([learned.parcel], reason=learned.reason)[0]
        except (DatabaseError, BlobError):
            raise  # nothing that is wrong with the job
        except RegistryError as exc:
            return _failed(planned, _words(exc))
        return _done(planned, key, stored.vector)

    def _job_key(self, request: LearnRequest, image_digest: str) -> str:
        """Digest of all that decides a vector: equal keys mean the same lesson."""
        wanted = parse_new_address(request.address)
        parts: dict[str, Any] = {
            "name": wanted.name,
            "version": wanted.version,
            "image": image_digest,
            "roi": list(request.roi_labels),
            "settings": request.settings.to_json(),
            "bundle": self._model.bundle_digest,
            "engine": engine_version(),
        }
        if request.settings.preset != "learn":
            # what the name of a preset stands for may change
            parts["edit"] = asdict(request.settings.edit_settings())
        if request.mask_after is not None:
            parts["mask_after"] = _digest_of(request.mask_after)
        if request.operation:
            parts["operation"] = request.operation
            parts["pasted"] = [_digest_of(path) for path in pasted_files(request.operation)]
        if request.mask_before is not None:
            parts["mask_before"] = _digest_of(request.mask_before)
        return hashlib.sha256(canonical_json(parts)).hexdigest()

    def _find(self, request: LearnRequest, key: str) -> EditingVector | None:
        """The vector that was learned from this very job."""
        query = VectorQuery(
            class_name=self._model.address,
            name_glob=parse_new_address(request.address).name,
            retired=None,
        )
        for vector in self._library.iterate_vectors(query):
            if vector.settings.get(JOB_KEY) == key:
                return vector
        return None


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _done(planned: PlannedInput, key: str, vector: EditingVector) -> ItemResult:
    return ItemResult(
        position=planned.position,
        recipe_position=0,
        state="done",
        content_key=key,
        metrics={metric.name: metric.value for metric in vector.latest_metrics},
        result={"vector": vector.address, "delta_digest": vector.delta_digest},
    )


def _failed(planned: PlannedInput, reason: str) -> ItemResult:
    return ItemResult(position=planned.position, recipe_position=0, state="failed", reason=reason)


def _words(error: Exception) -> str:
    """One line that says what is wrong with a job."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())
