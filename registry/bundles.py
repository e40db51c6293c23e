"""Reads the bundle.json of a class bundle; every field is checked, with precise messages."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from registry.blobs import digest_of, digest_of_file, is_digest
from registry.entities import BundleFile, Label, check_name
from registry.errors import BundleFormatError, InvalidNameError

BUNDLE_FILE = "bundle.json"
BUNDLE_FORMAT = "editvec-bundle"
BUNDLE_FORMAT_VERSION = 1
MAX_MANIFEST_BYTES = 4 << 20

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class BundleManifest:
    """What bundle.json says that the library needs; `files` includes bundle.json itself."""

    class_name: str
    description: str
    license: str
    resolution: int
    num_ws: int
    w_dim: int
    z_dim: int
    valid_rectangle: tuple[int, int, int, int]
    labels: tuple[Label, ...]
    files: tuple[BundleFile, ...]
    generator_digest: str
    bundle_digest: str


def read_manifest(folder: Path) -> BundleManifest:
    """Reads and checks FOLDER/bundle.json; the other files are only listed, see `verify_files`.

    Raises:
        BundleFormatError: names the field, what was expected and what came.
    """
    path = folder / BUNDLE_FILE
    if not folder.is_dir():
        raise BundleFormatError(f"bundle {folder}: expected a folder")
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise BundleFormatError(f"{path}: larger than {MAX_MANIFEST_BYTES >> 20} MiB")
        data = path.read_bytes()
    except FileNotFoundError as exc:
        raise BundleFormatError(f"bundle {folder}: it has no {BUNDLE_FILE}") from exc
    except OSError as exc:
        raise BundleFormatError(f"{path}: {exc.strerror or exc}") from exc
    manifest = parse_manifest(data, of=str(path))
    itself = BundleFile(name=BUNDLE_FILE, digest=digest_of(data), size=len(data))
    return replace(manifest, files=(*manifest.files, itself))


def parse_manifest(data: bytes, *, of: str = BUNDLE_FILE) -> BundleManifest:
    """Checks the bytes of a bundle.json, the bundle digest included.

    Raises:
        BundleFormatError: names the field, what was expected and what came.
    """
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise BundleFormatError(f"{of}: not JSON ({exc})") from exc
    if not isinstance(content, dict) or content.get("format") != BUNDLE_FORMAT:
        raise BundleFormatError(f'{of}: expected "format": "{BUNDLE_FORMAT}"')
    version = content.get("format_version")
    if version != BUNDLE_FORMAT_VERSION:
        raise BundleFormatError(
            f"{of}: this release reads format_version {BUNDLE_FORMAT_VERSION}, got {version!r}"
        )
    _check_bundle_digest(content, of=of)
    labels = _labels(content, of=of)
    resolution = _integer(content, "resolution", 4, 8192, of=of)
    return BundleManifest(
        class_name=_class_name(content, of=of),
        description=_typed(content, "description", str, of=of, default=""),
        license=_typed(content, "license", str, of=of, default=""),
        resolution=resolution,
        num_ws=_integer(content, "num_ws", 1, 64, of=of),
        w_dim=_integer(content, "w_dim", 1, 65536, of=of),
        z_dim=_integer(content, "z_dim", 1, 65536, of=of),
        valid_rectangle=_rectangle(content, resolution, of=of),
        labels=labels,
        files=_files(content, of=of),
        generator_digest=_digest(content, "generator_digest", of=of),
        bundle_digest=_digest(content, "bundle_digest", of=of),
    )


def verify_files(folder: Path, manifest: BundleManifest) -> None:
    """Compares every listed file with its size and digest.

    Raises:
        BundleFormatError: a file is missing, or has other bytes.
    """
    for file in manifest.files:
        path = folder / file.name
        try:
            size = path.stat().st_size
            digest = digest_of_file(path) if size == file.size else None
        except OSError as exc:
            raise BundleFormatError(f"bundle {folder}: {file.name}: {exc.strerror or exc}") from exc
        if size != file.size:
            raise BundleFormatError(
                f"bundle {folder}: {file.name}: expected {file.size} bytes, got {size}"
            )
        if digest != file.digest:
            raise BundleFormatError(
                f"bundle {folder}: {file.name}: expected digest {file.digest}, got {digest}"
            )


def bundle_digest_of(content: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of everything in a bundle.json but `bundle_digest`."""
    rest = {key: value for key, value in content.items() if key != "bundle_digest"}
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


