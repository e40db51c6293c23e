"""The attributes of an avatar as yes-or-no facts, exact from the parameters.

An attribute is a margin: the distance of a parameter beyond its threshold, in the unit scale of
`parameters.to_unit`. The gaze of closed eyes cannot be seen, so it is no attribute of theirs.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from editvec.avatars.drawing.parameters import AnyFloatArray, FloatArray, index, to_unit

Column = Callable[[str], FloatArray]


class Attribute(NamedTuple):
    """A named fact.

    Attributes:
        name: What the classifier calls it.
        margin: From a getter of unit columns [N] to margins [N]; positive is yes.
    """

    name: str
    margin: Callable[[Column], FloatArray]


ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute("smiling", lambda unit: unit("smile") - 0.25),
    Attribute("frowning", lambda unit: -unit("smile") - 0.25),
    Attribute("mouth_open", lambda unit: unit("mouth_opening") + 0.2),
    Attribute("eyes_closed", lambda unit: -unit("eye_opening") - 0.6),
    Attribute(
        "looking_left", lambda unit: np.minimum(-unit("gaze_x") - 0.3, unit("eye_opening") + 0.3)
    ),
    Attribute(
        "looking_right", lambda unit: np.minimum(unit("gaze_x") - 0.3, unit("eye_opening") + 0.3)
    ),
    Attribute("brows_raised", lambda unit: unit("brow_height") - 0.3),
    Attribute("long_hair", lambda unit: unit("hair_length") - 0.2),
    Attribute("big_nose", lambda unit: unit("nose_size") - 0.3),
)
ATTRIBUTE_NAMES: tuple[str, ...] = tuple(attribute.name for attribute in ATTRIBUTES)


def margins(params: AnyFloatArray) -> FloatArray:
    """Signed margins of every attribute: [N, P] to [N, A], nominally in [-2, 2]."""
    unit = to_unit(params)

    def column(name: str) -> FloatArray:
        values: FloatArray = unit[:, index(name)]
        return values

    return np.stack([attribute.margin(column) for attribute in ATTRIBUTES], axis=1)


def present(params: AnyFloatArray) -> npt.NDArray[np.bool_]:
    """Whether each attribute holds: [N, P] to [N, A]."""
    facts: npt.NDArray[np.bool_] = margins(params) > 0
    return facts
