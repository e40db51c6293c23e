"""Edits pictures in memory: what a run does with a folder, without a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from editvec.batch.editing.deltas import load_brushes, load_deltas
from editvec.batch.editing.embeddings import EmbeddingCache, networks_digest
from editvec.batch.editing.gate import rejection
from editvec.batch.editing.memory import demand_of_edits, images_at_a_time
from editvec.batch.editing.mini_batches import Prepared, Variant
from editvec.batch.editing.reading import Decoded
from editvec.batch.editing.variants import VariantMaker
from editvec.batch.errors import SettingsError
from editvec.batch.recipes.pinning import expand, parse_edit, pin_vector, with_own_folders
from editvec.batch.recipes.recipe import OPTIMIZE_RECIPE, SOURCE_RECIPE, EditPlan, Recipe
from editvec.batch.recipes.settings import Mode, OutputSize, RunSettings
from editvec.batch.runs.plan import PlannedInput
from editvec.batch.runs.requirements import fitting_settings, networks_of, require_networks
from editvec.batch.workbench import load_editor
from editvec.engine.errors import ImageError
from editvec.engine.images.decoding import decode_opened
from editvec.engine.images.images import to_pixels
from editvec.engine.images.views import View, add_change, put_labels, see, see_labels, view_of
from editvec.registry.labels.label import IGNORED

if TYPE_CHECKING:
    from editvec.registry.entities.classes import ClassModel
    from editvec.registry.library.library import Library

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.integer[Any]]
AnyPicture = Image.Image | Pixels | Tensor
"""A PIL image of any mode, uint8 [H, W, 3] in sRGB, or float [3, H, W] in [-1, 1]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EditedPicture:
    """One picture after one recipe.

    Attributes:
        pixels: uint8 [H, W, 3] in sRGB: of the generator's size, or of the picture's own where
            `output_size` is original.
        mask: Part labels [H, W] of the edited picture; None of a class that makes no masks.
        recipe: Name of the recipe.
        requested: The scale of every vector of the edits; 0 where the recipe leaves it out.
        measured: What a run's row of the manifest says: reconstruction, leakage, uncertainty.
        rejected: Why a gate of the settings refuses it; None for a picture that passes.
    """

    pixels: Pixels
    mask: Labels | None
    recipe: str
    requested: dict[str, float]
    measured: dict[str, Any]
    rejected: str | None

    @property
    def image(self) -> Image.Image:
        """The picture for PIL."""
        return Image.fromarray(self.pixels)


