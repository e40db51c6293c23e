"""Edits a mini-batch: latents once, then every recipe of the run. Knows neither SQL nor files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from batch.plan import RunPlan
from batch.reading import Decoded
from batch.recipe import Recipe
from batch.settings import Composite, Mode
from engine.compositing import composite
from engine.editing import EditSettings, apply_deltas
from engine.editor import Editor
from engine.images import to_images, to_pixels
from engine.inversion import EmbedSettings
from engine.metrics import leakage_psnr
from registry.entities import Embedding


@dataclass(frozen=True, kw_only=True)
class Latents:
    """Embedded inputs: one row for each.

    Attributes:
        ws: [N, num_ws, w_dim].
        reconstruction: metrics of each reconstruction; empty for sampled inputs.
    """

    ws: Tensor
    reconstruction: list[dict[str, float | None]]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A mini-batch that is ready to be edited.

    Attributes:
        images: what the edit is composited into, [N, 3, H, W] in [-1, 1].
        ws: [N, num_ws, w_dim].
        before: G(ws), [N, 3, H, W]; None where nothing needs it.
        mask_before: labels of G(ws), [N, H, W]; None likewise.
        wanted_masks: [N, H, W], of mode optimize.
        reconstruction: metrics of each reconstruction.
    """

    images: Tensor
    ws: Tensor
    before: Tensor | None
    mask_before: Tensor | None
    wanted_masks: Tensor | None
    reconstruction: list[dict[str, float | None]]

    def select(self, rows: Sequence[int]) -> Prepared:
        """The same for some of the inputs."""
        index = torch.as_tensor(rows, device=self.ws.device)

        def pick(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor[index]

        return Prepared(
            images=self.images[index],
            ws=self.ws[index],
            before=pick(self.before),
            mask_before=pick(self.mask_before),
            wanted_masks=pick(self.wanted_masks),
            reconstruction=[self.reconstruction[row] for row in rows],
        )


class Variant(NamedTuple):
    """One recipe applied to a mini-batch.

    Attributes:
        images: [N, 3, H, W] in [-1, 1], before rounding.
        pixels: uint8 [N, H, W, 3].
        masks: int64 [N, H, W].
        metrics: what was measured, for each.
    """

    images: npt.NDArray[np.float32]
    pixels: npt.NDArray[np.uint8]
    masks: npt.NDArray[np.int64]
    metrics: list[dict[str, Any]]


class VariantMaker:
    """Makes the variants of one run with one loaded class."""

    def __init__(
        self, editor: Editor, plan: RunPlan, deltas: Mapping[str, npt.NDArray[np.float32]]
    ) -> None:
        """Makes the maker.

        Args:
            editor: the loaded class.
            plan: the run's plan.
            deltas: [num_ws, w_dim] of every vector of the plan, by address.
        """
        self.editor = editor
        self.plan = plan
        self._deltas = {
            address: torch.as_tensor(delta, device=editor.device)
            for address, delta in deltas.items()
        }
        settings = plan.settings
        self._needs_before = (
            settings.composite is not Composite.NONE or settings.mode is not Mode.VECTOR
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
            return self._embed(images)
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

    def _embed(self, images: Tensor) -> Latents:
        """The latents of images, with the measured error of each reconstruction."""
        wanted = self.plan.settings.embedding
        settings = EmbedSettings(
            num_steps=wanted.num_steps, space=wanted.space.value, target=wanted.target_psnr
        )
        result = self.editor.embed(images, settings)
        measured: list[dict[str, float | None]] = [
            {"psnr": number(value), "num_steps": steps}
            for value, steps in zip(result.psnr.tolist(), result.num_steps.tolist(), strict=True)
        ]
        if result.perceptual is not None and result.perceptual_name is not None:
            for row, value in zip(measured, result.perceptual.tolist(), strict=True):
                row[result.perceptual_name] = number(value)
        return Latents(ws=result.ws, reconstruction=measured)

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
            made = self.editor.synthesize_with_mask(latents.ws)
            before, mask_before = made.images.clamp(-1, 1), made.mask
        masks = [one.wanted_mask for one in inputs if one.wanted_mask is not None]
        wanted = None
        if masks:
            wanted = torch.as_tensor(np.stack(masks), device=self.editor.device).long()
        base = before if images is None else images
        assert base is not None
        return Prepared(
            images=base,
            ws=latents.ws,
            before=before,
            mask_before=mask_before,
            wanted_masks=wanted,
            reconstruction=latents.reconstruction,
        )

    def make(self, prepared: Prepared, recipe: Recipe) -> Variant:
        """Applies one recipe to a mini-batch."""
        roi_labels = self.plan.settings.roi or recipe.roi_labels
        edited_ws = self._edited_ws(prepared, recipe, roi_labels)
        made = self.editor.synthesize_with_mask(edited_ws)
        images, masks = made.images, made.mask
        metrics: list[dict[str, Any]] = [
            {"reconstruction": row} if row else {} for row in prepared.reconstruction
        ]
        if prepared.before is not None and prepared.mask_before is not None and roi_labels:
            roi = self.editor.roi(prepared.mask_before, masks, roi_labels, dilation=recipe.dilation)
            leakage = leakage_psnr(images.clamp(-1, 1), prepared.before, roi)
            for row, value in zip(metrics, leakage.tolist(), strict=True):
                row["leakage"] = {"psnr": number(value)}
            if self.plan.settings.composite is not Composite.NONE:
                images = composite(prepared.images, images, roi, mode="feather")
                masks = torch.where(roi[:, 0], masks, prepared.mask_before)
        return Variant(
            images=images.float().cpu().numpy(),
            pixels=np.asarray(to_pixels(images.nan_to_num())),
            masks=masks.cpu().numpy(),
            metrics=metrics,
        )

    def _edited_ws(self, prepared: Prepared, recipe: Recipe, roi_labels: Sequence[str]) -> Tensor:
        """The latents after a recipe's edits, in the run's mode."""
        settings = self.plan.settings
        ws = prepared.ws
        if recipe.edits:
            deltas = torch.stack([self._deltas[edit.vector.address] for edit in recipe.edits])
            scales = torch.tensor([edit.scale for edit in recipe.edits], device=ws.device)
            ws = apply_deltas(ws, deltas, scales)
            if settings.mode is Mode.REFINE:
                refining = EditSettings.for_mode(
                    "refine", num_steps=settings.refine_steps, dilation=recipe.dilation
                )
                ws = self.editor.refine(prepared.ws, ws, roi_labels=roi_labels, settings=refining)
        if settings.mode is Mode.OPTIMIZE and prepared.wanted_masks is not None:
            optimizing = EditSettings.for_mode(
                "optimize", num_steps=settings.optimize_steps, dilation=recipe.dilation
            )
            ws = self.editor.optimize(
                prepared.images,
                ws,
                prepared.wanted_masks,
                roi_labels=roi_labels,
                settings=optimizing,
            )
        return ws


def _measured(embedding: Embedding) -> dict[str, float | None]:
    measured: dict[str, float | None] = {
        "psnr": number(embedding.psnr),
        "num_steps": embedding.num_steps,
    }
    if embedding.perceptual_name is not None and embedding.perceptual_value is not None:
        measured[embedding.perceptual_name] = number(embedding.perceptual_value)
    return measured


def number(value: float) -> float | None:
    """A number that JSON can hold; None for the infinite and for what is none."""
    return round(value, 6) if math.isfinite(value) else None
