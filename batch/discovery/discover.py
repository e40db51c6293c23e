"""Finds directions that edit, and stores each as an editing vector with what it was made of."""

from __future__ import annotations

from collections.abc import Sequence

from editvec.batch.discovery.boundaries import find_boundary
from editvec.batch.discovery.factors import attribute_column, find_factors, strongest
from editvec.batch.discovery.found import Found, row_length, with_changes
from editvec.batch.discovery.labels import OnProgress, Population, draw_population, read_population
from editvec.batch.discovery.request import DiscoverRequest, known_attribute
from editvec.batch.errors import SettingsError
from editvec.batch.workbench import default_device
from editvec.cuda_ext.dispatch import kernel_version
from editvec.engine.editor import Editor
from editvec.registry.entities.classes import ClassModel
from editvec.registry.entities.vectors import EditingVector, NewVector, VectorParcel
from editvec.registry.library.library import Library
from editvec.registry.release import engine_version


def discover(
    library: Library,
    request: DiscoverRequest,
    *,
    editor: Editor | None = None,
    device: str | None = None,
    population: Population | None = None,
    on_progress: OnProgress | None = None,
) -> list[EditingVector]:
    """Finds the directions that were asked for, measures them, and stores them in one transaction.

    Args:
        library: Holds the class, and gets the vectors.
        request: What is to be found.
        editor: The loaded class; None loads it.
        device: Where to; None takes a CUDA device if there is one.
        population: Labelled latents that are there already, for interfacegan and mean: of the
            request's samples and seed, or of its file of labels. None makes them.
        on_progress: Told how far it is.

    Returns:
        The vectors with their metrics; where the library held the very content already, the
        version that holds it.

    Raises:
        SettingsError: An attribute that nobody knows, or too few samples of one label.
        PlanError: The labels cannot be read.
        RegistryError: The class, a part or the rows are wrong.
        EngineError: The class cannot be loaded, a picture cannot be read, or scikit-learn is
            missing.
    """
    model = library.get_class(request.class_name)
    row_mask, parts = request.rows_of(model), request.parts_of(model)
    rows = [row for row, is_moved in enumerate(row_mask) if is_moved]
    if editor is None:
        folder = library.materialise_bundle(model)
        editor = Editor.open(folder, device=device or default_device())
    editor.check_generator(model.generator_digest)
    if request.way.is_supervised:
        known = _population(editor, request, population, on_progress)
        found, first = [find_boundary(known, request, rows)], known.next_sample
    else:
        found, first = _factors(editor, request, rows, on_progress)
    measured = [
        with_changes(one, editor, request, first=first, on_progress=on_progress) for one in found
    ]
    parcels = [
        VectorParcel(
            new=_new_vector(one, name, request, model, editor, row_mask, parts),
            delta=one.delta.float().numpy(),
            metrics=one.metrics,
        )
        for one, name in zip(measured, _names(request.name, len(measured)), strict=True)
    ]
    stored = library.add_vectors(parcels, reason=f"found by {request.way}")
    return [one.vector for one in stored]


def _population(
    editor: Editor,
    request: DiscoverRequest,
    given: Population | None,
    on_progress: OnProgress | None,
) -> Population:
    """The labelled latents of a request."""
    if given is not None:
        wanted, got = (request.num_samples, request.seed), (given.samples, given.seed)
        if given.is_graded and wanted != got:
            raise SettingsError(
                f"population: expected {wanted[0]} samples of seed {wanted[1]}, got {got[0]} of "
                f"seed {got[1]}"
            )
        return given
    if request.labels is not None:
        return read_population(
            request.labels,
            editor,
            attribute=request.own_attribute,
            seed=request.seed,
            embed=request.embed,
            on_progress=on_progress,
        )
    if editor.classifier is not None:  # before minutes of classifying
        for name in (request.own_attribute or "", *request.conditional):
            known_attribute(name, editor.classifier.names, of="the classifier")
    return draw_population(editor, request.num_samples, request.seed, on_progress=on_progress)


def _factors(
    editor: Editor,
    request: DiscoverRequest,
    rows: Sequence[int],
    on_progress: OnProgress | None,
) -> tuple[list[Found], int]:
    """Directions without labels, and the first sample that had no part in choosing them."""
    first = request.num_samples
    if request.attribute is None:
        return find_factors(editor, request, rows), first
    attribute_column(editor, request)
    found = find_factors(editor, request, rows)
    best = strongest(found, editor, request, first=first, on_progress=on_progress)
    return [best], first + request.probes


def _names(name: str, count: int) -> list[str]:
    """One name for each vector: numbered where there are several."""
    return [name] if count == 1 else [f"{name}-{number}" for number in range(1, count + 1)]


def _new_vector(
    found: Found,
    name: str,
    request: DiscoverRequest,
    model: ClassModel,
    editor: Editor,
    row_mask: tuple[bool, ...],
    parts: Sequence[str],
) -> NewVector:
    return NewVector(
        class_name=model.address,
        name=name,
        version=request.version,
        generator_digest=editor.bundle.generator_digest,
        roi_labels=tuple(parts),
        row_mask=row_mask,
        settings={
            # what linear algebra libraries agree on
            **{key: _rounded(value) for key, value in found.settings.items()},
            "step": _rounded(row_length(found.delta)),
            "bundle_digest": editor.bundle.bundle_digest,
        },
        engine_version=engine_version(),
        kernel_version=kernel_version(editor.device),
        license=request.license,
        description=request.description,
        tags=request.tags,
    )


def _rounded(value: object) -> object:
    """A number with six digits; anything else as it is."""
    return float(f"{value:.6g}") if isinstance(value, float) else value
