"""Takes directions out of a delta: conditional manipulation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]

SPAN_TOLERANCE = 2e-7
"""Of conditions of length 1, how far one must stand out of the span of the others to count.

Rounding to float32 moves a delta by about 3e-8 of its length, so two roundings of one direction are
one condition and not two; what a condition keeps when it is taken for a copy stays below 1e-6.
"""


class Projection(NamedTuple):
    """What is left of a delta, and what was taken.

    Attributes:
        remainder: orthogonal to every condition, float64, shaped as the delta.
        coefficients: how much of each condition was taken, float64 [k].
    """

    remainder: Float64Array
    coefficients: Float64Array


def project_out(delta: Float64Array, conditions: Float64Array) -> Projection:
    """Removes from a delta n all that lies in the span of the conditions B: n - x^T B.

    Solves (B B^T) x = B n, the conditional manipulation of InterFaceGAN (Shen, Gu, Tang and Zhou,
    "Interpreting the Latent Space of GANs for Semantic Face Editing", CVPR 2020, where one
    condition of length 1 gives n - (n^T b) b). B B^T is never formed: it squares the condition
    number, and is singular as soon as one condition is made of others. The singular values of B,
    its rows at length 1, give the smallest x instead, and the same remainder as any basis of the
    span. Conditions that are zero take nothing.

    Args:
        delta: n, float64, any shape.
        conditions: B, float64 [k, size of n].

    Example:
        >>> project_out(np.array([3.0, 4.0]), np.array([[0.0, 2.0], [0.0, 5.0]])).remainder
        array([3., 0.])
    """
    flat = delta.ravel()
    norms = np.linalg.norm(conditions, axis=1)
    lengths = np.where(norms > 0, norms, 1.0)
    units = conditions / lengths[:, None]
    left, values, right = np.linalg.svd(units, full_matrices=False)
    kept = values > SPAN_TOLERANCE
    left, values, right = left[:, kept], values[kept], right[kept]
    left[norms == 0] = 0.0  # exactly: rounding gives a zero condition a trace of a coefficient
    coefficients = np.zeros(len(conditions))
    remainder = flat
    for _ in range(2):  # the second pass removes what rounding left of the first
        coefficients = coefficients + left @ ((right @ remainder) / values)
        remainder = flat - coefficients @ units
    return Projection(remainder.reshape(delta.shape), coefficients / lengths)
