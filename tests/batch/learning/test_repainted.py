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
from editvec.batch.errors import SettingsError
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


def _exchanged(edges: list[tuple[int, int]], *, size: int) -> tuple[npt.NDArray[np.int32], ...]:
    """Masks in which each edge is one changed pixel, and every other pixel is label 0 in both."""
    masks = np.zeros((2, size), np.int32)
    masks[:, : len(edges)] = np.array(edges).T
    return masks[0].reshape(1, -1), masks[1].reshape(1, -1)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=14))
def test_of_equally_small_sets_the_one_with_the_lowest_labels_is_taken(
    edges: list[tuple[int, int]],
) -> None:
    before, after = _exchanged(edges, size=20) if edges else _exchanged([(0, 0)], size=20)

    shown = np.unique([before, after]).tolist()
    covers = [
        labels
        for size in range(len(shown) + 1)
        for labels in combinations(shown, size)
        if not np.any((before != after) & ~np.isin(before, labels) & ~np.isin(after, labels))
    ]
    best = min(covers, key=lambda labels: (_area(before, after, labels), labels))
    assert repainted_labels(before, after) == list(best)


@pytest.mark.parametrize("labels", [24, 60, 256])
def test_masks_in_which_every_part_is_exchanged_with_every_other_are_told_at_once(
    labels: int,
) -> None:
    before, after = (mask.reshape(labels, labels) for mask in np.indices((labels, labels)))

    # of any two parts one has to be there, all are equally large, and low labels come first
    assert repainted_labels(before, after) == list(range(labels - 1))


@pytest.mark.parametrize("labels", [40, 200])
@pytest.mark.parametrize("closed", [False, True])
def test_chains_and_rings_of_exchanged_parts_are_told_at_once(labels: int, closed: bool) -> None:
    edges = [(place, place + 1) for place in range(1, labels)] + [(1, labels)] * closed
    before, after = _exchanged(edges, size=2 * labels)

    found = repainted_labels(before, after)

    changed = before != after
    assert not np.any(changed & ~np.isin(before, found) & ~np.isin(after, found))
    assert len(found) == labels // 2  # an even ring or chain needs half of its parts


def test_an_edit_that_exchanges_too_much_asks_for_the_parts() -> None:
    rng = np.random.default_rng(0)
    edges = [(int(a), int(b)) for a, b in rng.integers(0, 256, (2000, 2)) if a != b]

    with pytest.raises(SettingsError, match=r"repaints \d+ parts .* --roi"):
        repainted_labels(*_exchanged(edges, size=4000))


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
