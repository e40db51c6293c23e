"""Which parts an edited mask repaints."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from editvec.batch.errors import SettingsError
from editvec.registry.labels.label import IGNORED

MAX_LABELS = 256
MAX_STEPS = 20_000
"""Sets of parts that are looked at; edits that people make need a few."""

LabelArray = npt.NDArray[np.integer[Any]]


def repainted_labels(mask_before: LabelArray, mask_after: LabelArray) -> list[int]:
    """The labels that an edit is about: the smallest set that explains every changed pixel.

    A pixel that goes from skin to mouth is explained by either of them, and an ROI of the mouth
    leaves more of the image alone than one of the skin. So of all sets of labels that hold, at
    every changed pixel, the label before or the label after, the one is taken whose labels cover
    the fewest pixels.

    Args:
        mask_before: Labels, [H, W].
        mask_after: Labels, [H, W]; where either is `IGNORED`, nothing was changed.

    Returns:
        Labels in ascending order; none if the masks are equal.

    Raises:
        SettingsError: The edit exchanges so many parts that the smallest set is not found in a
            time that anybody would wait.

    Example:
        >>> import numpy as np
        >>> before = np.zeros((4, 4), int); after = before.copy(); after[1, 1:3] = 7
        >>> repainted_labels(before, after)
        [7]
    """
    changed = changed_pixels(mask_before, mask_after)
    pairs = np.stack([mask_before[changed], mask_after[changed]], axis=1)
    edges = [(int(one), int(other)) for one, other in np.unique(np.sort(pairs, axis=1), axis=0)]
    labels = {label for edge in edges for label in edge}
    if len(labels) > MAX_LABELS:
        raise _too_many(len(labels))
    areas = {
        label: int(np.count_nonzero((mask_before == label) | (mask_after == label)))
        for label in labels
    }
    return _SmallestCover(edges, areas).labels()


def changed_pixels(mask_before: LabelArray, mask_after: LabelArray) -> npt.NDArray[np.bool_]:
    """Where two masks say different parts, bool [H, W]; an ignored pixel says none."""
    is_told = (mask_before != IGNORED) & (mask_after != IGNORED)
    changed: npt.NDArray[np.bool_] = is_told & (mask_before != mask_after)
    return changed


def _too_many(count: int) -> SettingsError:
    return SettingsError(
        f"mask: the edit repaints {count} parts in so many combinations that what it is about "
        "cannot be told; name the parts with --roi"
    )


class _SmallestCover:
    """The vertex cover of least area; of several the one that comes first, label by label.

    A part is in the cover, or all that it is exchanged with are. What remains falls apart into
    components, which are solved alone, each once. Sets of parts are bits of an integer.
    """

    def __init__(self, edges: Sequence[tuple[int, int]], areas: Mapping[int, int]) -> None:
        self._names = sorted(areas)
        count = len(self._names)
        places = {label: place for place, label in enumerate(self._names)}
        # the lower bits prefer, of equal areas, the cover that has the lowest label
        self._costs = [
            (areas[label] << count) - (1 << count - 1 - place) for label, place in places.items()
        ]
        self._neighbours = [0] * count
        for one, other in edges:
            self._neighbours[places[one]] |= 1 << places[other]
            self._neighbours[places[other]] |= 1 << places[one]
        self._solved: dict[int, int] = {}

    def labels(self) -> list[int]:
        """The labels of the cover, ascending."""
        cover = self._cover((1 << len(self._names)) - 1)
        return [self._names[place] for place in _bits(cover)]

    def _cover(self, rest: int) -> int:
        """The cheapest cover of the edges within a set of parts."""
        cover = 0
        while rest:
            component = self._component(rest & -rest, rest)
            rest &= ~component
            if component & component - 1:  # a part alone has nothing to cover
                cover |= self._of_component(component)
        return cover

    def _of_component(self, component: int) -> int:
        if component not in self._solved:
            if len(self._solved) >= MAX_STEPS:
                raise _too_many(len(self._names))
            around = {place: self._neighbours[place] & component for place in _bits(component)}
            self._solved[component] = self._branch(component, around)
        return self._solved[component]

    def _branch(self, component: int, around: Mapping[int, int]) -> int:
        for place, neighbours in around.items():
            if self._cost(neighbours) <= self._costs[place]:
                # whatever has this part is no worse with its neighbours in its place
                return neighbours | self._cover(component & ~neighbours & ~(1 << place))
        place = max(around, key=lambda place: around[place].bit_count())
        without = around[place] | self._cover(component & ~around[place] & ~(1 << place))
        including = 1 << place | self._cover(component & ~(1 << place))
        return min(without, including, key=self._cost)

    def _component(self, start: int, within: int) -> int:
        """All that is connected with a part."""
        found, added = start, start
        while added:
            reached = 0
            for place in _bits(added):
                reached |= self._neighbours[place]
            added = reached & within & ~found
            found |= added
        return found

    def _cost(self, places: int) -> int:
        return sum(self._costs[place] for place in _bits(places))


def _bits(places: int) -> Iterator[int]:
    while places:
        yield (places & -places).bit_length() - 1
        places &= places - 1
