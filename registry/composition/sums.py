"""Weighted sums of deltas: pure functions of arrays, exact in any order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from editvec.registry.entities.vectors import FloatArray
from editvec.registry.errors import CompositionError

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class WeightedDelta:
    """One summand: scale times the rows of a delta that the mask keeps.

    Attributes:
        delta: [num_ws, w_dim].
        scale: finite.
        row_mask: [num_ws]; None keeps all rows.
    """

    delta: FloatArray
    scale: float
    row_mask: tuple[bool, ...] | None = None


def weighted_sum(terms: Sequence[WeightedDelta]) -> FloatArray:
    """Sum of scale * mask * delta, float32 [num_ws, w_dim]; zeros of it are never negative.

    Raises:
        CompositionError: no term, different shapes, or a scale that is not finite or too large.

    Example:
        >>> import numpy as np
        >>> one = np.ones((2, 3), np.float32)
        >>> weighted_sum([WeightedDelta(one, 0.5), WeightedDelta(one, -0.5)]).any()
        np.False_
    """
    return to_float32(exact_sum(terms))


def exact_sum(terms: Sequence[WeightedDelta]) -> Float64Array:
    """The sum before it is rounded to float32: `math.fsum` is exact in any order, and rounds once.

    Raises:
        CompositionError: as `weighted_sum` does.
    """
    if not terms:
        raise CompositionError("composition: expected one term at least")
    shapes = {term.delta.shape for term in terms}
    if len(shapes) > 1:
        raise CompositionError(f"composition: the deltas have different shapes: {sorted(shapes)}")
    contributions = np.stack([contribution(term) for term in terms])
    flat = contributions.reshape(len(terms), -1)
    total = np.array([math.fsum(column) for column in flat.T.tolist()])
    return total.reshape(terms[0].delta.shape)


def to_float32(total: Float64Array) -> FloatArray:
    """Rounds a sum to float32.

    Raises:
        CompositionError: a value that float32 cannot hold.
    """
    if np.abs(total).max() > np.finfo(np.float32).max:
        raise CompositionError("composition: the sum is too large for float32")
    with np.errstate(under="ignore"):
        rounded: FloatArray = total.astype(np.float32)
    return rounded + np.float32(0)  # what vanished in rounding keeps no sign


def contribution(term: WeightedDelta) -> Float64Array:
    """What one term adds, float64 [num_ws, w_dim].

    Raises:
        CompositionError: a scale that is not finite or too large, or a row mask of another length.
    """
    if not math.isfinite(term.scale):
        raise CompositionError(f"composition: expected a finite scale, got {term.scale}")
    with np.errstate(over="ignore", under="ignore"):
        scaled: Float64Array = term.delta.astype(np.float64) * term.scale
    if not np.isfinite(scaled).all():
        raise CompositionError(f"composition: scale {term.scale:g} is too large for its delta")
    if term.row_mask is not None:
        if len(term.row_mask) != term.delta.shape[0]:
            raise CompositionError(
                f"composition: expected a row mask of {term.delta.shape[0]} rows, got "
                f"{len(term.row_mask)}"
            )
        scaled[~np.array(term.row_mask)] = 0.0
    return scaled
