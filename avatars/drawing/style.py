"""The drawing style of an avatar: line and shading, never shape."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Style:
    """How parts are coloured; no setting changes the part mask.

    Attributes:
        outline_width: Width of the line inside a part's edge, in half pictures.
        outline_opacity: 0 no line, 1 an opaque one.
        outline_ink: 0 the line is a darker shade of its part, 1 it is `ink`.
        ink: Line colour, RGB in [0, 1].
        line_darkness: How far lids, brows and lips are drawn towards `ink`, 0 to 1.
        shading_strength: Depth of light and shadow, 0 is flat.
        shading_softness: 1 gradients, towards 0 hard-edged (cel) shadows; above 0.
        saturation: 1 as in the palette, 0 grey.
        paper: Tint that the whole picture is multiplied with, RGB in [0, 1].
        contrast: 1 as painted, below 1 muted.
    """

    outline_width: float = 0.02
    outline_opacity: float = 0.4
    outline_ink: float = 0.0
    ink: tuple[float, float, float] = (0.17, 0.12, 0.16)
    line_darkness: float = 0.0
    shading_strength: float = 1.0
    shading_softness: float = 1.0
    saturation: float = 1.0
    paper: tuple[float, float, float] = (1.0, 1.0, 1.0)
    contrast: float = 1.0

    def __post_init__(self) -> None:
        if self.outline_width < 0:
            raise ValueError(f"outline_width must not be negative, not {self.outline_width}")
        for name in ("outline_opacity", "outline_ink", "line_darkness"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], not {getattr(self, name)}")
        if not 0 < self.shading_softness <= 1:
            raise ValueError(f"shading_softness must be in (0, 1], not {self.shading_softness}")
        for name in ("shading_strength", "saturation", "contrast"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")


DEFAULT_STYLE = Style()
"""Soft gradients and tinted lines."""

SHIFTED_STYLE = Style(
    outline_width=0.042,
    outline_opacity=0.92,
    outline_ink=1.0,
    ink=(0.13, 0.11, 0.2),
    line_darkness=0.75,
    shading_strength=1.5,
    shading_softness=0.06,
    saturation=0.55,
    paper=(1.0, 0.965, 0.89),
    contrast=0.9,
)
"""The same faces as a comic on paper: dark outlines, hard shadows, muted colours."""
