"""Class bundles as folders: reads bundle.json, every field checked, and lays files out."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from editvec.registry.addresses import check_name
from editvec.registry.blobs.store import BlobStore
from editvec.registry.bundles.weights import check_weights
from editvec.registry.entities.classes import BundleFile, ClassModel
from editvec.registry.errors import (
    BlobError,
    BundleFormatError,
    InvalidNameError,
    LabelNotFoundError,
)
from editvec.registry.files import temporary_folder
from editvec.registry.json_fields import Fields
from editvec.registry.labels.label import MAX_GROUPS, Label, expand_parts
from editvec.registry.labels.spellings import FIELD, parse_spellings
from editvec.whole_files import digest_of, digest_of_file

BUNDLE_FILE = "bundle.json"
WEIGHTS_SUFFIX = ".safetensors"
BUNDLE_FORMAT = "editvec-bundle"
BUNDLE_FORMAT_VERSION = 1
MAX_MANIFEST_BYTES = 4 << 20
MAX_NUM_WS = 64
MAX_CLAMP = 1e30


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
    groups: Mapping[str, tuple[str, ...]]
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
        _require_regular(path)
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
    fields = Fields(content, of=of, error=BundleFormatError)
    bundle_digest = fields.digest("bundle_digest")
    if bundle_digest != bundle_digest_of(content):
        raise BundleFormatError(
            f"{of}: bundle_digest says {bundle_digest}, the content is {bundle_digest_of(content)}"
        )
    resolution = fields.integer("resolution", 4, 8192)
    labels = _labels(fields, of=of)
    _check_clamp(content.get("networks"), of=of)
    parse_spellings(content.get(FIELD), [label.name for label in labels], of=of)
    return BundleManifest(
        class_name=fields.name("class_name"),
        description=fields.text("description", ""),
        license=fields.text("license", ""),
        resolution=resolution,
        num_ws=fields.integer("num_ws", 1, MAX_NUM_WS),
        w_dim=fields.integer("w_dim", 1, 65536),
        z_dim=fields.integer("z_dim", 1, 65536),
        valid_rectangle=_rectangle(fields, resolution),
        labels=labels,
        groups=_groups(fields, labels, of=of),
        files=_files(fields.mapping("files"), of=of),
        generator_digest=fields.digest("generator_digest"),
        bundle_digest=bundle_digest,
    )


def verify_files(folder: Path, manifest: BundleManifest) -> None:
    """Compares every listed file with its size and digest, and looks into those with weights.

    Raises:
        BundleFormatError: a file is missing, has other bytes, or its weights cannot be used.
    """
    for file in manifest.files:
        path = folder / file.name
        try:
            _require_regular(path)
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
        if path.suffix == WEIGHTS_SUFFIX:
            check_weights(path, of=f"bundle {folder}: {file.name}")


def _require_regular(path: Path) -> None:
    """Refuses what may never end or never begin when it is read: pipes, devices."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise BundleFormatError(f"{path}: expected a regular file")


def lay_out(model: ClassModel, blobs: BlobStore, target: Path) -> Path:
    """Writes a bundle's files into a folder that appears whole; a whole one is kept.

    Returns:
        `target`.

    Raises:
        BlobError: a file is missing from the blob store, or was altered there or in `target`.
    """
    if _is_laid_out(model, target):
        return target
    with temporary_folder(target.parent) as folder:
        for file in model.files:
            blobs.copy_to(file.digest, folder / file.name)
        try:
            folder.rename(target)
        except OSError as exc:
            # another process was faster, or somebody changed our copy
            if not _is_laid_out(model, target):
                raise BlobError(
                    f"bundle folder {target}: its files were changed; remove the folder"
                ) from exc
    return target


def _is_laid_out(model: ClassModel, folder: Path) -> bool:
    """True when every file is there with its size; the engine verifies the digests it loads."""
    return all(
        (folder / file.name).is_file() and (folder / file.name).stat().st_size == file.size
        for file in model.files
    )


