"""Many jobs of learning at once: a list in a JSON file, or a folder of pictures and masks.

A folder holds triples, at any depth: ``NAME.png`` (or another picture format), ``NAME.edited.png``
and, where the parts are to be found from what was repainted, ``NAME.mask.png``; NAME is the name
of the vector. ``NAME.json`` says more about a job, in the words of the list.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from editvec.batch.errors import SettingsError
from editvec.batch.learning.request import LearnRequest, LearnSettings
from editvec.batch.runs.inputs import IMAGE_SUFFIXES
from editvec.registry.addresses import check_name, parse_new_address
from editvec.registry.errors import InvalidNameError

_EDITED = ".edited.png"
_BEFORE = ".mask.png"
_FILES = ("image", "mask_after", "mask_before")


class Jobs(NamedTuple):
    """What is to be learned.

    Attributes:
        folder: what the names of files are relative to.
        requests: one for each vector.
        notes: what was left out, one line each.
    """

    folder: Path
    requests: list[LearnRequest]
    notes: list[str]


def read_jobs(path: Path, *, defaults: LearnSettings | None = None) -> Jobs:
    """Reads a list or a folder of jobs; opens no picture and no mask.

    Args:
        path: a JSON object with ``vectors``, file names relative to it; or a folder.
        defaults: settings of jobs that do not give them.

    Raises:
        SettingsError: the list or the folder cannot be read, or is none.
    """
    if path.is_dir():
        folder = Path(os.path.realpath(path))
        entries, notes = _entries_in(folder)
    else:
        folder = Path(os.path.realpath(path.parent))
        entries, notes = _entries_of(path), []
    requests = []
    for entry in entries:
        request = LearnRequest.from_json(entry, folder=folder, defaults=defaults)
        _require_usable(request)
        requests.append(request)
    return Jobs(folder, requests, notes)


def _require_usable(request: LearnRequest) -> None:
    """Refuses an address or a file name that cannot be one."""
    try:
        parse_new_address(request.address)
        for path in (request.image, request.mask_after, request.mask_before):
            if path is not None and "\0" in str(path):
                raise ValueError("a file name holds a zero byte")
            str(path).encode()
    except ValueError as exc:  # an InvalidNameError is one too
        raise SettingsError(f"pair list: {request.address!r}: {exc}") from exc


def _entries_of(path: Path) -> list[dict[str, Any]]:
    """The entries of a list."""
    content = _read_json(path)
    entries = content.get("vectors") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise SettingsError(f'pair list {path}: expected an object with a list "vectors"')
    if not all(isinstance(entry, dict) for entry in entries):
        raise SettingsError(f"pair list {path}: expected every entry to be an object")
    return entries


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as exc:
        raise SettingsError(f"pair list {path}: {exc}") from exc


# --- folders ---


def _entries_in(folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The jobs of a folder in the order of their paths, and notes on what is left out."""
    entries, lonely = [], 0
    for place, names in _walk(folder):
        edited = [name for name in names if name.endswith(_EDITED)]
        pictures = _pictures(names)
        entries += [_entry(folder, place, name.removesuffix(_EDITED), pictures) for name in edited]
        lonely += len(pictures.keys() - {name.removesuffix(_EDITED) for name in edited})
    if not entries:
        raise SettingsError(
            f"pair list {folder}: expected pictures NAME.png beside their edited masks "
            f"NAME{_EDITED}, found no mask of that name"
        )
    notes = [f"{lonely} pictures without an edited mask (NAME{_EDITED}) are left out"]
    return entries, notes if lonely else []


def _walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Every folder below, with its files, in order; hidden ones are skipped."""
    try:
        next(folder.iterdir(), None)
    except OSError as exc:
        raise SettingsError(f"pair list {folder}: {exc.strerror}") from exc
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield Path(place), sorted(name for name in names if not name.startswith("."))


def _pictures(names: list[str]) -> dict[str, list[str]]:
    """The files that are pictures, by their names without the suffix."""
    pictures: dict[str, list[str]] = {}
    for name in names:
        stem, _, suffix = name.rpartition(".")
        if suffix.lower() in IMAGE_SUFFIXES and not name.endswith((_EDITED, _BEFORE)):
            pictures.setdefault(stem, []).append(name)
    return pictures


def _entry(folder: Path, place: Path, name: str, pictures: dict[str, list[str]]) -> dict[str, Any]:
    """The job of one name; where there is no picture, it fails with that reason."""
    below = place.relative_to(folder)
    try:
        check_name(name, of="vector name")
    except InvalidNameError as exc:
        raise SettingsError(f"pair list {folder}: {below / (name + _EDITED)}: {exc}") from exc
    found = pictures.get(name, [f"{name}.png"])
    if len(found) > 1:
        raise SettingsError(
            f"pair list {folder}: {below / name}: expected one picture, found {', '.join(found)}"
        )
    entry: dict[str, Any] = {
        "address": name,
        "image": str(below / found[0]),
        "mask_after": str(below / f"{name}{_EDITED}"),
    }
    if (place / f"{name}{_BEFORE}").exists():
        entry["mask_before"] = str(below / f"{name}{_BEFORE}")
    if (place / f"{name}.json").exists():
        said = _read_json(place / f"{name}.json")
        if not isinstance(said, dict) or said.keys() & set(_FILES):
            raise SettingsError(
                f"pair list {place / name}.json: expected an object without {', '.join(_FILES)}"
            )
        entry |= said
    return entry
