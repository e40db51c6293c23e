"""Masks as PNGs: label indices, colours, or one picture for each part."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from editvec.registry.errors import MaskError
from editvec.registry.labels.label import IGNORED, Color
from editvec.registry.labels.scheme import VOID_VALUE, LabelScheme, plain_name
from editvec.registry.masks.forms.pixels import (
    BoolArray,
    Colors,
    IntArray,
    Pixels,
    colors_of,
    first_place,
    grey_values,
    open_pixels,
    packed,
)
from editvec.registry.masks.png import (
    INDEX_KEY,
    INDEX_MODES,
    INDICES,
    MaskArray,
    ignored_value,
    open_png,
    read_bytes,
)
from editvec.registry.masks.splits import split_parts


def read_index(path: Path, scheme: LabelScheme) -> MaskArray:
    """A PNG of values: palette, grey, 1-bit, or grey written as colours (R = G = B = value).

    Args:
        path: the file.
        scheme: what the values mean, unless the file says it itself.

    Returns:
        int32 [H, W].

    Raises:
        MaskError: it holds colours, or a value that the scheme does not know; tells where.
    """
    of = f"mask {path}"
    pixels = open_pixels(path, of=of)
    if pixels.colors is None:
        return _choose(_by_value(pixels, scheme, of=of), scheme, of=of)
    if not pixels.colors.is_grey:
        raise MaskError(
            f"{of}: mode {pixels.image.mode} holds colours, not values; read it as colors"
        )
    return _choose(_by_grey(pixels.colors, scheme), scheme, of=of)


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
    pixels = open_pixels(path, of=of)
    if pixels.image.mode.startswith("I"):
        raise MaskError(
            f"{of}: mode {pixels.image.mode} holds values, not colours; read it as index"
        )
    found = colors_of(pixels.image, of=of) if pixels.colors is None else pixels.colors
    known = scheme.index_of_color if colors is None else colors
    return _choose([_by_color(found, known, scheme, of=of)], scheme, of=of)


def read_either(path: Path, scheme: LabelScheme) -> MaskArray:
    """A PNG of values, or of colours: by what its pixels are; int32 [H, W].

    Raises:
        MaskError: as the other readers; or values and colours of its pixels mean different parts.
    """
    of = f"mask {path}"
    pixels = open_pixels(path, of=of)
    if pixels.colors is None:
        if pixels.image.mode == "P":
            _check_palette(pixels.image, scheme, of=of)
        return _choose(_by_value(pixels, scheme, of=of), scheme, of=of)
    readings = []
    if pixels.colors.in_8_bits() is not None or not pixels.colors.is_grey:
        readings.append(_by_color(pixels.colors, scheme.index_of_color, scheme, of=of))
    if pixels.colors.is_grey:
        readings += _by_grey(pixels.colors, scheme)
    return _choose(readings, scheme, of=of)


def read_part(path: Path) -> BoolArray:
    """A PNG of one part, bool [H, W]: black, 0 or transparent elsewhere.

    Of a palette the colours count, not the order in which they stand.

    Raises:
        MaskError: it has more than two values, so that its edge is none; or nothing tells the
            part from what is around it.
    """
    of = f"mask {path}"
    return painted_part(open_png(read_bytes(path, of=of), of=of), of=of)


def painted_part(image: Image.Image, *, of: str) -> BoolArray:
    """The same of an open PNG."""
    opaque: BoolArray = np.ones((image.height, image.width), np.bool_)
    if image.mode in INDEX_MODES and image.mode != "P":
        values = np.asarray(image).astype(np.int64)
    else:
        pixels = np.asarray(image.convert("RGBA")).astype(np.int64)
        values, opaque = packed(pixels), pixels[..., 3] > 0
    painted: BoolArray = opaque & (values != 0)
    inks = np.unique(values[painted])
    if len(inks) == 2 and painted.all():
        first, second = (_shown(int(ink), image) for ink in inks)
        raise MaskError(
            f"{of}: {first} and {second}, neither of them black, 0 or transparent: which of them "
            "is the part cannot be told; paint it white on black"
        )
    if len(inks) > 1:
        row, column = first_place(painted & (values != inks[-1]))
        soft, hard = (_shown(int(value), image) for value in (values[row, column], inks[-1]))
        raise MaskError(
            f"{of}: {soft} at row {row}, column {column} is neither 0 nor "
            f"{hard.removeprefix('value ')}: the picture of one part has two values"
        )
    if not len(inks) and opaque.any() and not _is_uniform(image, opaque):
        raise MaskError(
            f"{of}: what is painted is as black as what is not: the part cannot be told; paint it "
            "white on black"
        )
    return painted


def _is_uniform(image: Image.Image, opaque: BoolArray) -> bool:
    """All pixels are the same also in what a palette or transparency hides."""
    is_one = image.mode != "P" or len(np.unique(np.asarray(image))) == 1
    return is_one and bool(opaque.all())


def _shown(value: int, image: Image.Image) -> str:
    is_grey = image.mode in INDEX_MODES and image.mode != "P"
    return f"value {value}" if is_grey else f"colour #{value:06x}"


# --- what pixels mean ---


class _Reading(NamedTuple):
    """One way to understand a picture.

    Attributes:
        mask: indices of parts and splits, or `IGNORED`; `_UNKNOWN` where it says nothing, int32
            [H, W].
        what: what its pixels hold.
        fault: what to say of the first pixel that says nothing; "" where there is none.
        is_guess: it takes a value for ignored that neither the scheme nor the file calls so.
    """

    mask: MaskArray
    what: str
    fault: str = ""
    is_guess: bool = False


_UNKNOWN = -2


def _choose(readings: Sequence[_Reading], scheme: LabelScheme, *, of: str) -> MaskArray:
    """The labels of the reading that understands every pixel; int32 [H, W].

    Raises:
        MaskError: there is none, or two of them say different things.
    """
    whole = [reading for reading in readings if not reading.fault]
    if not whole:
        best = min(readings, key=lambda reading: int((reading.mask == _UNKNOWN).sum()))
        raise MaskError(f"{of}: {best.fault}")
    whole = [reading for reading in whole if not reading.is_guess] or whole
    if whole[0].is_guess and set(np.unique(whole[0].mask).tolist()) == {IGNORED, 0}:
        first = scheme.label_names[0]
        raise MaskError(
            f"{of}: it holds {first} and the value {VOID_VALUE} only: whether that is a part, or "
            f"counts nowhere, cannot be told; say `value: {VOID_VALUE}` for the part, or `ignore: "
            f"{VOID_VALUE}`, in a scheme: `editvec mask convert --scheme FILE` writes a mask that "
            "says it itself"
        )
    masks = [split_parts(reading.mask, scheme, of=of) for reading in whole]
    for mask, reading in zip(masks[1:], whole[1:], strict=True):
        if (mask != masks[0]).any():
            row, column = first_place(mask != masks[0])
            one, other = (_name_of(two[row, column], scheme) for two in (masks[0], mask))
            raise MaskError(
                f"{of}: row {row}, column {column} is {one} by its {whole[0].what}, and {other} by "
                f"its {reading.what}; {_WAY}"
            )
    return masks[0]


def _name_of(index: int, scheme: LabelScheme) -> str:
    """What messages call what stands for a part, a split or ignored pixels."""
    names = (*scheme.label_names, *(split.name for split in scheme.splits))
    return "ignored" if index == IGNORED else names[index]


_WAY = "say --form index or --form colors; `editvec mask convert` writes one that says it itself"


def _by_value(pixels: Pixels, scheme: LabelScheme, *, of: str) -> list[_Reading]:
    meaning = _meaning(pixels.image, scheme, of=of)
    is_said = scheme.says_ignored_value or _says_ignored(pixels.image, scheme)
    return [
        _read_values(values, meaning, scheme, is_said=is_said)
        for values in grey_values(pixels.image, pixels.bits)
    ]


def _by_grey(colors: Colors, scheme: LabelScheme) -> list[_Reading]:
    """Readings of a grey that is written as colours: as ids, of 16 bits and of 8."""
    greys = [colors.values]
    scaled = colors.in_8_bits()
    if colors.is_deep and scaled is not None:
        greys.append(scaled)
    return [
        _read_values(
            grey.max(axis=2),
            scheme.index_of_value,
            scheme,
            is_said=scheme.says_ignored_value,
            is_clear=colors.is_clear,
        )
        for grey in greys
    ]


def _read_values(
    values: IntArray,
    meaning: Mapping[int, int],
    scheme: LabelScheme,
    *,
    is_said: bool,
    is_clear: BoolArray | None = None,
) -> _Reading:
    """The reading of values; `is_said`: which of them is ignored is no guess."""
    table = np.full(int(values.max()) + 1, _UNKNOWN, np.int32)
    for value, index in meaning.items():
        if value < len(table):
            table[value] = index
    mask: MaskArray = table[values]
    if is_clear is not None:
        mask = np.where(is_clear, np.int32(0), mask)
    unknown = mask == _UNKNOWN
    if not unknown.any():
        return _Reading(mask, "value", is_guess=not is_said and bool((mask == IGNORED).any()))
    row, column = first_place(unknown)
    return _Reading(
        mask,
        "value",
        f"value {values[row, column]} at row {row}, column {column} is none of {scheme.title} "
        f"({_shown_values(meaning)}); {int(unknown.sum())} such pixels",
    )


def _by_color(
    colors: Colors, known: Mapping[Color, int], scheme: LabelScheme, *, of: str
) -> _Reading:
    """The reading of colours.

    Raises:
        MaskError: they have 16 bits that 8 cannot say.
    """
    shown = colors.in_8_bits()
    if shown is None:
        raise MaskError(
            f"{of}: its colours have 16 bits, those of {scheme.title} 8; if it holds ids, write "
            "them as a grey PNG of 8 or 16 bits"
        )
    pixels = packed(shown)
    found, places = np.unique(pixels, return_inverse=True)
    index_of = {int(packed(np.array(color))): index for color, index in known.items()}
    indices = np.array([index_of.get(int(color), _UNKNOWN) for color in found], np.int32)
    mask: MaskArray = np.where(colors.is_clear, 0, indices[places.reshape(pixels.shape)])
    mask = mask.astype(np.int32)
    unknown = mask == _UNKNOWN
    if not unknown.any():
        return _Reading(mask, "colour")
    row, column = first_place(unknown)
    # many colours are a photograph
    may_be_ids = len(found) <= len(scheme.index_of_value)
    ids = "; if it holds ids, write them as a grey PNG of 8 or 16 bits" if may_be_ids else ""
    return _Reading(
        mask,
        "colour",
        f"colour #{int(pixels[row, column]):06x} at row {row}, column {column} is that of no part "
        f"of {scheme.title}; {int(unknown.sum())} such pixels{ids}",
    )


def _meaning(image: Image.Image, scheme: LabelScheme, *, of: str) -> Mapping[int, int]:
    """The index of each value: as the file says it, or else the scheme."""
    said = image.info.get(INDEX_KEY)
    if said == INDICES:
        indices = {label.index: label.index for label in scheme.labels}
        return indices | {ignored_value(scheme.labels): IGNORED}
    if not isinstance(said, str):
        return scheme.index_of_value
    try:
        names = {int(value): name for value, name in json.loads(said).items()}
    except (ValueError, AttributeError, RecursionError) as exc:
        raise MaskError(f"{of}: its text {INDEX_KEY} is none of ours: {said!r:.80}") from exc
    known = scheme.index_of_name
    found = {value: IGNORED for value, name in names.items() if name is None}
    for value, name in names.items():
        if name is not None and plain_name(str(name)) in known:
            found[value] = known[plain_name(str(name))]
    return found


def _says_ignored(image: Image.Image, scheme: LabelScheme) -> bool:
    """Whether a file itself says, by its text or its palette, which value is ignored."""
    if isinstance(image.info.get(INDEX_KEY), str):
        return True
    if image.mode != "P":
        return False
    palette = image.getpalette("RGB") or []
    shown = tuple(palette[3 * VOID_VALUE : 3 * VOID_VALUE + 3])
    return any(shown == color for color in scheme.ignored_spelling.colors)


def _check_palette(image: Image.Image, scheme: LabelScheme, *, of: str) -> None:
    """Refuses values that the palette colours like other parts: some programs reorder them."""
    palette = np.array(image.getpalette("RGB"), np.int64).reshape(-1, 3)
    used = [int(value) for value in np.unique(np.asarray(image)) if value < len(palette)]
    shown = {value: palette[value] for value in used}
    if len(used) > 1:
        is_ramp = all((color == value).all() for value, color in shown.items())
        is_flat = all((color == shown[used[0]]).all() for color in shown.values())
        if is_ramp or is_flat:
            return  # nobody chose these colours: only the values say something
    by_value = _meaning(image, scheme, of=of)
    for value, color in shown.items():
        red, green, blue = color.tolist()
        seen = scheme.index_of_color.get((red, green, blue))
        meant = by_value.get(value)
        if seen is None or seen == meant or _is_side(meant, seen, scheme):
            continue
        told = "means nothing" if meant is None else f"means {_name_of(meant, scheme)}"
        raise MaskError(
            f"{of}: value {value} {told}, but its palette colours it like "
            f"{_name_of(seen, scheme)}; {_WAY}"
        )


def _is_side(index: int | None, split: int, scheme: LabelScheme) -> bool:
    """The part is one of the two that a split becomes."""
    place = split - len(scheme.labels)
    if index is None or place < 0 or not 0 <= index < len(scheme.labels):
        return False
    two = (scheme.splits[place].first, scheme.splits[place].second)
    return scheme.label_names[index] in two


def _shown_values(meaning: Mapping[int, int]) -> str:
    values = [value for value, index in meaning.items() if index != IGNORED]
    if values == list(range(len(values))):
        return f"0 to {len(values) - 1}"
    return ", ".join(map(str, sorted(values)))