def bundle_digest_of(content: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of everything in a bundle.json but `bundle_digest`."""
    rest = {key: value for key, value in content.items() if key != "bundle_digest"}
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


# --- fields ---


def _check_clamp(networks: object, *, of: str) -> None:
    """The one setting of a generator that its weights do not tell, and that decides its images."""
    entry = networks.get("generator") if isinstance(networks, dict) else None
    config = entry.get("config") if isinstance(entry, dict) else None
    if not isinstance(config, dict):
        raise BundleFormatError(f"{of}: networks: expected a generator with its config")
    clamp = config.get("conv_clamp")
    is_number = isinstance(clamp, int | float) and not isinstance(clamp, bool)
    if clamp is not None and not (is_number and 0 < clamp < MAX_CLAMP):
        raise BundleFormatError(
            f"{of}: networks: generator: conv_clamp: expected a positive number or null, "
            f"got {clamp!r:.80}"
        )


def _rectangle(fields: Fields, resolution: int) -> tuple[int, int, int, int]:
    top, left, bottom, right = fields.integers("valid_rectangle", 4, 0, resolution)
    if top >= bottom or left >= right:
        raise fields.refuse("valid_rectangle", "[top, left, bottom, right] around some pixels")
    return top, left, bottom, right


def _labels(fields: Fields, *, of: str) -> tuple[Label, ...]:
    labels = tuple(_label(entry) for entry in fields.objects("labels"))
    if [label.index for label in labels] != list(range(len(labels))) or not labels:
        raise BundleFormatError(f"{of}: labels: expected the indices 0, 1, 2... in this order")
    if len({label.name for label in labels}) != len(labels):
        raise BundleFormatError(f"{of}: labels: two parts have the same name")
    return labels


def _label(entry: Fields) -> Label:
    red, green, blue = entry.integers("color", 3, 0, 255)
    return Label(entry.integer("index", 0, 65535), entry.name("name"), (red, green, blue))


def _groups(fields: Fields, labels: Sequence[Label], *, of: str) -> dict[str, tuple[str, ...]]:
    """Groups of parts; a bundle without any does not name them."""
    if fields.is_silent("groups"):
        return {}
    parts = dict.fromkeys(label.name for label in labels)
    entries = Fields(fields.mapping("groups"), of=f"{of}: groups", error=BundleFormatError)
    groups = {name: entries.texts(name) for name in fields.mapping("groups")}
    if len(groups) > MAX_GROUPS:
        raise BundleFormatError(f"{of}: groups: expected at most {MAX_GROUPS}, got {len(groups)}")
    visited: set[str] = set()
    try:
        for name in groups:
            check_name(name, of="group name")
            if name in parts or not groups[name]:
                raise BundleFormatError(f"{of}: groups: {name}: expected a new name and members")
            expand_parts([name], parts, groups, of="the bundle", visited=visited)
    except (InvalidNameError, LabelNotFoundError) as exc:
        raise BundleFormatError(f"{of}: groups: {exc}") from exc
    return groups


def _files(files: Mapping[str, Any], *, of: str) -> tuple[BundleFile, ...]:
    return tuple(_file(name, entry, of=of) for name, entry in sorted(files.items()))


def _file(name: str, entry: object, *, of: str) -> BundleFile:
    try:
        # a name that `check_name` accepts has no separator and does not begin with a dot
        check_name(name, of="file name")
    except InvalidNameError as exc:
        raise BundleFormatError(f"{of}: files: {exc}") from exc
    if name == BUNDLE_FILE:
        raise BundleFormatError(f"{of}: files: {name} cannot list itself")
    fields = Fields(entry, of=f"{of}: files: {name}", error=BundleFormatError)
    return BundleFile(
        name=name, digest=fields.digest("sha256"), size=fields.integer("bytes", 1, 1 << 40)
    )