class PictureEditor:
    """A loaded class with some edits: takes pictures, gives edited ones.

    Outside the region of the edit the pixels are those of the picture, bit for bit, unless
    `composite` is none. The same files give the same pixels as `editvec batch run` does.

    Attributes:
        model: The class.
        plan: What is made of every picture.
    """

    def __init__(
        self,
        library: Library,
        edits: Sequence[str],
        *,
        class_name: str | None = None,
        settings: RunSettings | None = None,
        force_scale: bool = False,
        device: str | None = None,
        picture_count: int | None = None,
        with_source: bool = False,
    ) -> None:
        """Load the class and the vectors.

        Args:
            library: Holds both.
            edits: ``smile=1``, ``smile[4:9]=0.5``, the sweep ``smile=-1:1:5``, or the drawn
                ``smile=uniform(0,1)``; together they make every combination, one recipe each.
            class_name: ``avatars`` or ``avatars@2``; None takes the only class of the library.
            settings: How edits are made; those about files and folders have no use here.
            force_scale: Accept scales outside the usable range of their vectors.
            device: ``cpu``, ``cuda``, ``cuda:1``; None takes a CUDA device if there is one.
            picture_count: How many pictures there are in all, over which drawn scales are shared
                out; None draws for each by itself.
            with_source: The first recipe is `source`: the picture as it is, with its mask.

        Raises:
            RecipeError, SettingsError: An edit or a setting is not possible.
            PlanError: The class lacks a network that the settings need.
            RegistryError: There is no such class or vector.
        """
        self.model: ClassModel = library.get_class(class_name)
        networks = networks_of(library, self.model)
        asked = settings or RunSettings()
        _check_settings(asked)
        asked, _ = fitting_settings(asked, self.model, networks)
        asked = replace(asked, roi=self.model.parts(asked.roi))
        pinned = [
            pin_vector(library, self.model, parse_edit(text), force_scale=force_scale)
            for text in edits
        ]
        is_fit = asked.mode is Mode.OPTIMIZE
        if is_fit and not (pinned or asked.roi):
            raise SettingsError("roi: mode optimize needs parts, or an edit with part labels")
        recipes = expand(pinned) if pinned else [Recipe(name=OPTIMIZE_RECIPE, edits=())]
        if not (pinned or is_fit):
            raise SettingsError("edits: expected at least one NAME=SCALE")
        if with_source:
            recipes.insert(0, Recipe(name=SOURCE_RECIPE, edits=()))
        self.plan = EditPlan(
            recipes=tuple(with_own_folders(recipes)), settings=asked, input_count=picture_count
        )
        require_networks(self.plan, self.model, networks)
        editor = load_editor(library, self.model, device=device)
        self._maker = VariantMaker(
            editor,
            self.plan,
            load_deltas(library, self.plan),
            load_brushes(library, self.plan, self.model),
        )
        self._cache = EmbeddingCache(
            library, self.model.generator_digest, asked, networks_digest(editor)
        )
        self._at_a_time = images_at_a_time(editor, demand_of_edits(self.plan))

    def edit(
        self,
        pictures: Sequence[AnyPicture],
        *,
        masks: Sequence[Labels] | None = None,
        positions: Sequence[int] | None = None,
        recipes: Sequence[Sequence[int]] | None = None,
    ) -> list[EditedPicture]:
        """Edit some pictures.

        Args:
            pictures: PIL images of any mode (colours and orientation are read as those of files
                are), uint8 [H, W, 3] in sRGB, or float tensors [3, H, W] in [-1, 1].
            masks: The wanted part labels [H, W] of each, of its own size; mode optimize needs them.
            positions: Number of each picture, by which drawn scales are drawn; None counts from 0.
            recipes: Which recipes each picture gets, by their places in `plan.recipes`; None takes
                all of them.

        Returns:
            For every picture, in order, what each of its recipes makes of it.

        Raises:
            ImageError: Something is no picture.
            SettingsError: Masks that do not fit.
        """
        if (masks is not None) != (self.plan.settings.mode is Mode.OPTIMIZE):
            raise SettingsError("masks: mode optimize needs the wanted masks, no other takes them")
        if masks is not None and len(masks) != len(pictures):
            raise SettingsError(f"masks: expected {len(pictures)}, got {len(masks)}")
        if positions is None:
            positions = range(len(pictures))
        if recipes is None:
            recipes = [range(len(self.plan.recipes))] * len(pictures)
        found: list[EditedPicture] = []
        for start in range(0, len(pictures), self._at_a_time):
            places = slice(start, start + self._at_a_time)
            pixels = [_pixels_of(one, start + row) for row, one in enumerate(pictures[places])]
            wanted = [None] * len(pixels) if masks is None else masks[places]
            decoded = [
                self._decoded(*one) for one in zip(pixels, wanted, positions[places], strict=True)
            ]
            found += self._edit(pixels, decoded, recipes[places])
        return found

    def _edit(
        self, pictures: list[Pixels], decoded: list[Decoded], recipes: Sequence[Sequence[int]]
    ) -> list[EditedPicture]:
        """Edit a mini-batch."""
        prepared = self._prepared(decoded)
        made: dict[tuple[int, int], EditedPicture] = {}
        for place in sorted({place for some in recipes for place in some}):
            rows = [row for row, some in enumerate(recipes) if place in some]
            variant = self._maker.make(prepared.select(rows), place)
            for number, row in enumerate(rows):
                made[row, place] = self._edited(pictures[row], decoded[row], variant, number, place)
        return [made[row, place] for row, some in enumerate(recipes) for place in some]

    def _decoded(self, picture: Pixels, mask: Labels | None, position: int) -> Decoded:
        resolution = self._maker.editor.bundle.resolution
        height, width = picture.shape[:2]
        view = view_of(height, width, resolution, fit=self.plan.settings.fit.value)
        if mask is not None and mask.shape != (height, width):
            raise SettingsError(
                f"masks: expected {height} x {width} labels as the picture has pixels, "
                f"got {' x '.join(map(str, mask.shape))}"
            )
        if mask is not None and not (mask.min() >= IGNORED and mask.max() < len(self.model.labels)):
            raise SettingsError(
                f"masks: expected labels from 0 to {len(self.model.labels) - 1}, or {IGNORED} for "
                f"what counts nowhere, got {mask.min()} to {mask.max()}"
            )
        name = f"picture {position}"
        return Decoded(
            input=PlannedInput(position=position, relative_path=name.encode(), output_name=name),
            pixels=see(picture, view, resolution),
            wanted_mask=None if mask is None else see_labels(mask, view, resolution),
            source_size=(height, width),
            view=view,
        )

    def _prepared(self, decoded: list[Decoded]) -> Prepared:
        known = self._cache.find(decoded)
        images = self._maker.images_of(decoded)
        latents = self._maker.latents_of(decoded, images, known)
        new = [row for row, one in enumerate(decoded) if one.input.position not in known]
        if new and self._cache.is_used:
            self._cache.store(
                [decoded[row] for row in new],
                latents.ws[new].float().cpu().numpy(),
                [latents.reconstruction[row] for row in new],
            )
        return self._maker.prepare(decoded, images, latents)

    def _edited(
        self, picture: Pixels, one: Decoded, variant: Variant, row: int, place: int
    ) -> EditedPicture:
        """One picture after one recipe, of the wanted size."""
        recipe = self.plan.recipes[place]
        pixels = variant.pixels[row]
        if recipe.name == SOURCE_RECIPE:
            assert one.pixels is not None
            pixels = one.pixels
        mask: Labels | None = None if variant.masks is None else variant.masks[row]
        if self.plan.settings.output_size is OutputSize.ORIGINAL:
            assert mask is not None
            assert one.view is not None
            pixels, mask = self._put_back(picture, variant, row, one.view, mask)
        why = rejection(
            variant.images[row : row + 1], variant.metrics[row : row + 1], self.plan.settings
        )
        return EditedPicture(
            pixels=pixels,
            mask=mask,
            recipe=recipe.name,
            requested=self.plan.attributes_of(place, one.input.position),
            measured=variant.metrics[row],
            rejected=why[0],
        )

    def _put_back(
        self, picture: Pixels, variant: Variant, row: int, view: View, labels: Labels
    ) -> tuple[Pixels, Labels]:
        """The picture with the change, and its mask, both of the picture's own size."""
        whole = picture.copy()
        if variant.changes is not None:
            change = variant.changes[row]
            add_change(whole, change.added, change.region, view)
        mask = np.zeros(picture.shape[:2], labels.dtype)
        put_labels(labels, view, mask)
        return whole, mask


