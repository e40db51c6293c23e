"""Compositing: users keep their pixels outside the region of an edit."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.errors import SettingsError, ShapeError
from engine.roi import check_region, default_dilation, erode
from engine.shapes import check_images

CompositeMode = Literal["none", "feather"]


def composite(
    original: Tensor,
    edited: Tensor,
    roi: Tensor,
    *,
    mode: CompositeMode = "feather",
    feather: int | None = None,
) -> Tensor:
    """Put the edit into the user's images.

    Args:
        original: What the user gave, [N, 3, H, W] in [-1, 1].
        edited: The edited images of the generator, [N, 3, H, W].
        roi: Dilated region of the edit, bool [N, 1, H, W].
        mode: "feather" takes the edit inside `roi` with a soft edge; "none" is the edit as it is.
        feather: Width of the soft edge in pixels, measured inwards from the border of `roi`; None
            is the default dilation, so that the edge ends where the undilated region begins.

    Returns:
        Images [N, 3, H, W] in [-1, 1] (mode "none": `edited`). With "feather" every value outside
        `roi` is that of `original`, so that the same 8-bit pixels come out.

    Raises:
        ShapeError: The tensors do not fit each other.
        SettingsError: An unknown mode or a negative width.

    Example:
        >>> before, after = torch.full((1, 3, 8, 8), -1.0), torch.full((1, 3, 8, 8), 1.0)
        >>> roi = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
        >>> roi[..., :4] = True
        >>> composite(before, after, roi, feather=1)[0, 0, 0].tolist()
        [1.0, 1.0, 1.0, 0.0, -1.0, -1.0, -1.0, -1.0]
    """
    check_images(original, name="original")
    check_images(edited, name="edited")
    if original.shape != edited.shape:
        raise ShapeError(f"edited: expected {list(original.shape)}, got {list(edited.shape)}")
    check_region(roi, size=(len(original), *original.shape[2:]))
    if mode == "none":
        return edited
    if mode != "feather":
        raise SettingsError(f"mode: expected none or feather, got {mode!r}")
    alpha = feather_alpha(roi, feather).to(original.dtype)
    mixed = original.lerp(edited.clamp(-1, 1).to(original.dtype), alpha)
    # Chosen, not multiplied by 0: values outside the region stay, whatever the edit holds there.
    return torch.where(roi, mixed, original)


def transfer_change(
    original: Tensor,
    reconstructed: Tensor,
    edited: Tensor,
    roi: Tensor,
    *,
    feather: int | None = None,
    box: tuple[int, int, int, int] | None = None,
) -> Tensor:
    """Add the change of an edit to images of another size than the generator's.

    Args:
        original: What the user gave, [N, 3, H0, W0] in [-1, 1].
        reconstructed: What the generator makes of it, [N, 3, H, W].
        edited: The same after the edit, [N, 3, H, W].
        roi: Dilated region of the edit, bool [N, 1, H, W].
        feather: Width of the soft edge in pixels of `roi`; None is the default dilation.
        box: Rows and columns (top, left, bottom, right) of `original` that the generator saw;
            None is all of it.

    Returns:
        Images [N, 3, H0, W0] in [-1, 1]: inside the up-sampled region `original` plus the
        up-sampled change edited - reconstructed, outside exactly `original`.

    Raises:
        ShapeError: The tensors do not fit each other.
        SettingsError: A negative width, or a box that is not inside the image.
    """
    check_images(original, name="original")
    check_images(reconstructed, name="reconstructed")
    if edited.shape != reconstructed.shape:
        raise ShapeError(f"edited: expected {list(reconstructed.shape)}, got {list(edited.shape)}")
    if len(original) != len(reconstructed):
        raise ShapeError(f"original: expected {len(reconstructed)} images, got {len(original)}")
    check_region(roi, size=(len(reconstructed), *reconstructed.shape[2:]))
    height, width = original.shape[2:]
    top, left, bottom, right = box or (0, 0, height, width)
    if not (0 <= top < bottom <= height and 0 <= left < right <= width):
        raise SettingsError(f"box: expected to lie inside {height}x{width} pixels, got {box}")

    alpha = feather_alpha(roi, feather).to(original.dtype)
    change = edited.clamp(-1, 1) - reconstructed.clamp(-1, 1)
    change = torch.where(roi, change.to(original.dtype) * alpha, 0)
    size = (bottom - top, right - left)
    change = F.interpolate(change, size=size, mode="bilinear", align_corners=False, antialias=True)
    inside = F.interpolate(roi.to(original.dtype), size=size, mode="nearest-exact") > 0

    seen = original[:, :, top:bottom, left:right]
    result = original.clone()
    result[:, :, top:bottom, left:right] = torch.where(inside, (seen + change).clamp(-1, 1), seen)
    return result


def feather_alpha(roi: Tensor, feather: int | None = None) -> Tensor:
    """Share of the edit in each pixel.

    Args:
        roi: bool [N, 1, H, W].
        feather: Width of the soft edge in pixels; None is the default dilation of the size, 0 a
            hard edge.

    Returns:
        float32 [N, 1, H, W] in [0, 1]: 0 outside `roi`, d / (feather + 1) at a Chebyshev distance
        of d pixels from the outside, 1 from feather + 1 pixels on.

    Raises:
        ShapeError: `roi` has another shape or dtype.
        SettingsError: `feather` is negative.
    """
    check_region(roi)
    if feather is None:
        feather = default_dilation(roi.shape[3])
    if feather < 0:
        raise SettingsError(f"feather: expected 0 or more pixels, got {feather}")
    total = roi.float()
    shrunk = roi
    for _ in range(feather):
        shrunk = erode(shrunk, 1)
        total = total + shrunk
    return total / (feather + 1)
