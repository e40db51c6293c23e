"""Metrics of reconstructions, edits and masks. Images are [N, 3, H, W] in [-1, 1].

A perceptual value travels with the name of its network: `lpips/<trunk>` for the published ones,
`perceptual/<trunk>` for any other.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from editvec.engine.errors import EngineSettingsError, ShapeError
from editvec.engine.images.roi import check_region
from editvec.engine.networks.perceptual import PerceptualDistance
from editvec.engine.shapes import IGNORED, check_images, check_mask


class Leakage(NamedTuple):
    """Change outside the ROI, of each image.

    Attributes:
        psnr: In dB, higher is less; see `masked_psnr`. [N]
        perceptual: Distance of the images with the ROI blacked out, [N]; None without a network.
        perceptual_name: Which network; None without one.
    """

    psnr: Tensor
    perceptual: Tensor | None
    perceptual_name: str | None


class LabelScore(NamedTuple):
    """How well one label was found over a set of images.

    Attributes:
        label: Index of the label.
        name: Its name.
        iou: Intersection over union in [0, 1]; None where neither mask holds the label.
        target_pixels: Its pixels in the targets.
        mask_pixels: Its pixels in the masks.
    """

    label: int
    name: str
    iou: float | None
    target_pixels: int
    mask_pixels: int


# ---------------------------------------------------------------------------------------------
# Images.


def psnr(images: Tensor, reference: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each image, over all pixels and channels.

    Args:
        images: [N, 3, H, W] in [-1, 1].
        reference: [N, 3, H, W] in [-1, 1].

    Returns:
        [N] in dB, 0 for black against white; infinity for equal images.

    Raises:
        ShapeError: The tensors are no images or differ in shape.

    Example:
        >>> black = torch.full((1, 3, 4, 4), -1.0)
        >>> psnr(black, black + 0.2).round().tolist()
        [20.0]
    """
    check_images(images, name="images")
    region = torch.ones_like(images[:, :1], dtype=torch.bool)
    return masked_psnr(images, reference, region)


