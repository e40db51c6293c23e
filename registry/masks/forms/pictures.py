"""Masks as PNGs: label indices, colours, or one picture for each part."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from editvec.registry.errors import MaskError
from editvec.registry.labels.label import Color
from editvec.registry.labels.scheme import LabelScheme
from editvec.registry.masks.png import INDEX_KEY, INDEX_MODES, MaskArray, open_png, read_bytes
from editvec.registry.masks.splits import split_parts

BoolArray = npt.NDArray[np.bool_]


def read_index(path: Path, scheme: LabelScheme) -> MaskArray:
    """A PNG of values: palette, grey or 1-bit; int32 [H, W].

    Raises:
        MaskError: it holds colours, or a value that the scheme does not know; tells where.
    """
    of = f"mask {path}"
    return _from_values(open_png(read_bytes(path, of=of), of=of), scheme, of=of)


def read_colors(
    path: Path, scheme: LabelScheme, *, colors: Mapping[Color, int] | None = None
) -> MaskArray:
    """A PNG of colours; int32 [H, W]. What is transparent is the first part.

    Args:
        path: the file.
        scheme: what the colours mean.
        colors: what they mean instead.

    Raises:
        MaskError: a colour that the scheme does not have, or a soft edge; tells where.
    """
    of = f"mask {path}"
    image = open_png(read_bytes(path, of=of), of=of)
    return _from_colors(image, scheme, colors or scheme.index_of_color, of=of)


def read_either(path: Path, scheme: LabelScheme) -> MaskArray:
    """A PNG of values, or of colours: by what its pixels are.

    Raises:
        MaskError: as the other readers; or the values of a palette mean other parts than its
            colours.
    """
    of = f"mask {path}"
    image = open_png(read_bytes(path, of=of), of=of)
    if image.mode not in INDEX_MODES:
        return _from_colors(image, scheme, scheme.index_of_color, of=of)
    if image.mode == "P":
        _check_palette(image, scheme, of=of)
    return _from_values(image, scheme, of=of)


def read_part(path: Path) -> BoolArray:
    """A PNG of one part, bool [H, W]: black, 0 or transparent elsewhere.

    Raises:
        MaskError: it has more than two values, so that its edge is none.
    """
    of = f"mask {path}"
    image = open_png(read_bytes(path, of=of), of=of)
    if image.mode in INDEX_MODES:
        values = np.asarray(image).astype(np.int64)
    else:
        pixels = np.asarray(image.convert("RGBA")).astype(np.int64)
        values = pixels[..., :3].max(axis=2) * (pixels[..., 3] > 0)
    soft = (values != 0) & (values != values.max())
    if soft.any():
        row, column = (int(place) for place in np.argwhere(soft)[0])
        raise MaskError(
            f"{of}: value {values[row, column]} at row {row}, column {column} is neither 0 nor "
            f"{values.max()}: the picture of one part has two values"
        )
    inside: BoolArray = values != 0
    return inside


def _from_values(image: Image.Image, scheme: LabelScheme, *, of: str) -> MaskArray:
    if image.mode not in INDEX_MODES:
        raise MaskError(f"{of}: mode {image.mode} holds colours, not values; read it as colors")
    values = np.asarray(image).astype(np.int64)
    if image.info.get(INDEX_KEY) == "indices":
        meaning = {label.index: label.index for label in scheme.labels}
    else:
        meaning = scheme.index_of_value
    table = np.full(int(values.max()) + 1, -1, np.int32)
    for value, index in meaning.items():
        if value < len(table):
            table[value] = index
    mask: MaskArray = table[values]
    if (mask < 0).any():
        row, column = (int(place) for place in np.argwhere(mask < 0)[0])
        raise MaskError(
            f"{of}: value {values[row, column]} at row {row}, column {column} is none of "
            f"{scheme.title} ({_shown_values(list(meaning))}); {int((mask < 0).sum())} such pixels"
        )
    return split_parts(mask, scheme, of=of)


def _from_colors(
    image: Image.Image, scheme: LabelScheme, colors: Mapping[Color, int], *, of: str
) -> MaskArray:
    if image.mode.startswith("I"):
        raise MaskError(f"{of}: mode {image.mode} holds values, not colours; read it as index")
    pixels = np.asarray(image.convert("RGBA")).astype(np.int64)
    soft = (pixels[..., 3] > 0) & (pixels[..., 3] < 255)
    if soft.any():
        row, column = (int(place) for place in np.argwhere(soft)[0])
        raise MaskError(
            f"{of}: the pixel at row {row}, column {column} is half transparent: a mask has no "
            "soft edges"
        )
    packed = pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
    found, places = np.unique(packed, return_inverse=True)
    known = {red << 16 | green << 8 | blue: index for (red, green, blue), index in colors.items()}
    indices = np.array([known.get(int(color), -1) for color in found], np.int32)
    mask: MaskArray = np.where(pixels[..., 3] == 0, 0, indices[places.reshape(packed.shape)])
    if (mask < 0).any():
        row, column = (int(place) for place in np.argwhere(mask < 0)[0])
        raise MaskError(
            f"{of}: colour #{int(packed[row, column]):06x} at row {row}, column {column} is that "
            f"of no part of {scheme.title}; {int((mask < 0).sum())} such pixels"
        )
    return split_parts(mask.astype(np.int32), scheme, of=of)


def _check_palette(image: Image.Image, scheme: LabelScheme, *, of: str) -> None:
    """Refuses values that the palette colours like other parts: some programs reorder them."""
    palette = np.array(image.getpalette("RGB"), np.int64).reshape(-1, 3)
    used = [int(value) for value in np.unique(np.asarray(image)) if value < len(palette)]
    shown = {value: tuple(int(part) for part in palette[value]) for value in used}
    meant = {
        value: scheme.index_of_color.get((color[0], color[1], color[2]))
        for value, color in shown.items()
    }
    if None in meant.values():
        return  # its colours are not those of the scheme: only the values say something
    is_ours = image.info.get(INDEX_KEY) == "indices"
    for value, by_color in meant.items():
        by_value = value if is_ours else scheme.index_of_value.get(value)
        if by_color != by_value:
            names = (*scheme.label_names, *(split.name for split in scheme.splits))
            told = f"means {names[by_value]}" if by_value is not None else "means nothing"
            assert by_color is not None
            raise MaskError(
                f"{of}: value {value} {told}, but its palette colours it like {names[by_color]}; "
                "say whether it holds index or colors"
            )


def _shown_values(values: list[int]) -> str:
    if values == list(range(len(values))):
        return f"0 to {len(values) - 1}"
    return ", ".join(map(str, sorted(values)))
