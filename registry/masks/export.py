"""Writes masks as PNGs of several forms, draws them, and tells what is in them."""

from __future__ import annotations

import io
import json
import os
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, ImageDraw, PngImagePlugin

from editvec.outputs import OutputFile
from editvec.registry.drawing import (
    PAPER,
    Swatch,
    draw_legend,
    fitted,
    legend_height,
    paste_panel,
    png_bytes,
    write_line,
)
from editvec.registry.entities.vectors import NewMaskPair
from editvec.registry.errors import MaskError
from editvec.registry.labels.label import IGNORED, void_color
from editvec.registry.labels.scheme import VOID, LabelScheme
from editvec.registry.masks.forms.picture_sizes import PICTURES
from editvec.registry.masks.pictures import colored_mask, draw_mask_pairs
from editvec.registry.masks.png import (
    INDEX_KEY,
    INDICES,
    MaskArray,
    check_labels,
    check_size,
    decode_picture,
    encode_mask,
    ignored_value,
    read_picture,
)
from editvec.registry.masks.sources import SourceMask
from editvec.registry.masks.splits import connected_components

_SIDE = 384
_GAP = 24
_TITLE = 22

_TURNING = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

FORMS = ("palette", "index", "colors", "parts")


@dataclass(frozen=True)
class PartSummary:
    """One part of a mask.

    Attributes:
        part: its name.
        pixels: how many.
        share: of the pixels that count, 0 to 1.
        pieces: its connected components.
        box: left, top, width, height in pixels.
    """

    part: str
    pixels: int
    share: float
    pieces: int
    box: tuple[int, int, int, int]


def summarise(mask: MaskArray, scheme: LabelScheme) -> list[PartSummary]:
    """The parts that a mask has, in the scheme's order.

    Args:
        mask: label indices, [H, W].
        scheme: names them.
    """
    found = []
    total = mask.size - count_ignored(mask)
    for label in scheme.labels:
        inside = mask == label.index
        if not inside.any():
            continue
        rows, columns = np.nonzero(inside)
        top, left = int(rows.min()), int(columns.min())
        box = (left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1)
        pieces = connected_components(inside)[1]
        found.append(PartSummary(label.name, rows.size, rows.size / total, pieces, box))
    return found


def count_ignored(mask: MaskArray) -> int:
    """How many pixels count nowhere."""
    return int((mask == IGNORED).sum())


def summarise_all(masks: Sequence[SourceMask], scheme: LabelScheme) -> dict[str, list[PartSummary]]:
    """The parts of several masks, by the names of their images.

    Raises:
        MaskError: a mask cannot be read, or two are of one image.
    """
    found: dict[str, list[PartSummary]] = {}
    first: dict[str, str] = {}
    for mask in masks:
        if mask.name in found:
            raise MaskError(f"{mask.of}: a second mask for {mask.name}, after {first[mask.name]}")
        first[mask.name] = mask.of
        found[mask.name] = summarise(mask.read(), scheme)
    return found


UNSIZED = "only its picture says how many pixels it has; counted as of 1000 x 1000 (see --images)"
_UNSIZED_SIDE = 1000


def assume_size(mask: SourceMask) -> SourceMask:
    """A mask that can be counted: its shares are right, whatever the size of its picture is."""
    if not mask.needs_picture or mask.read_at is None:
        return mask
    read = partial(mask.read_at, _UNSIZED_SIDE, _UNSIZED_SIDE)
    return replace(mask, read=read, needs_picture=False)


