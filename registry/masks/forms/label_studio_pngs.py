"""Label Studio's export of brushes as PNGs: one file for each label that a task has.

Files are called `task-1-annotation-2-by-3-tag-LABEL-0.png`: the name of the tool's control stands
before the label, and both may hold a `-`. They do not say of which picture they are; an export of
the same tasks as JSON, in the same folder, does.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from editvec.registry.errors import MaskError
from editvec.registry.labels.label import IGNORED
from editvec.registry.labels.scheme import LabelScheme, plain_name
from editvec.registry.masks.forms.documents import parse_json, read_document
from editvec.registry.masks.forms.label_studio import is_label_studio, task_pictures
from editvec.registry.masks.png import MaskArray, check_size, open_png, read_bytes
from editvec.registry.masks.splits import split_parts

_NAME = re.compile(
    r"task-(?P<task>\d+)-annotation-(?P<annotation>\d+)-by-(?P<who>[^-]*)-(?P<label>.+)-\d+\.png"
)
_OPAQUE = 128


class BrushedTask(NamedTuple):
    """The files of one annotation of a task, and what their names say of the label."""

    image: str
    of: str
    files: dict[Path, str]


def is_brush_export(paths: Sequence[Path]) -> bool:
    """True where all files have names of this export."""
    return bool(paths) and all(_NAME.fullmatch(path.name) for path in paths)


def brushed_tasks(paths: Iterable[Path], folder: Path) -> list[BrushedTask]:
    """The annotations of an export, by the pictures of their tasks, or `task-N`.

    Raises:
        MaskError: a JSON file in the folder cannot be read.
    """
    pictures: dict[int, str] = {}
    for path in sorted(folder.glob("*.json")):
        of = f"annotations {path}"
        content = parse_json(read_document(path), of=of)
        if is_label_studio(content):
            pictures |= task_pictures(content, of=of)
    files: dict[tuple[int, int], dict[Path, str]] = defaultdict(dict)
    for path in paths:
        said = _NAME.fullmatch(path.name)
        assert said is not None
        files[int(said["task"]), int(said["annotation"])][path] = said["label"]
    return [
        BrushedTask(
            pictures.get(task, f"task-{task}"),
            f"masks {folder}, task {task}, annotation {annotation}",
            found,
        )
        for (task, annotation), found in sorted(files.items())
    ]


def draw_brushes(task: BrushedTask, scheme: LabelScheme, controls: Iterable[str]) -> MaskArray:
    """The labels of a task, int32 [H, W]; later parts of the scheme lie above earlier ones.

    Args:
        task: its files.
        scheme: the parts.
        controls: what `common_controls` found.

    Raises:
        MaskError: a file cannot be read, or its label is none of the parts or uncertain.
    """
    known = set(controls)
    indexed = [
        (_index_of(said, scheme, known, of=f"mask {path}"), path)
        for path, said in task.files.items()
    ]
    found = sorted(indexed, key=lambda one: (one[0] == IGNORED, *one))  # ignored lies above all
    mask: MaskArray | None = None
    for index, path in found:
        of = f"mask {path}"
        image = open_png(read_bytes(path, of=of), of=of)
        inside = _grey_levels(image, of=of) >= _OPAQUE
        if mask is None:
            mask = np.zeros(inside.shape, np.int32)
        check_size(inside.astype(np.int32), *mask.shape, of=of)
        mask[inside] = index
    assert mask is not None
    return split_parts(mask, scheme, of=task.of)


def _grey_levels(image: Image.Image, *, of: str) -> npt.NDArray[np.uint8]:
    """Black to white, 0 to 255, [H, W]; of a palette the colours count, not their order."""
    if image.mode in ("L", "1"):
        return np.asarray(image.convert("L"))
    if image.mode not in ("P", "RGB") or image.has_transparency_data:
        raise MaskError(f"{of}: expected a grey PNG of one label, got mode {image.mode}")
    colors = np.asarray(image.convert("RGB"))
    if (colors != colors[..., :1]).any():
        raise MaskError(f"{of}: expected a grey PNG of one label, got colours")
    levels: npt.NDArray[np.uint8] = colors[..., 0]
    return levels


def common_controls(tasks: Iterable[BrushedTask]) -> set[str]:
    """What can stand before the label in the names of all files; empty for several controls."""
    found: set[str] | None = None
    for task in tasks:
        for said in task.files.values():
            words = said.split("-")
            controls = {"-".join(words[:place]) for place in range(1, len(words))}
            found = controls if found is None else found & controls
    return found or set()


def _readings(said: str, scheme: LabelScheme) -> list[tuple[str, int]]:
    """The ways to divide a control from a label that is a part."""
    words = said.split("-")
    ways = [("-".join(words[:place]), "-".join(words[place:])) for place in range(1, len(words))]
    indices = [(control, scheme.index_of_name.get(plain_name(name))) for control, name in ways]
    return [(control, index) for control, index in indices if index is not None]


def _index_of(said: str, scheme: LabelScheme, controls: set[str], *, of: str) -> int:
    readings = [one for one in _readings(said, scheme) if not controls or one[0] in controls]
    if not readings:
        raise MaskError(
            f"{of}: {said!r} ends with none of the parts of {scheme.title}: "
            f"{', '.join((*scheme.label_names, *scheme.all_groups))}"
        )
    control, index = readings[0]
    # `tag-a-b` is b of the control tag-a, or both a and b
    if len(readings) > 1 or (len(controls) != 1 and _readings(control, scheme)):
        raise MaskError(
            f"{of}: {said!r} can be read in several ways, since a control or a label ends like a "
            "part; export JSON instead"
        )
    return index
