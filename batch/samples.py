"""What a report shows of a run: per recipe a count, its metrics and a few of its images."""

from __future__ import annotations

import heapq
import json
import math
import os
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from engine.errors import ImageError
from engine.images import read_image

Row = Mapping[str, Any]

# Above this many images in all, a recipe shows fewer; above MAX_RECIPES, later recipes show none.
MAX_SAMPLES = 288
MAX_RECIPES = 72
MIN_SAMPLES_PER_RECIPE = 4

_ESCAPED_BYTE = re.compile(rb"\\x([0-9a-f]{2})")


class Term(NamedTuple):
    """A vector of a recipe and how far along it the images went."""

    address: str
    scale: float


@dataclass
class RecipeSummary:
    """The images that one recipe made.

    Attributes:
        name: The recipe's folder name under `images`.
        terms: Its vectors and scales.
        count: Number of images.
        metrics: Every finite value of every metric, by the metric's name.
        rows: Rows of the images to show, in the order of their sources.
    """

    name: str
    terms: list[Term]
    count: int = 0
    metrics: dict[str, array[float]] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    def medians(self) -> dict[str, float]:
        """The median of each metric."""
        return {name: float(np.median(values)) for name, values in self.metrics.items()}


def metric_label(name: str) -> str:
    """A metric's name in words."""
    return name.replace("_", " ").replace(".", " ")


def by_interest(names: Iterable[str]) -> list[str]:
    """Names of metrics, ratios first and counts of steps last, otherwise in their order."""
    return sorted(names, key=lambda name: (name.endswith("num_steps"), "perceptual" in name))


class Sample(NamedTuple):
    """One image of a recipe, ready to be drawn; None stands for a file that cannot be shown."""

    source: str
    metrics: dict[str, float]
    before: Image.Image | None
    after: Image.Image | None
    mask: Image.Image | None


def summarise(rows: Iterable[Row], *, samples_per_recipe: int = 24) -> list[RecipeSummary]:
    """Count the rows of a manifest and choose which images to show.

    The choice depends on the sources' names alone: every recipe shows the same sources, and so does
    a repeated report.

    Args:
        rows: Rows of `metadata.jsonl`, read once.
        samples_per_recipe: At most so many images are shown of a recipe.

    Returns:
        One summary per recipe, in the order of their first rows.
    """
    summaries: dict[str, RecipeSummary] = {}
    # per recipe a heap of its lowest ranks, the highest at the top; `number` decides between equals
    heaps: dict[str, list[tuple[int, int, Row]]] = {}
    for number, row in enumerate(rows):
        name = str(row.get("recipe", ""))
        if name not in summaries:
            summaries[name] = RecipeSummary(name, _terms(row))
            heaps[name] = []
        _count(summaries[name], row)
        entry = (-_rank(row), -number, row)
        if len(heaps[name]) < samples_per_recipe:
            heapq.heappush(heaps[name], entry)
        elif entry[:2] > heaps[name][0][:2]:
            heapq.heapreplace(heaps[name], entry)

    shown = min(samples_per_recipe, max(MIN_SAMPLES_PER_RECIPE, MAX_SAMPLES // max(1, len(heaps))))
    for position, (name, heap) in enumerate(heaps.items()):
        if position < MAX_RECIPES:
            best = sorted(heap, key=lambda entry: entry[:2], reverse=True)[:shown]
            summaries[name].rows = sorted(
                (row for _, _, row in best), key=lambda row: str(row.get("source"))
            )
    return list(summaries.values())


def numbers(values: Any, prefix: str = "") -> Iterator[tuple[str, float]]:
    """The finite numbers of a metrics object, nested names joined by dots."""
    if not isinstance(values, Mapping):
        return
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from numbers(value, f"{prefix}{key}.")
        elif _is_number(value) and math.isfinite(value):
            yield f"{prefix}{key}", float(value)


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a file of JSON lines, one after the other; none if the file is missing."""
    try:
        file = path.open(encoding="utf-8")
    except FileNotFoundError:
        return
    with file:
        for line in file:
            if line.strip():
                yield json.loads(line)


class SampleReader:
    """Reads the images that rows name, small.

    Attributes:
        out: The run's output folder.
        inputs_root: Where relative sources are found.
        side: Longest side of the pictures in pixels; smaller ones are enlarged.
    """

    def __init__(self, out: Path, *, inputs_root: Path, side: int) -> None:
        self.out = out
        self.inputs_root = inputs_root
        self.side = side
        self._before: dict[str, Image.Image | None] = {}

    def read(self, row: Row) -> Sample:
        """The images of a row; what is missing or unreadable is None."""
        source = str(row.get("source") or "")
        if source not in self._before:
            self._before[source] = self._photograph(self._input(source))
        return Sample(
            source=source,
            metrics=dict(numbers(row.get("metrics"))),
            before=self._before[source],
            after=self._photograph(self._output(row.get("file_name"))),
            mask=self._mask(self._output(row.get("mask_file_name"))),
        )

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

    def _photograph(self, path: Path | None) -> Image.Image | None:
        if path is None:
            return None
        try:
            pixels = read_image(path)
        except (ImageError, OSError):
            return None
        return self._resized(Image.fromarray(pixels), Image.Resampling.LANCZOS)

    def _mask(self, path: Path | None) -> Image.Image | None:
        if path is None:
            return None
        try:
            with Image.open(path, formats=["PNG"]) as file:
                colored = colored_mask(file)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return None
        return self._resized(colored, Image.Resampling.NEAREST)

    def _resized(self, picture: Image.Image, resampling: Image.Resampling) -> Image.Image:
        factor = self.side / max(picture.size)
        width, height = (max(1, round(length * factor)) for length in picture.size)
        return picture.resize((width, height), resampling)


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


def _exists(path: Path) -> bool:
    """Whether a file is there; a name that the file system cannot take is not."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _count(summary: RecipeSummary, row: Row) -> None:
    summary.count += 1
    for name, value in numbers(row.get("metrics")):
        summary.metrics.setdefault(name, array("d")).append(value)


def _terms(row: Row) -> list[Term]:
    terms = []
    for vector in row.get("vectors") or []:
        if isinstance(vector, Mapping):
            address = vector.get("address", vector.get("vector", "?"))
            terms.append(Term(str(address), float(vector.get("scale", 1.0))))
    return terms


def _rank(row: Row) -> int:
    """A number that depends on the source alone, evenly spread."""
    name = str(row.get("source") or row.get("file_name"))
    return int.from_bytes(sha256(name.encode("utf-8", "surrogatepass")).digest()[:8], "big")
