"""Edits, sweeps and recipes: parse what was typed, pin it to versions, expand it to variants."""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from batch.errors import RecipeError

if TYPE_CHECKING:
    from registry.entities import ClassModel
    from registry.store import Library

MAX_SWEEP = 101
MAX_RECIPES = 256
MAX_SCALE = 100.0
MAX_NAME_LENGTH = 100
SOURCE_RECIPE = "source"
OPTIMIZE_RECIPE = "optimize"


@dataclass(frozen=True, kw_only=True)
class EditArgument:
    """One ``--edit`` as typed: a vector and the scales that it takes."""

    vector: str
    scales: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values, as stored in the plan."""
        return {"vector": self.vector, "scales": list(self.scales)}


@dataclass(frozen=True, kw_only=True)
class PinnedVector:
    """An editing vector at one version: all that a worker needs to know of it.

    Attributes:
        address: ``class/name@version``.
        attribute: its name in the rows of the manifest; with the version where it was typed.
        delta_digest: digest of its delta: what content keys bind to.
        roi_labels: part labels that it may touch.
        dilation: buffer around its ROI in pixels; None = by the resolution.
    """

    address: str
    attribute: str
    delta_digest: str
    roi_labels: tuple[str, ...]
    dilation: int | None = None


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One vector at one scale."""

    vector: PinnedVector
    scale: float

    def to_json(self) -> dict[str, Any]:
        """Plain values, as stored in the plan."""
        return {
            "address": self.vector.address,
            "attribute": self.vector.attribute,
            "delta_digest": self.vector.delta_digest,
            "roi_labels": list(self.vector.roi_labels),
            "dilation": self.vector.dilation,
            "scale": self.scale,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Reads what `to_json` wrote."""
        vector = PinnedVector(
            address=values["address"],
            attribute=values["attribute"],
            delta_digest=values["delta_digest"],
            roi_labels=tuple(values["roi_labels"]),
            dilation=values["dilation"],
        )
        return cls(vector=vector, scale=values["scale"])


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One output variant of every input: a name that is safe as a folder, and its edits."""

    name: str
    edits: tuple[Edit, ...]

    @property
    def roi_labels(self) -> tuple[str, ...]:
        """The part labels that its edits may touch, each once, in order of appearance."""
        return tuple(
            dict.fromkeys(label for edit in self.edits for label in edit.vector.roi_labels)
        )

    @property
    def dilation(self) -> int | None:
        """The largest ROI buffer of its edits; None = by the resolution."""
        known = [edit.vector.dilation for edit in self.edits if edit.vector.dilation is not None]
        return max(known, default=None)

    def attributes(self, names: Sequence[str]) -> dict[str, float]:
        """The scale of every attribute of the run; 0 where this recipe does not touch it."""
        scales = {edit.vector.attribute: edit.scale for edit in self.edits}
        return {name: scales.get(name, 0.0) for name in names}

    def to_json(self) -> dict[str, Any]:
        """Plain values, as stored in the plan."""
        return {"name": self.name, "edits": [edit.to_json() for edit in self.edits]}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Reads what `to_json` wrote."""
        edits = tuple(Edit.from_json(edit) for edit in values["edits"])
        return cls(name=values["name"], edits=edits)


def parse_edit(text: str) -> EditArgument:
    """Reads ``smile=1.0``, ``smile@2=0.5`` or the sweep ``smile=-1:1:5``.

    A sweep is first:last:count, both ends included.

    Raises:
        RecipeError: names the argument and what is wrong with it.

    Example:
        >>> parse_edit("smile=-1:1:5").scales
        (-1.0, -0.5, 0.0, 0.5, 1.0)
    """
    vector, equals, value = text.rpartition("=")
    if not equals or not vector.strip() or not value.strip():
        raise RecipeError(f"edit: expected NAME=SCALE or NAME=FIRST:LAST:COUNT, got {text!r}")
    parts = value.split(":")
    if len(parts) == 1:
        scales = [_scale(value, text)]
    elif len(parts) == 3:
        scales = _sweep(_scale(parts[0], text), _scale(parts[1], text), parts[2], text)
    else:
        raise RecipeError(f"edit: a sweep is FIRST:LAST:COUNT, got {text!r}")
    return EditArgument(vector=vector.strip(), scales=tuple(scales))


def pin_vector(
    library: Library, class_model: ClassModel, argument: EditArgument, *, force_scale: bool = False
) -> PinnedVector:
    """Finds the vector that an argument names and fixes its version.

    Args:
        library: where the vectors are.
        class_model: the class of the run; every vector must be of its generator.
        argument: what was typed.
        force_scale: accept scales outside the vector's usable range.

    Raises:
        RecipeError: the vector is of another class or generator, or a scale is out of its range.
        RegistryError: there is no such vector.
    """
    vector = library.get_vector(argument.vector, class_name=class_model.name)
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
    low, high = vector.scale_min, vector.scale_max
    for scale in argument.scales:
        outside = (low is not None and scale < low) or (high is not None and scale > high)
        if outside and not force_scale:
            raise RecipeError(
                f"edit: {vector.address} is usable from {low} to {high}, got {scale:g} "
                "(--force-scale takes it anyway)"
            )
    typed_version = argument.vector.rpartition("/")[2].partition("@")[2]
    return PinnedVector(
        address=vector.address,
        attribute=f"{vector.name}@{vector.version}" if typed_version else vector.name,
        delta_digest=vector.delta_digest,
        roi_labels=tuple(vector.roi_labels),
        dilation=vector.dilation,
    )


def expand(arguments: Sequence[EditArgument], vectors: Sequence[PinnedVector]) -> list[Recipe]:
    """The variants of a run: the product of the scales of all edits, in the order typed.

    Args:
        arguments: the edits as typed.
        vectors: the vector of each argument.

    Raises:
        RecipeError: one vector given twice, or more variants than a run takes.
    """
    addresses = [vector.address for vector in vectors]
    for address in addresses:
        if addresses.count(address) > 1:
            raise RecipeError(f"edit: {address} is given twice; give one scale or one sweep")
    count = math.prod(len(argument.scales) for argument in arguments)
    if count > MAX_RECIPES:
        raise RecipeError(f"edit: the sweeps make {count} variants, at most {MAX_RECIPES} in a run")
    variants = itertools.product(*(argument.scales for argument in arguments))
    recipes = []
    for scales in variants:
        edits = zip(vectors, scales, strict=True)
        chosen = tuple(Edit(vector=vector, scale=scale) for vector, scale in edits)
        recipes.append(Recipe(name=recipe_name(chosen), edits=chosen))
    return recipes


def recipe_name(edits: Sequence[Edit]) -> str:
    """A name that tells the edits, is safe as a folder and differs where the edits differ.

    Example: ``smile+1.00_look-left+0.50``.
    """
    if not edits:
        return SOURCE_RECIPE
    parts = [f"{_safe(edit.vector.attribute)}{_scale_text(edit.scale)}" for edit in edits]
    name = "_".join(parts)
    if len(name) <= MAX_NAME_LENGTH:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"{name[: MAX_NAME_LENGTH - 13]}~{digest}"


def _scale(value: str, text: str) -> float:
    try:
        scale = float(value)
    except ValueError:
        raise RecipeError(
            f"edit: expected a number as the scale, got {value.strip()!r} in {text!r}"
        ) from None
    if not math.isfinite(scale) or abs(scale) > MAX_SCALE:
        raise RecipeError(
            f"edit: expected a scale of -{MAX_SCALE:g} to {MAX_SCALE:g}, "
            f"got {value.strip()!r} in {text!r}"
        )
    return scale + 0.0  # -0.0 becomes 0.0


def _sweep(first: float, last: float, count_text: str, text: str) -> list[float]:
    if not re.fullmatch(r"\s*\d{1,6}\s*", count_text) or not 2 <= int(count_text) <= MAX_SWEEP:
        raise RecipeError(
            f"edit: expected a sweep of 2 to {MAX_SWEEP} scales, "
            f"got {count_text.strip()!r} in {text!r}"
        )
    if first == last:
        raise RecipeError(f"edit: the ends of a sweep must differ, got {text!r}")
    last_step = int(count_text) - 1
    between = [first + (last - first) * step / last_step for step in range(1, last_step)]
    scales = [first, *(round(scale, 12) + 0.0 for scale in between), last]
    if len(set(scales)) < len(scales):
        raise RecipeError(f"edit: the scales of a sweep must differ, got {text!r}")
    return scales


def _scale_text(scale: float) -> str:
    """Two decimals where they are exact, otherwise as many as it takes."""
    short = f"{scale:+.2f}"
    return short if float(short) == scale else f"{'+' if scale > 0 else ''}{scale!r}"


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9@._-]", "-", name)
