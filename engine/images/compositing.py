"""Compositing: users keep their pixels outside the region of an edit."""

from typing import Literal

import torch
from torch import Tensor

from editvec.engine.errors import SettingsError, ShapeError
from editvec.engine.images.blending import gradient_blend
from editvec.engine.images.roi import check_region, default_dilation, erode
from editvec.engine.shapes import check_images

CompositeMode = Literal["none", "feather", "gradient"]


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
        mode: "feather" takes the edit inside `roi` with a soft edge; "gradient" takes its gradients
            and continues the original's colours into them; "none" is the edit as it is.
        feather: Width of the soft edge in pixels, measured inwards from the border of `roi`; None
            is the default dilation, so that the edge ends where the undilated region begins.

    Returns:
        Images [N, 3, H, W] in [-1, 1] (mode "none": `edited`). Otherwise every value outside
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
    if mode == "gradient":
        return gradient_blend(original, edited, roi)
    if mode != "feather":
        raise SettingsError(f"mode: expected none, feather or gradient, got {mode!r}")
    alpha = feather_alpha(roi, feather).to(original.dtype)
    mixed = original.lerp(edited.clamp(-1, 1).to(original.dtype), alpha)
    # Chosen, not multiplied by 0: values outside the region stay, whatever the edit holds there.
    return torch.where(roi, mixed, original)


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
