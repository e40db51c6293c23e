"""The parameters of an avatar: their names, ranges and prior."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
AnyFloatArray = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Parameter:
    """One continuous control of the picture.

    Attributes:
        name: What code calls it.
        low: Smallest value.
        high: Largest value, above `low`.
        description: What moves when it changes, and what the ends mean.
    """

    name: str
    low: float
    high: float
    description: str

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"{self.name}: low {self.low} must be below high {self.high}")


PARAMETERS: tuple[Parameter, ...] = (
    Parameter("head_x", -0.08, 0.08, "head centre, left to right, in half pictures"),
    Parameter("head_y", -0.05, 0.05, "head centre, up to down, in half pictures"),
    Parameter("head_size", 0.88, 1.04, "scale of the head and all that is on it"),
    Parameter("head_width", 0.56, 0.65, "half width of the face"),
    Parameter("jaw", -1.0, 1.0, "-1 pointed chin, 1 broad jaw"),
    Parameter("tilt", -0.16, 0.16, "in-plane rotation in radians, positive is clockwise"),
    Parameter("skin_tone", 0.0, 1.0, "0 deep brown, 1 fair"),
    Parameter("skin_hue", 0.0, 1.0, "0 golden, 1 rosy"),
    Parameter("hair_tone", 0.0, 1.0, "0 soft black, 1 blond"),
    Parameter("hair_warmth", 0.0, 1.0, "0 ash, 1 red"),
    Parameter("hair_length", 0.0, 1.0, "0 above the ears, 1 down to the shoulders"),
    Parameter("fringe", 0.0, 1.0, "0 bare forehead, 1 hair down to the brows"),
    Parameter("hair_volume", 0.0, 1.0, "thickness of the hair around the head"),
    Parameter("hair_part", -1.0, 1.0, "where the hair parts, left to right"),
    Parameter("background_hue", 0.0, 1.0, "teal, sky, lavender, pink, peach, butter"),
    Parameter("background_lightness", 0.0, 1.0, "0 deep, 1 pale"),
    Parameter("clothes_hue", 0.0, 1.0, "navy, teal, green, mustard, coral, plum"),
    Parameter("clothes_lightness", 0.0, 1.0, "0 deep, 1 pale"),
    Parameter("smile", -1.0, 1.0, "curve of the mouth: -1 frown, 0 straight, 1 smile"),
    Parameter("mouth_opening", 0.0, 1.0, "0 closed, 1 wide open"),
    Parameter("mouth_width", 0.22, 0.34, "half width of the mouth"),
    Parameter("eye_opening", 0.0, 1.0, "0 closed, 1 wide open"),
    Parameter("gaze_x", -1.0, 1.0, "-1 to the left of the picture, 1 to the right"),
    Parameter("gaze_y", -1.0, 1.0, "-1 up, 1 down"),
    Parameter("iris_hue", 0.0, 1.0, "brown, hazel, green, teal, blue"),
    Parameter("eye_size", 0.175, 0.215, "half width of an eye"),
    Parameter("eye_spacing", 0.245, 0.3, "from the middle of the face to an eye's centre"),
    Parameter("brow_height", -1.0, 1.0, "-1 low over the eyes, 1 raised"),
    Parameter("brow_angle", -1.0, 1.0, "-1 inner ends down (stern), 1 inner ends up (worried)"),
    Parameter("nose_size", 0.05, 0.095, "half width of the nose"),
    Parameter("ear_size", 0.1, 0.17, "half height of an ear"),
    Parameter("blush", 0.0, 1.0, "colour of the cheeks, 0 none"),
)
PARAMETER_NAMES: tuple[str, ...] = tuple(parameter.name for parameter in PARAMETERS)

# How the prior ties a parameter to ones before it: name -> {earlier name: weight}. Rows are
# completed to unit norm, so the weight is the correlation where the earlier one has no ties itself.
CORRELATIONS: Mapping[str, Mapping[str, float]] = {
    "head_width": {"head_size": 0.3},
    "tilt": {"head_x": 0.4},
    "hair_tone": {"skin_tone": 0.5},
    "hair_warmth": {"skin_hue": 0.2},
    "fringe": {"hair_length": 0.4},
    "hair_volume": {"hair_length": 0.3},
    "clothes_lightness": {"background_lightness": -0.3},
    "mouth_opening": {"smile": 0.5},
    "mouth_width": {"smile": 0.3},
    "gaze_x": {"tilt": 0.25},
    "iris_hue": {"skin_tone": 0.3, "hair_tone": 0.3},
    "eye_size": {"eye_opening": 0.25},
    "eye_spacing": {"head_width": 0.35, "eye_size": 0.25},
    "brow_height": {"smile": 0.35, "eye_opening": 0.25},
    "ear_size": {"head_size": 0.4},
    "nose_size": {"head_size": 0.2},
    "blush": {"smile": 0.3, "skin_tone": 0.2},
}


def index(name: str) -> int:
    """The column of a parameter.

    Raises:
        ValueError: If no parameter has that name.
    """
    try:
        return PARAMETER_NAMES.index(name)
    except ValueError as exc:
        raise ValueError(f"unknown parameter {name!r}") from exc


def mixing_matrix() -> FloatArray:
    """The lower-triangular mix of `from_normal`, [P, P].

    Rows have unit norm, so that a mix of independent standard normals has standard normal entries;
    the correlation of entries i and j is the inner product of rows i and j.
    """
    matrix = np.eye(len(PARAMETERS))
    for name, weights in CORRELATIONS.items():
        row = index(name)
        for earlier, weight in weights.items():
            matrix[row, index(earlier)] = weight
        matrix[row, row] = math.sqrt(1.0 - sum(weight**2 for weight in weights.values()))
    return matrix


def from_normal(u: AnyFloatArray) -> FloatArray:
    """Turn standard-normal numbers into parameter values.

    The numbers are mixed by `mixing_matrix`, sent through the normal distribution function (exact
    to double precision) and stretched to the ranges. The map is smooth, and every parameter
    increases with its own number.

    Args:
        u: Independent standard-normal numbers, [N, P].

    Returns:
        Parameter values, each uniform over its range, [N, P].

    Raises:
        ValueError: If `u` is not [N, P].
    """
    mixed = _checked(u, "u") @ mixing_matrix().T
    # 2 cdf(x) - 1 = erf(x / sqrt(2)) is already the scale of `from_unit`
    erf = np.frompyfunc(math.erf, 1, 1)
    values = from_unit(np.asarray(erf(mixed / math.sqrt(2.0)), np.float64))
    return np.clip(values, *_bounds())  # far tails may round past an end


def sample(count: int, *, seed: int) -> FloatArray:
    """Draw parameter values from the prior, [count, P]; the same seed draws the same values."""
    return from_normal(np.random.default_rng(seed).standard_normal((count, len(PARAMETERS))))


def to_unit(params: AnyFloatArray) -> FloatArray:
    """Scale parameter values from their ranges to [-1, 1], [N, P] to [N, P]."""
    low, high = _bounds()
    scaled: FloatArray = (2.0 * _checked(params, "params") - (low + high)) / (high - low)
    return scaled


def from_unit(unit: AnyFloatArray) -> FloatArray:
    """The inverse of `to_unit`, [N, P] to [N, P]."""
    low, high = _bounds()
    values: FloatArray = 0.5 * (low + high) + 0.5 * (high - low) * _checked(unit, "unit")
    return values


def with_values(params: AnyFloatArray, **values: float) -> FloatArray:
    """Copy parameter values with some of them set.

    Args:
        params: Parameter values, [N, P].
        **values: The new value of a parameter, by name.

    Returns:
        The copy, [N, P].

    Raises:
        ValueError: If a name is unknown or a value is outside its range.

    Example:
        >>> with_values(sample(2, seed=0), smile=1.0)[:, index("smile")]
        array([1., 1.])
    """
    changed = _checked(params, "params").copy()
    for name, value in values.items():
        column = index(name)
        parameter = PARAMETERS[column]
        if not parameter.low <= value <= parameter.high:
            raise ValueError(f"{name} must be in [{parameter.low}, {parameter.high}], not {value}")
        changed[:, column] = value
    return changed


def _checked(array: AnyFloatArray, name: str) -> FloatArray:
    checked = np.asarray(array, dtype=np.float64)
    if checked.ndim != 2 or checked.shape[1] != len(PARAMETERS):
        raise ValueError(f"{name} must be [N, {len(PARAMETERS)}], not {list(checked.shape)}")
    return checked


def _bounds() -> tuple[FloatArray, FloatArray]:
    low = np.array([parameter.low for parameter in PARAMETERS])
    high = np.array([parameter.high for parameter in PARAMETERS])
    return low, high
