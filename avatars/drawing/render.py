"""Draw avatars: parameters in, pictures and exact part masks out, at any resolution."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from editvec.avatars.drawing import parts
from editvec.avatars.drawing.canvas import LABEL_COLORS, LABELS, Canvas, Frame
from editvec.avatars.drawing.distances import Field
from editvec.avatars.drawing.palette import Colors, Palette, palette
from editvec.avatars.drawing.parameters import PARAMETER_NAMES, AnyFloatArray
from editvec.avatars.drawing.style import DEFAULT_STYLE, SHIFTED_STYLE, Style

__all__ = [
    "DEFAULT_STYLE",
    "LABELS",
    "LABEL_COLORS",
    "SHIFTED_STYLE",
    "Rendered",
    "Style",
    "palette_image",
    "render",
]

# Pixels painted together: few enough for the fields of one batch to stay in the processor's cache.
_PIXELS_PER_BATCH = 1 << 15


class Rendered(NamedTuple):
    """Pictures and their masks.

    Attributes:
        pixels: RGB, uint8 [N, H, W, 3].
        mask: Labels of the topmost parts (indices into `LABELS`), uint8 [N, H, W].
    """

    pixels: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.uint8]


def render(params: AnyFloatArray, resolution: int, *, style: Style = DEFAULT_STYLE) -> Rendered:
    """Draw avatars.

    Edges are anti-aliased analytically: the coverage of a pixel is
    clip(0.5 - distance / pixel size, 0, 1) with the signed distance from the pixel's centre to the
    shape. A pixel's label is the topmost part that covers at least half of it, so the mask samples
    the same partition of the plane at every resolution.

    Args:
        params: Parameter values, [N, P], columns as in `PARAMETERS`.
        resolution: Height and width of the pictures in pixels, at least 8.
        style: Line and shading; has no influence on the mask.

    Returns:
        The pictures and their masks.

    Raises:
        ValueError: If `params` is not [N, P] or `resolution` is below 8.

    Example:
        >>> from editvec.avatars.drawing.parameters import sample
        >>> render(sample(2, seed=0), 64).mask.shape
        (2, 64, 64)
    """
    values = np.asarray(params, np.float32)
    if values.ndim != 2 or values.shape[1] != len(PARAMETER_NAMES):
        raise ValueError(f"params must be [N, {len(PARAMETER_NAMES)}], not {list(values.shape)}")
    if resolution < 8:
        raise ValueError(f"resolution must be at least 8, not {resolution}")
    count = len(values)
    rendered = Rendered(
        np.empty((count, resolution, resolution, 3), np.uint8),
        np.empty((count, resolution, resolution), np.uint8),
    )
    step = max(1, _PIXELS_PER_BATCH // resolution**2)
    for start in range(0, count, step):
        canvas = _paint(values[start : start + step], resolution, style)
        rendered.pixels[start : start + step] = canvas.pixels()
        rendered.mask[start : start + step] = canvas.mask
    return rendered


def palette_image(mask: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
    """Colour a mask with `LABEL_COLORS`.

    Args:
        mask: Labels, [..., H, W].

    Returns:
        RGB, uint8 [..., H, W, 3].

    Raises:
        ValueError: If a value is no label.
    """
    if mask.size and (mask.min() < 0 or mask.max() >= len(LABELS)):
        raise ValueError(f"mask must hold labels 0 to {len(LABELS) - 1}")
    colored: npt.NDArray[np.uint8] = LABEL_COLORS[mask]
    return colored


def _paint(values: Field, resolution: int, style: Style) -> Canvas:
    columns = dict(zip(PARAMETER_NAMES, values.T, strict=True))
    v: parts.Values = {name: column[:, None, None] for name, column in columns.items()}
    colors = _palette(columns)
    skin, hair, clothes = _planar(colors.skin), _planar(colors.hair), _planar(colors.clothes)
    iris = _planar(colors.iris)
    picture, head = _frames(v, resolution)
    canvas = Canvas(len(values), resolution, style=style)

    # back to front
    parts.draw_background(canvas, picture, _planar(colors.background))
    parts.draw_back_hair(canvas, head, v, hair)
    parts.draw_neck_and_clothes(canvas, picture, v, skin, clothes)
    parts.draw_ears(canvas, head, v, skin)
    parts.draw_face(canvas, head, v, skin)
    dark = 0.55 * hair + np.float32(0.02)
    for side in parts.SIDES:
        parts.draw_eye(canvas, head, v, iris, 0.3 * hair + np.float32(0.06), side=side)
    parts.draw_nose(canvas, head, v, skin)
    lips = skin * np.array([0.62, 0.40, 0.42], np.float32).reshape(3, 1, 1, 1)
    lips = lips + np.array([0.27, 0.08, 0.11], np.float32).reshape(3, 1, 1, 1)
    parts.draw_mouth(canvas, head, v, lips)
    parts.draw_front_hair(canvas, head, v, hair)
    for side in parts.SIDES:
        parts.draw_brow(canvas, head, v, dark, side=side)
    return canvas


def _palette(columns: dict[str, Colors]) -> Palette:
    return palette(
        skin_tone=columns["skin_tone"],
        skin_hue=columns["skin_hue"],
        hair_tone=columns["hair_tone"],
        hair_warmth=columns["hair_warmth"],
        background_hue=columns["background_hue"],
        background_lightness=columns["background_lightness"],
        clothes_hue=columns["clothes_hue"],
        clothes_lightness=columns["clothes_lightness"],
        iris_hue=columns["iris_hue"],
    )


def _planar(colors: Colors) -> Field:
    """[N, 3] to [3, N, 1, 1]."""
    return np.ascontiguousarray(colors.T.astype(np.float32))[:, :, None, None]


def _frames(v: parts.Values, resolution: int) -> tuple[Frame, Frame]:
    """The picture's frame and the head's, which is shifted, turned and scaled."""
    axis = ((np.arange(resolution, dtype=np.float32) + 0.5) * (2.0 / resolution) - 1.0).astype(
        np.float32
    )
    pixel = np.full((1, 1, 1), 2.0 / resolution, np.float32)
    picture = Frame(axis[None, None, :], axis[None, :, None], pixel)
    x = picture.x - v["head_x"]
    y = picture.y - v["head_y"] + np.float32(0.045)
    cos, sin = np.cos(v["tilt"]), np.sin(v["tilt"])
    size = v["head_size"]
    return picture, Frame((cos * x + sin * y) / size, (cos * y - sin * x) / size, pixel / size)
