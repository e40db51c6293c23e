"""Editing in latent space: apply, learn, refine, optimize; each of them for N images at once."""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from editvec.engine.editing.descent import OnStep, constant_rate, descend
from editvec.engine.editing.losses import PRESETS, LossTerms, LossWeights, Networks, Objective
from editvec.engine.errors import EngineMaskError, EngineSettingsError, ShapeError
from editvec.engine.images.roi import default_dilation, roi_from_masks
from editvec.engine.segmentation.branch import SegmentationBranch
from editvec.engine.shapes import IGNORED, check_finite, check_images, check_mask, check_ws

Mode = Literal["learn", "refine", "optimize", "released"]


@dataclass(frozen=True)
class EditSettings:
    """How a delta is found or repaired.

    Attributes:
        num_steps: Updates.
        learning_rate: Adam's, constant.
        weights: Factors of the loss terms.
        dilation: ROI buffer in pixels; None is 3 pixels at 512, scaled with the resolution.
        row_mask: Rows of ws that may change; None is all of them.
        reference: What the kept pixels are compared with. "reconstruction" is G(ws), so that a
            delta carries the edit and not the error of one image's embedding; "image" is the
            image itself, as in the paper, which also repairs the embedding.
    """

    num_steps: int = 100
    learning_rate: float = 0.02
    weights: LossWeights = PRESETS["learn"]
    dilation: int | None = None
    row_mask: tuple[bool, ...] | None = None
    reference: Literal["reconstruction", "image"] = "reconstruction"

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.num_steps < 1:
            raise EngineSettingsError(f"num_steps: expected at least 1, got {self.num_steps}")
        if not 0 < self.learning_rate < float("inf"):
            raise EngineSettingsError(f"learning_rate: expected above 0, got {self.learning_rate}")
        if self.dilation is not None and self.dilation < 0:
            raise EngineSettingsError(f"dilation: expected at least 0 pixels, got {self.dilation}")
        if self.row_mask is not None and not any(self.row_mask):
            raise EngineSettingsError("row_mask: expected at least one row that may change")
        if self.reference not in ("reconstruction", "image"):
            raise EngineSettingsError(
                f"reference: expected 'reconstruction' or 'image', got {self.reference!r}"
            )

    @classmethod
    def for_mode(cls, mode: Mode, *, has_encoder: bool = True, **changes: Any) -> "EditSettings":
        """The settings of a mode, with changes.

        "learn" takes 100 steps as in the paper, "refine" 10, "optimize" 100 against the image.
        "released" is the published code's way to learn: its weights and divisor, 29 updates (one
        fewer than its step count says), and the kept pixels held to the reconstruction. Other
        than there, the best iterate is returned and not the last.

        Args:
            mode: Which one.
            has_encoder: False leaves out the term that compares with an encoder's answer.
            changes: Attributes with other values than the mode's.

        Raises:
            SettingsError: The mode is unknown or a change is out of range.
        """
        settings = _MODES.get(mode)
        if settings is None:
            raise EngineSettingsError(f"mode: expected one of {list(_MODES)}, got {mode!r}")
        if not has_encoder:
            weights = dataclasses.replace(settings.weights, encoder_weight=0.0)
            settings = dataclasses.replace(settings, weights=weights)
        return dataclasses.replace(settings, **changes)


_MODES: dict[str, EditSettings] = {
    "learn": EditSettings(),
    "refine": EditSettings(num_steps=10, weights=PRESETS["refine"]),
    "optimize": EditSettings(reference="image"),
    "released": EditSettings(num_steps=29, weights=PRESETS["released"]),
}