# --- fields ---


def _check_bundle_digest(content: Mapping[str, Any], *, of: str) -> None:
    written = _digest(content, "bundle_digest", of=of)
    computed = bundle_digest_of(content)
    if written != computed:
        raise BundleFormatError(f"{of}: bundle_digest says {written}, the content is {computed}")


def _typed(
    content: Mapping[str, Any], key: str, kind: type[_T], *, of: str, default: _T | None = None
) -> _T:
    value = content.get(key, default)
    if not isinstance(value, kind):
        raise BundleFormatError(f"{of}: {key}: expected {kind.__name__}, got {value!r:.80}")
    return value


def _integer(content: Mapping[str, Any], key: str, low: int, high: int, *, of: str) -> int:
    value = content.get(key)
    if type(value) is not int or not low <= value <= high:
        raise BundleFormatError(
            f"{of}: {key}: expected an integer from {low} to {high}, got {value!r:.80}"
        )
    return value


def _digest(content: Mapping[str, Any], key: str, *, of: str) -> str:
    value = content.get(key)
    if not isinstance(value, str) or not is_digest(value):
        raise BundleFormatError(f"{of}: {key}: expected a SHA-256 in hex, got {value!r:.80}")
    return value


def _class_name(content: Mapping[str, Any], *, of: str) -> str:
    try:
        return check_name(_typed(content, "class_name", str, of=of), of="class_name")
    except InvalidNameError as exc:
        raise BundleFormatError(f"{of}: {exc}") from exc


def _rectangle(
    content: Mapping[str, Any], resolution: int, *, of: str
) -> tuple[int, int, int, int]:
    value = content.get("valid_rectangle", [0, 0, resolution, resolution])
    if isinstance(value, list) and len(value) == 4 and all(type(edge) is int for edge in value):
        top, left, bottom, right = value
        if 0 <= top < bottom <= resolution and 0 <= left < right <= resolution:
            return top, left, bottom, right
    raise BundleFormatError(
        f"{of}: valid_rectangle: expected [top, left, bottom, right] inside {resolution} x "
        f"{resolution}, got {value!r:.80}"
    )


def _labels(content: Mapping[str, Any], *, of: str) -> tuple[Label, ...]:
    entries = _typed(content, "labels", list, of=of)
    labels = tuple(_label(entry, place, of=of) for place, entry in enumerate(entries))
    for position, label in enumerate(labels):
        if label.index != position:
            raise BundleFormatError(
                f"{of}: labels: expected index {position} at that place, got {label.index}"
            )
    if len({label.name for label in labels}) != len(labels):
        raise BundleFormatError(f"{of}: labels: two parts have the same name")
    return labels


def _label(entry: Any, place: int, *, of: str) -> Label:
    where = f"{of}: labels[{place}]"
    if not isinstance(entry, dict):
        raise BundleFormatError(f"{where}: expected an object, got {entry!r:.80}")
    color = entry.get("color")
    if not (
        isinstance(color, list)
        and len(color) == 3
        and all(type(value) is int and 0 <= value <= 255 for value in color)
    ):
        raise BundleFormatError(f"{where}: color: expected [r, g, b], 0 to 255, got {color!r:.80}")
    try:
        name = check_name(_typed(entry, "name", str, of=where), of="name")
    except InvalidNameError as exc:
        raise BundleFormatError(f"{where}: {exc}") from exc
    return Label(_integer(entry, "index", 0, 65535, of=where), name, (color[0], color[1], color[2]))


def _files(content: Mapping[str, Any], *, of: str) -> tuple[BundleFile, ...]:
    entries = _typed(content, "files", dict, of=of)
    return tuple(_file(name, entry, of=of) for name, entry in sorted(entries.items()))


def _file(name: str, entry: Any, *, of: str) -> BundleFile:
    try:
        # a name that `check_name` accepts has no separator and does not begin with a dot
        check_name(name, of="file name")
    except InvalidNameError as exc:
        raise BundleFormatError(f"{of}: files: {exc}") from exc
    if name == BUNDLE_FILE or not isinstance(entry, dict):
        raise BundleFormatError(f"{of}: files: {name}: expected another file with sha256 and bytes")
    where = f"{of}: files: {name}"
    return BundleFile(
        name=name,
        digest=_digest(entry, "sha256", of=where),
        size=_integer(entry, "bytes", 0, 1 << 40, of=where),
    )
