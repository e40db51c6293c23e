"""Photographs to train on: decoded and fitted once, kept as one file that is read by need."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from editvec.batch.errors import PlanError
from editvec.batch.naming import display_path
from editvec.batch.runs.inputs import scan_folder
from editvec.batch.runs.plan import PlannedInput
from editvec.engine.errors import ImageError
from editvec.engine.images.images import Fit, fit_pixels, read_image
from editvec.whole_files import write_whole

CACHE_FILE = "photographs.npy"
INDEX_FILE = "photographs.json"
_COPIED_BYTES = 1 << 24


class Photographs(NamedTuple):
    """What a folder of photographs holds.

    Attributes:
        pixels: uint8 [N, H, W, 3], read from the file by need.
        names: Paths under the folder, one for each.
        skipped: Paths of images that cannot be used, each with the reason.
        other_files: Number of files that are no images by their suffix.
        digest: SHA-256 of `pixels`: what a training on them depends on.
    """

    pixels: npt.NDArray[np.uint8]
    names: list[str]
    skipped: list[tuple[str, str]]
    other_files: int
    digest: str


def load_photographs(
    source: Path,
    cache: Path,
    *,
    resolution: int,
    fit: Fit,
    on_read: Callable[[int, int], None] | None = None,
) -> Photographs:
    """Read every photograph under a folder, or what an earlier call kept of it.

    Args:
        source: Folder with photographs, also in its sub-folders.
        cache: Folder for the decoded pixels, which are made anew when a file's path, size or time
            changes, or a setting.
        resolution: Side of the square that they are brought to.
        fit: How; see `editvec.engine.images.images.fit_pixels`.
        on_read: Called with the number read and that of all.

    Raises:
        PlanError: The folder cannot be listed, holds no image, or none that can be read.
    """
    scan = scan_folder(source)
    wanted = {
        "resolution": resolution,
        "fit": fit,
        "files": [[display_path(one.relative_path), one.size, one.mtime_ns] for one in scan.inputs],
    }
    index = _kept(cache, wanted)
    if index is None:
        cache.mkdir(parents=True, exist_ok=True)
        index = _decode(source, cache, scan.inputs, wanted, on_read)
    pixels = np.load(cache / CACHE_FILE, mmap_mode="r", allow_pickle=False)
    skipped = [(name, reason) for name, reason in index["skipped"]]
    return Photographs(pixels, index["names"], skipped, scan.other_files, index["digest"])


def _kept(cache: Path, wanted: dict[str, Any]) -> dict[str, Any] | None:
    """The index of the decoded pixels, if they are those of the folder as it is now."""
    try:
        index: dict[str, Any] = json.loads((cache / INDEX_FILE).read_text(encoding="utf-8"))
        pixels = np.load(cache / CACHE_FILE, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    side = wanted["resolution"]
    is_whole = pixels.shape == (len(index.get("names", ())), side, side, 3)
    return index if is_whole and index.get("wanted") == wanted else None


def _decode(
    source: Path,
    cache: Path,
    inputs: Sequence[PlannedInput],
    wanted: dict[str, Any],
    on_read: Callable[[int, int], None] | None,
) -> dict[str, Any]:
    """Write the pixels of every readable photograph, then the index that vouches for them."""
    side, fit = wanted["resolution"], wanted["fit"]
    names: list[str] = []
    skipped: list[tuple[str, str]] = []
    digest = hashlib.sha256()
    temporary = cache / f".{CACHE_FILE}.{secrets.token_hex(4)}.partial"
    shorter = temporary.with_suffix(".shorter")
    (cache / INDEX_FILE).unlink(missing_ok=True)
    try:
        pixels = np.lib.format.open_memmap(
            temporary, mode="w+", dtype=np.uint8, shape=(len(inputs), side, side, 3)
        )
        for number, one in enumerate(inputs, start=1):
            name = display_path(one.relative_path)
            try:
                picture = read_image(source / os.fsdecode(one.relative_path))
                pixels[len(names)] = fit_pixels(picture, side, fit=fit)
            except (ImageError, OSError) as exc:
                reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
                skipped.append((name, reason))
            else:
                digest.update(pixels[len(names)].tobytes())
                names.append(name)
            if on_read is not None:
                on_read(number, len(inputs))
        if not names:
            first, reason = skipped[0]
            raise PlanError(
                f"photographs: none of the {len(inputs)} images under {source} can be read; "
                f"the first, {first}: {reason}"
            )
        pixels.flush()
        if skipped:
            _copy(pixels, len(names), shorter)
        (shorter if skipped else temporary).replace(cache / CACHE_FILE)
    finally:
        temporary.unlink(missing_ok=True)
        shorter.unlink(missing_ok=True)
    index = {"wanted": wanted, "names": names, "skipped": skipped, "digest": digest.hexdigest()}
    text = json.dumps(index)
    write_whole(cache / INDEX_FILE, text.encode())
    decoded: dict[str, Any] = json.loads(text)
    return decoded


def _copy(pixels: np.memmap[Any, np.dtype[np.uint8]], count: int, target: Path) -> None:
    """The first photographs in a file of their own: those that were skipped have left room."""
    shape = (count, *pixels.shape[1:])
    kept = np.lib.format.open_memmap(target, mode="w+", dtype=np.uint8, shape=shape)
    step = max(1, _COPIED_BYTES // pixels[0].nbytes)
    for start in range(0, count, step):
        stop = min(start + step, count)
        kept[start:stop] = pixels[start:stop]
    kept.flush()
