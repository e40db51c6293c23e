"""Pictures of mask pairs: what a vector was learned from, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from editvec.registry.drawing import (
    ACCENT,
    LINE,
    MUTED,
    PAPER,
    Pen,
    Swatch,
    draw_legend,
    fitted,
    legend_height,
    paste_panel,
    png_bytes,
    write_line,
)
from editvec.registry.entities.vectors import NewMaskPair
from editvec.registry.labels.label import IGNORED, Color, Label, void_color
from editvec.registry.masks.png import (
    MaskArray,
    check_labels,
    check_size,
    decode_mask,
    decode_picture,
)

BoolArray = npt.NDArray[np.bool_]

SIDE = 256

_MARGIN = 36
_GAP = 14
_HEADER = 64
_CAPTION = 26
_BETWEEN = 26
_PANELS = ("picture", "mask before", "mask after", "what changed")
_WIDTH = len(_PANELS) * SIDE + (len(_PANELS) - 1) * _GAP
# how much of the picture is left where nothing changed
_DIMMED = 0.38


class _Panels(NamedTuple):
    """One pair, drawn; `legend` tells its parts."""

    pictures: list[Image.Image]
    changed: float
    legend: list[Swatch]

    @property
    def height(self) -> int:
        """In pixels, with caption and legend."""
        return _CAPTION + SIDE + _GAP + legend_height(self.legend, width=_WIDTH)


def draw_mask_pairs(
    pairs: Sequence[NewMaskPair], labels: Sequence[Label], *, title: str, subtitle: str = ""
) -> bytes:
    """Draws mask pairs one under another: picture, mask before, mask after, and what changed.

    Args:
        pairs: at least one; the three pictures of a pair have one size.
        labels: the label scheme; its colours are the masks' colours.
        title: first line.
        subtitle: second line, small.

    Returns:
        A PNG, about 1100 pixels wide; equal pairs give equal bytes.

    Raises:
        MaskError: a picture cannot be read, or does not fit the others or the scheme.
    """
    drawn = [_draw_panels(pair, labels) for pair in pairs]
    height = _HEADER + sum(panels.height for panels in drawn) + _BETWEEN * (len(drawn) - 1)
    sheet = Image.new("RGB", (_WIDTH + 2 * _MARGIN, height + 2 * _MARGIN), PAPER)
    pen = ImageDraw.Draw(sheet)
    write_line(pen, (_MARGIN, _MARGIN - 8), title, size=28, width=_WIDTH)
    write_line(pen, (_MARGIN, _MARGIN + 28), subtitle, size=15, width=_WIDTH, fill=MUTED)
    top = _MARGIN + _HEADER
    for panels in drawn:
        _place(sheet, pen, panels, top=top)
        top += panels.height + _BETWEEN
        if panels is not drawn[-1]:
            line = top - _BETWEEN // 2 - _GAP // 2
            pen.line([(_MARGIN, line), (_MARGIN + _WIDTH, line)], fill=LINE, width=1)
    return png_bytes(sheet)


def colored_mask(
    mask: npt.NDArray[np.integer[Any]], labels: Sequence[Label], *, void: Color | None = None
) -> Image.Image:
    """A mask in the colours of its scheme.

    Args:
        mask: [H, W], labels of the scheme, or `IGNORED`.
        labels: the scheme.
        void: colour of ignored pixels; None is `void_color`.

    Returns:
        RGB, of the same size.
    """
    assert IGNORED == -1  # the last row
    colors = np.array(
        [*(label.color for label in labels), void or void_color(labels)], dtype=np.uint8
    )
    return Image.fromarray(colors[mask])


def _draw_panels(pair: NewMaskPair, labels: Sequence[Label]) -> _Panels:
    picture = decode_picture(pair.image_png, of="image of the mask pair")
    masks = []
    for data, of in ((pair.mask_before_png, "mask before"), (pair.mask_after_png, "mask after")):
        mask = decode_mask(data, labels, of=of)
        check_size(mask, picture.height, picture.width, of=of)
        check_labels(mask, labels, of=of)
        masks.append(mask)
    before, after = masks
    changed = (before != after) & (before != IGNORED) & (after != IGNORED)
    pictures = [
        fitted(picture, SIDE),
        fitted(colored_mask(before, labels), SIDE, is_mask=True),
        fitted(colored_mask(after, labels), SIDE, is_mask=True),
        _highlighted(picture, after, changed, labels),
    ]
    return _Panels(pictures, float(changed.mean()), _legend(before, after, labels))


def _highlighted(
    picture: Image.Image, after: MaskArray, changed: BoolArray, labels: Sequence[Label]
) -> Image.Image:
    """The changed pixels in their new part's colour, outlined, over the dimmed picture."""
    dimmed = fitted(picture.convert("L").convert("RGB"), SIDE)
    dimmed = Image.blend(Image.new("RGB", dimmed.size, PAPER), dimmed, _DIMMED)
    area = Image.fromarray(changed).convert("L").convert("RGB")
    inside = np.asarray(fitted(area, SIDE, is_mask=True))[..., 0] >= 128
    dimmed.paste(
        fitted(colored_mask(after, labels), SIDE, is_mask=True), (0, 0), Image.fromarray(inside)
    )
    pixels = np.array(dimmed)
    pixels[outline(inside)] = ACCENT
    return Image.fromarray(pixels)


def outline(inside: BoolArray) -> BoolArray:
    """The border of an area, two pixels wide: one inside it and one outside; bool [H, W]."""
    padded = np.pad(inside, 1, mode="edge")
    border = np.zeros_like(inside)
    for rows, columns in ((0, 1), (2, 1), (1, 0), (1, 2)):
        height, width = inside.shape
        border |= padded[rows : rows + height, columns : columns + width] != inside
    return border


def _legend(before: MaskArray, after: MaskArray, labels: Sequence[Label]) -> list[Swatch]:
    """The parts that occur: those that changed first, with their pixels before and after."""
    counts = (before != IGNORED) & (after != IGNORED)
    was, becomes = (
        np.bincount(mask[mask != IGNORED], minlength=len(labels)) for mask in (before, after)
    )
    changed = counts & (before != after)
    touched = {int(label) for mask in (before, after) for label in np.unique(mask[changed])}
    entries = []
    for label in labels:
        old, new = int(was[label.index]), int(becomes[label.index])
        if old or new:
            is_touched = label.index in touched
            text = f"{label.name}  {old} to {new} px" if is_touched else label.name
            swatch = Swatch(label.color, text, is_muted=not is_touched)
            entries.append((not is_touched, swatch))
    return [swatch for _, swatch in sorted(entries, key=lambda entry: entry[0])]


def _place(sheet: Image.Image, pen: Pen, panels: _Panels, *, top: int) -> None:
    for number, (name, picture) in enumerate(zip(_PANELS, panels.pictures, strict=True)):
        left = _MARGIN + number * (SIDE + _GAP)
        note = f"{panels.changed:.1%} of the pixels" if number == len(_PANELS) - 1 else ""
        write_line(pen, (left, top), name, size=15)
        write_line(pen, (left + SIDE, top + 1), note, size=13, fill=MUTED, anchor="ra")
        centred = (left + (SIDE - picture.width) // 2, top + _CAPTION)
        paste_panel(sheet, picture, (centred[0], centred[1] + (SIDE - picture.height) // 2))
    below = top + _CAPTION + SIDE + _GAP
    draw_legend(pen, (_MARGIN, below), panels.legend, width=_WIDTH)
