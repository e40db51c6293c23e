"""Edits a mini-batch: latents once, then every recipe of the run. Knows neither SQL nor files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from editvec.batch.editing.measuring import (
    leakage_rows,
    number,
    rows_beyond,
    success_rows,
    uncertainty_rows,
)
from editvec.batch.editing.mini_batches import Edited, Latents, Prepared, Seen, Variant
from editvec.batch.editing.original_size import changes_of
from editvec.batch.editing.reading import Decoded
from editvec.batch.recipes.recipe import EditPlan, Recipe
from editvec.batch.recipes.settings import Composite, Mode, OutputSize
from editvec.engine.editing.editing import EditSettings, apply_deltas
from editvec.engine.editing.inversion import EmbedSettings
from editvec.engine.editor import Editor
from editvec.engine.images.compositing import CompositeMode, composite
from editvec.engine.images.images import to_images, to_pixels
from editvec.registry.entities.vectors import Embedding

_BLENDS: dict[Composite, CompositeMode] = {
    Composite.NONE: "none",
    Composite.FEATHER: "feather",
    Composite.GRADIENT: "gradient",
}


class _Touchable(NamedTuple):
    """What a recipe may touch: parts, and painted pixels, bool [H, W]."""

    roi_labels: Sequence[str]
    brush: Tensor | None

    @property
    def is_given(self) -> bool:
        """False for a recipe without edits, which touches nothing."""
        return bool(self.roi_labels) or self.brush is not None


class VariantMaker:
    """Makes the variants of pictures with one loaded class."""

    def __init__(
        self,
        editor: Editor,
        plan: EditPlan,
        deltas: Mapping[str, npt.NDArray[np.float32]],
        brushes: Mapping[str, npt.NDArray[np.bool_]],
        *,
        with_leakage: bool = False,
        with_uncertainty: bool = False,
    ) -> None:
        """Makes the maker.

        Args:
            editor: the loaded class.
            plan: what is made; without recipes it only embeds.
            deltas: [num_ws, w_dim] of every vector of the plan, by its term.
            brushes: painted pixels [H, W] of every brush of the plan, by digest.
            with_leakage: measure what changed outside the ROI also without a bound on it.
            with_uncertainty: measure the uncertainty of labels also without a bound on it.
        """
        self.editor = editor
        self.plan = plan
        self._deltas = {
            term: torch.as_tensor(delta, device=editor.device) for term, delta in deltas.items()
        }
        self._brushes = {
            digest: torch.as_tensor(painted, device=editor.device)
            for digest, painted in brushes.items()
        }
        # what waits to be written holds masks: indices of most classes fit into bytes
        self._mask_type = torch.uint8 if len(editor.bundle.labels) <= 256 else torch.int32
        settings = plan.settings
        self._with_leakage = with_leakage or settings.max_leakage is not None
        self._with_uncertainty = with_uncertainty or settings.max_uncertainty is not None
        self._needs_before = bool(plan.recipes) and (
            settings.composite is not Composite.NONE
            or any(plan.mode_of(recipe) is not Mode.VECTOR for recipe in plan.recipes)
        )

    def images_of(self, inputs: Sequence[Decoded]) -> Tensor:
        """The decoded pixels on the device, [N, 3, H, W] in [-1, 1]."""
        pixels = [one.pixels for one in inputs if one.pixels is not None]
        return to_images(pixels).to(self.editor.device)

    def sample(self, inputs: Sequence[Decoded]) -> Latents:
        """The latents of sampled inputs, whatever chunk they are in."""
        settings = self.plan.settings
        drawn = [
            self.editor.sample(1, settings.seed, settings.truncation_psi, first=one.input.position)
            for one in inputs
        ]
        return Latents(ws=torch.cat(drawn), reconstruction=[{} for _ in inputs])

    def latents_of(
        self, inputs: Sequence[Decoded], images: Tensor, known: Mapping[int, Embedding]
    ) -> Latents:
        """The latents of images: the known ones as they are, the others embedded.

        Args:
            inputs: the inputs.
            images: theirs, [N, 3, H, W].
            known: embeddings from the cache, by position in the run.
        """
        missing = [row for row, one in enumerate(inputs) if one.input.position not in known]
        if len(missing) == len(inputs):
            return self._embed(images, is_seen=self._needs_before)
        shape = (len(inputs), self.editor.bundle.num_ws, self.editor.bundle.w_dim)
        ws = torch.empty(shape, device=self.editor.device)
        reconstruction: list[dict[str, float | None]] = [{} for _ in inputs]
        if missing:
            new = self._embed(images[missing])
            ws[missing] = new.ws
            for row, measured in zip(missing, new.reconstruction, strict=True):
                reconstruction[row] = measured
        for row, one in enumerate(inputs):
            if (found := known.get(one.input.position)) is not None:
                ws[row] = torch.as_tensor(found.ws, device=ws.device)
                reconstruction[row] = _measured(found)
        return Latents(ws=ws, reconstruction=reconstruction)

    def _embed(self, images: Tensor, *, is_seen: bool = False) -> Latents:
        """The latents of images, with the measured error of each reconstruction, and with it."""
        wanted = self.plan.settings.embedding
        settings = EmbedSettings(
            num_steps=wanted.num_steps, space=wanted.space.value, target=wanted.target_psnr
        )
        seen: list[Seen] = []

        def see(ws: Tensor) -> Tensor:
            seen.append(self._see(ws))
            return seen[0].images

        result = self.editor.embed(images, settings, see=see if is_seen else None)
        measured: list[dict[str, float | None]] = [
            {"psnr": number(value), "num_steps": steps}
            for value, steps in zip(result.psnr.tolist(), result.num_steps.tolist(), strict=True)
        ]
        if result.perceptual is not None and result.perceptual_name is not None:
            for row, value in zip(measured, result.perceptual.tolist(), strict=True):
                row[result.perceptual_name] = number(value)
        return Latents(ws=result.ws, reconstruction=measured, seen=seen[0] if seen else None)

    def prepare(
        self, inputs: Sequence[Decoded], images: Tensor | None, latents: Latents
    ) -> Prepared:
        """Everything that all recipes share.

        Args:
            inputs: the inputs.
            images: [N, 3, H, W]; None for sampled inputs, which are their own reconstruction.
            latents: of the inputs.
        """
        before = mask_before = None
        if self._needs_before or images is None:
            made = latents.seen or self._see(latents.ws)
            before, mask_before = made.images.clamp(-1, 1), made.mask
        masks = [one.wanted_mask for one in inputs if one.wanted_mask is not None]
        wanted = None
        if masks:
            wanted = torch.as_tensor(np.stack(masks), device=self.editor.device).long()
        base = before if images is None else images
        assert base is not None
        return Prepared(
            positions=[one.input.position for one in inputs],
            images=base,
            ws=latents.ws,
            before=before,
            mask_before=mask_before,
            wanted_masks=wanted,
            reconstruction=latents.reconstruction,
        )

    def _see(self, ws: Tensor, *, with_uncertainty: bool = False) -> Seen:
        """Pictures of latents, with masks where the class has a segmentation branch."""
        if self.editor.segmentation is None:
            return Seen(self.editor.synthesize(ws), None)
        return Seen(*self.editor.synthesize_with_mask(ws, with_uncertainty=with_uncertainty))

    def make(self, prepared: Prepared, recipe_position: int) -> Variant:
        """Applies one recipe to a mini-batch."""
        edited, metrics = self.edit(prepared, recipe_position)
        images, masks, roi, changes = edited.images, edited.masks, edited.roi, None
        if roi is not None and masks is not None and prepared.mask_before is not None:
            blend = _BLENDS[self.plan.settings.composite]
            if blend != "none":
                images = composite(prepared.images, images, roi, mode=blend)
                masks = torch.where(roi[:, 0], masks, prepared.mask_before)
            if self.plan.settings.output_size is OutputSize.ORIGINAL:
                assert prepared.before is not None
                is_gradient = blend == "gradient"
                changes = changes_of(prepared.before, edited.images, roi, is_gradient=is_gradient)
        return Variant(
            changes=changes,
            images=images.float().cpu().numpy(),
            pixels=np.asarray(to_pixels(images.nan_to_num())),
            masks=None if masks is None else masks.to(self._mask_type).cpu().numpy(),
            metrics=metrics,
        )

    def edit(self, prepared: Prepared, recipe_position: int) -> tuple[Edited, list[dict[str, Any]]]:
        """The edited pictures before compositing, and what gates and manifests get of each."""
        recipe = self.plan.recipes[recipe_position]
        target = self._target(recipe)
        edited_ws = self._edited_ws(prepared, recipe_position, target)
        edited = self._synthesize(prepared, edited_ws, recipe, target)
        metrics: list[dict[str, Any]] = [
            {"reconstruction": row} if row else {} for row in prepared.reconstruction
        ]
        if self.plan.settings.refine_auto and edited.leakage and recipe.edits:
            edited = self._refine_leaking(prepared, edited_ws, recipe, target, edited, metrics)
        _add_measures(metrics, edited)
        return edited, metrics

    def _synthesize(
        self, prepared: Prepared, edited_ws: Tensor, recipe: Recipe, target: _Touchable
    ) -> Edited:
        """The pictures of edited latents, with their masks, ROI and measures."""
        is_new = edited_ws is not prepared.ws or self._with_uncertainty
        if not is_new and prepared.before is not None:
            # the unedited sample: measured alike, so that rows of a run have the same names
            return Edited(prepared.before, prepared.mask_before, leakage=self._unchanged(prepared))
        made = self._see(edited_ws, with_uncertainty=self._with_uncertainty)
        edited = Edited(made.images, made.mask)
        if made.uncertainty is not None:
            edited = edited._replace(uncertainty=uncertainty_rows(made.uncertainty))
        if prepared.before is None or prepared.mask_before is None or not target.is_given:
            return edited
        assert made.mask is not None
        roi = self.editor.roi(
            prepared.mask_before, made.mask, target.roi_labels, recipe.dilation, brush=target.brush
        )
        leaked = leakage_rows(
            self.editor,
            made.images,
            prepared.before,
            roi,
            with_perceptual=self._with_leakage,
        )
        reached = None
        if prepared.wanted_masks is not None and target.roi_labels:
            wanted = prepared.wanted_masks
            reached = success_rows(self.editor, made.mask, wanted, roi, target.roi_labels)
        return edited._replace(roi=roi, leakage=leaked, success=reached)

    def _unchanged(self, prepared: Prepared) -> list[dict[str, float | None]]:
        """Leakage of unedited samples, where it is measured."""
        perceptual = self.editor.perceptual
        if not self._with_leakage or perceptual is None:
            return []
        return [{"psnr": None, perceptual.name: 0.0} for _ in prepared.positions]

    def _refine_leaking(
        self,
        prepared: Prepared,
        edited_ws: Tensor,
        recipe: Recipe,
        target: _Touchable,
        edited: Edited,
        metrics: Sequence[dict[str, Any]],
    ) -> Edited:
        """Refines what leaks beyond the bound, and makes these pictures again."""
        assert self.plan.settings.max_leakage is not None
        places = rows_beyond(edited.leakage, self.plan.settings.max_leakage)
        if not len(places):
            return edited
        ws = edited_ws.clone()
        some = prepared.select(places.tolist())
        ws[places] = self._refined(some.ws, ws[places], recipe, target)
        for place in places.tolist():
            metrics[place]["refined_steps"] = self.plan.refine_steps_of(recipe)
        return self._synthesize(prepared, ws, recipe, target)

    def _refined(self, ws: Tensor, edited_ws: Tensor, recipe: Recipe, target: _Touchable) -> Tensor:
        settings = EditSettings.for_mode(
            "refine", num_steps=self.plan.refine_steps_of(recipe), dilation=recipe.dilation
        )
        return self.editor.refine(
            ws, edited_ws, roi_labels=target.roi_labels, brush=target.brush, settings=settings
        )

    def _target(self, recipe: Recipe) -> _Touchable:
        """What a recipe may touch: what its vectors say, unless the run says it."""
        if self.plan.settings.roi:
            return _Touchable(self.plan.settings.roi, None)
        brushes = [self._brushes[digest] for digest in recipe.brush_digests]
        return _Touchable(recipe.roi_labels, torch.stack(brushes).any(dim=0) if brushes else None)

    def _scales(self, prepared: Prepared, recipe_position: int) -> Tensor:
        """How far each input goes along each vector of a recipe, [N, edits]."""
        scales = [
            [edit.scale for edit in self.plan.edits_of(recipe_position, position)]
            for position in prepared.positions
        ]
        return torch.tensor(scales, device=prepared.ws.device)

    def _edited_ws(self, prepared: Prepared, recipe_position: int, target: _Touchable) -> Tensor:
        """The latents after a recipe's edits, in the run's mode."""
        settings, recipe = self.plan.settings, self.plan.recipes[recipe_position]
        ws = prepared.ws
        if recipe.edits:
            deltas = torch.stack([self._deltas[edit.vector.term] for edit in recipe.edits])
            ws = apply_deltas(ws, deltas, self._scales(prepared, recipe_position))
            if self.plan.mode_of(recipe) is Mode.REFINE:
                ws = self._refined(prepared.ws, ws, recipe, target)
        if settings.mode is Mode.OPTIMIZE and prepared.wanted_masks is not None:
            optimizing = EditSettings.for_mode(
                "optimize", num_steps=settings.optimize_steps, dilation=recipe.dilation
            )
            ws = self.editor.optimize(
                prepared.images,
                ws,
                prepared.wanted_masks,
                roi_labels=target.roi_labels,
                brush=target.brush,
                settings=optimizing,
            )
        return ws


def _add_measures(metrics: Sequence[dict[str, Any]], edited: Edited) -> None:
    """Writes what was measured into the rows of the items."""
    for name, values in (
        ("leakage", edited.leakage),
        ("success_iou", edited.success),
        ("uncertainty", edited.uncertainty),
    ):
        for row, value in zip(metrics, values or (), strict=False):
            row[name] = value


def _measured(embedding: Embedding) -> dict[str, float | None]:
    measured: dict[str, float | None] = {
        "psnr": number(embedding.psnr),
        "num_steps": embedding.num_steps,
    }
    if embedding.perceptual_name is not None and embedding.perceptual_value is not None:
        measured[embedding.perceptual_name] = number(embedding.perceptual_value)
    return measured
