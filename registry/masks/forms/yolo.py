"""YOLO's text files of regions, one for each picture, and the file that names their classes.

A line is the number of a class and the corners of a polygon, or the middle, width and height of a
box, as shares of the picture: how many pixels that is, only the picture says.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from editvec.registry.errors import MaskError
from editvec.registry.masks.forms.documents import read_document
from editvec.registry.masks.forms.drawings import Drawing, DrawnRegion
from editvec.registry.masks.forms.picture_sizes import picture_called, upright_size
from editvec.registry.masks.forms.shapes import Point, fill_polygon, rectangle

BoolArray = npt.NDArray[np.bool_]

SUFFIX = ".txt"
_LISTS = ("classes.txt", "obj.names", "labels.names")
_NO_LABELS = ("classes", "labels", "labelmap", "train", "val", "valid", "test", "requirements")
_LABELS, _IMAGES = "labels", "images"
_LEVELS = 3
_LINE_BYTES = 4096
# converters round, and shapes reach over the border by that
_BEYOND = 0.01


def label_files(folder: Path) -> list[Path]:
    """The text files of a folder, and those within it, that may hold regions."""
    return sorted(
        path
        for path in folder.rglob(f"*{SUFFIX}")
        if path.is_file()
        and path.stem.lower() not in _NO_LABELS
        and not path.name.lower().startswith("readme")
    )


def is_yolo(path: Path) -> bool:
    """True where the first line looks like one of YOLO."""
    try:
        with path.open("rb") as file:
            words = file.readline(_LINE_BYTES).split()
    except OSError:
        return False
    shares = [_share(word) for word in words[1:5]]
    return len(words) >= 5 and words[0].isdigit() and None not in shares


def read_yolo(paths: list[Path], folder: Path) -> list[Drawing]:
    """What text files say; later lines lie above earlier ones, an empty file is background.

    Args:
        paths: of the files.
        folder: where they lie, or above: masks are called by the path below it.

    Raises:
        MaskError: no file names the classes.
    """
    names = _class_names(folder)
    drawings = []
    for path in paths:
        of = f"annotations {path}"
        picture = _picture_of(path)
        height, width = (None, None) if picture is None else upright_size(picture)
        regions: list[DrawnRegion] = []
        fault = None
        try:
            regions = _regions(path, names, of=of)
        except MaskError as exc:  # of this picture only
            fault = str(exc)
        parts = [part for part in path.parent.relative_to(folder).parts if part != _LABELS]
        name = "/".join([*parts, path.stem if picture is None else picture.name])
        drawings.append(
            Drawing(name, of, height, width, regions, says_size=picture is not None, fault=fault)
        )
    return drawings


def _picture_of(path: Path) -> Path | None:
    """The picture beside a text file, or in the folder `images` where that is `labels`."""
    parts = path.parent.parts
    places = [place for place, part in enumerate(parts) if part == _LABELS]
    beside = [Path(*parts[:place], _IMAGES, *parts[place + 1 :]) for place in reversed(places)]
    found = (picture_called(folder, path.stem) for folder in [path.parent, *beside])
    return next((picture for picture in found if picture is not None), None)


def _regions(path: Path, names: dict[int, str], *, of: str) -> list[DrawnRegion]:
    try:
        lines = read_document(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as exc:
        raise MaskError(f"{of}: expected lines of numbers in UTF-8") from exc
    regions = []
    for place, line in enumerate(lines, start=1):
        if not (words := line.split()):
            continue
        where = f"{of}, line {place}"
        if not words[0].isdecimal() or int(words[0]) not in names:
            raise MaskError(
                f"{where}: expected the number of a class, {_shown(names)}, got {words[0]!r:.40}"
            )
        shares = [_share(word) for word in words[1:]]
        wrong = [word for word, share in zip(words[1:], shares, strict=True) if share is None]
        if wrong:
            raise MaskError(
                f"{where}: expected shares of the picture, 0 to 1, got {wrong[0]!r:.40}"
            )
        values = [share for share in shares if share is not None]
        regions.append(
            DrawnRegion(
                names[int(words[0])], where, partial(_fill, _outline(values, of=where), of=where)
            )
        )
    return regions


def _outline(values: list[float], *, of: str) -> list[Point]:
    """The corners that a line gives, as shares of the picture."""
    if len(values) == 4:
        middle, centre, across, down = values
        return rectangle(middle - across / 2, centre - down / 2, across, down, 0)
    if len(values) < 6 or len(values) % 2:
        raise MaskError(
            f"{of}: expected x and y of three corners or more, or a box of 4 numbers, got "
            f"{len(values)} numbers"
        )
    return list(zip(values[::2], values[1::2], strict=True))


def _fill(corners: list[Point], height: int, width: int, *, of: str) -> BoolArray:
    return fill_polygon([(x * width, y * height) for x, y in corners], height, width, of=of)


def _share(word: str | bytes) -> float | None:
    """A number from 0 to 1; None for something else."""
    try:
        value = float(word)
    except ValueError:
        return None
    return value if -_BEYOND <= value <= 1 + _BEYOND else None


# --- classes ---


def _class_names(folder: Path) -> dict[int, str]:
    """The names of the classes: of data.yaml or classes.txt, in the folder or up to two above."""
    for place in [folder.resolve(), *folder.resolve().parents][:_LEVELS]:
        found = {path: names for path in _files_in(place) if (names := _names_in(path)) is not None}
        if found:
            first, *others = found
            if different := [path for path in others if found[path] != found[first]]:
                raise MaskError(
                    f"classes: {first} and {different[0]} name different classes of YOLO"
                )
            return found[first]
    raise MaskError(
        f"annotations {folder}: nothing names the classes of YOLO; expected data.yaml with "
        f"`names`, or {_LISTS[0]}, in it or above"
    )


def _files_in(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_file())
    except OSError:
        return []  # above what is ours to read


def _names_in(path: Path) -> dict[int, str] | None:
    """The classes that a file names; None where it is no such file."""
    of = f"classes {path}"
    try:
        if path.name.lower() in _LISTS:
            lines = read_document(path).decode("utf-8-sig").splitlines()
            return {place: line.strip() for place, line in enumerate(lines) if line.strip()}
        if path.suffix.lower() not in (".yaml", ".yml"):
            return None
        content = yaml.safe_load(read_document(path))
    except (MaskError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as exc:
        if path.stem.lower() != "data" and path.name.lower() not in _LISTS:
            return None  # of something else
        raise MaskError(f"{of}: not readable ({str(exc).splitlines()[0][:100]})") from exc
    if not isinstance(content, dict) or "names" not in content:
        return None
    if "kpt_shape" in content:
        raise MaskError(f"{of}: its classes have key points, which cover no pixels")
    return _checked_names(content["names"], of=of)


def _checked_names(names: Any, *, of: str) -> dict[int, str]:
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not all(
        isinstance(key, int) and isinstance(name, str | int | float) for key, name in names.items()
    ):
        raise MaskError(f"{of}: names: expected a list of names, or numbers with names")
    return {key: str(name) for key, name in names.items()}


def _shown(names: dict[int, str]) -> str:
    return ", ".join(f"{key} ({name})" for key, name in sorted(names.items())[:20])
