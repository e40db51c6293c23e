"""Edits as typed become recipes: pinned to versions, within usable ranges, one for each variant."""

from __future__ import annotations

import hashlib
import itertools
import logging
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from editvec.batch.errors import RecipeError
from editvec.batch.naming import folded_name, portable_name
from editvec.batch.recipes.recipe import (
    MAX_NAME_LENGTH,
    SOURCE_RECIPE,
    Edit,
    PinnedVector,
    Recipe,
    ScaleRange,
    rows_text,
)
from editvec.batch.recipes.scales import (
    AskedScale,
    Choice,
    Scale,
    Share,
    Uniform,
    UsableRange,
    parse_asked_scales,
    scale_ends,
)
from editvec.json_codec import JsonFields
from editvec.registry.entities.spaces import APPLICABLE_SPACES, rows_between
from editvec.registry.entities.terms import TypedVector
from editvec.registry.entities.vectors import require_active
from editvec.registry.errors import CompatibilityError, RetiredVectorError

if TYPE_CHECKING:
    from editvec.registry.entities.classes import ClassModel
    from editvec.registry.entities.vectors import EditingVector
    from editvec.registry.library.library import Library


_LOG = logging.getLogger(__name__)
MAX_RECIPES = 256
MAX_SHOWN = 10_000_000


