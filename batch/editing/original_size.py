"""Outputs at the input picture's own size: its own pixels, with the change of the edit added."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from editvec.batch.editing.mini_batches import PictureChange, Variant
from editvec.batch.editing.pixel_budget import PixelBudget
from editvec.batch.editing.reading import Decoded, read_kept, read_picture, read_wanted_mask
from editvec.batch.errors import PlanError
from editvec.batch.recipes.settings import OutputSize
from editvec.batch.runs.plan import RunPlan
from editvec.engine.images.compositing import gradient_blend
from editvec.engine.images.own_colors import on_white
from editvec.engine.images.views import add_change, put_labels
from editvec.registry.labels.label import IGNORED
from editvec.registry.labels.scheme import LabelScheme

# Of what waits to be written: a change takes four times as much as a picture of its size.
_WAITING_BYTES = 64 << 20
_PICTURE_BYTES, _CHANGE_BYTES = 4, 14  # per pixel of the generator
_FEWEST_WAITING, _MOST_WAITING = 8, 64

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.integer[Any]]
Picture = AbstractContextManager[tuple[Pixels, Mask | None]]


def changes_of(
    before: Tensor, edited: Tensor, roi: Tensor, *, is_gradient: bool
) -> list[PictureChange]:
    """The change of every image of a mini-batch.

    Args:
        before: reconstructions, [N, 3, H, W] in [-1, 1].
        edited: [N, 3, H, W].
        roi: bool [N, 1, H, W].
        is_gradient: take the edit's gradients, and continue the reconstruction's colours into them.
    """
    if is_gradient:
        edited = gradient_blend(before, edited.nan_to_num(), roi)
    added = (edited.clamp(-1, 1) - before).float().nan_to_num().cpu().numpy()
    regions = roi[:, 0].cpu().numpy()
    return [PictureChange(*one) for one in zip(added, regions, strict=True)]


def source_facts(plan: RunPlan, one: Decoded) -> dict[str, Any]:
    """What a reader of the outputs needs to know of the input picture.

    `color` says what was done with its colours; `source_size` is the width and height of the
    upright picture, where the outputs or boxes are of that size.
    """
    if one.source_size is None:
        return {}
    facts: dict[str, Any] = {"color": one.color}
    settings = plan.settings
    if settings.boxes is not None or settings.output_size is OutputSize.ORIGINAL:
        height, width = one.source_size
        facts["source_size"] = [width, height]
    return facts


class Pictures:
    """Makes what is written of each item, at the generator's size or at the pictures' own.

    Of an item at its own size only the change waits to be written: the picture is read again here,
    so that the memory depends neither on the mini-batch nor on what waits, and few pictures are
    held at a time. Safe in several threads.

    Attributes:
        most_waiting: items that may wait to be written.
    """

    def __init__(
        self, plan: RunPlan, scheme: LabelScheme, *, resolution: int, budget: PixelBudget
    ) -> None:
        """Makes it for one run.

        Args:
            plan: of the run.
            scheme: the parts, and how mask files spell them.
            resolution: of the generator, in pixels.
            budget: for the pictures that are held at the same time.
        """
        self._plan = plan
        self._scheme = scheme
        self._budget = budget
        self._is_original = plan.settings.output_size is OutputSize.ORIGINAL
        item_bytes = (_CHANGE_BYTES if self._is_original else _PICTURE_BYTES) * resolution**2
        fitting = _WAITING_BYTES // item_bytes
        self.most_waiting = min(max(fitting, _FEWEST_WAITING), _MOST_WAITING)

    def of(self, one: Decoded, variant: Variant, row: int) -> Picture:
        """The pixels [H, W, 3] and the mask [H, W], if any, of an item, held while they are in use.

        In a run that keeps profiles they are samples of the file's colours, and [H, W, 4] where it
        is transparent.

        Raises:
            PlanError: once in use: the file changed or cannot be read any more.
            ImageError, MaskPairingError: likewise.
        """
        if not self._is_original:
            mask = None if variant.masks is None else variant.masks[row]
            return nullcontext((variant.pixels[row], mask))
        assert variant.masks is not None
        change = None if variant.changes is None else variant.changes[row]
        return self._finished(one, change, variant.masks[row])

    @contextmanager
    def _finished(
        self, one: Decoded, change: PictureChange | None, labels: Mask
    ) -> Iterator[tuple[Pixels, Mask]]:
        """The picture with the change, and its mask, both of its own size.

        Outside the view the mask has the labels of the wanted mask, if there is one of this size,
        ignored pixels too; otherwise 0.

        Args:
            one: the decoded input.
            change: None for no change.
            labels: of the edited image at the generator's resolution, [H, W].
        """
        assert one.source_size is not None
        assert one.view is not None
        with self._budget.hold(one.source_size[0] * one.source_size[1]):
            picture = self._read_again(one)
            before = picture.copy() if self._plan.settings.keep_profile else None
            if change is not None:
                add_change(picture, change.added, change.region, one.view)
            if before is not None:
                picture = self._in_own_colors(one, before, picture)
            mask = self._mask_around(one)
            put_labels(labels, one.view, mask)
            yield picture, mask

    def _read_again(self, one: Decoded) -> Pixels:
        try:
            digest, source = read_picture(self._plan, one.input)
        except OSError as exc:
            raise PlanError(f"cannot be read again: {exc.strerror or exc}") from exc
        if digest != one.digest:
            raise PlanError("changed while it was edited")
        return source.pixels

    def _in_own_colors(self, one: Decoded, before: Pixels, after: Pixels) -> Pixels:
        """The samples of the file, with what the edit changed; transparent where the format is."""
        samples = read_kept(self._plan, one.input).edited(before, after)
        has_alpha = samples.shape[2] == 4
        is_opaque = self._plan.settings.parsed_format.kind == "jpeg"
        return on_white(samples) if has_alpha and is_opaque else samples

    def _mask_around(self, one: Decoded) -> Mask:
        assert one.source_size is not None
        kind = np.uint8 if len(self._scheme.labels) <= 256 else np.uint16
        if one.picture_mask_digest is None:
            return np.zeros(one.source_size, kind)
        wanted = read_wanted_mask(self._plan, one.input, self._scheme)
        return wanted if (wanted == IGNORED).any() else wanted.astype(kind)