def encode_as(mask: MaskArray, scheme: LabelScheme, form: str) -> bytes:
    """A mask as one PNG.

    Args:
        mask: label indices, or `IGNORED`, [H, W].
        scheme: its colours become the palette or the pixels, its values those of the file, so that
            programs which know the scheme, and those which drop the file's text, read it right.
        form: "palette", "index" (grey) or "colors"; with values over 255 both of the first are
            grey of 16 bits.

    Raises:
        MaskError: an index that the scheme does not have, or ignored pixels, for which it has no
            value or no colour.
    """
    check_labels(mask, scheme.labels, of="mask")
    info = PngImagePlugin.PngInfo()
    has_ignored = count_ignored(mask) > 0
    void = scheme.ignored_spelling
    if form == "colors":
        if has_ignored and not void.colors:
            raise _unspelled("colour", scheme)
        image = colored_mask(mask, scheme.labels, void=next(iter(void.colors), None))
    else:
        if has_ignored and not void.values:
            raise _unspelled("value", scheme)
        names: dict[int, str | None] = dict(zip(scheme.values, scheme.label_names, strict=True))
        if has_ignored:
            names[void.values[0]] = None
        info.add_text(INDEX_KEY, _what_values_are(names, scheme))
        is_small = max(names) <= 255
        assert IGNORED == -1  # the last value
        values = np.array([*scheme.values, *void.values[:1]])[mask]
        image = Image.fromarray(values.astype(np.uint8 if is_small else np.uint16))
        if form == "palette" and is_small:
            image.putpalette(_palette(names, scheme))
    stream = io.BytesIO()
    image.save(stream, "PNG", pnginfo=info)
    return stream.getvalue()


def _unspelled(what: str, scheme: LabelScheme) -> MaskError:
    key = "color" if what == "colour" else what
    return MaskError(
        f"mask: it has ignored pixels, and {scheme.title} no {what} for them that is not a part's; "
        f"say `ignore: {{{key}: ...}}` in the scheme"
    )


def _what_values_are(names: Mapping[int, str | None], scheme: LabelScheme) -> str:
    """What the text of a PNG says: indices, or the names of values; of ignored ones null."""
    ignored = [value for value, name in names.items() if name is None]
    if scheme.values == tuple(label.index for label in scheme.labels) and ignored in (
        [],
        [ignored_value(scheme.labels)],
    ):
        return INDICES
    return json.dumps(names)


def _palette(names: Mapping[int, str | None], scheme: LabelScheme) -> list[int]:
    """The colours of all values up to the last; one between them is black."""
    colors = [(0, 0, 0)] * (max(names) + 1)
    for value, name in names.items():
        if name is None:
            colors[value] = next(iter(scheme.ignored_spelling.colors), void_color(scheme.labels))
    for value, label in zip(scheme.values, scheme.labels, strict=True):
        colors[value] = label.color
    return [level for color in colors for level in color]


def convert_masks(
    masks: Sequence[SourceMask],
    scheme: LabelScheme,
    target: Path | OutputFile,
    *,
    form: str,
    is_folder: bool,
) -> list[Path]:
    """Writes masks in another form; no file of others is replaced.

    Args:
        masks: at least one.
        scheme: of the masks.
        target: a file for one mask; for several, or for parts, a folder that is made.
        form: one of `FORMS`; for "parts", a folder for each image with one PNG for each part.
        is_folder: `target` is a folder even for one mask.

    Returns:
        The files.

    Raises:
        MaskError: a mask cannot be read, or two of them have one name.
        OutputError: a file of others has one of the names, before anything is written.
    """
    out = target if isinstance(target, OutputFile) else OutputFile(target)
    written: list[Path] = []
    names = [
        name.with_suffix("") if name.suffix.lower() in PICTURES else name
        for name in map(_file_name, masks)
    ]
    for bare in names:
        for path in _files_of(bare, scheme, out.path, form=form, is_folder=is_folder):
            replace(out, path=path).check(makes_folder=True)
    for mask, bare in zip(masks, names, strict=True):
        folder = out.path / bare.parent
        labels = mask.read()
        if form == "parts":
            parts = [(label.index, label.name) for label in scheme.labels]
            if count_ignored(labels):
                parts.append((IGNORED, _void_name(scheme)))
            for index, part in parts:
                inside = labels == index
                if inside.any():
                    path = folder / bare.name / f"{part}.png"
                    data = _encode_part(inside.astype(np.uint8) * 255)
                    written.append(_write(replace(out, path=path), data, written, of=mask.of))
        else:
            path = folder / f"{bare.name}.png" if is_folder else out.path
            data = encode_as(labels, scheme, form)
            written.append(_write(replace(out, path=path), data, written, of=mask.of))
    return written


def _files_of(
    bare: PurePosixPath, scheme: LabelScheme, target: Path, *, form: str, is_folder: bool
) -> list[Path]:
    """The files that the mask of an image may become."""
    if form == "parts":
        names = (*scheme.label_names, *scheme.ignored_spelling.names[:1])
        return [target / bare / f"{name}.png" for name in names if "/" not in name]
    return [target / bare.parent / f"{bare.name}.png" if is_folder else target]


