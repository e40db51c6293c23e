"""Plans runs that embed photographs ahead of time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from editvec.batch.errors import SettingsError
from editvec.batch.recipes.boxes import BoxFile
from editvec.batch.recipes.settings import RunSettings
from editvec.batch.runs.inputs import find_inputs
from editvec.batch.runs.plan import (
    build_request,
    resolve_folders,
)
from editvec.batch.runs.planning import (
    EMBED,
    OpenedRun,
    changes_since,
    create_run,
    digest_of_values,
    known_run,
    plan_of_work,
    runs_folder,
    target_of_work,
)
from editvec.registry.library.library import Library


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
    source, _ = resolve_folders(request.input_folder, request.output_folder or runs_folder(library))
    assert source is not None
    inputs, notes = find_inputs(source, settings, request.boxes)
    asked = build_request(request.class_name, [], source, settings)
    found = ((one.source, one.size, one.mtime_ns) for one in inputs)
    named_after = [model.address, asked, digest_of_values(found)]
    target = target_of_work(library, EMBED, named_after, request.output_folder)
    known = known_run(library, target, asked, may_lie_below=runs_folder(library))
    if known is not None:
        return OpenedRun(known, False, changes_since(known))
    plan = plan_of_work(EMBED, model, source, target, asked, settings)
    return OpenedRun(create_run(library, plan, inputs), True, notes)
