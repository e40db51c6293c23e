"""The images that an evaluation edits: sampled, from a folder, or drawn by the renderer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from editvec.batch.classes.shipped import ExactEdits, judge_of
from editvec.batch.editing.embeddings import EmbeddingCache, networks_digest
from editvec.batch.editing.mini_batches import Latents, Prepared
from editvec.batch.editing.reading import Decoded, decode
from editvec.batch.editing.variants import VariantMaker
from editvec.batch.errors import SettingsError
from editvec.batch.evaluation.settings import EvaluateSettings
from editvec.batch.evaluation.targets import MaskTarget
from editvec.batch.quality.likeness import LEAST_EXPLAINED
from editvec.batch.recipes.recipe import EditPlan
from editvec.batch.recipes.settings import Mode
from editvec.batch.runs.inputs import sampled_inputs, scan_folder
from editvec.batch.runs.plan import PlannedInput
from editvec.engine.editor import Editor
from editvec.engine.metrics.edits import psnr
from editvec.registry.entities.classes import ClassModel
from editvec.registry.entities.vectors import EditingVector
from editvec.registry.library.contents import scheme_of_class
from editvec.registry.library.library import Library

_NAMED = 3


class ProbeBatch(NamedTuple):
    """Some images, ready to be edited.

    Attributes:
        names: of the images.
        prepared: the images with their latents; wanted masks where there are any.
        has_target: for which of them the wanted mask is one.
    """

    names: list[str]
    prepared: Prepared
    has_target: list[bool]


def unlike_text(unlike: Sequence[str], total: int, class_name: str) -> str:
    """What people are told of images that do not look like the class; empty without any."""
    if not unlike:
        return ""
    named = ", ".join(unlike[:_NAMED]) + (", ..." if len(unlike) > _NAMED else "")
    return (
        f"{len(unlike)} of {total} images hardly look like class {class_name} ({named}): the "
        "reconstruction is little closer to them than the average image, and what is measured on "
        "them says little of the class"
    )


class Probes:
    """The images of one evaluation, mini-batch by mini-batch.

    Attributes:
        skipped: images that cannot be read, with the reason; grows.
        unlike: images of whose difference from the class's average image the reconstruction
            explains less than a quarter; grows.
    """

    def __init__(
        self,
        library: Library,
        editor: Editor,
        model: ClassModel,
        vector: EditingVector,
        settings: EvaluateSettings,
        maker: VariantMaker,
        target: MaskTarget | None,
        *,
        at_a_time: int,
    ) -> None:
        """Finds the images; reads none.

        Args:
            library: for embeddings that are known.
            editor: the loaded class.
            model: the class.
            vector: what is evaluated.
            settings: which images.
            maker: embeds and prepares them.
            target: what the wanted mask of an image is; None leaves them out.
            at_a_time: the most images of a mini-batch.

        Raises:
            PlanError: the folder cannot be listed or holds no image.
            SettingsError: renders of what the renderer does not know.
        """
        self.skipped: dict[str, str] = {}
        self.unlike: list[str] = []
        self._editor = editor
        self._scheme = scheme_of_class(library, model)
        self._plan = _with_masks(maker.plan, settings)
        self._maker = maker
        self._target = target
        self._at_a_time = at_a_time
        self._exact: ExactEdits | None = None
        if settings.probe is not None:
            self._inputs = scan_folder(settings.probe).inputs
        elif settings.renders:
            self._exact = _renders(vector, settings, editor.bundle.resolution)
            self._inputs = [_render_input(number) for number in range(settings.renders)]
        else:
            self._inputs = sampled_inputs(settings.samples, settings.seed)
        self._cache = EmbeddingCache(
            library, model.generator_digest, self._plan.settings, networks_digest(editor)
        )

    def __len__(self) -> int:
        return len(self._inputs)

    def batches(self) -> Iterator[ProbeBatch]:
        """The images in their order; those that cannot be read go to `skipped`."""
        for start in range(0, len(self._inputs), self._at_a_time):
            some = self._inputs[start : start + self._at_a_time]
            decoded = [self._decode(one) for one in some]
            good = [one for one in decoded if one.reason is None]
            self.skipped |= {one.input.source: one.reason for one in decoded if one.reason}
            if good:
                yield self._prepare(good)

    def _decode(self, planned: PlannedInput) -> Decoded:
        if self._exact is not None:
            return Decoded(input=planned, pixels=self._exact.pixels[planned.position])
        return decode(
            self._plan,
            planned,
            resolution=self._editor.bundle.resolution,
            scheme=self._scheme,
        )

    def _prepare(self, decoded: Sequence[Decoded]) -> ProbeBatch:
        is_sampled = decoded[0].input.seed is not None
        images = None if is_sampled else self._maker.images_of(decoded)
        if images is None:
            latents = self._maker.sample(decoded)
        else:
            known = {} if self._exact is not None else self._cache.find(decoded)
            latents = self._maker.latents_of(decoded, images, known)
            self.unlike += self._unlike(decoded, images, latents)
        prepared = self._maker.prepare(decoded, images, latents)
        wanted, has_target = self._wanted(decoded, prepared)
        if wanted is not None:
            prepared = replace(prepared, wanted_masks=wanted)
        return ProbeBatch([one.input.source for one in decoded], prepared, has_target)

    @cached_property
    def _average(self) -> Tensor:
        """The picture of the average latents, [1, 3, H, W]."""
        generator = self._editor.generator
        ws = generator.w_avg.expand(1, generator.num_ws, -1)
        return self._editor.synthesize(ws).clamp(-1, 1)

    def _unlike(self, decoded: Sequence[Decoded], images: Tensor, latents: Latents) -> list[str]:
        """The images that the class can hardly show."""
        blind = psnr(self._average.expand_as(images), images)
        needed = blind - 10 * math.log10(1 - LEAST_EXPLAINED)
        return [
            one.input.source
            for one, row, least in zip(
                decoded, latents.reconstruction, needed.tolist(), strict=True
            )
            if (found := row.get("psnr")) is not None and found < least
        ]

    def _wanted(
        self, decoded: Sequence[Decoded], prepared: Prepared
    ) -> tuple[Tensor | None, list[bool]]:
        """The wanted masks [N, H, W], and for which images there is one."""
        if self._exact is not None:
            places = [one.input.position for one in decoded]
            wanted = torch.as_tensor(self._exact.targets[places].astype(np.int64))
            return wanted.to(self._editor.device), [True] * len(decoded)
        if prepared.wanted_masks is not None:  # they were read with the pictures
            return None, [True] * len(decoded)
        if self._target is None or prepared.mask_before is None:
            return None, [False] * len(decoded)
        return self._target.of(prepared.mask_before)


def _with_masks(plan: EditPlan, settings: EvaluateSettings) -> EditPlan:
    """A plan that reads the wanted mask of every picture, where there is a folder of them."""
    if settings.masks is None:
        return plan
    reading = replace(plan.settings, mode=Mode.OPTIMIZE, masks_folder=str(settings.masks))
    return replace(plan, settings=reading)


def _renders(vector: EditingVector, settings: EvaluateSettings, resolution: int) -> ExactEdits:
    judge = judge_of(vector.class_name)
    if judge is None or not judge.can_render(vector.name):
        raise SettingsError(
            f"renders: nobody has exact masks of {vector.address}: the renderer draws avatars, and "
            "knows what the vectors of their starter library are for"
        )
    return judge.exact_edits(
        vector.name, settings.renders, seed=settings.seed, resolution=resolution
    )


def _render_input(number: int) -> PlannedInput:
    name = f"render-{number:06d}"
    return PlannedInput(position=number, relative_path=name.encode(), output_name=name)
