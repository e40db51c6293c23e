"""Which parts an edited mask repaints."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

LabelArray = npt.NDArray[np.integer[Any]]


def repainted_labels(mask_before: LabelArray, mask_after: LabelArray) -> list[int]:
    """The labels that an edit is about: the smallest set that explains every changed pixel.

    A pixel that goes from skin to mouth is explained by either of them, and an ROI of the mouth
    leaves more of the image alone than one of the skin. So of all sets of labels that hold, at
    every changed pixel, the label before or the label after, the one is taken whose labels cover
    the fewest pixels.

    Args:
        mask_before: Labels, [H, W].
        mask_after: Labels, [H, W].

    Returns:
        Labels in ascending order; none if the masks are equal.

    Example:
        >>> import numpy as np
        >>> before = np.zeros((4, 4), int); after = before.copy(); after[1, 1:3] = 7
        >>> repainted_labels(before, after)
        [7]
    """
    changed = mask_before != mask_after
    pairs = np.stack([mask_before[changed], mask_after[changed]], axis=1)
    edges = [(int(one), int(other)) for one, other in np.unique(np.sort(pairs, axis=1), axis=0)]
    labels = {label for edge in edges for label in edge}
    areas = {
        label: int(np.count_nonzero((mask_before == label) | (mask_after == label)))
        for label in labels
    }
    return sorted(_smallest_cover(edges, areas))


def _smallest_cover(edges: Sequence[tuple[int, int]], areas: Mapping[int, int]) -> frozenset[int]:
    """The vertex cover of least area, by branching on an open edge and cutting what is worse."""
    best, best_area = frozenset(areas), sum(areas.values())
    open_covers: list[frozenset[int]] = [frozenset()]
    while open_covers:
        cover = open_covers.pop()
        area = sum(areas[label] for label in cover)
        # an empty cover is complete where there are no edges, and no worse than the empty start
        if area > best_area:
            continue
        open_edge = next((edge for edge in edges if not cover.intersection(edge)), None)
        if open_edge is None:
            if area < best_area or sorted(cover) < sorted(best):
                best, best_area = cover, area
        else:
            larger_first = sorted(open_edge, key=lambda label: -areas[label])
            open_covers.extend(cover | {label} for label in larger_first)
    return best
