"""A canvas for a batch of pictures that keeps the part mask while it is painted on."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from editvec.avatars.drawing.distances import Field
from editvec.avatars.drawing.style import Style

LABELS: tuple[str, ...] = (
    "background", "clothes", "skin", "ear", "hair", "brow", "eye", "iris", "nose", "mouth", "teeth",
)  # fmt: skip
"""Names of the parts; a label is an index into this."""

LABEL_COLORS: npt.NDArray[np.uint8] = np.array(
    [
        (226, 232, 240),  # background
        (86, 126, 196),  # clothes
        (255, 205, 170),  # skin
        (240, 150, 110),  # ear
        (110, 72, 60),  # hair
        (40, 34, 44),  # brow
        (255, 255, 255),  # eye
        (52, 168, 150),  # iris
        (248, 176, 72),  # nose
        (214, 62, 88),  # mouth
        (250, 240, 150),  # teeth
    ],
    np.uint8,
)
"""A colour for each label, RGB, [num_labels, 3]."""


class Frame(NamedTuple):
    """Coordinates of the pixel centres, [N, H, W], and a pixel's size in their unit, [N, 1, 1]."""

    x: Field
    y: Field
    pixel: Field


class Canvas:
    """Planar RGB in [0, 1] and the label of the topmost part.

    Attributes:
        rgb: [3, N, H, W].
        mask: [N, H, W].
        style: How outlines and shadows look.
    """

    def __init__(self, count: int, resolution: int, *, style: Style) -> None:
        self.rgb = np.zeros((3, count, resolution, resolution), np.float32)
        self.mask = np.zeros((count, resolution, resolution), np.uint8)
        self.style = style

    def fill(
        self, frame: Frame, distance: Field, color: Field, *, label: str, max_line: float = 1.0
    ) -> None:
        """Paint a shape and give its pixels a label.

        Args:
            frame: Where `distance` was taken.
            distance: Signed distance, [N, H, W].
            color: RGB, [3, N, 1, 1] or [3, N, H, W].
            label: The part that the shape belongs to.
            max_line: Largest width of the line inside the edge; 0 draws none.
        """
        style = self.style
        width = min(style.outline_width, max_line)
        if width > 0 and style.outline_opacity > 0:
            line = np.clip(0.5 + (distance + width) / frame.pixel, 0.0, style.outline_opacity)
            shade = color * np.float32(0.55 * (1.0 - style.outline_ink))
            ink = shade + (np.array(style.ink, np.float32) * style.outline_ink).reshape(3, 1, 1, 1)
            color = color + line * (ink - color)
        self.tint(color, np.clip(0.5 - distance / frame.pixel, 0.0, 1.0))
        np.copyto(self.mask, np.uint8(LABELS.index(label)), where=distance <= 0.0)

    def tint(self, color: Field, opacity: Field) -> None:
        """Mix a colour in by an opacity in [0, 1], [N, H, W], and leave the labels alone."""
        self.rgb += opacity * (color - self.rgb)

    def shadow(self, amount: Field) -> Field:
        """A soft shadow amount in [0, 1] as this style draws it, scaled by its strength."""
        softness = self.style.shading_softness
        if softness < 1.0:
            amount = np.clip((amount - 0.5) / softness + 0.5, 0.0, 1.0)
        shaded: Field = amount * np.float32(self.style.shading_strength)
        return shaded

    def line_color(self, color: Field) -> Field:
        """The colour of a drawn line (lid, brow, lip) in this style, [3, N, 1, 1]."""
        ink = np.array(self.style.ink, np.float32).reshape(3, 1, 1, 1)
        darker: Field = color + np.float32(self.style.line_darkness) * (ink - color)
        return darker

    def pixels(self) -> npt.NDArray[np.uint8]:
        """The finished pictures, uint8 [N, H, W, 3]."""
        style = self.style
        rgb = self.rgb
        if (style.saturation, style.contrast, style.paper) != (1.0, 1.0, (1.0, 1.0, 1.0)):
            grey = np.tensordot(np.array([0.3, 0.59, 0.11], np.float32), rgb, 1)
            rgb = grey + np.float32(style.saturation) * (rgb - grey)
            rgb = 0.5 + np.float32(style.contrast) * (rgb - 0.5)
            rgb = rgb * np.array(style.paper, np.float32).reshape(3, 1, 1, 1)
        return np.ascontiguousarray(
            (np.clip(rgb, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8).transpose(1, 2, 3, 0)
        )
