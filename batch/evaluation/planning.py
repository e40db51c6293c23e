"""Runs of kind `evaluate`, planned or found again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from editvec.batch.errors import PlanError
from editvec.batch.evaluation.settings import EvaluateSettings
from editvec.batch.recipes.settings import RunSettings
from editvec.batch.runs.plan import PlannedInput, build_request, canonical_json
from editvec.batch.runs.planning import (
    EVALUATE,
    OpenedRun,
    create_run,
    known_run,
    plan_of_work,
    runs_folder,
    target_of_work,
)
from editvec.registry.entities.queries import VectorQuery
from editvec.registry.entities.spaces import APPLICABLE_SPACES
from editvec.registry.entities.vectors import EditingVector
from editvec.registry.library.library import Library


@dataclass(frozen=True, kw_only=True)
class EvaluateRequest:
    """What is to be evaluated.

    Attributes:
        class_name: `avatars` or `avatars@2`; None means the only class of the library.
        address: one vector; None means all of the class that are not retired.
        settings: how.
        output_folder: for what is said about the run; None means one in the home folder.
    """

    class_name: str | None
    settings: EvaluateSettings
    address: str | None = None
    output_folder: Path | None = None


def open_evaluate_run(library: Library, request: EvaluateRequest) -> OpenedRun:
    """Plans a run that evaluates vectors, or finds the one that the same command began.

    Raises:
        PlanError, RegistryError: the run cannot be planned.
        RunConflictError: the output folder belongs to a run with other parameters.
    """
    if request.address is not None:
        one = library.get_vector(request.address, class_name=request.class_name)
        model = library.get_class(f"{one.class_name}@{one.class_version}")
        found = [one]
    else:
        model = library.get_class(request.class_name)
        found = list(library.iterate_vectors(VectorQuery(class_name=model.name)))
    chosen = [one for one in found if _fits(one, model.generator_digest)]
    if not chosen:
        raise PlanError(f"evaluate: class {model.address} has no vector that can be applied")
    settings = request.settings.absolute()
    inputs = [_input(position, one, settings) for position, one in enumerate(chosen)]
    how = RunSettings(chunk_size=1, embed=settings.embed)
    parts = [[one.job for one in inputs], settings.files()]
    jobs = hashlib.sha256(canonical_json(parts)).hexdigest()
    asked = build_request(request.class_name, [], None, how) | {"evaluation": jobs}
    target = target_of_work(library, EVALUATE, [model.address, asked], request.output_folder)
    notes = []
    if len(chosen) < len(found):
        notes.append(
            f"{len(found) - len(chosen)} vectors of another generator or of a space that no image "
            "is edited in are left out"
        )
    known = known_run(library, target, asked, may_lie_below=runs_folder(library))
    if known is not None:
        return OpenedRun(known, False, notes)
    plan = plan_of_work(EVALUATE, model, None, target, asked, how)
    return OpenedRun(create_run(library, plan, inputs), True, notes)


def _fits(vector: EditingVector, generator_digest: str) -> bool:
    return vector.generator_digest == generator_digest and vector.latent_space in APPLICABLE_SPACES


def _input(position: int, vector: EditingVector, settings: EvaluateSettings) -> PlannedInput:
    return PlannedInput(
        position=position,
        relative_path=vector.address.encode(),
        output_name=f"{position:06d}-{vector.name}-{vector.version}",
        job={"vector": vector.address, "settings": settings.to_json()},
    )
