"""Measures vectors alone and every two of them together, image by image.

What each moves, what each keeps beside another, and how much they touch the same pixels. Edits are
made by the code that runs use, `VariantMaker.edit`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from editvec.batch.editing.deltas import load_brushes, load_deltas
from editvec.batch.editing.measuring import perceptual_value, success_rows
from editvec.batch.editing.memory import demand_of_edits, images_at_a_time
from editvec.batch.editing.mini_batches import Edited
from editvec.batch.editing.variants import VariantMaker
from editvec.batch.errors import SettingsError
from editvec.batch.evaluation.pairs.settings import PairSettings, PinnedPart
from editvec.batch.evaluation.probes import ProbeBatch, Probes
from editvec.batch.evaluation.settings import EvaluateSettings
from editvec.batch.evaluation.targets import (
    MaskTarget,
    WantedAttribute,
    attribute_of,
    mask_target_of,
)
from editvec.batch.recipes.pinning import EditArgument, expand, pin_vector
from editvec.batch.recipes.recipe import Edit, EditPlan
from editvec.batch.recipes.settings import RunSettings
from editvec.engine.editor import Editor
from editvec.engine.images.images import to_pixels
from editvec.engine.metrics.edits import image_label_ious
from editvec.registry.entities.classes import ClassModel
from editvec.registry.entities.vectors import EditingVector
from editvec.registry.library.library import Library

FloatArray = npt.NDArray[np.float64]
OnProgress = Callable[[int, int], None]
SHOWN = 4
"""Images whose pictures are kept."""


class Purpose(NamedTuple):
    """What a vector is judged by; in words where it cannot be.

    Attributes:
        attribute: that its class's classifier shall see.
        target: the operation on an image's own mask.
    """

    attribute: WantedAttribute | str
    target: MaskTarget | str

    def __str__(self) -> str:
        if isinstance(self.attribute, WantedAttribute):
            return str(self.attribute)
        return "" if isinstance(self.target, str) else f"operation {self.target.text}"


@dataclass
class Rows:
    """One number of every image, that grows with the mini-batches; NaN where there is none."""

    parts: list[FloatArray] = field(default_factory=list)

    def add(self, values: Tensor | Sequence[float | None]) -> None:
        """Adds the values of a mini-batch, [N] or [N, K]."""
        if isinstance(values, Tensor):
            self.parts.append(values.double().cpu().numpy())
        else:
            self.parts.append(np.array([np.nan if v is None else v for v in values], np.float64))

    @property
    def all(self) -> FloatArray:
        """Of all images, [N] or [N, K]; empty where there is none."""
        return np.concatenate(self.parts) if self.parts else np.empty(0)


@dataclass(kw_only=True)
class AloneRows:
    """What one vector does alone.

    Attributes:
        ious: of every part before and after, [N, K].
        before, after: logits of its attribute.
        unedited, reached: IoU with the wanted mask inside its ROI.
    """

    ious: Rows = field(default_factory=Rows)
    before: Rows = field(default_factory=Rows)
    after: Rows = field(default_factory=Rows)
    unedited: Rows = field(default_factory=Rows)
    reached: Rows = field(default_factory=Rows)


@dataclass(kw_only=True)
class PairRows:
    """What two vectors do together; of each of both where two are named.

    Attributes:
        ious: of every part before and after, [N, K].
        overlap: Jaccard index of the pixels whose labels each changes alone.
        after: logits of the attribute of each.
        reached: IoU with the wanted mask of each.
        same: the share of the pixels that each changes alone and that are the same with both.
    """

    ious: Rows = field(default_factory=Rows)
    overlap: Rows = field(default_factory=Rows)
    after: tuple[Rows, Rows] = field(default_factory=lambda: (Rows(), Rows()))
    reached: tuple[Rows, Rows] = field(default_factory=lambda: (Rows(), Rows()))
    same: tuple[Rows, Rows] = field(default_factory=lambda: (Rows(), Rows()))


@dataclass(kw_only=True)
class MeasuredTogether:
    """Everything that was measured, image by image.

    Attributes:
        parts: the vectors.
        purposes: what each is judged by.
        names: of the images.
        alone: of each vector.
        pairs: of every two, by their places.
        before: the first images unedited, uint8 [H, W, 3].
        pictures: likewise with what one or two vectors make of them, by their places.
        skipped: images that do not count, with the reason.
        unlike: images that count and that the class can hardly show.
        psnr: of the reconstructions, in dB; empty for samples.
    """

    parts: list[PinnedPart]
    purposes: list[Purpose]
    names: list[str] = field(default_factory=list)
    alone: list[AloneRows] = field(default_factory=list)
    pairs: dict[tuple[int, int], PairRows] = field(default_factory=dict)
    before: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    pictures: dict[tuple[int, ...], list[npt.NDArray[np.uint8]]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    unlike: list[str] = field(default_factory=list)
    psnr: list[float] = field(default_factory=list)


def measure_together(
    library: Library,
    editor: Editor,
    parts: Sequence[PinnedPart],
    settings: PairSettings,
    *,
    on_progress: OnProgress | None = None,
) -> MeasuredTogether:
    """Measures vectors alone and every two of them together.

    Args:
        library: where they are.
        editor: the networks that they were made for.
        parts: the vectors.
        settings: on which images.
        on_progress: told how many images of how many are done.

    Raises:
        SettingsError: an attribute that the class does not know; none of the images counts.
        PlanError: the folder of images cannot be used.
        RegistryError, EngineError: a vector does not fit the class.
    """
    editor.check_generator(parts[0].vector.generator_digest)
    return _PairJob(library, editor, parts, settings).measure(
        on_progress or (lambda done, total: None)
    )


class _PairJob:
    """One measurement: the recipes of all vectors and pairs, and what they share."""

    def __init__(
        self,
        library: Library,
        editor: Editor,
        parts: Sequence[PinnedPart],
        settings: PairSettings,
    ) -> None:
        self.library, self.editor, self.parts = library, editor, list(parts)
        self.images = settings.images
        first = parts[0].vector
        self.model: ClassModel = library.get_class_of_generator(
            first.class_name, first.generator_digest, bundle_digest=editor.bundle.bundle_digest
        )
        self.purposes = [self._purpose(one) for one in parts]
        self.pairs = list(combinations(range(len(parts)), 2))
        self.maker = self._maker()
        few = images_at_a_time(editor, demand_of_edits(self.maker.plan))
        self.probes = Probes(
            library, editor, self.model, first, self.images, self.maker, None, at_a_time=few
        )

    def _purpose(self, part: PinnedPart) -> Purpose:
        asked = part.attribute or self._evaluated_for(part.vector)
        told: EvaluateSettings = replace(self.images, attribute=asked)
        attribute = attribute_of(self.editor, part.vector, told)
        is_backward = part.scale * part.vector.default_scale < 0
        if is_backward and part.attribute is None and isinstance(attribute, WantedAttribute):
            attribute = attribute._replace(sign=-attribute.sign)
        return Purpose(attribute, mask_target_of(self.library, self.model, part.vector, told))

    def _evaluated_for(self, vector: EditingVector) -> str | None:
        """What `evaluate` was told that a vector is for, where the class still knows it.

        At a scale of the other sign than its default one, that was another edit.
        """
        known = () if self.editor.classifier is None else self.editor.classifier.names
        for one in sorted(vector.metrics, key=lambda metric: metric.measured_at)[::-1]:
            against = str(one.settings.get("against") or "")
            scale = one.settings.get("scale", vector.default_scale)
            is_of_it = one.name == "success_attribute" and against.removeprefix("not ") in known
            if is_of_it and isinstance(scale, int | float) and scale * vector.default_scale >= 0:
                return against
        return None

    def _maker(self) -> VariantMaker:
        """Makes every vector alone, then every two; scales are not bounded here."""
        pinned = [self._pinned(one) for one in self.parts]
        chosen = [*((place,) for place in range(len(pinned))), *self.pairs]
        plan = EditPlan(
            input_folder=self.images.probe,
            recipes=tuple(expand([[pinned[one]] for one in places])[0] for places in chosen),
            settings=RunSettings(embed=self.images.embed, seed=self.images.seed),
        )
        deltas = load_deltas(self.library, plan)
        brushes = load_brushes(self.library, plan, self.model)
        return VariantMaker(self.editor, plan, deltas, brushes)

    def _pinned(self, part: PinnedPart) -> Edit:
        argument = EditArgument(vector=part.vector.address, scales=(part.vector.default_scale,))
        (pinned,) = pin_vector(self.library, self.model, argument)
        return replace(pinned, scale=part.scale)

    def measure(self, on_progress: OnProgress) -> MeasuredTogether:
        """Goes through the images once."""
        found = MeasuredTogether(
            parts=self.parts,
            purposes=self.purposes,
            alone=[AloneRows() for _ in self.parts],
            pairs={pair: PairRows() for pair in self.pairs},
        )
        seen = 0
        for batch in self.probes.batches():
            seen += len(batch.names)
            if (kept := self._kept(batch, found)) is not None:
                self._measure_batch(kept, found)
            on_progress(seen, len(self.probes))
        found.skipped = self.probes.skipped | found.skipped
        found.unlike = [name for name in self.probes.unlike if name not in found.skipped]
        if not found.names:
            reasons = "; ".join(f"{name}: {why}" for name, why in found.skipped.items())
            raise SettingsError(f"probe: none of the images counts ({reasons})")
        return found

    def _kept(self, batch: ProbeBatch, found: MeasuredTogether) -> ProbeBatch | None:
        """The images of a mini-batch whose reconstruction is close enough."""
        limit, kept = self.images.max_reconstruction, []
        for place, row in enumerate(batch.prepared.reconstruction):
            distance = perceptual_value(row)
            if limit is not None and distance is not None and distance > limit:
                found.skipped[batch.names[place]] = (
                    f"reconstructed at a distance of {distance:.3g}, over {limit:g}: hardly of "
                    f"class {self.model.name}"
                )
                continue
            kept.append(place)
            if row.get("psnr") is not None:
                found.psnr.append(float(row["psnr"] or 0.0))
        if not kept:
            return None
        names = [batch.names[place] for place in kept]
        return ProbeBatch(names, batch.prepared.select(kept), [False] * len(kept))

    @torch.inference_mode()
    def _measure_batch(self, batch: ProbeBatch, found: MeasuredTogether) -> None:
        prepared = batch.prepared
        assert prepared.before is not None
        found.names += batch.names
        kept = max(0, SHOWN - len(found.before))
        found.before += list(to_pixels(prepared.before[:kept]))
        logits = self._logits(prepared.before)
        alone: list[Edited] = []
        for place, rows in enumerate(found.alone):
            edited, _ = self.maker.edit(prepared, place)
            self._picture(found, (place,), edited, kept)
            # masks and ROIs of all vectors are held at a time, pictures would be too much
            alone.append(edited._replace(images=edited.images[:0]))
            self._add_attribute(rows.before, place, logits)
            self._add_attribute(rows.after, place, self._logits(edited.images))
            if edited.masks is not None and prepared.mask_before is not None:
                rows.ious.add(self._ious(prepared.mask_before, edited.masks))
                self._add_target(
                    rows.unedited, place, prepared.mask_before, edited, prepared.mask_before
                )
                self._add_target(rows.reached, place, edited.masks, edited, prepared.mask_before)
        for number, pair in enumerate(self.pairs, start=len(self.parts)):
            edited, _ = self.maker.edit(prepared, number)
            self._picture(found, pair, edited, kept)
            self._add_pair(found.pairs[pair], pair, edited, alone, prepared.mask_before)

    def _add_pair(
        self,
        rows: PairRows,
        pair: tuple[int, int],
        both: Edited,
        alone: Sequence[Edited],
        before: Tensor | None,
    ) -> None:
        logits = self._logits(both.images)
        for side, place in enumerate(pair):
            self._add_attribute(rows.after[side], place, logits)
        if both.masks is None or before is None:
            return
        rows.ious.add(self._ious(before, both.masks))
        changed = []
        for side, place in enumerate(pair):
            mine = alone[place]
            assert mine.masks is not None
            is_changed = mine.masks != before
            changed.append(is_changed)
            self._add_target(rows.reached[side], place, both.masks, mine, before)
            inside = is_changed if mine.roi is None else is_changed & mine.roi[:, 0]
            rows.same[side].add(_share(inside & (both.masks == mine.masks), inside))
        rows.overlap.add(_share(changed[0] & changed[1], changed[0] | changed[1]))

    def _ious(self, before: Tensor, after: Tensor) -> Tensor:
        return image_label_ious(after, before, num_labels=len(self.model.labels))

    def _logits(self, images: Tensor) -> Tensor | None:
        """Of every attribute, [N, A]; None where no vector has one."""
        if not any(isinstance(one.attribute, WantedAttribute) for one in self.purposes):
            return None
        assert self.editor.classifier is not None
        logits: Tensor = self.editor.classifier(images.clamp(-1, 1))
        return logits

    def _add_attribute(self, rows: Rows, place: int, logits: Tensor | None) -> None:
        attribute = self.purposes[place].attribute
        if logits is not None and isinstance(attribute, WantedAttribute):
            rows.add(logits[:, attribute.column] * attribute.sign)

    def _add_target(
        self, rows: Rows, place: int, masks: Tensor, alone: Edited, before: Tensor
    ) -> None:
        """IoU with the wanted mask inside the ROI of the vector alone, wherever there is one."""
        target, vector = self.purposes[place].target, self.parts[place].vector
        if isinstance(target, str) or alone.roi is None or not vector.roi_labels:
            return
        wanted, has_one = target.of(before)
        reached = success_rows(self.editor, masks, wanted, alone.roi, vector.roi_labels)
        rows.add(
            [one if is_there else None for one, is_there in zip(reached, has_one, strict=True)]
        )

    def _picture(
        self, found: MeasuredTogether, places: tuple[int, ...], edited: Edited, count: int
    ) -> None:
        kept = found.pictures.setdefault(places, [])
        if count:
            kept.extend(to_pixels(edited.images[:count].nan_to_num().clamp(-1, 1)))


def _share(some: Tensor, of: Tensor) -> Tensor:
    """What share of `of`, bool [N, H, W], is `some`, for each image; NaN where `of` is empty."""
    return some.sum(dim=(1, 2)).double() / of.sum(dim=(1, 2))
