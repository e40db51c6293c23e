"""The usable range of a vector, as runs keep to it: what is beyond is refused or forced."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Self

from editvec.batch.errors import RecipeError
from editvec.batch.recipes.scales import (
    AskedScale,
    Choice,
    Scale,
    Share,
    Uniform,
    UsableRange,
    scale_ends,
)

if TYPE_CHECKING:
    from editvec.registry.entities.vectors import EditingVector

_LOG = logging.getLogger(__name__)


class ScaleRange(NamedTuple):
    """The least and the largest usable scale; None where there is no such end."""

    low: float | None
    high: float | None

    @classmethod
    def of(cls, vector: EditingVector) -> Self:
        """That of a vector, as it was measured or given."""
        return cls(vector.scale_min, vector.scale_max)

    def holds(self, scale: float) -> bool:
        """Whether a scale is usable."""
        is_below = self.low is not None and scale < self.low
        return not (is_below or (self.high is not None and scale > self.high))


def pinned_scale(vector: EditingVector, scale: AskedScale) -> Scale:
    """What a scale means for this vector.

    Raises:
        RecipeError: its usable range is asked for, and was not measured.
    """
    if isinstance(scale, Share):
        return Choice((vector.default_scale, 0.0), (scale.share, 1.0 - scale.share))
    if not isinstance(scale, UsableRange):
        return scale
    if vector.scale_min is None or vector.scale_max is None:
        raise RecipeError(
            f"edit: the usable range of {vector.address} was not measured; give uniform(LOW,HIGH), "
            f"or measure it with `editvec evaluate {vector.address} --scales -2:2:9`"
        )
    return Uniform(vector.scale_min, vector.scale_max)


def forced_range(
    vector: EditingVector, scales: Sequence[Scale], *, force: bool
) -> ScaleRange | None:
    """The usable range, where scales beyond it are forced; None where all scales keep to it.

    Raises:
        RecipeError: a scale is beyond it and not forced.
    """
    usable, forced = ScaleRange.of(vector), None
    for scale in (end for one in scales for end in sorted(set(scale_ends(one)))):
        if usable.holds(scale):
            continue
        ends = f"from {usable.low} to {usable.high}"
        reason = f"edit: {vector.address} is usable {ends}, got {scale:g}"
        if not force:
            raise RecipeError(f"{reason} (--force-scale takes it anyway)")
        _LOG.warning("%s, taken by --force-scale", reason)
        forced = usable
    return forced
