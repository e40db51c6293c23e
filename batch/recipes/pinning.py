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
from typing import TYPE_CHECKING, Any, NamedTuple

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
from editvec.registry.entities.spaces import APPLICABLE_SPACES, rows_between
from editvec.registry.entities.vectors import require_active
from editvec.registry.errors import CompatibilityError, RetiredVectorError

if TYPE_CHECKING:
    from editvec.registry.entities.classes import ClassModel
    from editvec.registry.entities.vectors import EditingVector
    from editvec.registry.library.library import Library


_LOG = logging.getLogger(__name__)
MAX_RECIPES = 256
MAX_SHOWN = 10_000_000
_ROWS = re.compile(r"(?P<address>[^\[\]]+)\[(?P<first>\d{1,9}):(?P<last>\d{1,9})\]", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class EditArgument:
    """One ``--edit`` as typed: a vector and the scales that it takes."""

    vector: str
    scales: tuple[AskedScale, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values, as stored in the plan."""
        scales = [one if isinstance(one, float) else str(one) for one in self.scales]
        return {"vector": self.vector, "scales": scales}


class PinnedArgument(NamedTuple):
    """An edit of a request: its vector at one version, and the scales that make its variants."""

    vector: PinnedVector
    scales: tuple[Scale, ...]


def parse_edit(text: str) -> EditArgument:
    """Reads ``smile=1.0``, ``smile@2=0.5``, the sweep ``smile=-1:1:5`` or ``smile=uniform(0,1)``.

    ``smile[4:9]=1`` adds to rows 4 to 8 of the latents only.

    Raises:
        RecipeError: names the argument and what is wrong with it.

    Example:
        >>> parse_edit("smile=-1:1:5").scales
        (-1.0, -0.5, 0.0, 0.5, 1.0)
    """
    vector, equals, value = text.rpartition("=")
    if not equals or not vector.strip() or not value.strip():
        raise RecipeError(f"edit: expected NAME=SCALE or NAME=FIRST:LAST:COUNT, got {text!r}")
    return EditArgument(vector=vector.strip(), scales=parse_asked_scales(value, of=text))


def pin_vector(
    library: Library, class_model: ClassModel, argument: EditArgument, *, force_scale: bool = False
) -> PinnedArgument:
    """Finds the vector that an argument names, and fixes its version and scales.

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
    return PinnedArgument(pinned, scales)


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
    match = _ROWS.fullmatch(text)
    if match is None:
        return text, None
    rows = int(match["first"]), int(match["last"])
    try:
        rows_between(*rows, rows=class_model.num_ws)
    except CompatibilityError as exc:
        raise RecipeError(f"edit: {text}: {exc}") from exc
    return match["address"].strip(), rows


def expand(arguments: Sequence[PinnedArgument]) -> list[Recipe]:
    """The variants of a run: the product of the scales of all edits, in the order typed.

    What is drawn per item makes one variant.

    Args:
        arguments: the edits, pinned.

    Raises:
        RecipeError: one vector given twice, or more variants than a run takes.
    """
    vectors = [argument.vector for argument in arguments]
    terms = [vector.term for vector in vectors]
    for term, times in Counter(terms).items():
        if times > 1:
            raise RecipeError(f"edit: {term} is given twice; give one scale or one sweep")
    check_variants(arguments)
    variants = itertools.product(*(argument.scales for argument in arguments))
    recipes = []
    for scales in variants:
        edits = zip(vectors, scales, strict=True)
        chosen = tuple(Edit(vector=vector, scale=scale) for vector, scale in edits)
        recipes.append(Recipe(name=recipe_name(chosen), edits=chosen))
    return recipes


def check_variants(*recipes: Sequence[EditArgument] | Sequence[PinnedArgument]) -> None:
    """Refuse recipes whose sweeps make more variants than a run takes.

    Raises:
        RecipeError: says how many they make.
    """
    count = sum(math.prod(len(edit.scales) for edit in edits) for edits in recipes if edits)
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