def _void_name(scheme: LabelScheme) -> str:
    """What the picture of the ignored pixels is called."""
    names = scheme.ignored_spelling.names
    if not names or "/" in names[0]:
        raise MaskError(
            f"mask: it has ignored pixels, and {VOID} is a name of {scheme.title}; say `ignore: "
            "{also: [...]}` in the scheme, a name for them"
        )
    return names[0]


def _file_name(mask: SourceMask) -> PurePosixPath:
    """The name of a mask's image, if it can be that of a file."""
    name = PurePosixPath(mask.name.lstrip("/"))
    if ".." in name.parts:
        raise MaskError(f"{mask.of}: a name with `..` is none for a file")
    if not name.name:
        raise MaskError(f"{mask.of}: {mask.name!r} is no name for a file")
    for letter in mask.name:
        # characters that end lines, that terminals obey, and that turn around what follows them
        if unicodedata.category(letter) in ("Cc", "Zl", "Zp") or letter in _TURNING:
            raise MaskError(f"{mask.of}: {letter!a} in {mask.name!a} is no character for a file")
    try:
        os.fsencode(mask.name)
    except UnicodeEncodeError as exc:
        raise MaskError(f"{mask.of}: {mask.name!a} can be the name of no file") from exc
    return name


def draw_mask(mask: MaskArray, scheme: LabelScheme, *, image: Path | None, title: str) -> bytes:
    """A PNG that shows a mask, beside its image if there is one, and its parts.

    Args:
        mask: label indices, [H, W].
        scheme: names and colours.
        image: the picture of the mask.
        title: first line.

    Raises:
        MaskError: the image cannot be read, or has another size.
    """
    panels = [fitted(colored_mask(mask, scheme.labels), _SIDE, is_mask=True)]
    if image is not None:
        picture = decode_picture(read_picture(image), of=f"image {image}")
        check_size(mask, picture.height, picture.width, of="mask")
        panels.insert(0, fitted(picture, _SIDE))
    width = max(len(panels), 2) * (_SIDE + _GAP) - _GAP
    entries = [
        Swatch(scheme.labels[index].color, f"{scheme.labels[index].name}  {count} px")
        for index, count in enumerate(np.bincount(mask[mask != IGNORED]).tolist())
        if count
    ]
    if count := count_ignored(mask):
        entries.append(Swatch(void_color(scheme.labels), f"ignored  {count} px", is_muted=True))
    top = 2 * _GAP + _TITLE
    below = top + max(panel.height for panel in panels) + _GAP
    height = below + legend_height(entries, width=width) + _GAP
    sheet = Image.new("RGB", (width + 2 * _GAP, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    write_line(pen, (_GAP, _GAP), title, size=_TITLE, width=width)
    for place, panel in enumerate(panels):
        paste_panel(sheet, panel, (_GAP + place * (_SIDE + _GAP), top))
    draw_legend(pen, (_GAP, below), entries, width=width)
    return png_bytes(sheet)


def draw_edit(
    before: MaskArray,
    after: MaskArray,
    scheme: LabelScheme,
    *,
    image: Path | None,
    title: str,
    subtitle: str,
) -> bytes:
    """A PNG that shows what an edit of a mask asks for: image, before, after, what changes.

    Args:
        before: label indices, [H, W].
        after: label indices, [H, W].
        scheme: names and colours.
        image: the picture of the mask; None shows the mask before in its place.
        title: first line.
        subtitle: second line.

    Raises:
        MaskError: the image cannot be read, or has another size.
    """
    if image is None:
        stream = io.BytesIO()
        colored_mask(before, scheme.labels).save(stream, "PNG")
        picture = stream.getvalue()
    else:
        picture = read_picture(image)
    pair = NewMaskPair(
        image_png=picture,
        mask_before_png=encode_mask(before, scheme.labels),
        mask_after_png=encode_mask(after, scheme.labels),
    )
    return draw_mask_pairs([pair], scheme.labels, title=title, subtitle=subtitle)


def _encode_part(values: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG")
    return stream.getvalue()


def _write(file: OutputFile, data: bytes, written: Sequence[Path], *, of: str) -> Path:
    if file.path in written:
        raise MaskError(f"{of}: a second mask for {file.path}")
    file.write(data, makes_folder=True)
    return file.path
