"""Edits the images of an evaluation in every mode and at every scale, and measures each.

What gates and manifests measure comes from the same code that runs use, `VariantMaker.edit`; what
only a whole set of images or another network can tell is added here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from editvec.batch.editing.deltas import load_brushes, load_deltas
from editvec.batch.editing.measuring import number, success_rows, uncertainty_rows
from editvec.batch.editing.memory import demand_of_edits, images_at_a_time
from editvec.batch.editing.mini_batches import Edited, Prepared
from editvec.batch.editing.variants import VariantMaker
from editvec.batch.errors import SettingsError
from editvec.batch.evaluation.probes import ProbeBatch, Probes
from editvec.batch.evaluation.sets import SetNetworks
from editvec.batch.evaluation.settings import AskedMode, EvaluateSettings
from editvec.batch.evaluation.targets import WantedAttribute, attribute_of, mask_target_of
from editvec.batch.recipes.pinning import EditArgument, expand, pin_vector
from editvec.batch.recipes.recipe import Edit, EditPlan
from editvec.batch.recipes.settings import Mode, RunSettings
from editvec.engine.editor import Editor
from editvec.engine.images.images import to_pixels
from editvec.engine.networks.identity import identity_similarity
from editvec.registry.entities.classes import ClassModel
from editvec.registry.entities.spaces import APPLICABLE_SPACES
from editvec.registry.entities.vectors import EditingVector
from editvec.registry.library.library import Library

Row = dict[str, Any]
OnProgress = Callable[[int, int], None]
_TIMED_BATCHES = {Mode.VECTOR: 2, Mode.REFINE: 1, Mode.OPTIMIZE: 1}  # timed ones are made twice


class ScalePictures(NamedTuple):
    """What one item looks like, each uint8.

    Attributes:
        before: G(ws), [H, W, 3].
        after: the edit, before compositing, [H, W, 3].
        mask_before: label indices [H, W]; None of a class that makes no masks.
        mask_after: likewise.
    """

    before: npt.NDArray[np.uint8]
    after: npt.NDArray[np.uint8]
    mask_before: npt.NDArray[np.integer[Any]] | None
    mask_after: npt.NDArray[np.integer[Any]] | None


@dataclass(kw_only=True)
class ModeResult:
    """What one mode made at the scale that is evaluated.

    Attributes:
        mode: which.
        rows: of every image: what gates measure, and what is added here.
        pictures: of every image.
        features: of the edited images, by the name of the network, [N, F].
        seconds: of each timed mini-batch, per image.
        timed: images that were timed.
    """

    mode: AskedMode
    rows: list[Row] = field(default_factory=list)
    pictures: list[ScalePictures] = field(default_factory=list)
    features: dict[str, list[Tensor]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    timed: int = 0


@dataclass(kw_only=True)
class MeasuredEdits:
    """Everything that was measured, image by image.

    Attributes:
        names: of the images.
        scale: that the modes were measured at.
        modes: what each made.
        unedited: features of the reconstructions, by the name of the network.
        sweep: rows of every image at every scale of the calibration, scale by scale.
        attribute: what the classifier is asked; or why it is not.
        target: where wanted masks come from, in words; None without them.
        no_target: why there are none.
        skipped: images that cannot be read, with the reason.
        unlike: images that the class can hardly show.
        sets: networks that compare sets of images, with their reference.
        embed_seconds: per image, embedding and the unedited pictures.
    """

    names: list[str]
    scale: float
    modes: list[ModeResult]
    unedited: dict[str, list[Tensor]]
    sweep: list[list[Row]]
    attribute: WantedAttribute | str
    target: str | None
    no_target: str
    skipped: dict[str, str]
    unlike: list[str]
    sets: SetNetworks
    embed_seconds: float = 0.0


def measure(
    library: Library,
    editor: Editor,
    vector: EditingVector,
    settings: EvaluateSettings,
    *,
    sets: SetNetworks | None = None,
    on_progress: OnProgress | None = None,
) -> MeasuredEdits:
    """Measures a vector.

    Args:
        library: where it is.
        editor: the networks that it was made for.
        vector: of W or W+.
        settings: how.
        sets: what several evaluations compare with; None makes it of these settings.
        on_progress: told how many images of how many are done.

    Raises:
        SettingsError: the vector lives in a space that no image is edited in, or a mode or target
            is not possible.
        PlanError: the folder of images cannot be used; none of them can be read.
        RegistryError, EngineError: the vector does not fit the class.
    """
    if vector.latent_space not in APPLICABLE_SPACES:
        raise SettingsError(
            f"evaluate: {vector.address} lives in space {vector.latent_space.value}; "
            "only vectors of W and W+ can be added to images"
        )
    editor.check_generator(vector.generator_digest)
    job = _Job(library, editor, vector, settings, sets or SetNetworks(editor, settings))
    return job.measure(on_progress or (lambda done, total: None))


class _Job:
    """One evaluation: makers of every mode, of the sweep, and what they share."""

    def __init__(
        self,
        library: Library,
        editor: Editor,
        vector: EditingVector,
        settings: EvaluateSettings,
        sets: SetNetworks,
    ) -> None:
        self.library, self.editor, self.vector, self.settings = library, editor, vector, settings
        self.model: ClassModel = library.get_class_of_generator(
            vector.class_name, vector.generator_digest, bundle_digest=editor.bundle.bundle_digest
        )
        self.scale = vector.default_scale if settings.scale is None else settings.scale
        self.attribute = attribute_of(editor, vector, settings)
        found = mask_target_of(library, self.model, vector, settings)
        self.no_target = found if isinstance(found, str) else ""
        self.target = None if isinstance(found, str) else found
        self.has_targets = (
            self.target is not None or settings.renders > 0 or settings.masks is not None
        )
        if any(one.mode is Mode.OPTIMIZE for one in settings.asked_modes) and not self.has_targets:
            raise SettingsError(f"modes: optimize needs a wanted mask; {self.no_target}")
        self.makers = [self._maker(one, [self.scale]) for one in settings.asked_modes]
        self.timers = [
            self._maker(one, [self.scale], is_measured=False) for one in settings.asked_modes
        ]
        plain = AskedMode(Mode.VECTOR, 0)
        self.sweep_maker = (
            self._maker(plain, settings.scales, with_uncertainty=False) if settings.scales else None
        )
        demand = max((demand_of_edits(one.plan) for one in self.makers), key=lambda one: one.value)
        self.probes = Probes(
            library,
            editor,
            self.model,
            vector,
            settings,
            self._maker(plain, [1.0]),
            self.target,
            at_a_time=images_at_a_time(editor, demand),
        )
        self.sets = sets

    def _maker(
        self,
        mode: AskedMode,
        scales: Sequence[float],
        *,
        with_uncertainty: bool = True,
        is_measured: bool = True,
    ) -> VariantMaker:
        """Makes the edit in one mode; scales are not bounded here, for the range is measured."""
        settings, has_masks = self.settings, self.editor.segmentation is not None
        is_fit = mode.mode is Mode.OPTIMIZE
        chosen = RunSettings(
            mode=mode.mode,
            embed=settings.embed,
            seed=settings.seed,
            refine_steps=mode.num_steps if mode.mode is Mode.REFINE else 10,
            optimize_steps=mode.num_steps if is_fit else 100,
        )
        argument = EditArgument(vector=self.vector.address, scales=(self.vector.default_scale,))
        pinned = pin_vector(self.library, self.model, argument)[0].vector
        edits = [Edit(vector=pinned, scale=scale) for scale in scales]
        plan = EditPlan(
            recipes=tuple(expand([edits])), settings=chosen, input_folder=settings.probe
        )
        return VariantMaker(
            self.editor,
            plan,
            load_deltas(self.library, plan),
            load_brushes(self.library, plan, self.model),
            with_leakage=is_measured and has_masks,
            with_uncertainty=is_measured and with_uncertainty and has_masks,
        )

    def measure(self, on_progress: OnProgress) -> MeasuredEdits:
        """Goes through the images once."""
        modes = [ModeResult(mode=one) for one in self.settings.asked_modes]
        found = MeasuredEdits(
            names=[],
            scale=self.scale,
            modes=modes,
            unedited={},
            sweep=[[] for _ in self.settings.scales],
            attribute=self.attribute,
            target=self._target_words(),
            no_target=self.no_target,
            skipped=self.probes.skipped,
            unlike=self.probes.unlike,
            sets=self.sets,
        )
        began, embedding = time.monotonic(), 0.0
        for batch in self.probes.batches():
            embedding += time.monotonic() - began
            self._measure_batch(batch, found)
            on_progress(len(found.names), len(self.probes))
            began = time.monotonic()
        if not found.names:
            reasons = "; ".join(f"{name}: {why}" for name, why in found.skipped.items())
            raise SettingsError(f"probe: none of the images can be read ({reasons})")
        found.embed_seconds = embedding / len(found.names)
        return found

    def _target_words(self) -> str | None:
        if self.settings.renders:
            return "the renderer's exact masks"
        if self.settings.masks is not None:
            return f"the masks of {self.settings.masks.name}"
        return None if self.target is None else f"operation {self.target.text}"

    def _measure_batch(self, batch: ProbeBatch, found: MeasuredEdits) -> None:
        prepared = batch.prepared
        found.names += batch.names
        before = self._before(prepared)
        for name, features in self.sets.features(prepared.before).items():
            found.unedited.setdefault(name, []).append(features)
        for result, maker, timer in zip(found.modes, self.makers, self.timers, strict=True):
            if len(result.seconds) < _TIMED_BATCHES[result.mode.mode]:
                began = time.monotonic()
                timer.make(prepared, 0)
                result.seconds.append((time.monotonic() - began) / len(batch.names))
                result.timed += len(batch.names)
            edited, rows = maker.edit(prepared, 0)
            self._add(batch, before, edited, rows)
            result.rows += rows
            result.pictures += _pictures(prepared, edited)
            for name, features in self.sets.features(edited.images).items():
                result.features.setdefault(name, []).append(features)
        if self.sweep_maker is not None:
            for place in range(len(self.settings.scales)):
                edited, rows = self.sweep_maker.edit(prepared, place)
                self._add(batch, before, edited, rows)
                found.sweep[place] += rows

    @torch.inference_mode()
    def _before(self, prepared: Prepared) -> list[Row]:
        """What is measured of the images before the edit."""
        assert prepared.before is not None
        rows: list[Row] = [{} for _ in prepared.positions]
        if isinstance(self.attribute, WantedAttribute):
            _put(rows, "attribute", self._logits(prepared.before, self.attribute))
        if self.editor.segmentation is not None:
            made = self.editor.synthesize_with_mask(prepared.ws, with_uncertainty=True)
            assert made.uncertainty is not None
            _put(rows, "uncertainty", uncertainty_rows(made.uncertainty))
        return rows

    @torch.inference_mode()
    def _add(
        self, batch: ProbeBatch, before: Sequence[Row], edited: Edited, rows: list[Row]
    ) -> None:
        """Adds to the rows of a mini-batch what runs do not measure."""
        prepared = batch.prepared
        assert prepared.before is not None
        images = edited.images.clamp(-1, 1)
        for row, unedited, has_target in zip(rows, before, batch.has_target, strict=True):
            row |= {f"{name}_unedited": value for name, value in unedited.items()}
            if not has_target:
                row.pop("success_iou", None)
        if edited.roi is not None:
            # 0 would say that nothing leaked, where nothing could
            for row, is_all in zip(rows, edited.roi.flatten(1).all(dim=1).tolist(), strict=True):
                if is_all:
                    row.pop("leakage", None)
        if self.editor.identity is not None:
            same = identity_similarity(
                self.editor.identity(images), self.editor.identity(prepared.before)
            )
            _put(rows, "identity_similarity", [number(one) for one in same.tolist()])
        if isinstance(self.attribute, WantedAttribute):
            _put(rows, "attribute", self._logits(images, self.attribute))
        wanted, mask_before = prepared.wanted_masks, prepared.mask_before
        if edited.success is not None and wanted is not None and edited.roi is not None:
            assert mask_before is not None
            labels = self.vector.roi_labels
            reached = success_rows(self.editor, mask_before, wanted, edited.roi, labels)
            for row, value, has_target in zip(rows, reached, batch.has_target, strict=True):
                if has_target:
                    row["success_iou_unedited"] = value

    def _logits(self, images: Tensor, attribute: WantedAttribute) -> list[float]:
        """How sure the classifier is of what is wanted; beyond 0 it sees it."""
        assert self.editor.classifier is not None
        logits = self.editor.classifier(images)[:, attribute.column] * attribute.sign
        return [round(float(one), 6) for one in logits.tolist()]


def _put(rows: Sequence[Row], name: str, values: Sequence[float | None]) -> None:
    for row, value in zip(rows, values, strict=True):
        row[name] = value


def _pictures(prepared: Prepared, edited: Edited) -> list[ScalePictures]:
    assert prepared.before is not None
    before, after = to_pixels(prepared.before), to_pixels(edited.images.nan_to_num().clamp(-1, 1))

    def masks(tensor: Tensor | None) -> list[Any]:
        return [None] * len(before) if tensor is None else list(tensor.cpu().numpy())

    rows = zip(before, after, masks(prepared.mask_before), masks(edited.masks), strict=True)
    return [ScalePictures(*row) for row in rows]
