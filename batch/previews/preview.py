"""Previews: what a vector does to some probe images, from one end of its scales to the other."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from editvec.batch.errors import SettingsError
from editvec.batch.naming import display_path
from editvec.batch.previews.probes import SWEEP, PreviewProbes
from editvec.batch.previews.sheet import Cell, ProbeRow, draw_preview
from editvec.batch.recipes.scales import parse_scales
from editvec.batch.runs.inputs import scan_folder
from editvec.engine.editing.inversion import EmbedSettings
from editvec.engine.editor import Editor
from editvec.engine.images.compositing import composite
from editvec.engine.images.images import fit_pixels, read_image, to_images, to_pixels
from editvec.registry.drawing import png_bytes
from editvec.registry.entities.classes import ClassModel
from editvec.registry.entities.spaces import APPLICABLE_SPACES
from editvec.registry.entities.vectors import EditingVector, RoiPolicy
from editvec.registry.library.library import Library
from editvec.registry.masks.brushes import decode_brush

SCALES = parse_scales(SWEEP)
MAX_SCALES = 15


def preview_vector(
    library: Library,
    editor: Editor,
    vector: EditingVector,
    *,
    probes: PreviewProbes | None = None,
    scales: Sequence[float] = SCALES,
) -> bytes:
    """Draw what a vector does, as a run with its default settings would do it.

    Args:
        library: where the vector is.
        editor: the networks of the vector's class.
        vector: of W or W+.
        probes: which images; None samples some.
        scales: from left to right.

    Returns:
        A PNG; equal arguments give equal bytes on one machine.

    Raises:
        SettingsError: the vector lives in a space that no image is edited in, or too many scales.
        PlanError: the folder of the probes holds no image.
        EngineError: another generator's vector, an image that cannot be read, or images of a class
            without an encoder.
    """
    if vector.latent_space not in APPLICABLE_SPACES:
        raise SettingsError(
            f"preview: {vector.address} lives in space {vector.latent_space.value}; "
            "only vectors of W and W+ can be added to images"
        )
    if not 1 <= len(scales) <= MAX_SCALES:
        raise SettingsError(f"scales: expected 1 to {MAX_SCALES}, got {len(scales)}")
    editor.check_generator(vector.generator_digest)
    probes = probes or PreviewProbes()
    model = library.get_class_of_generator(
        vector.class_name, vector.generator_digest, bundle_digest=editor.bundle.bundle_digest
    )
    sweep = _Sweep(
        editor=editor,
        vector=vector,
        delta=torch.as_tensor(library.delta(vector), device=editor.device),
        brush=_brush(library, vector, model, editor),
        scales=scales,
    )
    rows = [ProbeRow(probe.name, sweep.cells(probe)) for probe in _probes(editor, probes)]
    caption = _caption(probes, len(rows))
    sheet = draw_preview(vector, model.labels, scales, rows, caption=caption)
    return png_bytes(sheet)


class _Probe(NamedTuple):
    """An image that is edited: a sampled one has no picture of its own, but G(ws)."""

    name: str
    images: Tensor | None
    ws: Tensor


@dataclass(frozen=True, kw_only=True)
class _Sweep:
    """A vector at all scales; `brush` is what it may touch beside its parts, bool [H, W]."""

    editor: Editor
    vector: EditingVector
    delta: Tensor
    brush: Tensor | None
    scales: Sequence[float]

    @torch.inference_mode()
    def cells(self, probe: _Probe) -> list[Cell]:
        """Edits one probe at all scales, with one synthesis of all of them."""
        editor, vector = self.editor, self.vector
        factors = torch.tensor([[0.0], *([scale] for scale in self.scales)], device=editor.device)
        ws = probe.ws.expand(len(factors), -1, -1)
        edited_ws = editor.apply(ws, self.delta[None], factors)
        if editor.segmentation is None:
            return self._whole(editor.synthesize(edited_ws))
        made = editor.synthesize_with_mask(edited_ws)
        images = made.images.nan_to_num().clamp(-1, 1)
        before, after = images[:1].expand(len(self.scales), -1, -1, -1), images[1:]
        mask_before = made.mask[:1].expand(len(self.scales), -1, -1)
        labels = () if vector.roi_policy is RoiPolicy.BRUSH else vector.roi_labels
        roi = editor.roi(mask_before, made.mask[1:], labels, vector.dilation, brush=self.brush)
        base = before if probe.images is None else probe.images.expand_as(before)
        pixels = to_pixels(composite(base, after, roi))
        masks = torch.where(roi[:, 0], made.mask[1:], mask_before).cpu().numpy()
        change = _change(before, after)
        regions = roi[:, 0].cpu().numpy()
        return [
            Cell(pixels[row], masks[row], regions[row], change[row])
            for row in range(len(self.scales))
        ]

    def _whole(self, images: Tensor) -> list[Cell]:
        """Edits of a class that makes no masks: of whole pictures, as generated."""
        images = images.nan_to_num().clamp(-1, 1)
        pixels, change = to_pixels(images[1:]), _change(images[:1], images[1:])
        return [Cell(pixels[row], None, None, change[row]) for row in range(len(self.scales))]


def _change(before: Tensor, after: Tensor) -> npt.NDArray[np.float32]:
    """How far the generator went, [N, H, W]: half the difference is a share of [-1, 1]."""
    change: npt.NDArray[np.float32]
    change = ((after - before).abs().mean(dim=1) / 2).float().cpu().numpy()
    return change


def _brush(
    library: Library, vector: EditingVector, model: ClassModel, editor: Editor
) -> Tensor | None:
    """The painted pixels that a vector may touch, bool [H, W]."""
    if vector.brush_digest is None:
        return None
    painted = decode_brush(library.blobs.get(vector.brush_digest), model)
    return torch.as_tensor(painted, device=editor.device)


def _probes(editor: Editor, probes: PreviewProbes) -> Iterator[_Probe]:
    """The probe images, one after the other, with their latents."""
    if probes.folder is None:
        for number in range(probes.count):
            ws = editor.sample(1, probes.seed, first=number)
            yield _Probe(f"sample {number}", None, ws)
        return
    for found in scan_folder(probes.folder).inputs[: probes.count]:
        path = probes.folder / os.fsdecode(found.relative_path)
        pixels = fit_pixels(read_image(path), editor.bundle.resolution, fit="crop")
        images = to_images([pixels]).to(editor.device)
        ws = editor.embed(images, EmbedSettings(num_steps=0)).ws
        yield _Probe(display_path(found.relative_path), images, ws)


def _caption(probes: PreviewProbes, count: int) -> str:
    several = "" if count == 1 else "s"
    if probes.folder is None:
        return f"{count} sample{several}, seed {probes.seed}"
    return f"{count} image{several} of {probes.folder.name}, embedded by the encoder"
