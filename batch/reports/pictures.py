"""The pictures of a report: images of rows, what they were before, their masks and changes."""

from __future__ import annotations

import io
import math
import os
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from editvec.batch.editing.reading import seen_part
from editvec.batch.errors import PlanError
from editvec.batch.recipes.boxes import Box
from editvec.batch.sinks.shards import MemberReader
from editvec.engine.errors import ImageError
from editvec.engine.images.decoding import FORMATS, MAX_PIXELS, decode_picture, decode_stream
from editvec.engine.images.images import Fit, fit_pixels, read_image
from editvec.engine.images.views import see

Row = Mapping[str, Any]

# what is compared, and kept of an input that several recipes share
_MOST_PIXELS_A_SIDE = 512
_KEPT_INPUTS = 32
# grey levels: rounding, or what a lossy format loses
_CHANGED, _CHANGED_LOSSY = 2, 16
_CHANGED_COLOR = (222, 60, 24)

Pixels = npt.NDArray[np.uint8]

_ESCAPED_BYTE = re.compile(rb"\\x([0-9a-f]{2})")


class ShownTerm(NamedTuple):
    """A vector of a recipe and how far along it the images went: a number, or what is drawn."""

    address: str
    scale: float | str


class Changed(NamedTuple):
    """Where an edit changed its input.

    Attributes:
        picture: What changed, in colour over a faded copy.
        share: Of the pixels, 0 to 1.
    """

    picture: Image.Image
    share: float


class Sample(NamedTuple):
    """One image of a recipe, ready to be drawn; None stands for a file that cannot be shown."""

    source: str
    metrics: dict[str, float]
    before: Image.Image | None
    after: Image.Image | None
    mask: Image.Image | None
    changed: Changed | None = None
    terms: Sequence[ShownTerm] = ()


def terms_of(row: Row) -> list[ShownTerm]:
    """The vectors of a row, with their scales."""
    return [
        ShownTerm(term_address(vector), float(vector.get("scale", 1.0)))
        for vector in row.get("vectors") or []
        if isinstance(vector, Mapping)
    ]


def term_address(vector: Mapping[str, Any]) -> str:
    """The address of a vector in a row or a recipe, with its rows where it has any."""
    address = str(vector.get("address", vector.get("vector", "?")))
    rows = vector.get("rows")
    if isinstance(rows, Sequence) and len(rows) == 2:
        return f"{address}[{rows[0]}:{rows[1]}]"
    return address


def numbers(values: Any, prefix: str = "") -> Iterator[tuple[str, float]]:
    """The finite numbers of a metrics object, nested names joined by dots."""
    if not isinstance(values, Mapping):
        return
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from numbers(value, f"{prefix}{key}.")
        elif _is_number(value) and math.isfinite(value):
            yield f"{prefix}{key}", float(value)