def edit_picture(
    library: Library,
    picture: AnyPicture,
    edits: Sequence[str],
    *,
    class_name: str | None = None,
    settings: RunSettings | None = None,
    mask: Labels | None = None,
    force_scale: bool = False,
    device: str | None = None,
) -> EditedPicture:
    """Edit one picture; `PictureEditor` says what is taken and what may go wrong.

    For more than one use a `PictureEditor`, which finds class and vectors once.

    Raises:
        SettingsError: The edits make more than one picture.
    """
    editor = PictureEditor(
        library,
        edits,
        class_name=class_name,
        settings=settings,
        force_scale=force_scale,
        device=device,
        picture_count=1,
    )
    if (count := len(editor.plan.recipes)) != 1:
        raise SettingsError(
            f"edits: they make {count} pictures of one; give one scale each, or use PictureEditor"
        )
    return editor.edit([picture], masks=None if mask is None else [mask])[0]


def _check_settings(settings: RunSettings) -> None:
    """Refuse what only a run over files can do."""
    defaults = RunSettings()
    for name, what in (
        ("count", "sampled pictures"),
        ("boxes", "boxes"),
        ("masks_folder", "a folder of masks"),
        ("keep_profile", "profiles"),
    ):
        if getattr(settings, name) != getattr(defaults, name):
            raise SettingsError(f"{name}: pictures in memory have no use for {what}")


def _pixels_of(picture: AnyPicture, place: int) -> Pixels:
    """The pixels of a picture of any kind, uint8 [H, W, 3] in sRGB.

    Raises:
        ImageError: It is none, with its number.
    """
    try:
        if isinstance(picture, Image.Image):
            return decode_opened(picture)
        if isinstance(picture, Tensor):
            return _pixels_of_tensor(picture)
    except ImageError as exc:
        raise ImageError(f"picture {place}: {exc}") from exc
    array = np.asarray(picture)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise ImageError(
            f"picture {place}: expected a PIL image, uint8 [H, W, 3] or a float tensor [3, H, W], "
            f"got {type(picture).__name__} of {array.dtype} {list(array.shape)}"
        )
    return array


def _pixels_of_tensor(picture: Tensor) -> Pixels:
    if picture.ndim != 3 or picture.shape[0] != 3 or not picture.is_floating_point():
        raise ImageError(
            "expected a float tensor [3, H, W] in [-1, 1], "
            f"got {picture.dtype} {list(picture.shape)}"
        )
    low, high = (float(end) for end in picture.detach().aminmax())
    if not -1.001 <= low <= high <= 1.001:
        raise ImageError(f"expected values in [-1, 1], got {low:g} to {high:g}")
    pixels: Pixels = to_pixels(picture.detach()[None])[0]
    return pixels