@dataclass(frozen=True, kw_only=True)
class EditArgument(JsonFields):
    """One ``--edit`` as typed: a vector and the scales that it takes."""

    vector: str
    scales: tuple[AskedScale, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values, as stored in the plan."""
        scales = [one if isinstance(one, float) else str(one) for one in self.scales]
        return {"vector": self.vector, "scales": scales}


def parse_edit(text: str) -> EditArgument:
    """Reads ``smile=1.0``, ``smile@2=0.5``, the sweep ``smile=-1:1:5`` or ``smile=uniform(0,1)``.

    ``smile[4:9]=1`` adds to rows 4 to 8 of the latents only.

    Raises:
        RecipeError: names the argument and what is wrong with it.

    Example:
        >>> parse_edit("smile=-1:1:5").scales
        (-1.0, -0.5, 0.0, 0.5, 1.0)
    """
    typed = TypedVector.read(text)
    if typed is None or typed.value is None:
        raise RecipeError(f"edit: expected NAME=SCALE or NAME=FIRST:LAST:COUNT, got {text!r}")
    return EditArgument(vector=typed.vector, scales=parse_asked_scales(typed.value, of=text))


def pin_vector(
    library: Library, class_model: ClassModel, argument: EditArgument, *, force_scale: bool = False
) -> list[Edit]:
    """Finds the vector that an argument names, and fixes its version: an edit for each scale.

    Args:
        library: where the vectors are.
        class_model: the class of the run; every vector must be of its generator.
        argument: what was typed.
        force_scale: accept scales outside the vector's usable range.

    Raises:
        RecipeError: the vector is retired, or of another class, generator or latent space, or a
            scale is out of its range.
        RegistryError: there is no such vector.
    """
    address, rows = _split_rows(argument.vector, class_model)
    vector = library.get_vector(address, class_name=class_model.name)
    if vector.class_name != class_model.name:
        raise RecipeError(
            f"edit: {vector.address} belongs to class {vector.class_name!r}, "
            f"the run is over class {class_model.name!r}"
        )
    if vector.generator_digest != class_model.generator_digest:
        raise RecipeError(
            f"edit: {vector.address} was learned on another generator "
            f"({vector.generator_digest[:12]}) than that of {class_model.address} "
            f"({class_model.generator_digest[:12]})"
        )
    try:
        require_active(vector, of="edit")
    except RetiredVectorError as exc:
        raise RecipeError(str(exc)) from exc
    if vector.latent_space not in APPLICABLE_SPACES:
        raise RecipeError(
            f"edit: {vector.address} lives in {vector.latent_space}; a run applies W and W+"
        )
    scales = tuple(pinned_scale(vector, scale) for scale in argument.scales)
    forced = forced_range(vector, scales, force=force_scale)
    attribute = f"{vector.name}@{vector.version}" if "@" in address else vector.name
    pinned = PinnedVector(
        address=vector.address,
        attribute=attribute + rows_text(rows),
        delta_digest=vector.delta_digest,
        roi_labels=() if vector.roi_policy == "brush" else tuple(vector.roi_labels),
        dilation=vector.dilation,
        brush_digest=vector.brush_digest,
        rows=rows,
        forced_range=forced,
    )
    return [Edit(vector=pinned, scale=scale) for scale in scales]


def pinned_scale(vector: EditingVector, scale: AskedScale) -> Scale:
    """What a scale means for this vector.

    Raises:
        RecipeError: its usable range is asked for, and was not measured.
    """
    if isinstance(scale, Share):
        return Choice((vector.default_scale, 0.0), (scale.share, 1.0 - scale.share))
    if not isinstance(scale, UsableRange):
        return scale
    if vector.scale_min is None or vector.scale_max is None:
        raise RecipeError(
            f"edit: the usable range of {vector.address} was not measured; give uniform(LOW,HIGH), "
            f"or measure it with `editvec evaluate {vector.address} --scales -2:2:9`"
        )
    return Uniform(vector.scale_min, vector.scale_max)


def forced_range(
    vector: EditingVector, scales: Sequence[Scale], *, force: bool
) -> ScaleRange | None:
    """The usable range, where scales beyond it are forced; None where all scales keep to it.

    Raises:
        RecipeError: a scale is beyond it and not forced.
    """
    usable, forced = ScaleRange.of(vector), None
    for scale in (end for one in scales for end in sorted(set(scale_ends(one)))):
        if usable.holds(scale):
            continue
        ends = f"from {usable.low} to {usable.high}"
        reason = f"edit: {vector.address} is usable {ends}, got {scale:g}"
        if not force:
            raise RecipeError(f"{reason} (--force-scale takes it anyway)")
        _LOG.warning("%s, taken by --force-scale", reason)
        forced = usable
    return forced


def _split_rows(text: str, class_model: ClassModel) -> tuple[str, tuple[int, int] | None]:
    """The address in ``smile[4:9]``, and its rows, which the class must have."""
    typed = TypedVector.read(text)
    if typed is None or typed.rows is None or typed.value is not None:
        return text, None  # what is no address is refused where it is looked for
    try:
        rows_between(*typed.rows, rows=class_model.num_ws)
    except CompatibilityError as exc:
        raise RecipeError(f"edit: {text}: {exc}") from exc
    return typed.address, typed.rows


def expand(edits: Sequence[Sequence[Edit]]) -> list[Recipe]:
    """The variants of a run: the product of the scales of all edits, in the order typed.

    What is drawn per item makes one variant.

    Args:
        edits: of every vector, one for each of its scales.

    Raises:
        RecipeError: one vector given twice, or more variants than a run takes.
    """
    for term, times in Counter(of_one[0].vector.term for of_one in edits).items():
        if times > 1:
            raise RecipeError(f"edit: {term} is given twice; give one scale or one sweep")
    check_variants([len(of_one) for of_one in edits])
    return [Recipe(name=recipe_name(one), edits=one) for one in itertools.product(*edits)]


def check_variants(*recipes: Sequence[int]) -> None:
    """Refuse recipes whose sweeps make more variants than a run takes.

    Args:
        recipes: of each, how many scales its vectors have.

    Raises:
        RecipeError: says how many they make.
    """
    count = sum(math.prod(counts) for counts in recipes if counts)
    if count > MAX_RECIPES:
        shown = str(count) if count < MAX_SHOWN else "millions of"
        raise RecipeError(f"edit: the sweeps make {shown} variants, at most {MAX_RECIPES} in a run")


def recipe_name(edits: Sequence[Edit]) -> str:
    """A name that tells the edits, is safe as a folder and differs where the edits differ.

    Example: ``smile+1.00_look-left+0.50``.
    """
    if not edits:
        return SOURCE_RECIPE
    parts = [f"{_safe(edit.vector.attribute)}{_scale_name(edit.scale)}" for edit in edits]
    name = portable_name("_".join(parts))
    return name if len(name) <= MAX_NAME_LENGTH else _with_digest(name)


def with_own_folders(recipes: Sequence[Recipe]) -> list[Recipe]:
    """The recipes, renamed where a disk that folds case would put two of them into one folder.

    Names depend on the names that were given alone.

    Raises:
        RecipeError: two have the very same name.
    """
    given = [recipe.name for recipe in recipes]
    counts = Counter(given)
    if same := [name for name, count in counts.items() if count > 1]:
        raise RecipeError(
            f"edit: two variants have the same name, {same[0]!r}; give the vectors, or the recipes "
            "of the file, other names"
        )
    sharing = Counter(map(folded_name, given))
    names = [
        name if sharing[folded_name(name)] == 1 or name == SOURCE_RECIPE else _with_digest(name)
        for name in given
    ]
    return [replace(recipe, name=name) for recipe, name in zip(recipes, names, strict=True)]


def _with_digest(name: str) -> str:
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"{name[: MAX_NAME_LENGTH - 13]}~{digest}"


def _scale_name(scale: Scale) -> str:
    if isinstance(scale, float):
        return _scale_text(scale)
    values = (scale.low, scale.high) if isinstance(scale, Uniform) else scale.values
    text = ("to" if isinstance(scale, Uniform) else "or").join(_scale_text(one) for one in values)
    if isinstance(scale, Choice) and len(set(scale.weights)) > 1:
        return f"~{text}~at-{'-'.join(f'{weight:g}' for weight in scale.weights)}"
    return f"~{text}"


def _scale_text(scale: float) -> str:
    """Two decimals where they are exact, otherwise as many as it takes."""
    short = f"{scale:+.2f}"
    return short if float(short) == scale else f"{'+' if scale > 0 else ''}{scale!r}"


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9@._-]", "-", name)
