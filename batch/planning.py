"""From what was asked for to a run in SQL: a new one, or the one that the folder already holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from batch.entities import RunRecord
from batch.errors import PlanError, RecipeError, RunConflictError, SettingsError
from batch.plan import (
    PlannedInput,
    RunPlan,
    build_request,
    require_same_request,
    resolve_folders,
    sampled_inputs,
    scan_folder,
)
from batch.recipe import (
    OPTIMIZE_RECIPE,
    SOURCE_RECIPE,
    EditArgument,
    Recipe,
    expand,
    pin_vector,
)
from batch.runs import Runs
from batch.settings import Mode, RunSettings
from registry.entities import ClassModel
from registry.store import Library

# What a finished run leaves in its folder: without a run that we know, it is somebody else's.
_OUTPUTS = ("images", "masks", "metadata.jsonl", "run.json", ".editvec")


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """What a user asks for.

    Attributes:
        class_name: ``avatars`` or ``avatars@2``; None means the only class of the library.
        input_folder: None means sampled inputs, `settings.count` of them.
        output_folder: made if it is missing.
        edits: the edits as typed.
        settings: everything else.
        force_scale: accept scales outside the usable range of their vectors.
    """

    class_name: str | None
    input_folder: Path | None
    output_folder: Path
    edits: Sequence[EditArgument]
    settings: RunSettings
    force_scale: bool = False


class OpenedRun(NamedTuple):
    """A run to be worked on.

    Attributes:
        run: the run.
        is_new: False if the folder held it already.
        notes: what its user should know, one line each.
    """

    run: RunRecord
    is_new: bool
    notes: list[str]


def open_run(library: Library, request: RunRequest) -> OpenedRun:
    """Plans a run, or finds the one that the same command began.

    Raises:
        PlanError, RecipeError, SettingsError, RegistryError: the request cannot be carried out.
        RunConflictError: the output folder belongs to a run with other parameters.
    """
    source, target = resolve_folders(request.input_folder, request.output_folder)
    settings = _with_real_masks(request.settings, source)
    known = _known_run(library, target)
    asked = build_request(request.class_name, request.edits, source, settings)
    if known is not None:
        require_same_request(known.plan.request, asked, run_id=known.id)
        if known.state == "cancelled":
            raise RunConflictError(
                f"output folder: it holds run {known.id[:8]}, which was cancelled; "
                "choose another output folder, or remove this one to begin anew"
            )
        if known.cancel_requested:
            raise RunConflictError(f"output folder: run {known.id[:8]} is being cancelled")
        mark_folder(known)
        return OpenedRun(known, False, _changes_since(known))
    model = library.get_class(request.class_name)
    plan = RunPlan(
        kind="batch" if source is not None else "generate",
        class_address=model.address,
        generator_digest=model.generator_digest,
        bundle_digest=model.bundle_digest,
        input_folder=source,
        output_folder=target,
        request=asked,
        recipes=tuple(
            plan_recipes(library, model, dataclasses.replace(request, settings=settings))
        ),
        settings=settings,
    )
    inputs, notes = _inputs(source, settings)
    _make(target)
    run = Runs(library.engine).create(plan, inputs)
    mark_folder(run)
    return OpenedRun(run, True, notes)


def mark_folder(run: RunRecord) -> None:
    """Makes the folder in the output folder that ties it to the run.

    Raises:
        PlanError: the output folder cannot be written to, or was removed while the run was on.
    """
    if run.state != "planned" and not run.work_folder.is_dir():
        raise PlanError(
            f"output folder: {run.plan.output_folder} of run {run.id[:8]} was removed; "
            "give the whole command to begin anew"
        )
    _make(run.work_folder)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise PlanError(f"output folder: cannot make {folder} ({exc.strerror or exc})") from exc


def plan_recipes(library: Library, model: ClassModel, request: RunRequest) -> list[Recipe]:
    """The variants of every input, with every vector pinned to a version.

    Raises:
        RecipeError, SettingsError, RegistryError: an edit, or its combination with the mode, is
            not possible.
    """
    settings = request.settings
    for name in settings.roi:
        model.label(name)
    vectors = [
        pin_vector(library, model, argument, force_scale=request.force_scale)
        for argument in request.edits
    ]
    if settings.mode is Mode.OPTIMIZE and not (vectors or settings.roi):
        raise SettingsError("roi: mode optimize needs --roi PART,... or an edit with part labels")
    recipes = expand(request.edits, vectors) if vectors else []
    if len({recipe.name for recipe in recipes}) < len(recipes):
        raise RecipeError("edit: two variants have the same name; give the vectors other names")
    if settings.mode is Mode.OPTIMIZE and not recipes:
        recipes = [Recipe(name=OPTIMIZE_RECIPE, edits=())]
    if request.input_folder is None:
        recipes.insert(0, Recipe(name=SOURCE_RECIPE, edits=()))
    if not recipes:
        raise RecipeError("edit: expected at least one --edit NAME=SCALE")
    return recipes


def _with_real_masks(settings: RunSettings, source: Path | None) -> RunSettings:
    """Resolves the folder of masks."""
    if settings.masks_folder is None:
        return settings
    folder = Path(settings.masks_folder)
    if source is None:
        raise SettingsError("masks: a generated run takes none")
    if not folder.is_dir():
        raise PlanError(f"masks: {folder} is not a folder")
    return dataclasses.replace(settings, masks_folder=str(folder.resolve()))


def _known_run(library: Library, target: Path) -> RunRecord | None:
    """The run that an output folder holds, by SQL and by its own marker."""
    runs = Runs(library.engine)
    known = runs.latest_in(target)
    if known is not None and (known.state == "planned" or known.work_folder.is_dir()):
        return known
    foreign = [name for name in _OUTPUTS if (target / name).exists()]
    if foreign:
        raise RunConflictError(
            f"output folder: {target} holds {', '.join(foreign)} of no run that this library "
            "knows; choose another folder"
        )
    if known is not None and not known.is_finished:
        runs.abandon(known.id, "its output folder was removed")
    return None


def _inputs(source: Path | None, settings: RunSettings) -> tuple[list[PlannedInput], list[str]]:
    if source is None:
        return sampled_inputs(settings.count, settings.seed), []
    scan = scan_folder(source)
    notes = [f"cannot list {folder}: what is in it is left out" for folder in scan.unreadable]
    if scan.other_files:
        notes.append(f"{scan.other_files} files that are no images are left out")
    return scan.inputs, notes


def _changes_since(run: RunRecord) -> list[str]:
    """Notes about a folder that is not what it was when the run was planned."""
    if run.plan.input_folder is None or not run.is_finished:
        return []
    count = len(scan_folder(run.plan.input_folder).inputs)
    if count == run.input_count:
        return []
    return [f"the input folder held {run.input_count} images when the run was planned, now {count}"]
