"""Targets from outside for edits of avatars: the attribute to expect, and exact masks to reach."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from editvec.avatars.drawing import parameters
from editvec.avatars.drawing.render import render
from editvec.avatars.starter import STARTERS, SURPRISE, Starter

LEAST_CHANGE = 0.5
"""Of every changed parameter, in the scale of `parameters.to_unit`: less is hardly an edit."""

_ATTRIBUTES = {
    "smile": "smiling",
    "frown": "frowning",
    "open-mouth": "mouth_open",
    "close-eyes": "eyes_closed",
    "look-left": "looking_left",
    "look-right": "looking_right",
    "raise-brows": "brows_raised",
    "longer-hair": "long_hair",
}
_STARTERS = {starter.name: starter for starter in (*STARTERS, SURPRISE)}
_FIRST_SEED = 960_000  # renders that neither the networks nor the check have seen


class RenderedEdits(NamedTuple):
    """Pictures, and the exact masks of the same faces with an attribute changed.

    Attributes:
        pixels: uint8 [N, H, W, 3].
        targets: uint8 [N, H, W].
    """

    pixels: npt.NDArray[np.uint8]
    targets: npt.NDArray[np.uint8]


def expected_attribute(name: str) -> str | None:
    """The attribute of the classifier that a vector of this name shall bring about, if any."""
    return _ATTRIBUTES.get(name)


def can_render(name: str) -> bool:
    """Whether the renderer knows what a vector of this name is meant to change."""
    return name in _STARTERS


def exact_edits(name: str, count: int, *, seed: int, resolution: int) -> RenderedEdits:
    """Render faces that the edit changes, and the masks that it is meant to give them.

    Args:
        name: Of a vector of the starter library.
        count: Faces.
        seed: At least 0.
        resolution: Height and width in pixels.

    Raises:
        ValueError: The renderer does not know such a vector.
    """
    if name not in _STARTERS:
        raise ValueError(f"expected one of {', '.join(_STARTERS)}, got {name!r}")
    starter = _STARTERS[name]
    found: list[parameters.FloatArray] = []
    drawn = 0
    while sum(map(len, found)) < count:
        some = parameters.sample(256, seed=_FIRST_SEED + 1000 * seed + drawn)
        found.append(some[_changes(some, starter)])
        drawn += 1
    before = np.concatenate(found)[:count]
    after = parameters.with_values(before, **starter.after)
    return RenderedEdits(render(before, resolution).pixels, render(after, resolution).mask)


def _changes(params: parameters.FloatArray, starter: Starter) -> npt.NDArray[np.bool_]:
    """Which faces every parameter of the edit changes visibly, bool [N]."""
    after = parameters.to_unit(parameters.with_values(params, **starter.after))
    moved = np.abs(after - parameters.to_unit(params))
    columns = [parameters.index(name) for name in starter.after]
    enough: npt.NDArray[np.bool_] = moved[:, columns].min(axis=1) >= LEAST_CHANGE
    return enough
