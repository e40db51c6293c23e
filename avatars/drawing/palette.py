"""Smooth, non-cyclic colour paths: a picture changes continuously with every colour parameter."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Colors = npt.NDArray[np.float32]
"""RGB in [0, 1], [N, 3]."""

_SKIN_GOLDEN = ("#6f4630", "#a06a45", "#cf976b", "#eec196", "#fbdcb9")
_SKIN_ROSY = ("#6d4138", "#9e624f", "#d29176", "#f3bea6", "#ffdccf")
_HAIR_ASH = ("#262430", "#463c42", "#7a685c", "#b09a7e", "#e6d8b4")
_HAIR_RED = ("#3a1c20", "#6e2e2a", "#a84a30", "#d6743f", "#f2b062")
_BACKGROUND = ("#8fcfc6", "#93c3ea", "#b3aee8", "#eeb2cd", "#fcc9a4", "#fae49c")
_CLOTHES = ("#35579f", "#1f93a4", "#52ab66", "#efb83c", "#ee6a58", "#9a4ea3")
_IRIS = ("#7a4a2c", "#94802f", "#3f9a64", "#2c98ae", "#3d78d8")


class Palette(NamedTuple):
    """The base colours of a batch, each [N, 3] in [0, 1]."""

    skin: Colors
    hair: Colors
    background: Colors
    clothes: Colors
    iris: Colors


def along(path: tuple[str, ...], position: Colors) -> Colors:
    """Colours at positions in [0, 1] along a path of hexadecimal colours, [N] to [N, 3].

    The colours are mixed with normalised Gaussian weights, which is smooth everywhere.
    """
    stops = (
        np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in path], np.float32)
        / 255.0
    )
    offset = position[:, None] * (len(path) - 1) - np.arange(len(path), dtype=np.float32)
    weights = np.exp(-3.2 * offset * offset)
    weights = weights / weights.sum(1, keepdims=True)
    mixed: Colors = (weights[:, :, None] * stops).sum(1)  # a matmul would round by the batch size
    return mixed


def between(first: Colors, second: Colors, amount: Colors) -> Colors:
    """Mix two colours, `amount` [N] = 1 gives the second."""
    mixed: Colors = first + amount[:, None] * (second - first)
    return mixed


def lighten(colors: Colors, lightness: Colors) -> Colors:
    """Darken (0) or lighten (1) colours; 0.5 leaves them almost alone."""
    deep, pale = colors * np.float32(0.68), colors + np.float32(0.55) * (1.0 - colors)
    return between(deep, pale, lightness)


def palette(
    *,
    skin_tone: Colors,
    skin_hue: Colors,
    hair_tone: Colors,
    hair_warmth: Colors,
    background_hue: Colors,
    background_lightness: Colors,
    clothes_hue: Colors,
    clothes_lightness: Colors,
    iris_hue: Colors,
) -> Palette:
    """The base colours of a batch from its colour parameters, each [N] in [0, 1]."""
    return Palette(
        skin=between(along(_SKIN_GOLDEN, skin_tone), along(_SKIN_ROSY, skin_tone), skin_hue),
        hair=between(along(_HAIR_ASH, hair_tone), along(_HAIR_RED, hair_tone), hair_warmth),
        background=lighten(along(_BACKGROUND, background_hue), 0.35 + 0.55 * background_lightness),
        clothes=lighten(along(_CLOTHES, clothes_hue), 0.25 + 0.4 * clothes_lightness),
        iris=along(_IRIS, iris_hue),
    )