class SampleReader:
    """Reads the images that rows name, small.

    Attributes:
        out: The run's output folder.
        inputs_root: Where relative sources are found.
        side: Longest side of the pictures in pixels; smaller ones are enlarged.
        fit: How inputs met the generator's square.
        is_lossless: Whether the outputs have the very pixels that the edit made.
        box_margin: Of runs whose images show what is around a box; None where they show the whole
            picture.
    """

    def __init__(
        self,
        out: Path,
        *,
        inputs_root: Path,
        side: int,
        fit: Fit = "crop",
        is_lossless: bool = True,
        box_margin: float | None = None,
    ) -> None:
        self.out = out
        self.inputs_root = inputs_root
        self.side = side
        self.fit = fit
        self.is_lossless = is_lossless
        self.box_margin = box_margin
        self._before: OrderedDict[tuple[Any, ...], Pixels | None] = OrderedDict()
        self._members = MemberReader()

    def read(self, row: Row) -> Sample:
        """The images of a row; what is missing or unreadable is None.

        An input is shown as the generator saw it, so that the images lie on each other.
        """
        source = str(row.get("source") or "")
        path = self._output(row.get("file_name"))
        after = self._pixels(path)
        sides = None if self.box_margin is None else row.get("box")
        box = None if sides is None else Box(*sides)
        before = self._aligned(source, path, None if after is None else after.shape[:2], box)
        after = None if after is None else _smaller(after)
        changed = None
        if before is not None and after is not None and before.shape == after.shape:
            changed = self._changed(before, after)
        return Sample(
            source=_title(row),
            metrics=dict(numbers(row.get("metrics"))),
            before=self._photograph(before),
            after=self._photograph(after),
            mask=self._mask(self._output(row.get("mask_file_name"))),
            changed=changed,
            terms=terms_of(row),
        )

    def _aligned(
        self, source: str, after: Path | None, size: tuple[int, ...] | None, box: Box | None
    ) -> Pixels | None:
        """The input of a row; those of the last rows are kept, because recipes share them."""
        key = (source, size, box)
        if key not in self._before:
            pixels = self._pixels(self._before_of(source, after))
            if pixels is not None and box is not None:
                pixels = self._around(pixels, self.side if size is None else size[0], box)
            elif pixels is not None:
                pixels = _smaller(_fitted(pixels, size, self.fit))
            self._before[key] = pixels
            if len(self._before) > _KEPT_INPUTS:
                self._before.popitem(last=False)
        return self._before[key]

    def _around(self, picture: Pixels, resolution: int, box: Box) -> Pixels:
        """What the generator saw of a picture; the whole of it if it has no such box."""
        height, width, margin = *picture.shape[:2], self.box_margin or 0.0
        try:
            view = seen_part((height, width), resolution, fit=self.fit, box=box, box_margin=margin)
        except PlanError:
            return _smaller(picture)
        return _smaller(see(picture, view, resolution))

    def _changed(self, before: Pixels, after: Pixels) -> Changed:
        """Where two pictures differ, over a faded copy of the second."""
        difference = np.abs(after.astype(np.int16) - before.astype(np.int16)).max(axis=2)
        is_changed = difference > (_CHANGED if self.is_lossless else _CHANGED_LOSSY)
        share = float(is_changed.mean())
        grey = 255 - 0.3 * (255 - after.mean(axis=2, keepdims=True))
        weight = np.where(is_changed, (difference / 255.0) ** 0.4, 0.0)[..., None]
        mixed = grey * (1 - weight) + np.asarray(_CHANGED_COLOR) * weight
        picture = Image.fromarray(mixed.astype(np.uint8))
        return Changed(self._resized(picture, Image.Resampling.BOX), share)

    def _before_of(self, source: str, after: Path | None) -> Path | None:
        """The input; of a generated run's shards, the unedited sample beside the edited one."""
        path = self._input(source)
        if path is None or after is None or "/" in source or not _is_member(after):
            return path
        return path if _exists(path) else after.parent / source

    def _input(self, source: str) -> Path | None:
        """The file that a source names; a NUL or an empty name names none."""
        if not source or "\0" in source:
            return None
        path = self.inputs_root / source
        if "\\x" in source and not _exists(path):
            # rows hold bytes that are not UTF-8 as \xNN
            raw = _ESCAPED_BYTE.sub(lambda found: bytes([int(found[1], 16)]), os.fsencode(source))
            path = self.inputs_root / os.fsdecode(raw)
        return path

    def _output(self, name: Any) -> Path | None:
        """A file of the output folder; a name that leads out of it names none."""
        if not isinstance(name, str) or not name or "\0" in name:
            return None
        path = self.out / name
        return path if path.resolve().is_relative_to(self.out.resolve()) else None

    def _pixels(self, path: Path | None) -> Pixels | None:
        if path is None:
            return None
        try:
            if _is_member(path):
                return decode_stream(
                    self._member(path),
                    lambda image: decode_picture(image, MAX_PIXELS),
                    formats=FORMATS,
                    name=path.name,
                )
            return read_image(path)
        except (ImageError, OSError):
            return None

    def _photograph(self, pixels: Pixels | None) -> Image.Image | None:
        if pixels is None:
            return None
        return self._resized(Image.fromarray(pixels), Image.Resampling.LANCZOS)

    def _mask(self, path: Path | None) -> Image.Image | None:
        if path is None:
            return None
        try:
            source = self._member(path) if _is_member(path) else path
            with Image.open(source, formats=["PNG"]) as file:
                colored = colored_mask(file)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return None
        return self._resized(colored, Image.Resampling.NEAREST)

    def _member(self, path: Path) -> io.BytesIO:
        return io.BytesIO(self._members.read(path.parent, path.name) or b"")

    def _resized(self, picture: Image.Image, resampling: Image.Resampling) -> Image.Image:
        factor = self.side / max(picture.size)
        width, height = (max(1, round(length * factor)) for length in picture.size)
        return picture.resize((width, height), resampling)


def _fitted(pixels: Pixels, size: tuple[int, ...] | None, fit: Fit) -> Pixels:
    """An input in the size of its output; as it is where there is none."""
    if size is None or pixels.shape[:2] == size:
        return pixels
    height, width = size
    if height == width:
        return fit_pixels(pixels, height, fit=fit)
    resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX)
    return np.asarray(resized)


def _title(row: Row) -> str:
    """The name of an input, and of the object in it."""
    source, box = str(row.get("source") or ""), row.get("box")
    if box is None:
        return source
    named = [str(row[name]) for name in ("box_label", "box_id") if row.get(name)]
    place = " ".join(named) or f"{box[0]:g}, {box[1]:g}"
    # pages show what is behind the last slash
    place = place.replace("/", "-").replace("\\", "-")
    return f"{source} ({place})"


def _smaller(pixels: Pixels) -> Pixels:
    """Pixels with a longest side that is bounded."""
    factor = _MOST_PIXELS_A_SIDE / max(pixels.shape[:2])
    if factor >= 1:
        return pixels
    size = (max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def colored_mask(mask: Image.Image) -> Image.Image:
    """Colour an index picture: by its own palette, otherwise a hue for each label."""
    if mask.mode == "P":
        return mask.convert("RGB")
    labels = np.asarray(mask).astype(np.int64)
    # steps of the golden ratio keep any number of hues apart; label 0 is usually the background
    hue = (labels * 0.61803398875) % 1.0
    offsets = np.array([0.0, 1 / 3, 2 / 3])
    wave = 0.5 + 0.5 * np.cos(2 * np.pi * (hue[..., None] - offsets))
    rgb = np.where(labels[..., None] == 0, 0.9, 0.25 + 0.65 * wave)
    return Image.fromarray((255 * rgb).astype(np.uint8))


def _is_member(path: Path) -> bool:
    """Whether a path leads into a tar file, and not into a folder that is called like one."""
    return path.parent.suffix == ".tar" and not path.parent.is_dir()


def _exists(path: Path) -> bool:
    """Whether a file is there; a name that the file system cannot take is not."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
