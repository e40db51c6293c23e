"""Compositing: users keep their pixels outside the region of an edit."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from editvec.engine.errors import EngineSettingsError, ShapeError
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
        raise EngineSettingsError(f"mode: expected none, feather or gradient, got {mode!r}")
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
        raise EngineSettingsError(f"feather: expected 0 or more pixels, got {feather}")
    total = roi.float()
    shrunk = roi
    for _ in range(feather):
        shrunk = erode(shrunk, 1)
        total = total + shrunk
    return total / (feather + 1)


# --- blending: the edit's own gradients, the user's own pixels around them ---

_NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1))


def gradient_blend(original: Tensor, edited: Tensor, roi: Tensor) -> Tensor:
    """Put the edit's gradients into the user's images, so that no seam shows at the border.

    Inside the region the result f has the gradients of the edit g and continues the original at
    the border (Perez et al. 2003, "Poisson Image Editing"). It is solved for what is missing,
    f = g + h: h is harmonic inside, and original - g around. Only the region's own pixels are
    unknowns, and the three channels share one factorisation.

    Args:
        original: What the user gave, [N, 3, H, W] in [-1, 1].
        edited: The edited images, [N, 3, H, W]; finite also around the region.
        roi: Where the edit goes, bool [N, 1, H, W].

    Returns:
        Images [N, 3, H, W] in [-1, 1]; outside `roi` exactly `original`. A region that is the
        whole image has nothing around it to continue, and is the edit as it is.

    Example:
        >>> original = torch.zeros(1, 3, 8, 8)
        >>> roi = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
        >>> roi[..., 2:6, 2:6] = True
        >>> brighter = original + 0.25  # no gradient of its own: nothing to put in
        >>> bool(gradient_blend(original, brighter, roi).abs().max() < 1e-6)
        True
    """
    edited = edited.clamp(-1, 1).to(original.dtype)
    missing = (original - edited).permute(0, 2, 3, 1).double().cpu().numpy()
    regions = roi[:, 0].cpu().numpy()
    corrections = np.stack(
        [_harmonic(known, region) for known, region in zip(missing, regions, strict=True)]
    )
    correction = torch.from_numpy(corrections).permute(0, 3, 1, 2).to(original)
    return torch.where(roi, (edited + correction).clamp(-1, 1), original)


def _harmonic(
    known: npt.NDArray[np.float64], region: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Continues values from around a region into it, as smoothly as can be.

    Args:
        known: values, [H, W, C]; those outside the region are used.
        region: [H, W].

    Returns:
        [H, W, C]: inside, the mean of the four neighbours everywhere (those beyond the edge of
        the image do not count); outside, 0.
    """
    filled = np.zeros_like(known)
    if not region.any() or region.all():
        return filled
    laplacian, sums = _equations(known, region)
    filled[region] = _solve(laplacian, sums)
    return filled


def _equations(
    known: npt.NDArray[np.float64], region: npt.NDArray[np.bool_]
) -> tuple[Any, npt.NDArray[np.float64]]:
    """Laplace's equation on the region's pixels: its matrix, and what the border contributes."""
    from scipy.sparse import csc_array

    rows, columns = np.nonzero(region)
    count = len(rows)
    unknown = np.full(region.shape, -1, np.int32)
    unknown[rows, columns] = np.arange(count, dtype=np.int32)
    degree = np.zeros(count)
    sums = np.zeros((count, known.shape[2]))
    pairs = []
    for down, right in _NEIGHBOURS:
        there_rows, there_columns = rows + down, columns + right
        exists = (
            (there_rows >= 0)
            & (there_rows < region.shape[0])
            & (there_columns >= 0)
            & (there_columns < region.shape[1])
        )
        degree += exists
        here = np.nonzero(exists)[0].astype(np.int32)
        neighbour = unknown[there_rows[here], there_columns[here]]
        inside = neighbour >= 0
        pairs.append((here[inside], neighbour[inside]))
        border = here[~inside]
        sums[border] += known[there_rows[border], there_columns[border]]
    diagonal = np.arange(count, dtype=np.int32)
    heres = np.concatenate([diagonal, *(here for here, _ in pairs)])
    theres = np.concatenate([diagonal, *(there for _, there in pairs)])
    values = np.concatenate([degree, -np.ones(len(heres) - count)])
    return csc_array((values, (heres, theres)), shape=(count, count)), sums


def _solve(laplacian: Any, sums: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """One factorisation for all channels; the ordering is for a symmetric matrix."""
    from scipy.sparse.linalg import splu

    factors = splu(
        laplacian,
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    solved: npt.NDArray[np.float64] = factors.solve(sums)
    return solved