class EditResult(NamedTuple):
    """Result of learn, refine and optimize, for N images.

    Attributes:
        deltas: [N, num_ws, w_dim], each sample's iterate with the lowest loss.
        ws: [N, num_ws, w_dim], the latents before the edit.
        roi: bool [N, 1, H, W], where the images were allowed to change.
        mask_before: [N, H, W].
        mask_target: [N, H, W]; read inside the ROI.
        losses: [num_steps + 1, N], `losses[t]` after t updates.
        terms: Losses of the returned deltas, [N] each.
        seconds: Time that the optimisation took.
    """

    deltas: Tensor
    ws: Tensor
    roi: Tensor
    mask_before: Tensor
    mask_target: Tensor
    losses: Tensor
    terms: LossTerms
    seconds: float

    @property
    def edited_ws(self) -> Tensor:
        """The latents after the edit, [N, num_ws, w_dim]."""
        return self.ws + self.deltas

    @property
    def num_steps(self) -> int:
        """Updates that were made."""
        return len(self.losses) - 1


# ----------------------------------------------------------------------------------------------
# Apply


def apply_deltas(ws: Tensor, deltas: Tensor, scales: Tensor) -> Tensor:
    """Ws + sum_k scale_k delta_k.

    Args:
        ws: [N, num_ws, w_dim].
        deltas: [K, num_ws, w_dim].
        scales: [K], the same for every sample, or [N, K].

    Returns:
        [N, num_ws, w_dim]. A sweep over S scales is a batch of S.

    Raises:
        ShapeError: The shapes do not fit.
        NonFiniteError: A delta or a scale is NaN or infinite.

    Example:
        >>> ws, deltas = torch.zeros(2, 6, 4), torch.ones(1, 6, 4)
        >>> apply_deltas(ws, deltas, torch.tensor([[0.5], [2.0]]))[:, 0, 0].tolist()
        [0.5, 2.0]
    """
    check_ws(deltas, num_ws=ws.shape[1], w_dim=ws.shape[2], name="deltas")
    if tuple(scales.shape) not in {(len(deltas),), (len(ws), len(deltas))}:
        raise ShapeError(
            f"scales: expected [{len(deltas)}] or [{len(ws)}, {len(deltas)}], "
            f"got {list(scales.shape)}"
        )
    check_finite(deltas, name="deltas")
    check_finite(scales, name="scales")
    scales = scales.expand(len(ws), -1).to(ws.dtype)
    return ws + torch.einsum("nk,krd->nrd", scales, deltas.to(ws.dtype))


# ----------------------------------------------------------------------------------------------
# Learn, refine, optimize


@torch.inference_mode(False)
def learn(
    networks: Networks,
    ws: Tensor,
    mask_after: Tensor,
    *,
    roi_labels: Sequence[int],
    images: Tensor | None = None,
    mask_before: Tensor | None = None,
    settings: EditSettings | None = None,
    on_step: OnStep | None = None,
) -> EditResult:
    """Find the delta that makes G(ws + delta) show `mask_after` inside the ROI.

    The delta starts at 0. Outside the ROI the image is held to the reference; `mask_after` is
    read inside the ROI only.

    Args:
        networks: Frozen, with segmentation.
        ws: [N, num_ws, w_dim], embeddings of the images.
        mask_after: [N, H, W], the edited masks; where they are `IGNORED`, nothing is wanted.
        roi_labels: Labels that the edit may touch.
        images: [N, 3, H, W] in [-1, 1]; needed when `settings.reference` is "image".
        mask_before: [N, H, W]; None segments G(ws).
        settings: None is `EditSettings.for_mode("learn")`.
        on_step: Called with every iterate's losses.

    Raises:
        MaskError: The ROI of a sample is empty: neither mask has a label of `roi_labels`.
        ShapeError: A tensor does not fit the others.
        SettingsError: A weight has no network, or the reference no images.
        NonFiniteError: A loss is NaN or infinite.
    """
    settings = settings or EditSettings.for_mode("learn")
    edit = _prepare(networks, ws, mask_after, roi_labels, images, mask_before, settings)
    empty = (~edit.roi.flatten(1).any(dim=1)).nonzero()[:, 0].tolist()
    if empty:
        raise EngineMaskError(
            f"mask_after: expected a pixel of roi_labels {sorted(set(roi_labels))} before or "
            f"after the edit, found none in sample {empty[0]}"
        )
    untold = (~_is_told(edit)).nonzero()[:, 0].tolist()
    if untold:
        raise EngineMaskError(
            f"mask_after: every pixel of the region of roi_labels {sorted(set(roi_labels))} is "
            f"ignored in sample {untold[0]}, so nothing says what to change"
        )
    return _run(networks, edit, start=torch.zeros_like(edit.ws), settings=settings, on_step=on_step)


