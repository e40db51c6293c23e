"""Parts that mask files do not tell apart: connected components go left or right, up or down."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from editvec.registry.errors import MaskError
from editvec.registry.labels.scheme import LabelScheme, Split
from editvec.registry.masks.png import MaskArray

BoolArray = npt.NDArray[np.bool_]

# a component smaller than this share of the largest one is a speck
SPECK = 0.1
_EIGHT = np.ones((3, 3), np.bool_)


def connected_components(inside: BoolArray) -> tuple[npt.NDArray[np.int32], int]:
    """Numbers the connected components of an area; pixels that touch at a corner are connected.

    Args:
        inside: bool [H, W].

    Returns:
        int32 [H, W], 0 outside and 1, 2... inside; and how many there are.
    """
    from scipy import ndimage

    numbers, count = ndimage.label(inside, structure=_EIGHT)
    return numbers.astype(np.int32), int(count)


def split_parts(mask: MaskArray, scheme: LabelScheme, *, of: str = "mask") -> MaskArray:
    """Divides what stands for a split into its two parts.

    Where there are several components, the widest gap between their centres divides them; specks
    go with the component that is nearest. One component goes to the side of the object on which
    its centre lies; the object is everything that is neither the first part nor ignored.

    Args:
        mask: indices of parts and `LabelScheme.index_of_split`, [H, W].
        scheme: with the splits.
        of: what messages call the mask.

    Returns:
        Indices of parts, int32 [H, W].

    Raises:
        MaskError: one component, and its centre is that of the object.
    """
    for place, split in enumerate(scheme.splits):
        inside = mask == scheme.index_of_split(place)
        if inside.any():
            ends = (scheme.label_names.index(split.first), scheme.label_names.index(split.second))
            is_second = _second_side(inside, mask > 0, split, of=of)
            mask = np.where(inside, np.where(is_second, ends[1], ends[0]), mask).astype(np.int32)
    return mask


def _second_side(inside: BoolArray, thing: BoolArray, split: Split, *, of: str) -> BoolArray:
    """Which of the pixels belong to the part on the right, or at the bottom."""
    numbers, count = connected_components(inside)
    areas = np.bincount(numbers.ravel(), minlength=count + 1)[1:]
    places = np.argwhere(inside)
    labels = numbers[inside] - 1
    centres = np.stack(
        [np.bincount(labels, weights=places[:, axis], minlength=count) / areas for axis in (0, 1)],
        axis=1,
    )
    is_second = np.zeros(count + 1, np.bool_)
    large = np.flatnonzero(areas >= SPECK * areas.max())
    along = centres[large, split.axis]
    if len(large) == 1:
        extent = np.flatnonzero(thing.any(axis=1 - split.axis))
        middle = (extent[0] + extent[-1]) / 2
        if along[0] == middle:
            first, second = split.first, split.second
            raise MaskError(
                f"{of}: {split.name} is one piece in the middle of the object, neither {first} "
                f"nor {second}"
            )
        border = middle
    else:
        ordered = np.sort(along)
        widest = int(np.argmax(np.diff(ordered)))
        border = (ordered[widest] + ordered[widest + 1]) / 2
    is_second[large + 1] = along > border
    for speck in set(range(count)) - set(large.tolist()):
        nearest = large[np.argmin(((centres[large] - centres[speck]) ** 2).sum(axis=1))]
        is_second[speck + 1] = is_second[nearest + 1]
    found: BoolArray = is_second[numbers]
    return found
