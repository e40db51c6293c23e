"""From what was asked for to a run in SQL: a new one, or the one that the folder already holds."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from editvec.batch.errors import PlanError, RecipeError, RunConflictError, SettingsError
from editvec.batch.naming import portable_name
from editvec.batch.recipes.boxes import BoxFile
from editvec.batch.recipes.file import RecipeArgument
from editvec.batch.recipes.pinning import (
    EditArgument,
    check_variants,
    expand,
    pin_vector,
    with_own_folders,
)
from editvec.batch.recipes.recipe import OPTIMIZE_RECIPE, SOURCE_RECIPE, Recipe
from editvec.batch.recipes.settings import Mode, RunSettings
from editvec.batch.runs.entities import RunRecord
from editvec.batch.runs.inputs import count_images, find_inputs
from editvec.batch.runs.plan import (
    PlannedInput,
    RunPlan,
    build_request,
    canonical_json,
    require_same_request,
    resolve_folders,
)
from editvec.batch.runs.requirements import fitting_settings, networks_of, require_networks
from editvec.batch.runs.store import Runs
from editvec.registry.blobs.opening import library_folders
from editvec.registry.entities.classes import ClassModel
from editvec.registry.errors import RegistryError
from editvec.registry.library.library import Library

LEARN, EMBED, EVALUATE = "learn", "embed", "evaluate"
"""Kinds of runs that write no images: they add to the library."""

RUNS_FOLDER = "runs"
"""Where what is said about such a run lies in the home folder, unless a folder is named."""

# What runs of every kind leave in their folders: without a run that we know, it is somebody else's.
_OUTPUTS = (
    *("images", "masks", "shards", "pages"),
    *("metadata.jsonl", "rejected.jsonl", "failed.jsonl", "results.jsonl", "shards.jsonl"),
    *("annotations.json", "run.json", "report.html", "contact_sheet.png", ".editvec"),
)
# and this only where images are written: their card
_CARDS = ("README.md",)


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """What a user asks for.

    Attributes:
        class_name: ``avatars`` or ``avatars@2``; None means the only class of the library.
        input_folder: None means sampled inputs, `settings.count` of them.
        output_folder: made if it is missing.
        edits: the edits as typed.
        recipes: further variants, from a file.
        settings: everything else.
        force_scale: accept scales outside the usable range of their vectors.
        boxes: objects to edit in their pictures; None means whole pictures.
    """

    class_name: str | None
    input_folder: Path | None
    output_folder: Path
    edits: Sequence[EditArgument]
    settings: RunSettings
    recipes: Sequence[RecipeArgument] = ()
    force_scale: bool = False
    boxes: BoxFile | None = None


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
    if source is not None and settings.sources is not None:
        raise SettingsError("sources: only sampled images have unedited ones to be written")
    if request.boxes is not None:
        settings = dataclasses.replace(settings, boxes=request.boxes.digest)
    asked = build_request(
        request.class_name, request.edits, source, settings, recipes=request.recipes
    )
    known = known_run(library, target, asked, also_written=_CARDS)
    if known is not None:
        return OpenedRun(known, False, changes_since(known))
    model = library.get_class(request.class_name)
    networks = networks_of(library, model)
    settings, about_class = fitting_settings(settings, model, networks)
    settings = dataclasses.replace(settings, roi=model.parts(settings.roi))
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
    require_networks(plan, model, networks)
    inputs, notes = find_inputs(source, settings, request.boxes)
    plan = dataclasses.replace(plan, input_count=len(inputs))
    return OpenedRun(create_run(library, plan, inputs), True, about_class + notes)


def known_run(
    library: Library,
    target: Path,
    asked: dict[str, Any],
    *,
    also_written: Sequence[str] = (),
    may_lie_below: Path | None = None,
) -> RunRecord | None:
    """The run that the same command began in an output folder; None if there is none.

    Args:
        library: where the runs are.
        target: the output folder.
        asked: what was asked for.
        also_written: files that this run would write, beside those that every run does.
        may_lie_below: the folder in the home folder where a new run may lie; None = nowhere in it.

    Raises:
        PlanError: the folder cannot be written to.
        RunConflictError: the folder belongs to a run with other parameters, or to one that was
            cancelled; or it holds files of somebody else.
    """
    known = _run_in(library, target, (*_OUTPUTS, *also_written))
    if known is None:
        _require_outside(library, target, except_below=may_lie_below)
        return None
    require_same_request(known.plan.request, asked, run_id=known.id)
    if known.state == "cancelled":
        raise RunConflictError(
            f"output folder: it holds run {known.id[:8]}, which was cancelled; "
            "choose another output folder, or remove this one to begin anew"
        )
    if known.cancel_requested:
        raise RunConflictError(f"output folder: run {known.id[:8]} is being cancelled")
    mark_folder(known)
    return known


def create_run(library: Library, plan: RunPlan, inputs: Sequence[PlannedInput]) -> RunRecord:
    """Stores a planned run and makes its output folder.

    Raises:
        PlanError: the output folder cannot be made.
        RunConflictError: another run is active in it.
    """
    _make(plan.output_folder)
    run = Runs(library.engine).create(plan, inputs)
    mark_folder(run)
    return run


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
    # before any vector is looked for
    asked = (request.edits, *(recipe.edits for recipe in request.recipes))
    check_variants(*([len(edit.scales) for edit in edits] for edits in asked))
    pinned = [
        pin_vector(library, model, argument, force_scale=request.force_scale)
        for argument in request.edits
    ]
    if settings.mode is Mode.OPTIMIZE and not (pinned or settings.roi):
        raise SettingsError("roi: mode optimize needs --roi PART,... or an edit with part labels")
    recipes = expand(pinned) if pinned else []
    recipes += [
        recipe
        for written in request.recipes
        for recipe in _written(library, model, written, request)
    ]
    if settings.mode is Mode.OPTIMIZE and not recipes:
        recipes = [Recipe(name=OPTIMIZE_RECIPE, edits=())]
    if request.input_folder is None and _with_sources(settings, recipes):
        recipes.insert(0, Recipe(name=SOURCE_RECIPE, edits=()))
    if not recipes:
        raise RecipeError("edit: expected at least one --edit NAME=SCALE, or --recipes FILE")
    return with_own_folders(recipes)


def _with_sources(settings: RunSettings, recipes: Sequence[Recipe]) -> bool:
    """Whether the unedited samples are written too, which a share of drawn scales leaves out."""
    if settings.sources is not None:
        return settings.sources
    return not any(recipe.is_drawn for recipe in recipes)


def _written(
    library: Library, model: ClassModel, written: RecipeArgument, request: RunRequest
) -> list[Recipe]:
    """The variants of one recipe of a file."""
    if request.settings.mode is Mode.OPTIMIZE:
        raise SettingsError("recipes: mode optimize takes edits from the command line only")
    try:
        pinned = [
            pin_vector(library, model, argument, force_scale=request.force_scale)
            for argument in written.edits
        ]
        variants = expand(pinned)
    except (RecipeError, RegistryError) as exc:
        raise RecipeError(f"recipes, line {written.line}: {exc}") from exc
    if written.name is not None:
        is_one = len(variants) == 1
        name = portable_name(written.name)
        names = [name if is_one else f"{name}_{one.name}" for one in variants]
        variants = [
            dataclasses.replace(one, name=name) for one, name in zip(variants, names, strict=True)
        ]
    return [
        dataclasses.replace(one, mode=written.mode, refine_steps=written.refine_steps)
        for one in variants
    ]


def _with_real_masks(settings: RunSettings, source: Path | None) -> RunSettings:
    """Resolves the folder of masks."""
    if settings.masks_folder is None:
        if settings.mode is Mode.OPTIMIZE:
            raise SettingsError("masks: mode optimize needs a folder of masks")
        return settings
    folder = Path(settings.masks_folder)
    if source is None:
        raise SettingsError("masks: a generated run takes none")
    if not folder.is_dir():
        raise PlanError(f"masks: {folder} is not a folder")
    return dataclasses.replace(settings, masks_folder=str(folder.resolve()))


def _run_in(library: Library, target: Path, outputs: Sequence[str]) -> RunRecord | None:
    """The run that an output folder holds, by SQL and by its own marker."""
    runs = Runs(library.engine)
    known = runs.latest_in(target)
    if known is not None and (known.state == "planned" or known.work_folder.is_dir()):
        return known
    # links that lead nowhere count too: they would be replaced
    foreign = [name for name in outputs if os.path.lexists(target / name)]
    if foreign:
        raise RunConflictError(
            f"output folder: {target} holds {', '.join(foreign)} of no run that this library "
            "knows; choose another folder"
        )
    if known is not None and not known.is_finished:
        runs.abandon(known.id, "its output folder was removed")
    return None


def _require_outside(library: Library, target: Path, *, except_below: Path | None) -> None:
    """Refuses an output folder where the library keeps its own files.

    Raises:
        PlanError: the folder is in the home folder, or in the blob store.
    """
    if except_below is not None and except_below in target.parents:
        return
    for what, folder in library_folders(library.config).items():
        place = Path(os.path.realpath(folder))
        if target.is_relative_to(place):
            raise PlanError(
                f"output folder: {target} lies in the {what} of the library, {place}; "
                "choose another folder"
            )


def changes_since(run: RunRecord) -> list[str]:
    """Notes about a folder that is not what it was when the run was planned."""
    if run.plan.input_folder is None or not run.is_finished or run.plan.settings.boxes:
        return []
    count = count_images(run.plan.input_folder)
    if count == run.input_count:
        return []
    return [f"the input folder held {run.input_count} images when the run was planned, now {count}"]


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


def runs_folder(library: Library) -> Path:
    """The folder in the home folder that holds those of runs that write no images."""
    return Path(os.path.realpath(library.config.home / RUNS_FOLDER))


def target_of_work(library: Library, kind: str, named_after: object, given: Path | None) -> Path:
    """The output folder: the given one, or one in the home folder that is named after the work."""
    if given is not None:
        return resolve_folders(None, given)[1]
    return runs_folder(library) / f"{kind}-{digest_of_values([named_after])[:16]}"


def digest_of_values(*parts: Iterable[object]) -> str:
    """Digest of many values, one at a time."""
    digest = hashlib.sha256()
    for part in parts:
        for value in part:
            digest.update(canonical_json(value) + b"\n")
    return digest.hexdigest()