def masked_psnr(images: Tensor, reference: Tensor, region: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each image inside a region.

    Args:
        images: [N, 3, H, W] in [-1, 1].
        reference: [N, 3, H, W] in [-1, 1].
        region: The pixels that count, bool [N, 1, H, W]; values elsewhere do not matter.

    Returns:
        [N] in dB; infinity where all counted pixels are equal, NaN where none counts.

    Raises:
        ShapeError: The tensors do not fit each other.
    """
    check_images(images, name="images")
    check_images(reference, name="reference")
    if images.shape != reference.shape:
        raise ShapeError(f"reference: expected {list(images.shape)}, got {list(reference.shape)}")
    check_region(region, size=(len(images), *images.shape[2:]), name="region")
    # In [0, 1] the peak is 1, so that the ratio is -10 log10 of the mean squared error.
    squared = ((images.double() - reference.double()) / 2).square().mean(dim=1, keepdim=True)
    total = torch.where(region, squared, 0).sum(dim=(1, 2, 3))
    return (-10 * (total / region.sum(dim=(1, 2, 3))).log10()).to(images.dtype)


def leakage_psnr(images: Tensor, reconstructed: Tensor, roi: Tensor) -> Tensor:
    """PSNR [N] in dB outside the ROI against the reconstruction; see `masked_psnr`."""
    check_region(roi)
    return masked_psnr(images, reconstructed, ~roi)


def leakage(
    images: Tensor,
    reconstructed: Tensor,
    roi: Tensor,
    *,
    perceptual: PerceptualDistance | None = None,
) -> Leakage:
    """Change outside the ROI against G(ws), the reconstruction, not against the photograph.

    Args:
        images: Edited, before compositing, [N, 3, H, W] in [-1, 1].
        reconstructed: G(ws) without the edit, [N, 3, H, W] in [-1, 1].
        roi: Where the edit may change the image, bool [N, 1, H, W].
        perceptual: Network for the perceptual distance; None measures the PSNR alone.

    Returns:
        PSNR and perceptual distance outside the ROI, and the network's name.

    Raises:
        ShapeError: The tensors do not fit each other.
    """
    ratio = leakage_psnr(images, reconstructed, roi)
    if perceptual is None:
        return Leakage(ratio, None, None)
    outside = ~roi
    with torch.no_grad():
        distance: Tensor = perceptual(
            torch.where(outside, (images + 1) / 2, 0),
            torch.where(outside, (reconstructed + 1) / 2, 0),
        )
    return Leakage(ratio, distance, perceptual.name)


# ---------------------------------------------------------------------------------------------
# Masks.


def success(
    mask: Tensor,
    target: Tensor,
    roi: Tensor,
    *,
    roi_labels: Sequence[int],
) -> Tensor:
    """Intersection over union of the edited parts inside the ROI.

    The target must come from outside the result: the exact mask of changed parameters, a mask
    operation on the image's own mask, or the mask that a user painted. Against the result's own
    segmentation every edit succeeds.

    Pixels that either mask ignores count for nothing.

    Args:
        mask: Labels of the edited images, integers [N, H, W].
        target: Labels that were wanted, integers [N, H, W].
        roi: Where the edit may change the image, bool [N, 1, H, W].
        roi_labels: Label indices that the edit may touch.

    Returns:
        [N] in [0, 1]: the mean over those of `roi_labels` that occur inside the ROI in either
        mask; NaN where none occurs.

    Raises:
        ShapeError: The tensors do not fit each other.
        SettingsError: `roi_labels` is empty.
    """
    size = _check_masks(mask, target)
    check_region(roi, size=(len(mask), *size))
    if not roi_labels:
        raise EngineSettingsError("roi_labels: expected at least one label, got none")
    labels = torch.tensor(list(dict.fromkeys(roi_labels)), device=mask.device)[:, None, None, None]
    counted = roi[:, 0] & (mask != IGNORED) & (target != IGNORED)
    found = (mask == labels) & counted  # [L, N, H, W]
    wanted = (target == labels) & counted
    shared = (found & wanted).sum(dim=(2, 3)).double()
    either = (found | wanted).sum(dim=(2, 3))
    return (shared / either).nanmean(dim=0).float()  # 0 / 0 is NaN: a label that does not occur


def label_ious(mask: Tensor, target: Tensor, *, num_labels: int) -> Tensor:
    """Intersection over union of each label, pixels pooled over the set.

    Args:
        mask: Labels that were found, integers [N, H, W].
        target: Labels that are right, integers [N, H, W]; `IGNORED` pixels count for nothing.
        num_labels: Labels of the scheme.

    Returns:
        [K] in [0, 1]; NaN for a label that occurs in neither: it earns no credit.

    Raises:
        ShapeError: The masks differ in shape or hold labels outside the scheme.
    """
    counts = _confusion(mask, target, num_labels=num_labels)
    shared = counts.diagonal()
    either = counts.sum(dim=0) + counts.sum(dim=1) - shared
    return (shared.double() / either).float()


def image_label_ious(mask: Tensor, target: Tensor, *, num_labels: int) -> Tensor:
    """Intersection over union of each label in each image.

    Args:
        mask: Labels that were found, integers [N, H, W].
        target: Labels that are right, integers [N, H, W]; `IGNORED` pixels count for nothing.
        num_labels: Labels of the scheme.

    Returns:
        [N, K] in [0, 1]; NaN for a label that occurs in neither mask of the image.

    Raises:
        ShapeError: The masks differ in shape or hold labels outside the scheme.

    Example:
        >>> mask = torch.tensor([[[0, 0, 1, 1]], [[0, 0, 0, 0]]])
        >>> target = torch.tensor([[[0, 1, 1, 1]], [[0, 0, 0, 0]]])
        >>> image_label_ious(mask, target, num_labels=2)[:, 0]
        tensor([0.5000, 1.0000])
    """
    size = _check_masks(mask, target)
    check_mask(mask, size=size, num_labels=num_labels, name="mask")
    check_mask(target, size=size, num_labels=num_labels, name="target", may_ignore=True)
    found, wanted = mask.flatten(1), target.flatten(1)
    counted = wanted != IGNORED
    columns = []
    for label in range(num_labels):  # one at a time: of many parts, all would be too much memory
        is_found, is_wanted = (found == label) & counted, wanted == label
        shared = (is_found & is_wanted).sum(dim=1).double()
        columns.append(shared / (is_found | is_wanted).sum(dim=1))
    return torch.stack(columns, dim=1).float()


def mean_iou(mask: Tensor, target: Tensor, *, num_labels: int) -> float:
    """Mean of `label_ious` over the labels that occur, in [0, 1].

    Example:
        >>> mask = torch.tensor([[[0, 0, 1, 1]]])
        >>> round(mean_iou(mask, torch.tensor([[[0, 0, 0, 1]]]), num_labels=5), 3)  # 2/3, 1/2
        0.583
    """
    return float(label_ious(mask, target, num_labels=num_labels).nanmean())


def label_table(mask: Tensor, target: Tensor, *, names: Sequence[str]) -> list[LabelScore]:
    """The scores of each label of a scheme, in its order; see `label_ious`.

    Args:
        mask: Labels that were found, integers [N, H, W].
        target: Labels that are right, integers [N, H, W]; `IGNORED` pixels count for nothing.
        names: Names of the scheme's labels.

    Raises:
        ShapeError: The masks differ in shape or hold labels outside the scheme.
    """
    counts = _confusion(mask, target, num_labels=len(names))
    ious = label_ious(mask, target, num_labels=len(names)).tolist()
    found, wanted = counts.sum(dim=0).tolist(), counts.sum(dim=1).tolist()
    return [
        LabelScore(
            label=label,
            name=name,
            iou=ious[label] if found[label] + wanted[label] else None,
            target_pixels=wanted[label],
            mask_pixels=found[label],
        )
        for label, name in enumerate(names)
    ]


def _confusion(mask: Tensor, target: Tensor, *, num_labels: int) -> Tensor:
    """Pixels that count by target label (rows) and found label (columns): long [K, K]."""
    size = _check_masks(mask, target)
    check_mask(mask, size=size, num_labels=num_labels, name="mask")
    check_mask(target, size=size, num_labels=num_labels, name="target", may_ignore=True)
    counted = target != IGNORED
    pairs = target[counted].long() * num_labels + mask[counted].long()
    return pairs.bincount(minlength=num_labels**2).view(num_labels, num_labels)


def _check_masks(mask: Tensor, target: Tensor) -> tuple[int, int]:
    """Check that both are masks of one shape and return (H, W)."""
    for name, labels in (("mask", mask), ("target", target)):
        if labels.ndim != 3 or labels.is_floating_point() or labels.dtype == torch.bool:
            raise ShapeError(
                f"{name}: expected integers [N, H, W], got {labels.dtype} {list(labels.shape)}"
            )
    if mask.shape != target.shape:
        raise ShapeError(f"target: expected {list(mask.shape)}, got {list(target.shape)}")
    return mask.shape[1], mask.shape[2]
