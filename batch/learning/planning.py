"""Runs that write no images, planned or found again: jobs of learning, folders to embed.

Their output folder holds what is said about the run only. Where none is named it is one in the
home folder that is named after what is asked for, so that the same command finds its run.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from editvec.batch.errors import SettingsError
from editvec.batch.learning.jobs import Jobs
from editvec.batch.learning.request import LearnRequest
from editvec.batch.recipes.boxes import BoxFile
from editvec.batch.recipes.recipe import Recipe
from editvec.batch.recipes.settings import RunSettings
from editvec.batch.runs.plan import (
    PlannedInput,
    RunPlan,
    build_request,
    canonical_json,
    resolve_folders,
)
from editvec.batch.runs.planning import OpenedRun, changes_since, create_run, find_inputs, known_run
from editvec.registry.addresses import parse_new_address
from editvec.registry.entities.classes import ClassModel
from editvec.registry.library.library import Library
from editvec.registry.masks.operation_text import pasted_files

LEARN, EMBED, EVALUATE = "learn", "embed", "evaluate"
RUNS_FOLDER = "runs"


@dataclass(frozen=True, kw_only=True)
class EmbedRequest:
    """What is to be embedded.

    Attributes:
        class_name: ``avatars`` or ``avatars@2``; None means the only class of the library.
        input_folder: its images.
        settings: embedding, space and fit: what a later run is told too.
        boxes: objects to embed in their pictures; None means whole pictures.
        output_folder: for what is said about the run; None means one in the home folder.
    """

    class_name: str | None
    input_folder: Path
    settings: RunSettings
    boxes: BoxFile | None = None
    output_folder: Path | None = None


def open_learn_run(
    library: Library,
    jobs: Jobs,
    *,
    class_name: str | None = None,
    output_folder: Path | None = None,
) -> OpenedRun:
    """Plans a run that learns from jobs, or finds the one that the same command began.

    Args:
        library: where the vectors go.
        jobs: what to learn.
        class_name: the class of jobs that name none.
        output_folder: for what is said about the run; None means one in the home folder.

    Raises:
        SettingsError: jobs of several classes.
        PlanError, RegistryError: the run cannot be planned.
        RunConflictError: the output folder belongs to a run with other parameters.
    """
    model = _class_of(library, jobs.requests, class_name)
    inputs = [_job_input(jobs.folder, *numbered) for numbered in enumerate(jobs.requests)]
    settings = RunSettings(
        chunk_size=1,
        # for the time that one input may take
        embed=_longest(jobs.requests),
        optimize_steps=max(one.settings.num_learning_steps for one in jobs.requests),
    )
    digest = _digest([one.job for one in inputs], map(_marks_of, jobs.requests))
    asked = build_request(class_name, [], jobs.folder, settings) | {"jobs": digest}
    target = target_of_work(library, LEARN, [model.address, asked], output_folder)
    known = known_run(library, target, asked)
    if known is not None:
        return OpenedRun(known, False, jobs.notes)
    plan = plan_of_work(LEARN, model, jobs.folder, target, asked, settings)
    return OpenedRun(create_run(library, plan, inputs), True, jobs.notes)


def open_embed_run(library: Library, request: EmbedRequest) -> OpenedRun:
    """Plans a run that embeds a folder, or finds the one that the same command began.

    Raises:
        SettingsError: the encoder alone, of which nothing is kept.
        PlanError, RegistryError: the run cannot be planned.
        RunConflictError: the output folder belongs to a run with other parameters.
    """
    settings = request.settings
    if not settings.embedding.num_steps:
        raise SettingsError(
            "embed: the encoder alone is faster than any look-up, so nothing of it is kept; "
            "expected steps:N or target:DB"
        )
    model = library.get_class(request.class_name)
    if request.boxes is not None:
        settings = replace(settings, boxes=request.boxes.digest)
    source, _ = resolve_folders(request.input_folder, request.output_folder or _home(library))
    assert source is not None
    inputs, notes = find_inputs(source, settings, request.boxes)
    asked = build_request(request.class_name, [], source, settings)
    found = ((one.source, one.size, one.mtime_ns) for one in inputs)
    named_after = [model.address, asked, _digest(found)]
    target = target_of_work(library, EMBED, named_after, request.output_folder)
    known = known_run(library, target, asked)
    if known is not None:
        return OpenedRun(known, False, changes_since(known))
    plan = plan_of_work(EMBED, model, source, target, asked, settings)
    return OpenedRun(create_run(library, plan, inputs), True, notes)


def plan_of_work(
    kind: str,
    model: ClassModel,
    source: Path | None,
    target: Path,
    asked: dict[str, Any],
    settings: RunSettings,
) -> RunPlan:
    """The plan of a run that writes no images."""
    return RunPlan(
        kind=kind,
        class_address=model.address,
        generator_digest=model.generator_digest,
        bundle_digest=model.bundle_digest,
        input_folder=source,
        output_folder=target,
        request=asked,
        recipes=(Recipe(name=kind, edits=()),),
        settings=settings,
    )


def _home(library: Library) -> Path:
    return Path(os.path.realpath(library.config.home / RUNS_FOLDER))


def target_of_work(library: Library, kind: str, named_after: object, given: Path | None) -> Path:
    """The output folder: the given one, or one in the home folder that is named after the work."""
    if given is not None:
        return resolve_folders(None, given)[1]
    return _home(library) / f"{kind}-{_digest([named_after])[:16]}"


# --- jobs ---


def _class_of(
    library: Library, requests: Sequence[LearnRequest], class_name: str | None
) -> ClassModel:
    """The class of all jobs: a run is done by workers of one class."""
    named = {parse_new_address(one.address).class_name for one in requests} - {None}
    model = library.get_class(class_name or next(iter(sorted(filter(None, named))), None))
    others = sorted(str(name) for name in named if name != model.name)
    if others:
        raise SettingsError(
            f"pair list: a run learns for one class, {model.name}; "
            f"learn those of {', '.join(others)} from a list of their own"
        )
    return model


def _job_input(folder: Path, position: int, request: LearnRequest) -> PlannedInput:
    job = request.to_json(folder=folder)
    size, mtime_ns = _mark(request.image)
    return PlannedInput(
        position=position,
        relative_path=os.fsencode(job["image"]),
        output_name=f"{position:06d}-{parse_new_address(request.address).name}",
        size=size,
        mtime_ns=mtime_ns,
        job=job,
    )


def _marks_of(request: LearnRequest) -> list[Any]:
    """Size and time of the files of a job: a job whose files were replaced is another one."""
    pasted = pasted_files(request.operation) if request.operation else []
    files = (request.image, request.mask_after, request.mask_before, *pasted)
    return [None if path is None else _mark(path) for path in files]


def _mark(path: Path) -> tuple[int | None, int | None]:
    try:
        status = path.stat()
    except OSError:  # the job fails with this reason
        return None, None
    return status.st_size, status.st_mtime_ns


def _longest(requests: Sequence[LearnRequest]) -> str:
    """The embedding that takes the most steps."""
    settings = (one.settings for one in requests)
    return max(settings, key=lambda one: one.embed_settings.num_steps).embed


def _digest(*parts: Iterable[object]) -> str:
    """Digest of many values, one at a time."""
    digest = hashlib.sha256()
    for part in parts:
        for value in part:
            digest.update(canonical_json(value) + b"\n")
    return digest.hexdigest()
