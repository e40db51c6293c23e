"""Signed distances to plane shapes.

They are negative inside, in the unit of the coordinates, and close to exact near the edge.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]

_TINY = np.float32(1e-6)


def ellipse(x: Field, y: Field, *, radius_x: Any, radius_y: Any) -> Field:
    """First-order distance to an ellipse around the origin."""
    u, v = x / radius_x, y / radius_y
    k0 = np.sqrt(u * u + v * v)
    u, v = u / radius_x, v / radius_y
    distance: Field = k0 * (k0 - 1.0) / (np.sqrt(u * u + v * v) + _TINY)
    return distance


def superellipse(x: Field, y: Field, *, radius_x: Any, radius_y: Any, exponent: float) -> Field:
    """First-order distance to |x/a|^n + |y/b|^n = 1; a larger exponent is closer to a box."""
    u = np.abs(x) / radius_x + _TINY
    v = np.abs(y) / radius_y + _TINY
    un, vn = u ** np.float32(exponent - 1.0), v ** np.float32(exponent - 1.0)
    total = un * u + vn * v
    k0 = total ** np.float32(1.0 / exponent)
    gradient = np.hypot(un / radius_x, vn / radius_y) * k0 / total
    distance: Field = (k0 - 1.0) / gradient
    return distance


def rounded_box(x: Field, y: Field, *, half_width: Any, half_height: Any, corner: Any) -> Field:
    """Distance to a box around the origin with rounded corners."""
    u = np.abs(x) - (half_width - corner)
    v = np.abs(y) - (half_height - corner)
    outside = np.hypot(np.maximum(u, 0.0), np.maximum(v, 0.0))
    distance: Field = outside + np.minimum(np.maximum(u, v), 0.0) - corner
    return distance


def below(y: Field, height: Field, slope: Field) -> Field:
    """First-order distance to what is under a curve (larger y), given the curve at each x."""
    distance: Field = (height - y) / np.sqrt(1.0 + slope * slope)
    return distance


def stroke(
    x: Field,
    y: Field,
    *,
    half_width: Any,
    rise: Any,
    bow: Any,
    round_bow: Any = 0.0,
    radius: Any,
    taper: float = 0.0,
) -> Field:
    """Distance to a rounded stroke along y = rise t + bow t^2 + round_bow t^4, |t| <= 1.

    Here t = x / half_width, and the radius shrinks by the part `taper` towards both ends.

    The nearest point is found by three clamped Newton steps; a point that has not converged gives
    a distance that is too large, never too small, so no stray stroke appears.
    """
    t = np.clip(x / half_width, -1.0, 1.0)
    for _ in range(3):
        t2 = t * t
        off_y = (rise + (bow + round_bow * t2) * t) * t - y
        slope = rise + (2.0 * bow + 4.0 * round_bow * t2) * t
        curve = 2.0 * bow + 12.0 * round_bow * t2
        step = (half_width * (half_width * t - x) + off_y * slope) / (
            half_width * half_width + slope * slope + np.maximum(off_y * curve, 0.0)
        )
        t = np.clip(t - step, -1.0, 1.0)
    off_y = (rise + (bow + round_bow * t * t) * t) * t - y
    distance: Field = np.hypot(half_width * t - x, off_y) - radius * (1.0 - taper * t * t)
    return distance


def smooth_union(first: Field, second: Field, *, blend: float) -> Field:
    """The union of two shapes with its notch filled over `blend`."""
    overlap = np.maximum(blend - np.abs(first - second), 0.0)
    distance: Field = np.minimum(first, second) - overlap * overlap * np.float32(0.25 / blend)
    return distance


def smooth_intersection(first: Field, second: Field, *, blend: float) -> Field:
    """What is in both shapes, with its corner rounded over `blend`."""
    distance: Field = -smooth_union(-first, -second, blend=blend)
    return distance
