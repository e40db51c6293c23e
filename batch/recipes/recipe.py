"""Edits, sweeps and recipes: parse what was typed, pin it to versions, expand it to variants."""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from editvec.batch.errors import RecipeError
from editvec.batch.recipes.pinning import ScaleRange, forced_range, pinned_scale
from editvec.batch.recipes.scales import (
    AskedScale,
    Choice,
    Scale,
    Uniform,
    draw,
    parse_asked_scales,
    scale_from_json,
    scale_to_json,
)
from editvec.batch.recipes.settings import Mode
from editvec.registry.entities.spaces import APPLICABLE_SPACES, rows_between
from editvec.registry.entities.vectors import require_active
from editvec.registry.errors import CompatibilityError, RetiredVectorError

if TYPE_CHECKING:
    from editvec.registry.entities.classes import ClassModel
    from editvec.registry.library.library import Library

MAX_RECIPES = 256
MAX_NAME_LENGTH = 100
SOURCE_RECIPE = "source"
OPTIMIZE_RECIPE = "optimize"
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


@dataclass(frozen=True, kw_only=True)
class PinnedVector:
    """An editing vector at one version: all that a worker needs to know of it.

    Attributes:
        address: ``class/name@version``.
        attribute: its name in the rows of the manifest; with the version where it was typed.
        delta_digest: digest of its delta: what content keys bind to.
        roi_labels: part labels that it may touch; none where only a brush says what may change.
        dilation: buffer around its ROI in pixels; None = by the resolution.
        brush_digest: digest of the painted region that it may touch too; None = no brush.
        rows: first of the rows of `ws` that it adds to, and the one after the last; None = all.
        forced_range: its usable range, where scales beyond it are forced.
    """

    address: str
    attribute: str
    delta_digest: str
    roi_labels: tuple[str, ...]
    dilation: int | None = None
    brush_digest: str | None = None
    rows: tuple[int, int] | None = None
    forced_range: ScaleRange | None = None

    @property
    def term(self) -> str:
        """Its address with its rows: what is added to the latents, apart from the scale."""
        return self.address + _rows_text(self.rows)


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One vector at one scale, or at one that is drawn for each item."""

    vector: PinnedVector
    scale: Scale

    def to_json(self) -> dict[str, Any]:
        """Plain values, as stored in the plan."""
        values: dict[str, Any] = {
            "address": self.vector.address,
            "attribute": self.vector.attribute,
            "delta_digest": self.vector.delta_digest,
            "roi_labels": list(self.vector.roi_labels),
            "dilation": self.vector.dilation,
            "scale": scale_to_json(self.scale),
        }
        if self.vector.brush_digest is not None:  # else as plans were before there were brushes
            values["brush_digest"] = self.vector.brush_digest
        if self.vector.rows is not None:
            values["rows"] = list(self.vector.rows)
        if self.vector.forced_range is not None:
            values["forced_range"] = list(self.vector.forced_range)
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Reads what `to_json` wrote."""
        vector = PinnedVector(
            address=values["address"],
            attribute=values["attribute"],
            delta_digest=values["delta_digest"],
            roi_labels=tuple(values["roi_labels"]),
            dilation=values["dilation"],
            brush_digest=values.get("brush_digest"),
            rows=(rows[0], rows[1]) if (rows := values.get("rows")) else None,
            forced_range=ScaleRange(*ends) if (ends := values.get("forced_range")) else None,
        )
        return cls(vector=vector, scale=scale_from_json(values["scale"]))


class FixedEdit(NamedTuple):
    """One vector at the scale that one item gets."""

    vector: PinnedVector
    scale: float

    @property
    def is_forced(self) -> bool:
        """True if the scale is beyond the vector's usable range, by `--force-scale`."""
        usable = self.vector.forced_range
        return usable is not None and not usable.holds(self.scale)

    def to_json(self) -> dict[str, Any]:
        """What manifests say of it."""
        values: dict[str, Any] = {"address": self.vector.address, "scale": self.scale}
        if self.vector.rows is not None:
            values["rows"] = list(self.vector.rows)
        return values


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One output variant of every input: a name that is safe as a folder, and its edits.

    Attributes:
        name: of its folder.
        edits: none means the input as it is.
        mode: how the edits are made; None = as the run says.
        refine_steps: of mode refine; None = as the run says.
    """

    name: str
    edits: tuple[Edit, ...]
    mode: Mode | None = None
    refine_steps: int | None = None

    @property
    def roi_labels(self) -> tuple[str, ...]:
        """The part labels that its edits may touch, each once, in order of appearance."""
        return tuple(
            dict.fromkeys(label for edit in self.edits for label in edit.vector.roi_labels)
        )

    @property
    def brush_digests(self) -> tuple[str, ...]:
        """The painted regions that its edits may touch, each once, in order of appearance."""
        brushes = (edit.vector.brush_digest for edit in self.edits)
        return tuple(dict.fromkeys(digest for digest in brushes if digest is not None))

    @property
    def dilation(self) -> int | None:
        """The largest ROI buffer of its edits; None = by the resolution."""
        known = [edit.vector.dilation for edit in self.edits if edit.vector.dilation is not None]
        return max(known, default=None)

    def edits_at(self, position: int, *, seed: int) -> list[FixedEdit]:
        """The edits of one item.

        Args:
            position: of the item's input in the run.
            seed: of the run.
        """
        drawn = [edit for edit in self.edits if not isinstance(edit.scale, float)]
        scales = iter(
            draw(
                [edit.scale for edit in drawn if not isinstance(edit.scale, float)],
                names=[f"{self.name} {edit.vector.term}" for edit in drawn],
                seed=seed,
                position=position,
            )
        )
        return [
            FixedEdit(edit.vector, edit.scale if isinstance(edit.scale, float) else next(scales))
            for edit in self.edits
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain values, as stored in the plan."""
        values: dict[str, Any] = {
            "name": self.name,
            "edits": [edit.to_json() for edit in self.edits],
        }
        if self.mode is not None:
            values["mode"] = self.mode.value
        if self.refine_steps is not None:
            values["refine_steps"] = self.refine_steps
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Reads what `to_json` wrote."""
        edits = tuple(Edit.from_json(edit) for edit in values["edits"])
        mode = values.get("mode")
        return cls(
            name=values["name"],
            edits=edits,
            mode=None if mode is None else Mode(mode),
            refine_steps=values.get("refine_steps"),
        )


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
        attribute=attribute + _rows_text(rows),
        delta_digest=vector.delta_digest,
        roi_labels=() if vector.roi_policy == "brush" else tuple(vector.roi_labels),
        dilation=vector.dilation,
        brush_digest=vector.brush_digest,
        rows=rows,
        forced_range=forced,
    )
    return PinnedArgument(pinned, scales)


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


def _rows_text(rows: tuple[int, int] | None) -> str:
    return "" if rows is None else f"[{rows[0]}:{rows[1]}]"


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
    for term in terms:
        if terms.count(term) > 1:
            raise RecipeError(f"edit: {term} is given twice; give one scale or one sweep")
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
    parts = [f"{_safe(edit.vector.attribute)}{_scale_name(edit.scale)}" for edit in edits]
    name = "_".join(parts)
    if len(name) <= MAX_NAME_LENGTH:
        return name
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
