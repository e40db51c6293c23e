"""Regions of interest: the pixels that an edit may change."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from editvec.engine.errors import EngineSettingsError, ShapeError


def default_dilation(resolution: int) -> int:
    """Dilation in pixels that corresponds to 3 pixels at 512, at least 1.

    Example:
        >>> default_dilation(512), default_dilation(64)
        (3, 1)
    """
    return max(1, round(3 * resolution / 512))


def roi_from_masks(
    mask_before: Tensor,
    mask_after: Tensor,
    roi_labels: Sequence[int],
    *,
    dilation: int,
    brush: Tensor | None = None,
) -> Tensor:
    """The pixels whose label, before or after the edit, is one of `roi_labels`, dilated.

    Painted pixels belong to it too, whatever their labels are. An ignored pixel is no reason for a
    region; one that lies beside a region may be in its dilation.

    Args:
        mask_before: Labels before the edit, integers [N, H, W].
        mask_after: Labels after the edit, integers [N, H, W].
        roi_labels: Label indices that the edit may touch; none with a brush means its pixels only.
        dilation: Buffer in pixels, Chebyshev distance; 0 for none.
        brush: Painted pixels, the same for every image, bool [H, W].

    Returns:
        roi, bool [N, 1, H, W].

    Raises:
        ShapeError: The masks are no label masks, or differ in shape, or the brush does from them.
        SettingsError: There is neither a label nor a brush, or `dilation` is negative.
    """
    for name, mask in (("mask_before", mask_before), ("mask_after", mask_after)):
        if mask.ndim != 3 or mask.is_floating_point() or mask.dtype == torch.bool:
            raise ShapeError(
                f"{name}: expected integers [N, H, W], got {mask.dtype} {list(mask.shape)}"
            )
    if mask_before.shape != mask_after.shape:
        raise ShapeError(
            f"mask_after: expected {list(mask_before.shape)} as before, "
            f"got {list(mask_after.shape)}"
        )
    if not roi_labels and brush is None:
        raise EngineSettingsError("roi_labels: expected at least one label, got none")
    labels = torch.tensor(list(roi_labels), dtype=torch.long, device=mask_before.device)
    region = torch.isin(mask_before, labels) | torch.isin(mask_after, labels)
    if brush is not None:
        if brush.shape != mask_before.shape[1:] or brush.dtype != torch.bool:
            raise ShapeError(
                f"brush: expected bool {list(mask_before.shape[1:])}, "
                f"got {brush.dtype} {list(brush.shape)}"
            )
        region = region | brush
    return dilate(region[:, None], dilation)


def dilate(region: Tensor, dilation: int) -> Tensor:
    """Grow a region by `dilation` pixels in each direction, diagonals included.

    Args:
        region: bool [N, 1, H, W].
        dilation: Pixels, Chebyshev distance; 0 copies.

    Returns:
        bool [N, 1, H, W].

    Raises:
        ShapeError: `region` has another shape or dtype.
        SettingsError: `dilation` is negative.

    Example:
        >>> region = torch.zeros(1, 1, 5, 5, dtype=torch.bool)
        >>> region[0, 0, 2, 2] = True
        >>> int(dilate(region, 1).sum())
        9
    """
    check_region(region, name="region")
    if dilation < 0:
        raise EngineSettingsError(f"dilation: expected 0 or more pixels, got {dilation}")
    if dilation == 0:
        return region.clone()
    # A square is the product of a column and a row.
    width = 2 * dilation + 1
    grown = F.max_pool2d(region.float(), (width, 1), stride=1, padding=(dilation, 0))
    grown = F.max_pool2d(grown, (1, width), stride=1, padding=(0, dilation))
    return grown > 0


def erode(region: Tensor, erosion: int) -> Tensor:
    """Shrink a region by `erosion` pixels; the border of the image is no border of the region.

    Args:
        region: bool [N, 1, H, W].
        erosion: Pixels, Chebyshev distance; 0 copies.

    Returns:
        bool [N, 1, H, W].

    Raises:
        ShapeError: `region` has another shape or dtype.
        SettingsError: `erosion` is negative.
    """
    check_region(region, name="region")
    return ~dilate(~region, erosion)


def check_region(region: Tensor, *, size: Sequence[int] | None = None, name: str = "roi") -> None:
    """Check that a region is bool [N, 1, H, W], of `size` = (N, H, W) when one is given.

    Raises:
        ShapeError: It is not.
    """
    expected = ["N", 1, "H", "W"] if size is None else [size[0], 1, *size[1:]]
    shape = list(region.shape)
    fits = region.ndim == 4 and region.shape[1] == 1 and (size is None or shape == expected)
    if not fits or region.dtype != torch.bool:
        wanted = ", ".join(str(length) for length in expected)
        raise ShapeError(f"{name}: expected bool [{wanted}], got {region.dtype} {shape}")
