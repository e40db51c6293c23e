"""The picture of a preview: probe images by scales, each with its mask and what changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from editvec.registry.drawing import (
    ACCENT,
    INK,
    LINE,
    MUTED,
    PAPER,
    Pen,
    Swatch,
    draw_legend,
    fitted,
    legend_height,
    paste_panel,
    write_line,
)
from editvec.registry.entities.vectors import EditingVector, TermRole
from editvec.registry.labels.label import Label
from editvec.registry.masks.pictures import colored_mask, outline

SIDE = 168
CHANGE_SHOWN = 0.25
"""A change of this share of the whole range, and any larger one, has the darkest colour."""

_INSET_GAP = 6
_INSET = (SIDE - _INSET_GAP) // 2
_MARGIN = 36
_GAP = 14
_HEADER = 92
_SCALES = 34
_NAME = 22
_BETWEEN = 18
_FOOTER = 26
_SCALE_BAR = (120, 12)
_HEAT = ((0.0, 244, 245, 249), (0.3, 255, 205, 110), (0.65, 232, 88, 58), (1.0, 96, 12, 54))


class Cell(NamedTuple):
    """One probe at one scale.

    Attributes:
        pixels: the edited picture, uint8 [H, W, 3].
        mask: its predicted part labels, [H, W]; None of a class that makes no masks.
        roi: what the edit may change, bool [H, W]; None likewise: everything.
        change: how far the generator went from the reconstruction, [H, W]; 1 = the whole range.
    """

    pixels: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.integer[Any]] | None
    roi: npt.NDArray[np.bool_] | None
    change: npt.NDArray[np.float32]


class ProbeRow(NamedTuple):
    """A probe image and its cells, one for each scale."""

    name: str
    cells: Sequence[Cell]


def draw_preview(
    vector: EditingVector,
    labels: Sequence[Label],
    scales: Sequence[float],
    rows: Sequence[ProbeRow],
    *,
    caption: str,
) -> Image.Image:
    """Draw a preview.

    Args:
        vector: what is shown.
        labels: the label scheme of its class.
        scales: of the columns.
        rows: from top to bottom, with a cell for each scale.
        caption: how the probes came about.

    Returns:
        An RGB picture; equal arguments give equal pixels.
    """
    width = max(3, len(scales)) * (SIDE + _GAP) - _GAP
    parts = [Swatch(label.color, label.name) for label in labels if label.name in vector.roi_labels]
    row_height = _NAME + SIDE + _INSET_GAP + _INSET + _BETWEEN
    footer = _FOOTER + legend_height(parts, width=width)
    height = _HEADER + _SCALES + len(rows) * row_height + footer
    sheet = Image.new("RGB", (width + 2 * _MARGIN, height + 2 * _MARGIN), PAPER)
    pen = ImageDraw.Draw(sheet)
    _draw_header(pen, vector, caption, width=width)
    top = _MARGIN + _HEADER
    _draw_scales(pen, vector, scales, top=top)
    top += _SCALES
    for row in rows:
        _draw_row(sheet, pen, row, labels, top=top)
        top += row_height
    _draw_footer(sheet, pen, top=top, width=width)
    draw_legend(pen, (_MARGIN, top + _FOOTER), parts, width=width)
    return sheet


def _usable_text(vector: EditingVector) -> str:
    """The usable range of scales in words."""
    low, high = vector.scale_min, vector.scale_max
    if low is None and high is None:
        return "usable scales not measured"
    if low is None or high is None:
        return f"usable up to {high:g}" if low is None else f"usable from {low:g}"
    return f"usable from {low:g} to {high:g}"


def _origin_text(vector: EditingVector) -> str:
    """Where the vector comes from; a composition with its terms."""
    terms = [
        f"{term.scale:g} × {term.address.rpartition('/')[2]}"
        for term in vector.terms
        if term.role is TermRole.SUM
    ]
    return f"composed of {', '.join(terms)}" if terms else vector.kind.value


def _is_usable(vector: EditingVector, scale: float) -> bool | None:
    """Whether a scale lies in the usable range; None where nobody measured it."""
    low, high = vector.scale_min, vector.scale_max
    if low is None and high is None:
        return None
    return (low is None or low <= scale) and (high is None or scale <= high)


def _draw_header(pen: Pen, vector: EditingVector, caption: str, *, width: int) -> None:
    facts = [
        f"class {vector.class_name}@{vector.class_version}",
        _origin_text(vector),
        _usable_text(vector),
    ]
    write_line(pen, (_MARGIN, _MARGIN - 8), vector.address, size=28, width=width)
    subtitle = vector.description or "preview"
    write_line(pen, (_MARGIN, _MARGIN + 28), subtitle, size=15, width=width, fill=MUTED)
    second = f"{' · '.join(facts)} · {caption}"
    write_line(pen, (_MARGIN, _MARGIN + 52), second, size=13, width=width, fill=MUTED)


def _draw_scales(pen: Pen, vector: EditingVector, scales: Sequence[float], *, top: int) -> None:
    """The head of each column; a bar below it where the scale is usable."""
    for number, scale in enumerate(scales):
        left = _MARGIN + number * (SIDE + _GAP)
        usable = _is_usable(vector, scale)
        text = f"{scale:+g}" if scale else "0  unedited"
        if scale == vector.default_scale:
            text += "  default"
        fill = MUTED if usable is False else INK
        write_line(pen, (left + SIDE / 2, top), text, size=16, width=SIDE, fill=fill, anchor="ma")
        bar = (left, top + 24, left + SIDE - 1, top + 26)
        pen.rectangle(bar, fill=ACCENT if usable else LINE)


def _draw_row(
    sheet: Image.Image, pen: Pen, row: ProbeRow, labels: Sequence[Label], *, top: int
) -> None:
    width = sheet.width - 2 * _MARGIN
    write_line(pen, (_MARGIN, top + 2), row.name, size=13, width=width, fill=MUTED)
    for number, cell in enumerate(row.cells):
        left = _MARGIN + number * (SIDE + _GAP)
        paste_panel(sheet, fitted(Image.fromarray(cell.pixels), SIDE), (left, top + _NAME))
        below = top + _NAME + SIDE + _INSET_GAP
        if cell.mask is not None:
            mask = fitted(colored_mask(cell.mask, labels), _INSET, is_mask=True)
            paste_panel(sheet, mask, (left, below))
        paste_panel(sheet, _change_inset(cell), (left + _INSET + _INSET_GAP, below))


def _change_inset(cell: Cell) -> Image.Image:
    """What changed, as heat, with the border of the ROI."""
    heat = np.array(fitted(Image.fromarray(_heat(cell.change)), _INSET, is_mask=True))
    if cell.roi is None:
        return Image.fromarray(heat)
    area = Image.fromarray(cell.roi).convert("L").convert("RGB")
    inside = np.asarray(fitted(area, _INSET, is_mask=True))[..., 0] >= 128
    heat[outline(inside)] = ACCENT
    return Image.fromarray(heat)


def _heat(change: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Colours of changes, uint8 [..., 3]."""
    places = [stop[0] * CHANGE_SHOWN for stop in _HEAT]
    channels = [
        np.interp(change, places, [stop[1 + channel] for stop in _HEAT]) for channel in range(3)
    ]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def _draw_footer(sheet: Image.Image, pen: Pen, *, top: int, width: int) -> None:
    """How to read the insets."""
    ramp = np.linspace(0, CHANGE_SHOWN, _SCALE_BAR[0], dtype=np.float32)
    bar = _heat(np.tile(ramp, (_SCALE_BAR[1], 1)))
    sheet.paste(Image.fromarray(bar), (_MARGIN, top + 2))
    text = (
        f"change from 0 to {CHANGE_SHOWN:.0%} of the range, without compositing; "
        "the line surrounds what may change"
    )
    left = _MARGIN + _SCALE_BAR[0] + 10
    write_line(pen, (left, top), text, size=13, width=width - _SCALE_BAR[0] - 10, fill=MUTED)
