"""What one does with a library, as functions: commands call them, and so may programs.

All take an open `Library`. What needs a GPU or a CPU takes `device`; what is long takes a call that
is told how far it is. Nothing prints.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from editvec.batch.execution.execution import Execution, RunOutcome, Watcher, work_on
from editvec.batch.recipes.file import RecipeArgument, read_recipes
from editvec.batch.recipes.pinning import EditArgument, parse_edit
from editvec.batch.recipes.settings import RunSettings
from editvec.batch.runs.planning import OpenedRun, RunRequest, mark_folder, open_run
from editvec.batch.runs.store import Runs

if TYPE_CHECKING:
    from editvec.batch.evaluation.evaluate import Evaluation
    from editvec.batch.evaluation.pairs import disentangle as pairs
    from editvec.batch.evaluation.pairs.settings import pin_parts
    from editvec.batch.workbench import load_editor

    parts = pin_parts(library, settings, class_name=class_name)
    vector = parts[0].vector
    model = library.get_class(f"{vector.class_name}@{vector.class_version}")
    editor = load_editor(library, model, device=device)
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
    from editvec.batch.workbench import load_editor

    vector = library.get_vector(address, class_name=class_name)
    model = library.get_class(f"{vector.class_name}@{vector.class_version}")
    editor = load_editor(library, model, device=device)
    png = preview_vector(library, editor, vector, probes=probes, scales=scales or SCALES)
    library.set_preview(vector.address, png)
    return vector, png


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
