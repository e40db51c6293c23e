"""What pictures for people are drawn with: paper, ink, one line of text, a panel, a legend."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]
Pen = ImageDraw.ImageDraw

PAPER: Color = (250, 250, 252)
INK: Color = (24, 27, 34)
MUTED: Color = (104, 112, 126)
LINE: Color = (222, 226, 233)
MISSING: Color = (234, 236, 241)
ACCENT: Color = (91, 91, 214)

_RADIUS = 6
_FINER = 4
_SWATCH = 14
_SWATCH_GAP = 7
_ENTRY_GAP = 22
_ROW = 24


class Swatch(NamedTuple):
    """An entry of a legend: a colour, what it stands for, and whether that matters less."""

    color: Color
    text: str
    is_muted: bool = False


def write_line(
    pen: Pen,
    place: tuple[float, float],
    text: str,
    *,
    size: int,
    width: float | None = None,
    fill: Color = INK,
    anchor: str = "la",
) -> None:
    """Writes one line of text, cut to a width; what cannot be printed is escaped.

    Args:
        pen: of the sheet.
        place: where, in pixels.
        text: what.
        size: of the font, in pixels.
        width: at most so many pixels; None means as wide as it gets.
        fill: its colour.
        anchor: which point of the text lies at the place, as Pillow names it.
    """
    line = _drawable(text)
    if width is not None and text_width(line, size=size) > width:
        while line and text_width(f"{line}…", size=size) > width:
            line = line[:-1]
        line += "…"
    pen.text(place, line, fill=fill, font=_font(size), anchor=anchor)


def text_width(text: str, *, size: int) -> float:
    """How many pixels `write_line` takes for a text."""
    return _font(size).getlength(_drawable(text))


def printable(text: str) -> str:
    """Text on one line; control characters and lone surrogates are escaped."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def paste_panel(sheet: Image.Image, picture: Image.Image, place: tuple[int, int]) -> None:
    """Puts a picture on the sheet, with round corners."""
    sheet.paste(picture, place, _corners(picture.size))


def fitted(picture: Image.Image, side: int, *, is_mask: bool = False) -> Image.Image:
    """A picture whose longer side has `side` pixels.

    Args:
        picture: RGB.
        side: in pixels.
        is_mask: its pixels are areas of one colour: their edges stay sharp where it is enlarged.
    """
    factor = side / max(picture.size)
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    if not is_mask:
        return picture.resize(size, Image.Resampling.LANCZOS)
    # first to a multiple of its size, then down: each pixel becomes an equally large square
    multiple = -(-side // max(picture.size))
    finer = picture.resize(
        (picture.width * multiple, picture.height * multiple), Image.Resampling.NEAREST
    )
    return finer.resize(size, Image.Resampling.BOX)


def legend_height(entries: Sequence[Swatch], *, width: int, size: int = 14) -> int:
    """How many pixels `draw_legend` takes."""
    return _ROW * len(_legend_rows(entries, width=width, size=size))


def draw_legend(
    pen: Pen, place: tuple[int, int], entries: Sequence[Swatch], *, width: int, size: int = 14
) -> None:
    """Draws colours and what they stand for, in as many rows as it takes."""
    for row, shown in enumerate(_legend_rows(entries, width=width, size=size)):
        left, top = place[0], place[1] + row * _ROW
        for entry in shown:
            box = (left, top, left + _SWATCH, top + _SWATCH)
            pen.rounded_rectangle(box, radius=3, fill=entry.color, outline=LINE)
            text_left = left + _SWATCH + _SWATCH_GAP
            middle = (text_left, top + _SWATCH / 2)
            fill = MUTED if entry.is_muted else INK
            write_line(pen, middle, entry.text, size=size, width=width, fill=fill, anchor="lm")
            left += _entry_width(entry, size=size)


def png_bytes(picture: Image.Image) -> bytes:
    """The picture as a PNG; equal pictures give equal bytes."""
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _legend_rows(entries: Sequence[Swatch], *, width: int, size: int) -> list[list[Swatch]]:
    rows: list[list[Swatch]] = []
    used = 0
    for entry in entries:
        needed = _entry_width(entry, size=size)
        if not rows or used + needed - _ENTRY_GAP > width:
            rows.append([])
            used = 0
        rows[-1].append(entry)
        used += needed
    return rows


def _entry_width(entry: Swatch, *, size: int) -> int:
    return _SWATCH + _SWATCH_GAP + round(text_width(entry.text, size=size)) + _ENTRY_GAP


@lru_cache(maxsize=32)
def _corners(size: tuple[int, int]) -> Image.Image:
    """Which pixels of a panel are shown: all but the corners'."""
    finer = (_FINER * size[0], _FINER * size[1])
    shape = Image.new("L", finer, 0)
    box = (0, 0, finer[0] - 1, finer[1] - 1)
    ImageDraw.Draw(shape).rounded_rectangle(box, radius=_FINER * _RADIUS, fill=255)
    return shape.resize(size, Image.Resampling.LANCZOS)


@lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size=size)


def _drawable(text: str) -> str:
    # the default font has no signs of arithmetic and no accents
    plain = unicodedata.normalize("NFD", printable(text).replace("×", "x").replace("−", "-"))
    return "".join(char for char in plain if not unicodedata.combining(char))
