"""Recipes: pinned vectors at scales, as plans keep them and items take them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from editvec.batch.recipes.balanced import draw_balanced
from editvec.batch.recipes.scales import (
    Scale,
    draw,
    scale_from_json,
    scale_to_json,
)
from editvec.batch.recipes.settings import Mode, RunSettings
from editvec.json_codec import JsonFields

if TYPE_CHECKING:
    from editvec.registry.entities.vectors import EditingVector


class ScaleRange(NamedTuple):
    """The least and the largest usable scale; None where there is no such end."""

    low: float | None
    high: float | None

    @classmethod
    def of(cls, vector: EditingVector) -> Self:
        """That of a vector, as it was measured or given."""
        return cls(vector.scale_min, vector.scale_max)

    def holds(self, scale: float) -> bool:
        """Whether a scale is usable."""
        is_below = self.low is not None and scale < self.low
        return not (is_below or (self.high is not None and scale > self.high))


MAX_NAME_LENGTH = 100
SOURCE_RECIPE = "source"
OPTIMIZE_RECIPE = "optimize"


@dataclass(frozen=True, kw_only=True)
class PinnedVector(JsonFields):
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
        return self.address + rows_text(self.rows)


@dataclass(frozen=True, kw_only=True)
class Edit(JsonFields):
    """One vector at one scale, or at one that is drawn for each item."""

    vector: PinnedVector
    scale: Scale

    def to_json(self) -> dict[str, Any]:
        """Plain values, as stored in the plan."""
        return {**self.vector.to_json(), "scale": scale_to_json(self.scale)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Reads what `to_json` wrote."""
        scale = scale_from_json(values["scale"])
        return cls(vector=PinnedVector.from_json(values), scale=scale)


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
class Recipe(JsonFields):
    """One output variant of every input: a name that is safe as a folder, and its edits.

    Attributes:
        name: of its folder.
        edits: none means the input as it is.
        mode: how the edits are made; None = as the run says.
        refine_steps: of mode refine; None = as the run says.
    """

    written_if_given = frozenset({"mode", "refine_steps"})

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

    @property
    def is_drawn(self) -> bool:
        """True if an item gets a scale of its own."""
        return any(not isinstance(edit.scale, float | int) for edit in self.edits)

    def edits_at(self, position: int, *, seed: int, count: int | None = None) -> list[FixedEdit]:
        """The edits of one item.

        Args:
            position: of the item's input in the run.
            seed: of the run.
            count: inputs of the run, over which scales are shared out; None draws for each by
                itself.
        """
        named = [
            (edit.scale, f"{self.name} {edit.vector.term}")
            for edit in self.edits
            if not isinstance(edit.scale, float | int)
        ]
        scales, names = [scale for scale, _ in named], [name for _, name in named]
        if not named:
            drawn = []
        elif count is None or position >= count:  # or an item that the plan did not count
            drawn = draw(scales, names=names, seed=seed, position=position)
        else:
            drawn = draw_balanced(scales, names=names, seed=seed, position=position, count=count)
        left = iter(drawn)
        return [
            FixedEdit(
                edit.vector, edit.scale if isinstance(edit.scale, float | int) else next(left)
            )
            for edit in self.edits
        ]


@dataclass(frozen=True, kw_only=True)
class EditPlan(JsonFields):
    """What is made of some pictures: all that decides the edited pixels, except the pictures.

    Attributes:
        recipes: the variants of every input, with pinned vectors.
        settings: how they are made.
        input_folder: where files lie; None of sampled inputs, and of pictures in memory.
        input_count: how many inputs there are, over which drawn scales are shared out; None where
            scales are drawn for each by itself.
    """

    recipes: tuple[Recipe, ...]
    settings: RunSettings
    input_folder: Path | None = None
    input_count: int | None = None

    @property
    def attribute_names(self) -> list[str]:
        """Every attribute that some recipe sets, in order of appearance."""
        edits = (edit for recipe in self.recipes for edit in recipe.edits)
        return list(dict.fromkeys(edit.vector.attribute for edit in edits))

    def edits_of(self, recipe_position: int, input_position: int) -> list[FixedEdit]:
        """The edits of one item, with the scales that it gets."""
        recipe = self.recipes[recipe_position]
        return recipe.edits_at(input_position, seed=self.settings.seed, count=self.input_count)

    def mode_of(self, recipe: Recipe) -> Mode:
        """How the edits of a recipe are made."""
        return recipe.mode or self.settings.mode

    def refine_steps_of(self, recipe: Recipe) -> int:
        """Steps of a recipe in mode refine."""
        return recipe.refine_steps or self.settings.refine_steps

    def attributes_of(self, recipe_position: int, input_position: int) -> dict[str, float]:
        """The scale of every attribute of the run; 0 where the item's recipe does not touch it."""
        edits = self.edits_of(recipe_position, input_position)
        scales = {edit.vector.attribute: edit.scale for edit in edits}
        return {name: scales.get(name, 0.0) for name in self.attribute_names}


def rows_text(rows: tuple[int, int] | None) -> str:
    """Rows as they are typed behind an address, `[4:9]`; nothing for all of them."""
    return "" if rows is None else f"[{rows[0]}:{rows[1]}]"