@torch.inference_mode(False)
def optimize(
    networks: Networks,
    ws: Tensor,
    mask_after: Tensor,
    *,
    roi_labels: Sequence[int],
    brush: Tensor | None = None,
    images: Tensor | None = None,
    mask_before: Tensor | None = None,
    settings: EditSettings | None = None,
    on_step: OnStep | None = None,
) -> EditResult:
    """Edit each image from scratch towards its own mask; see `learn` for the arguments.

    Unlike `learn`, a sample whose ROI is empty, or all ignored, is left as it is, so that one image
    of a folder without the part does not stop the others. Default settings compare with the image
    itself.
    A `brush`, bool [H, W], adds its pixels to the ROI of every image.
    """
    settings = settings or EditSettings.for_mode("optimize")
    edit = _prepare(networks, ws, mask_after, roi_labels, images, mask_before, settings, brush)
    result = _run(
        networks, edit, start=torch.zeros_like(edit.ws), settings=settings, on_step=on_step
    )
    touched = _is_told(edit)[:, None, None]
    return result._replace(deltas=torch.where(touched, result.deltas, 0.0))


@torch.inference_mode(False)
def refine(
    networks: Networks,
    ws: Tensor,
    edited_ws: Tensor,
    *,
    roi_labels: Sequence[int],
    brush: Tensor | None = None,
    images: Tensor | None = None,
    settings: EditSettings | None = None,
    on_step: OnStep | None = None,
) -> EditResult:
    """Repair what an applied delta changed outside the ROI, self-supervised.

    The start is `edited_ws` = ws + scale * delta, and the target mask is what the segmentation
    branch sees there, so the edit inside the ROI stays while the rest goes back to the reference.

    Args:
        networks: Frozen, with segmentation.
        ws: [N, num_ws, w_dim], before the edit.
        edited_ws: [N, num_ws, w_dim], after it.
        roi_labels: Labels that the edit may touch.
        brush: Painted pixels that it may touch too, bool [H, W].
        images: [N, 3, H, W] in [-1, 1]; needed when `settings.reference` is "image".
        settings: None is `EditSettings.for_mode("refine")`.
        on_step: Called with every iterate's losses.

    Raises:
        ShapeError: A tensor does not fit the others.
        SettingsError: A weight has no network, or the reference no images.
        NonFiniteError: A loss is NaN or infinite.
    """
    settings = settings or EditSettings.for_mode("refine")
    config = networks.synthesis.config
    check_ws(edited_ws, num_ws=config.num_ws, w_dim=config.w_dim, name="edited_ws")
    check_finite(edited_ws, name="edited_ws")
    if edited_ws.shape != ws.shape:
        raise ShapeError(f"edited_ws: expected {list(ws.shape)} as ws, got {list(edited_ws.shape)}")
    target = segment(networks, edited_ws)
    edit = _prepare(networks, ws, target, roi_labels, images, None, settings, brush)
    return _run(networks, edit, start=edited_ws - ws, settings=settings, on_step=on_step)


@torch.no_grad()
def segment(networks: Networks, ws: Tensor) -> Tensor:
    """Mask [N, H, W] of G(ws): the label with the highest logit."""
    features = networks.synthesis.with_features(ws).features
    seg_logits: Tensor = _segmentation(networks)(features)
    return seg_logits.argmax(dim=1)


class _CheckedEdit(NamedTuple):
    """The checked inputs of an edit."""

    ws: Tensor
    reference: Tensor
    roi: Tensor
    mask_before: Tensor
    mask_target: Tensor


