"""Which parts an edited mask repaints: the cheapest explanation of every changed pixel."""

from itertools import chain, combinations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from editvec.avatars.drawing.render import LABELS
from editvec.avatars.starter import STARTERS, SURPRISE, Starter
from editvec.batch.learning.repainted import repainted_labels

SMALL_MASKS = arrays(np.int32, (4, 5), elements=st.integers(0, 4))


def _reference_cover(before: npt.NDArray[np.int32], after: npt.NDArray[np.int32]) -> int:
    """Area of the best explanation, by trying every set of labels."""
    changed = before != after
    return min(
        _area(before, after, labels)
        for labels in chain.from_iterable(combinations(range(5), size) for size in range(6))
        if not np.any(changed & ~np.isin(before, labels) & ~np.isin(after, labels))
    )


def _area(
    before: npt.NDArray[np.int32], after: npt.NDArray[np.int32], labels: tuple[int, ...]
) -> int:
    return sum(int(np.count_nonzero((before == label) | (after == label))) for label in labels)


@given(SMALL_MASKS, SMALL_MASKS)
def test_explains_every_changed_pixel_with_the_smallest_parts(
    before: npt.NDArray[np.int32], after: npt.NDArray[np.int32]
) -> None:
    labels = tuple(repainted_labels(before, after))

    changed = before != after
    assert not np.any(changed & ~np.isin(before, labels) & ~np.isin(after, labels))
    assert _area(before, after, labels) == _reference_cover(before, after)


def test_equal_masks_repaint_nothing() -> None:
    mask = np.arange(12).reshape(3, 4)

    assert repainted_labels(mask, mask) == []


@pytest.mark.parametrize("starter", [*STARTERS, SURPRISE], ids=lambda starter: starter.name)
def test_finds_the_parts_that_an_artist_would_name(starter: Starter) -> None:
    pair = starter.mask_pair(64)

    found = repainted_labels(pair.mask_before, pair.mask_after)

    # a part that the artist lists in case it shows need not have changed on this face
    assert found
    assert {LABELS[label] for label in found} <= set(starter.roi_labels)
