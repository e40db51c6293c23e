"""Labelled latents: sampled ones that the class's classifier judges, or what a file says.

A file of labels is one of two:

- a CSV file with a column `sample` (a number of the seed, or what `batch generate` calls it, such
  as `seed-0-000012`) or `file_name` (a picture below the file's folder), and a column for each
  attribute: 1, yes or true; 0, no, false or -1 (also as 1.0, 0.0, -1.0, which tables of numbers
  become); empty or nan where nobody knows.
- a folder with the folders `with` and `without`, of pictures.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from editvec.batch.editing.memory import images_at_a_time
from editvec.batch.errors import PlanError, SettingsError
from editvec.batch.naming import display_path
from editvec.batch.recipes.settings import EmbeddingMethod
from editvec.batch.runs.inputs import scan_folder
from editvec.engine.editing.inversion import EmbedSettings
from editvec.engine.editor import Editor
from editvec.engine.images.images import fit_pixels, read_image, to_images
from editvec.engine.memory import Demand

OnProgress = Callable[[str, int, int], None]
"""Called with the stage ("classify", "embed", "measure"), what is done of it, and all of it."""

WITH, WITHOUT = "with", "without"

_AT_A_TIME = 1000

_SAMPLE, _FILE = "sample", "file_name"
_SAMPLE_NAME = re.compile(r"(?:seed-(?P<seed>\d{1,18})-)?(?P<index>\d{1,9})")
_WHOLE_FLOAT = re.compile(r"\d{1,9}\.0+")
_WORDS = {
    **dict.fromkeys(("yes", "true"), 1.0),
    **dict.fromkeys(("no", "false"), -1.0),
    **dict.fromkeys(("", "na", "n/a", "<na>", "null"), math.nan),
}
_NUMBERS = {1.0: 1.0, 0.0: -1.0, -1.0: -1.0}


class Population(NamedTuple):
    """Latents and what is known of their pictures.

    Attributes:
        ws: [N, num_ws, w_dim], on the CPU.
        scores: By attribute, [N]: above 0 it has it, below 0 it has not, the further the surer;
            NaN where nobody knows.
        source: Who said so: "classifier", or the name of the file.
        digest: SHA-256 of the file's bytes, of a folder of its files' names; None of a classifier.
        samples: How many latents were sampled, from number 0.
        seed: Of the samples.
        next_sample: The first sample of the seed that is not among them.
        is_graded: Whether scores tell how sure their source is.
    """

    ws: Tensor
    scores: dict[str, Tensor]
    source: str
    digest: str | None
    samples: int
    seed: int
    next_sample: int
    is_graded: bool


def draw_population(
    editor: Editor, samples: int, seed: int, *, on_progress: OnProgress | None = None
) -> Population:
    """Sampled latents, their pictures classified by every attribute of the class.

    Args:
        editor: Holds a classifier.
        samples: How many, from number 0.
        seed: Theirs.
        on_progress: Told how many are classified.

    Raises:
        SettingsError: The class has no attribute classifier.
    """
    if editor.classifier is None:
        raise SettingsError(
            f"labels: class {editor.bundle.class_name} has no attribute classifier; give a file "
            "of labels (--labels)"
        )
    w = sample_w(editor, samples, seed)
    ws = w[:, None].expand(-1, editor.bundle.num_ws, -1)
    logits = logits_of(editor, ws, stage="classify", on_progress=on_progress)
    scores = {name: logits[:, place] for place, name in enumerate(editor.classifier.names)}
    return Population(ws, scores, "classifier", None, samples, seed, samples, True)


def sample_w(editor: Editor, samples: int, seed: int) -> Tensor:
    """Sampled W latents [N, w_dim] on the CPU: every row of `ws` is the same."""
    parts = [
        editor.sample(min(_AT_A_TIME, samples - first), seed, first=first)[:, 0].cpu()
        for first in range(0, samples, _AT_A_TIME)
    ]
    return torch.cat(parts)


@torch.inference_mode()
def logits_of(
    editor: Editor, ws: Tensor, *, stage: str = "measure", on_progress: OnProgress | None = None
) -> Tensor:
    """Logits of every attribute for the pictures of ws [N, num_ws, w_dim]: [N, A] on the CPU."""
    assert editor.classifier is not None
    found: list[Tensor] = []
    for part in torch.split(ws, images_at_a_time(editor, Demand.SYNTHESIS)):
        images = editor.synthesize(part.to(editor.device)).clamp(-1, 1)
        found.append(editor.classifier(images).float().cpu())
        if on_progress is not None:
            on_progress(stage, sum(map(len, found)), len(ws))
    return torch.cat(found)


def read_population(
    path: Path,
    editor: Editor,
    *,
    attribute: str | None = None,
    seed: int = 0,
    embed: str = "encoder",
    on_progress: OnProgress | None = None,
) -> Population:
    """Labelled latents of a CSV file or a folder; see the module.

    Args:
        path: Of the file or folder.
        editor: Samples, or embeds pictures.
        attribute: What the labels of a folder are called.
        seed: Of samples that are given by number.
        embed: How pictures become latents.
        on_progress: Told how many pictures are embedded.

    Raises:
        PlanError: The file cannot be read, or a line or column of it says nothing usable.
        EngineError: A picture cannot be read.
    """
    if path.is_dir():
        entries, digest = _read_folder(path, attribute or path.resolve().name)
    else:
        entries, digest = _read_csv(path, seed)
    latents: list[Tensor] = []
    pictures = [one.where for one in entries if isinstance(one.where, Path)]
    embedded = iter(_embed(editor, pictures, embed, on_progress))
    for entry in entries:
        if isinstance(entry.where, Path):
            latents.append(next(embedded))
        else:
            latents.append(editor.sample(1, entry.where.seed, first=entry.where.number)[0].cpu())
    names = dict.fromkeys(name for entry in entries for name in entry.labels)
    scores = {
        name: torch.tensor([entry.labels.get(name, math.nan) for entry in entries])
        for name in names
    }
    used = [e.where.number + 1 for e in entries if isinstance(e.where, _LabelledSample)]
    return Population(
        torch.stack(latents), scores, path.name, digest, 0, seed, max(used, default=0), False
    )


class _LabelledSample(NamedTuple):
    """A sample by its seed and number."""

    seed: int
    number: int


class _LabelEntry(NamedTuple):
    """One labelled picture: a file or a sample."""

    where: Path | _LabelledSample
    labels: dict[str, float]


def _read_folder(path: Path, attribute: str) -> tuple[list[_LabelEntry], str]:
    entries: list[_LabelEntry] = []
    digest = hashlib.sha256()
    for name, label in ((WITH, 1.0), (WITHOUT, -1.0)):
        folder = path / name
        if not folder.is_dir():
            raise PlanError(
                f"labels {display_path(bytes(path))}: expected the folders {WITH} and {WITHOUT}, "
                f"{name} is missing"
            )
        for one in scan_folder(folder).inputs:
            file = folder / os.fsdecode(one.relative_path)
            digest.update(name.encode() + one.relative_path + file.read_bytes())
            entries.append(_LabelEntry(file, {attribute: label}))
    return entries, digest.hexdigest()


def _read_csv(path: Path, seed: int) -> tuple[list[_LabelEntry], str]:
    of = f"labels {display_path(bytes(path))}"
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as exc:
        raise PlanError(f"{of}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise PlanError(f"{of}: expected text in UTF-8") from exc
    lines = list(_lines(text, of))
    if not lines:
        raise PlanError(f"{of}: it is empty")
    _, header = lines[0]
    keys = [name for name in (_SAMPLE, _FILE) if name in header]
    attributes = [name for name in header if name not in (_SAMPLE, _FILE)]
    if len(keys) != 1 or not attributes or len(set(header)) != len(header) or "" in header:
        raise PlanError(
            f"{of}: expected the columns {_SAMPLE} or {_FILE} and one for each attribute, got "
            f"{', '.join(header)}"
        )
    entries: list[_LabelEntry] = []
    first: dict[Path | _LabelledSample, str] = {}
    for at, cells in lines[1:]:
        if len(cells) != len(header):
            raise PlanError(f"{at}: expected {len(header)} columns, got {len(cells)}")
        labels = dict(zip(header, cells, strict=True))
        entry = _entry(labels, keys[0], path.parent, seed, at)
        if (before := first.setdefault(entry.where, at)) != at:
            raise PlanError(f"{at}: {keys[0]}: the same as in {before.removeprefix(f'{of}: ')}")
        entries.append(entry)
    if not entries:
        raise PlanError(f"{of}: nothing is labelled")
    return entries, hashlib.sha256(data).hexdigest()


def _lines(text: str, of: str) -> Iterator[tuple[str, list[str]]]:
    """Every line that is not blank, with what messages call it."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for line in reader:
            cells = [cell.strip() for cell in line]
            if any(cells):
                yield f"{of}: line {reader.line_num}", cells
    except csv.Error as exc:
        raise PlanError(f"{of}: line {reader.line_num}: {exc}") from exc