def _prepare(
    networks: Networks,
    ws: Tensor,
    mask_target: Tensor,
    roi_labels: Sequence[int],
    images: Tensor | None,
    mask_before: Tensor | None,
    settings: EditSettings,
    brush: Tensor | None = None,
) -> _CheckedEdit:
    config = networks.synthesis.config
    size, num_labels = (config.resolution,) * 2, _segmentation(networks).config.num_labels
    check_ws(ws, num_ws=config.num_ws, w_dim=config.w_dim)
    check_finite(ws, name="ws")
    if mask_before is None:
        mask_before = segment(networks, ws)
    for name, mask in (("mask_before", mask_before), ("mask_after", mask_target)):
        check_mask(mask, size=size, num_labels=num_labels, name=name, may_ignore=True)
    if roi_labels or brush is None:
        _check_labels(roi_labels, num_labels)
    if settings.reference == "image":
        if images is None:
            raise EngineSettingsError(
                "reference: expected 'reconstruction' without images, got 'image'"
            )
        check_images(images, resolution=config.resolution)
        check_finite(images, name="images")
        reference = images
    else:
        with torch.no_grad():
            reference = networks.synthesis(ws)
    counts = {len(ws), len(mask_before), len(mask_target), len(reference)}
    if len(counts) != 1:
        raise ShapeError(
            f"ws, mask_before, mask_after, images: expected equal N, got {len(ws)}, "
            f"{len(mask_before)}, {len(mask_target)}, {len(reference)}"
        )
    dilation = settings.dilation
    if dilation is None:
        dilation = default_dilation(config.resolution)
    roi = roi_from_masks(mask_before, mask_target, roi_labels, dilation=dilation, brush=brush)
    return _CheckedEdit(ws.detach().clone(), reference, roi, mask_before, mask_target)


def _is_told(edit: _CheckedEdit) -> Tensor:
    """The samples whose target says something inside the ROI, bool [N]."""
    return (edit.roi[:, 0] & (edit.mask_target != IGNORED)).flatten(1).any(dim=1)


def _run(
    networks: Networks,
    edit: _CheckedEdit,
    *,
    start: Tensor,
    settings: EditSettings,
    on_step: OnStep | None,
) -> EditResult:
    """Minimise over the deltas."""
    started = time.perf_counter()
    row_mask: Tensor | None = None
    if settings.row_mask is not None:
        if len(settings.row_mask) != edit.ws.shape[1]:
            raise ShapeError(
                f"row_mask: expected {edit.ws.shape[1]} rows, got {len(settings.row_mask)}"
            )
        row_mask = torch.tensor(settings.row_mask, device=edit.ws.device)
    objective = Objective(
        networks,
        settings.weights,
        images=edit.reference,
        base_ws=edit.ws,
        roi=edit.roi,
        target_mask=edit.mask_target,
    )
    result = descend(
        objective,
        start,
        num_steps=settings.num_steps,
        learning_rate=constant_rate(settings.learning_rate),
        row_mask=row_mask,
        on_step=on_step,
    )
    return EditResult(
        deltas=result.best,
        ws=edit.ws,
        roi=edit.roi,
        mask_before=edit.mask_before,
        mask_target=edit.mask_target,
        losses=result.losses,
        terms=result.terms,
        seconds=time.perf_counter() - started,
    )


def _segmentation(networks: Networks) -> SegmentationBranch:
    if networks.segmentation is None:
        raise EngineSettingsError(
            "segmentation: the class has no segmentation branch to edit with; `editvec train "
            "segmentation` makes one"
        )
    return networks.segmentation


def _check_labels(roi_labels: Sequence[int], num_labels: int) -> None:
    if not roi_labels or not all(0 <= label < num_labels for label in roi_labels):
        raise EngineMaskError(
            f"roi_labels: expected label indices from 0 to {num_labels - 1}, got {list(roi_labels)}"
        )
