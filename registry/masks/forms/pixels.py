"""What the pixels of a PNG hold, bit by bit: values, or colours of 8 or 16 bits a channel."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from editvec.registry.errors import MaskError
from editvec.registry.masks.png import INDEX_MODES, open_png, read_bytes

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

# where the header of a PNG says the bits of a channel, and which channels there are
_BITS, _CHANNELS = 24, 25
_GREY_WITH_ALPHA = 4


class Colors(NamedTuple):
    """The pixels of a picture of colours.

    Attributes:
        values: red, green and blue as the file has them, [H, W, 3].
        is_deep: they have 16 bits each, not 8.
        is_clear: what is transparent, bool [H, W].
    """

    values: IntArray
    is_deep: bool
    is_clear: BoolArray

    @property
    def is_grey(self) -> bool:
        """All that can be seen has R = G = B."""
        seen = self.values[~self.is_clear]
        return bool((seen == seen[:, :1]).all())

    def in_8_bits(self) -> IntArray | None:
        """The colours in 8 bits, [H, W, 3]; None where the 16 of the file say more."""
        if not self.is_deep:
            return self.values
        upper, lower = self.values >> 8, self.values & 255
        is_scaled = (lower == 0) | (lower == upper) | self.is_clear[..., None]
        return upper if bool(is_scaled.all()) else None


class Pixels(NamedTuple):
    """A PNG as it is stored.

    Attributes:
        image: decoded by Pillow.
        bits: of a channel.
        colors: None for a PNG of values.
    """

    image: Image.Image
    bits: int
    colors: Colors | None


def open_pixels(path: Path, *, of: str) -> Pixels:
    """The pixels of a PNG file, none of its bits lost.

    Raises:
        MaskError: it cannot be read, or a pixel is half transparent.
    """
    data = read_bytes(path, of=of)
    image = open_png(data, of=of)
    bits = data[_BITS]
    if image.mode in INDEX_MODES:
        return Pixels(image, bits, None)
    if bits != 16:
        return Pixels(image, bits, colors_of(image, of=of))
    if data[_CHANNELS] == _GREY_WITH_ALPHA or "transparency" in image.info:
        raise MaskError(
            f"{of}: 16 bits and transparency in one PNG are not read; without transparency, "
            "write ids as grey and colours in 8 bits"
        )
    return Pixels(image, bits, _deep_colors(data, image, of=of))


def colors_of(image: Image.Image, *, of: str) -> Colors:
    """The colours of a picture in 8 bits, a palette's too.

    Raises:
        MaskError: a pixel is half transparent.
    """
    pixels = np.asarray(image.convert("RGBA")).astype(np.int64)
    return Colors(pixels[..., :3], False, _clear(pixels[..., 3], 255, of=of))


def grey_values(image: Image.Image, bits: int) -> list[IntArray]:
    """What the pixels of a picture of values may say, [H, W] each, the likeliest first.

    Grey of 2 or 4 bits is what a program made of 8 bits by dropping some, or ids as they are.
    """
    values = np.asarray(image).astype(np.int64)
    if image.mode == "L" and bits in (2, 4):
        return [values // (255 // ((1 << bits) - 1)), values]
    return [values]


def packed(colors: IntArray) -> IntArray:
    """One number, 0xRRGGBB, for each colour of [H, W, 3]."""
    found: IntArray = colors[..., 0] << 16 | colors[..., 1] << 8 | colors[..., 2]
    return found


def first_place(where: BoolArray) -> tuple[int, int]:
    """Row and column of the first pixel."""
    row, column = np.argwhere(where)[0]
    return int(row), int(column)


def _deep_colors(data: bytes, image: Image.Image, *, of: str) -> Colors:
    # Pillow keeps the upper 8 bits; asked for the other order of bytes, the lower 8
    lower = Image.open(io.BytesIO(data), formats=("PNG",))
    lower.tile = [tile._replace(args=f"{image.mode};16L") for tile in lower.tile]
    values = np.asarray(image).astype(np.int64) << 8 | np.asarray(lower).astype(np.int64)
    is_clear: BoolArray = np.zeros(values.shape[:2], np.bool_)
    if image.mode == "RGBA":
        is_clear = _clear(values[..., 3], 65535, of=of)
    return Colors(values[..., :3], True, is_clear)


def _clear(alpha: IntArray, opaque: int, *, of: str) -> BoolArray:
    soft = (alpha > 0) & (alpha < opaque)
    if soft.any():
        row, column = first_place(soft)
        raise MaskError(
            f"{of}: the pixel at row {row}, column {column} is half transparent: a mask has no "
            "soft edges"
        )
    is_clear: BoolArray = alpha == 0
    return is_clear