def _entry(cells: dict[str, str], key: str, folder: Path, seed: int, at: str) -> _LabelEntry:
    given = cells.pop(key)
    labels = {}
    for name, word in cells.items():
        labels[name] = _label(word, f"{at}: {name}")
    if key == _FILE:
        if not given:
            raise PlanError(f"{at}: {_FILE}: expected a picture, got nothing")
        if not (folder / given).is_file():
            raise PlanError(f"{at}: {_FILE}: expected a picture below the file, got {given!r}")
        return _LabelEntry(folder / given, labels)
    # a column of numbers with a gap elsewhere is written as 12.0
    name = given.partition(".")[0] if _WHOLE_FLOAT.fullmatch(given) else given
    match = _SAMPLE_NAME.fullmatch(name)
    if match is None:
        raise PlanError(f"{at}: {_SAMPLE}: expected a number such as 12, got {given!r}")
    return _LabelEntry(_LabelledSample(int(match["seed"] or seed), int(match["index"])), labels)


def _label(word: str, at: str) -> float:
    """1, -1 or, where nobody knows, NaN; a number counts by its value."""
    if (known := _WORDS.get(word.lower())) is not None:
        return known
    try:
        number = float(word)
    except ValueError:
        number = math.inf
    if math.isnan(number):
        return number
    if number not in _NUMBERS:
        raise PlanError(f"{at}: expected 1, 0 or nothing, got {word!r}")
    return _NUMBERS[number]


def _embed(
    editor: Editor, pictures: Sequence[Path], embed: str, on_progress: OnProgress | None
) -> list[Tensor]:
    """ws [num_ws, w_dim] of every picture, of its middle square."""
    wanted = EmbeddingMethod.parse(embed)
    settings = EmbedSettings(num_steps=wanted.num_steps, target=wanted.target_psnr)
    found: list[Tensor] = []
    demand = Demand.EMBEDDING if settings.num_steps else Demand.SYNTHESIS
    few = images_at_a_time(editor, demand)
    for start in range(0, len(pictures), few):
        some = [read_image(path) for path in pictures[start : start + few]]
        resolution = editor.bundle.resolution
        images = to_images([fit_pixels(one, resolution, fit="crop") for one in some])
        found += list(editor.embed(images.to(editor.device), settings).ws.detach().cpu())
        if on_progress is not None:
            on_progress("embed", len(found), len(pictures))
    return found
