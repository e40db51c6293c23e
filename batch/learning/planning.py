"""Runs that write no images, planned or found again: lessons to learn, folders to embed.

Their output folder holds only reports. Without a folder of the user's it lies in the home folder,
under a name that follows from the request, so that the same command finds its run.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from editvec.batch.errors import SettingsError
from editvec.batch.learning.jobs import Jobs
from editvec.batch.learning.request import LearnRequest
from editvec.batch.recipes.settings import RunSettings
from editvec.batch.runs.plan import (
    PlannedInput,
    build_request,
)
from editvec.batch.runs.planning import (
    LEARN,
    OpenedRun,
    create_run,
    digest_of_values,
    known_run,
    plan_of_work,
    runs_folder,
    target_of_work,
)
from editvec.batch.runs.requirements import networks_of
from editvec.registry.addresses import parse_new_address
from editvec.registry.entities.classes import ClassModel
from editvec.registry.library.library import Library
from editvec.registry.masks.operation_text import pasted_files


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
    digest = digest_of_values([one.job for one in inputs], map(_marks_of, jobs.requests))
    asked = build_request(class_name, [], jobs.folder, settings) | {"jobs": digest}
    target = target_of_work(library, LEARN, [model.address, asked], output_folder)
    notes = [*jobs.notes, *_left_out(library, model, jobs.requests)]
    known = known_run(library, target, asked, may_lie_below=runs_folder(library))
    if known is not None:
        return OpenedRun(known, False, notes)
    plan = plan_of_work(LEARN, model, jobs.folder, target, asked, settings)
    return OpenedRun(create_run(library, plan, inputs), True, notes)


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


def _left_out(library: Library, model: ClassModel, requests: Sequence[LearnRequest]) -> list[str]:
    """What the class cannot give the presets of jobs, each line once."""
    networks = networks_of(library, model)
    return sorted(set(filter(None, (one.settings.left_out(networks) for one in requests))))


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
