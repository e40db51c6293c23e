"""The use cases of a library, as functions: commands call them, and so may programs.

Every function takes an open `Library`. Functions that compute take a `device` or an `Execution`;
long ones take a callback for their progress. None of them prints.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from editvec.batch.execution.execution import Execution, RunOutcome, RunWatcher, work_on
from editvec.batch.recipes.file import RecipeArgument, read_recipes
from editvec.batch.recipes.pinning import EditArgument, parse_edit
from editvec.batch.recipes.settings import EMBED_AHEAD, RunSettings
from editvec.batch.runs.planning import OpenedRun, RunRequest, mark_folder, open_run
from editvec.batch.runs.store import Runs

if TYPE_CHECKING:
    from editvec.batch.evaluation.evaluate import Evaluation
    from editvec.batch.evaluation.pairs.disentangle import Disentanglement
    from editvec.batch.evaluation.pairs.settings import PairSettings
    from editvec.batch.evaluation.settings import EvaluateSettings
    from editvec.batch.learning.jobs import Jobs
    from editvec.batch.learning.learn import LearnedVector, OnProgress
    from editvec.batch.learning.request import LearnRequest, LearnSettings
    from editvec.batch.previews.probes import PreviewProbes
    from editvec.batch.recipes.boxes import BoxFile
    from editvec.engine.editor import Editor
    from editvec.registry.entities.vectors import EditingVector
    from editvec.registry.library.library import Library

OnCount = Callable[[int, int], None]
"""Called with how many are done, of how many."""


# --- runs ---


def edit_folder(
    library: Library,
    source: Path | str,
    target: Path | str,
    edits: Sequence[str | EditArgument] = (),
    *,
    class_name: str | None = None,
    settings: RunSettings | None = None,
    recipes: Path | str | Sequence[RecipeArgument] = (),
    boxes: Path | str | BoxFile | None = None,
    force_scale: bool = False,
    execution: Execution | None = None,
    watcher: RunWatcher | None = None,
) -> RunOutcome:
    """Edit every image under a folder; write images, masks and manifests to another.

    The same call again continues what was interrupted, and does nothing where all is done.

    Args:
        library: Holds the class and the vectors, and gets the run.
        source: The folder of images, read also in its sub-folders.
        target: The output folder; made if it is missing.
        edits: ``smile=1``, ``smile[4:9]=0.5``, the sweep ``smile=-1:1:5``, or a drawn scale,
            ``smile=uniform(0,1)``, ``smile=50%``. Together they make every combination.
        class_name: ``avatars`` or ``avatars@2``; None takes the only class of the library.
        settings: How edits are made and written.
        recipes: Further variants, or the file that holds them.
        boxes: Objects to edit in their pictures, or the file that holds them.
        force_scale: Accept scales outside the usable range of their vectors.
        execution: Who computes it; None computes here.
        watcher: Who is told.

    Raises:
        PlanError, RecipeError, SettingsError, RegistryError: It cannot be carried out.
        RunConflictError: The output folder belongs to a run with other parameters, or holds files
            of somebody else.
        DiskFullError: The run is paused; the same call goes on when there is room.
    """
    request = RunRequest(
        class_name=class_name,
        input_folder=Path(source),
        output_folder=Path(target),
        edits=_arguments(edits),
        settings=settings or RunSettings(),
        recipes=_recipes(recipes),
        force_scale=force_scale,
        boxes=_boxes(boxes),
    )
    return work_on(library, open_run(library, request), execution, watcher)


def generate(
    library: Library,
    target: Path | str,
    edits: Sequence[str | EditArgument] = (),
    *,
    count: int,
    class_name: str | None = None,
    settings: RunSettings | None = None,
    recipes: Path | str | Sequence[RecipeArgument] = (),
    force_scale: bool = False,
    execution: Execution | None = None,
    watcher: RunWatcher | None = None,
) -> RunOutcome:
    """Edit sampled images; what is not said here is as in `edit_folder`.

    Args:
        library: Holds the class and the vectors, and gets the run.
        target: The output folder.
        edits: What is made of each sample.
        count: How many are sampled.
        class_name: None takes the only class of the library.
        settings: How they are sampled, edited and written; its own `count` does not matter.
        recipes: Further variants, or the file that holds them.
        force_scale: Accept scales outside the usable range of their vectors.
        execution: Who computes it; None computes here.
        watcher: Who is told.
    """
    request = RunRequest(
        class_name=class_name,
        input_folder=None,
        output_folder=Path(target),
        edits=_arguments(edits),
        settings=dataclasses.replace(settings or RunSettings(), count=count),
        recipes=_recipes(recipes),
        force_scale=force_scale,
    )
    return work_on(library, open_run(library, request), execution, watcher)


def embed_folder(
    library: Library,
    source: Path | str,
    *,
    class_name: str | None = None,
    settings: RunSettings | None = None,
    boxes: Path | str | BoxFile | None = None,
    target: Path | str | None = None,
    execution: Execution | None = None,
    watcher: RunWatcher | None = None,
) -> RunOutcome:
    """Embed every image under a folder ahead of time; later runs find the embeddings.

    Args:
        library: Gets the embeddings.
        source: The folder of images.
        class_name: None takes the only class of the library.
        settings: `embed`, `space`, `fit`, `box_margin` and `chunk_size` count; None takes a hundred
            steps of inversion.
        boxes: Objects to embed in their pictures.
        target: Where the report about the run goes; None takes a folder in the home folder.
        execution: Who computes it; None computes here.
        watcher: Who is told.

    Raises:
        SettingsError: The encoder alone, of which nothing is kept.
        PlanError, RegistryError, RunConflictError: As of `edit_folder`.
    """
    from editvec.batch.embedding.planning import EmbedRequest, open_embed_run

    request = EmbedRequest(
        class_name=class_name,
        input_folder=Path(source),
        settings=settings or RunSettings(embed=EMBED_AHEAD),
        boxes=_boxes(boxes),
        output_folder=_path(target),
    )
    return work_on(library, open_embed_run(library, request), execution, watcher)


def resume(
    library: Library,
    run_id: str,
    *,
    execution: Execution | None = None,
    watcher: RunWatcher | None = None,
) -> RunOutcome:
    """Continue a run that was interrupted or paused; does nothing where it is over.

    Raises:
        RunNotFoundError: There is no such run.
        PlanError: Its output folder is gone.
    """
    run = Runs(library.engine).get(run_id)
    mark_folder(run)
    return work_on(library, OpenedRun(run, False, []), execution, watcher)


def retry(
    library: Library,
    run_id: str,
    *,
    rejected: bool = False,
    execution: Execution | None = None,
    watcher: RunWatcher | None = None,
) -> RunOutcome:
    """Make the failed and quarantined items of a finished run again.

    Args:
        library: Holds the run.
        run_id: Its id, or the beginning of it.
        rejected: Also what a gate rejected.
        execution: Who computes it; None computes here.
        watcher: Who is told.

    Raises:
        RunNotFoundError: There is no such run.
        PlanError: It is not over, nothing of it failed, or its output folder is gone.
    """
    from editvec.batch.runs.retry import retry as open_again

    runs = Runs(library.engine)
    run = runs.get(run_id)
    mark_folder(run)
    opened = open_again(library.engine, run, with_rejected=rejected)
    made = "1 input is" if opened.inputs == 1 else f"{opened.inputs} inputs are"
    changed = f", {opened.changed} of them replaced since" if opened.changed else ""
    again = OpenedRun(runs.get(run.id), True, [f"{made} made again{changed}"])
    return work_on(library, again, execution, watcher)


# --- vectors ---


def learn(
    library: Library,
    request: LearnRequest,
    *,
    device: str | None = None,
    on_progress: OnProgress | None = None,
    on_note: Callable[[str], None] | None = None,
) -> LearnedVector:
    """Learn an editing vector from one picture and its edited part mask, and store it.

    Args:
        library: Holds the class, and gets the vector.
        request: What to learn.
        device: None takes a CUDA device if there is one.
        on_progress: Called with the stage, the steps made and the steps to be made.
        on_note: Told what the class cannot give.

    Raises:
        RegistryError: The address, the class, a part name or a mask is wrong.
        EngineError: The picture cannot be read, or the masks have no pixel of the ROI.
        SettingsError: The parts to edit are neither given nor to be found.
    """
    from editvec.batch.learning.learn import learn_vector
    from editvec.batch.workbench import load_editor
    from editvec.registry.addresses import parse_new_address

    model = library.get_class(parse_new_address(request.address).class_name)
    editor = load_editor(library, model, device=device)
    left_out = request.settings.left_out(editor.bundle.networks)
    if left_out is not None and on_note is not None:
        on_note(left_out)
    return learn_vector(library, editor, request, on_progress=on_progress)


def learn_all(
    library: Library,
    jobs: Path | str | Jobs,
    *,
    class_name: str | None = None,
    defaults: LearnSettings | None = None,
    target: Path | str | None = None,
    execution: Execution | None = None,
    watcher: RunWatcher | None = None,
) -> RunOutcome:
    """Learn every pair of a list or a folder as one run, which survives a kill.

    Args:
        library: Holds the class, and gets the vectors.
        jobs: A JSON list, a folder with ``NAME.png``, ``NAME.edited.png`` and ``NAME.mask.png``, or
            what `read_jobs` made of one.
        class_name: Of jobs that name none.
        defaults: Settings of jobs that do not give them.
        target: Where the report about the run goes; None takes a folder in the home folder.
        execution: Who computes it; None computes here.
        watcher: Who is told.

    Raises:
        SettingsError: The list cannot be read, or holds jobs of several classes.
        PlanError, RegistryError, RunConflictError: As of `edit_folder`.
    """
    from editvec.batch.learning.jobs import read_jobs
    from editvec.batch.learning.planning import open_learn_run

    read = read_jobs(Path(jobs), defaults=defaults) if isinstance(jobs, str | Path) else jobs
    opened = open_learn_run(library, read, class_name=class_name, output_folder=_path(target))
    return work_on(library, opened, execution, watcher)


def evaluate(
    library: Library,
    address: str,
    settings: EvaluateSettings | None = None,
    *,
    class_name: str | None = None,
    device: str | None = None,
    on_progress: OnCount | None = None,
) -> Evaluation:
    """Measure a vector on many images, and store the metrics with it.

    Args:
        library: Holds the vector.
        address: Of the vector.
        settings: Which images, modes and scales; None samples images of the class.
        class_name: For an address without a class.
        device: None takes a CUDA device if there is one.
        on_progress: Called with the images measured and those of all.

    Raises:
        SettingsError, PlanError: The images cannot be had, or the vector lives in a space that no
            image is edited in.
        RegistryError, EngineError: There is no such vector, or its class cannot be loaded.
    """
    from editvec.batch.evaluation.evaluate import evaluate_vector, store_evaluation
    from editvec.batch.evaluation.settings import EvaluateSettings

    vector = library.get_vector(address, class_name=class_name)
    editor = _editor_of(library, vector, device)
    chosen = settings or EvaluateSettings()
    found = evaluate_vector(library, editor, vector, chosen, on_progress=on_progress)
    return store_evaluation(library, editor, found)


def evaluate_all(
    library: Library,
    *,
    class_name: str | None = None,
    address: str | None = None,
    settings: EvaluateSettings | None = None,
    target: Path | str | None = None,
    execution: Execution | None = None,
    watcher: RunWatcher | None = None,
) -> RunOutcome:
    """Measure all vectors of a class, or one, as a run, which survives a kill.

    Raises:
        PlanError, RegistryError, RunConflictError: As of `edit_folder`.
    """
    from editvec.batch.evaluation.planning import EvaluateRequest, open_evaluate_run
    from editvec.batch.evaluation.settings import EvaluateSettings

    request = EvaluateRequest(
        class_name=class_name,
        address=address,
        settings=settings or EvaluateSettings(),
        output_folder=_path(target),
    )
    return work_on(library, open_evaluate_run(library, request), execution, watcher)


def disentangle(
    library: Library,
    settings: PairSettings,
    *,
    class_name: str | None = None,
    device: str | None = None,
    on_progress: OnCount | None = None,
) -> Disentanglement:
    """Measure what vectors do to each other, and store it with each.

    Raises:
        SettingsError, PlanError, RegistryError, EngineError: As of `evaluate`.
    """
    from editvec.batch.evaluation.pairs import disentangle as pairs
    from editvec.batch.evaluation.pairs.settings import pin_parts

    parts = pin_parts(library, settings, class_name=class_name)
    editor = _editor_of(library, parts[0].vector, device)
    found = pairs.disentangle(library, editor, parts, settings, on_progress=on_progress)
    pairs.store_disentanglement(library, editor, found)
    return found


def preview(
    library: Library,
    address: str,
    *,
    class_name: str | None = None,
    probes: PreviewProbes | None = None,
    scales: Sequence[float] | None = None,
    device: str | None = None,
) -> tuple[EditingVector, bytes]:
    """Draw what a vector does, and keep the picture with it.

    Args:
        library: Holds the vector.
        address: Of the vector.
        class_name: For an address without a class.
        probes: Which images are edited; None samples four.
        scales: From left to right; None takes -2 to 2.
        device: None takes a CUDA device if there is one.

    Returns:
        The vector, and a PNG.

    Raises:
        SettingsError, PlanError, RegistryError, EngineError: As of `evaluate`.
    """
    from editvec.batch.previews.preview import SCALES, preview_vector
    from editvec.outputs import marked

    vector = library.get_vector(address, class_name=class_name)
    editor = _editor_of(library, vector, device)
    drawn = preview_vector(library, editor, vector, probes=probes, scales=scales or SCALES)
    png = marked(drawn)  # the same bytes in the library and in a file
    library.set_preview(vector.address, png)
    return vector, png


def _editor_of(library: Library, vector: EditingVector, device: str | None) -> Editor:
    """The networks that a vector was made for, of its own version of the class."""
    from editvec.batch.workbench import load_editor

    model = library.get_class(f"{vector.class_name}@{vector.class_version}")
    return load_editor(library, model, device=device)


# --- arguments ---


def _arguments(edits: Sequence[str | EditArgument]) -> list[EditArgument]:
    return [parse_edit(one) if isinstance(one, str) else one for one in edits]


def _recipes(recipes: Path | str | Sequence[RecipeArgument]) -> list[RecipeArgument]:
    return read_recipes(Path(recipes)) if isinstance(recipes, str | Path) else list(recipes)


def _boxes(boxes: Path | str | BoxFile | None) -> BoxFile | None:
    from editvec.batch.recipes.boxes import read_boxes

    return read_boxes(Path(boxes)) if isinstance(boxes, str | Path) else boxes


def _path(given: Path | str | None) -> Path | None:
    return None if given is None else Path(given)
