"""Exports and imports vectors as one archive: a zip of JSON, safetensors and PNGs, all by digest.

The same vectors give the same bytes: entries are stored, sorted and without times. An import
verifies everything before the first write, and installs all or nothing.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry import codec
from registry.blobs import digest_of, write_atomically
from registry.entities import (
    ClassModel,
    EditingVector,
    Metric,
    NewMaskPair,
    NewVector,
    Term,
    VectorParcel,
    parse_address,
)
from registry.errors import ExchangeError, InvalidNameError
from registry.fields import Fields
from registry.records import as_json
from registry.store import Library

ARCHIVE_FORMAT = "editvec-archive"
ARCHIVE_FORMAT_VERSION = 1
MANIFEST_ENTRY = "manifest.json"
MAX_ENTRIES = 100_000
MAX_ENTRY_BYTES = 64 << 20
MAX_ARCHIVE_BYTES = 4 << 30
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class ImportedVector:
    """What became of one vector of an archive.

    Attributes:
        archived_as: its address in the archive.
        vector: the vector of this library that holds it.
        is_new: False when equal content was here before.
    """

    archived_as: str
    vector: EditingVector
    is_new: bool

    @property
    def is_renumbered(self) -> bool:
        """True when it has another version here, because its own was taken."""
        return self.vector.address != self.archived_as


def export_library(library: Library, path: Path, addresses: Sequence[str]) -> list[EditingVector]:
    """Writes vectors, and those that they are composed of, to one archive.

    Args:
        library: where they are.
        path: the archive; it appears whole, and replaces an older one.
        addresses: at least one.

    Returns:
        What the archive holds, parts before what is composed of them.

    Raises:
        VectorNotFoundError: an address that the library does not hold.
        BlobError: a blob is missing or was altered, or the archive cannot be written.
    """
    if not addresses:
        raise ExchangeError("export: expected one vector at least")
    vectors: dict[str, EditingVector] = {}
    for address in sorted(library.get_vector(address).address for address in addresses):
        _collect(library, library.get_vector(address), vectors)
    entries: dict[str, bytes] = {}
    for vector in vectors.values():
        for entry, digest in _entries_of(as_json(vector)):
            entries[entry] = library.blobs.get(digest)
    manifest = {
        "format": ARCHIVE_FORMAT,
        "format_version": ARCHIVE_FORMAT_VERSION,
        "vectors": [_record(vector) for vector in vectors.values()],
    }
    text = json.dumps(manifest, sort_keys=True, indent=1, ensure_ascii=False)
    write_atomically(path, _zip({MANIFEST_ENTRY: text.encode(), **dict(sorted(entries.items()))}))
    return list(vectors.values())


def import_library(library: Library, path: Path, *, reason: str = "") -> list[ImportedVector]:
    """Installs every vector of an archive, or none.

    A vector keeps its version where that is free here. Equal content is not stored twice, and a
    version that is taken by other content makes the vector the next version.

    Args:
        library: must hold the classes, with the same generators.
        path: the archive.
        reason: why, for the history.

    Raises:
        ExchangeError: the archive is damaged, or not one of ours.
        CompatibilityError: it is for another generator; shows both digests.
        ClassNotFoundError: the library lacks the class.
    """
    contents = _read_archive(path)
    of = f"archive {path}"
    manifest = Fields(_json(contents.pop(MANIFEST_ENTRY), of=of), of=of, error=ExchangeError)
    _check_format(manifest, of=of)
    records = manifest.objects("vectors")
    expected = {
        entry: digest
        for record in manifest.items("vectors")
        for entry, digest in _entries_of(_checked_digests(record, of=of))
    }
    _check_entries(contents, expected, of=of)
    parcels = [_parcel(library, record, contents) for record in records]
    stored = library.add_vectors(parcels, reason=reason or f"import of {path.name}")
    return [
        ImportedVector(parcel.archived_as or "", one.vector, one.is_new)
        for parcel, one in zip(parcels, stored, strict=True)
    ]


# --- export ---


def _collect(library: Library, vector: EditingVector, vectors: dict[str, EditingVector]) -> None:
    """Adds a vector after its terms, each once."""
    if vector.address not in vectors:
        for term in vector.terms:
            _collect(library, library.get_vector(term.address), vectors)
        vectors[vector.address] = vector


def _record(vector: EditingVector) -> dict[str, Any]:
    """A vector's record without what only this library knows."""
    record: dict[str, Any] = as_json(vector)
    del record["id"], record["class_version"]
    return record


def _entries_of(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The archive entry and the digest of each blob that a record names."""
    yield f"blobs/{record['delta_digest']}.safetensors", record["delta_digest"]
    for pair in record["pairs"]:
        for key in ("image_digest", "mask_before_digest", "mask_after_digest"):
            yield f"blobs/{pair[key]}.png", pair[key]
        if pair["source_ws_digest"] is not None:
            yield f"blobs/{pair['source_ws_digest']}.safetensors", pair["source_ws_digest"]


def _zip(entries: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, data in entries.items():
            info = zipfile.ZipInfo(name, _FIXED_TIME)
            info.create_system = 3
            info.external_attr = 0o644 << 16
            archive.writestr(info, data)
    return stream.getvalue()


# --- import: the container ---


def _read_archive(path: Path) -> dict[str, bytes]:
    """Every entry's bytes, by name; refuses what could be a trap before it reads anything."""
    of = f"archive {path}"
    try:
        if path.stat().st_size > MAX_ARCHIVE_BYTES:
            raise ExchangeError(f"{of}: larger than {MAX_ARCHIVE_BYTES >> 30} GiB")
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            _check_infos(infos, of=of)
            return {info.filename: archive.read(info) for info in infos}
    except zipfile.BadZipFile as exc:
        raise ExchangeError(f"{of}: not a zip archive, or damaged ({exc})") from exc
    except (EOFError, NotImplementedError, RuntimeError, ValueError) as exc:
        if isinstance(exc, ExchangeError):
            raise
        raise ExchangeError(f"{of}: cannot be read ({exc})") from exc
    except OSError as exc:
        raise ExchangeError(f"{of}: {exc.strerror or exc}") from exc


def _check_infos(infos: Sequence[zipfile.ZipInfo], *, of: str) -> None:
    names = [info.filename for info in infos]
    if len(names) > MAX_ENTRIES or len(set(names)) != len(names):
        raise ExchangeError(f"{of}: too many entries, or two of the same name")
    if MANIFEST_ENTRY not in names:
        raise ExchangeError(f"{of}: it has no {MANIFEST_ENTRY}, so editvec did not make it")
    for info in infos:
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise ExchangeError(f"{of}: entry {info.filename!r}: expected it uncompressed")
        if info.file_size > MAX_ENTRY_BYTES:
            raise ExchangeError(
                f"{of}: entry {info.filename!r}: larger than {MAX_ENTRY_BYTES >> 20} MiB"
            )


def _json(data: bytes, *, of: str) -> object:
    try:
        content: object = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise ExchangeError(f"{of}: {MANIFEST_ENTRY} is not JSON ({exc})") from exc
    return content


def _check_format(manifest: Fields, *, of: str) -> None:
    if manifest.text("format") != ARCHIVE_FORMAT:
        raise ExchangeError(f'{of}: expected "format": "{ARCHIVE_FORMAT}"')
    if (version := manifest.integer("format_version", 1, 1 << 30)) != ARCHIVE_FORMAT_VERSION:
        raise ExchangeError(
            f"{of}: this release reads format_version {ARCHIVE_FORMAT_VERSION}, got {version}"
        )


def _checked_digests(record: object, *, of: str) -> dict[str, Any]:
    """The part of a record that names blobs, checked."""
    fields = Fields(record, of=of, error=ExchangeError)
    return {
        "delta_digest": fields.digest("delta_digest"),
        "pairs": [
            {
                "image_digest": pair.digest("image_digest"),
                "mask_before_digest": pair.digest("mask_before_digest"),
                "mask_after_digest": pair.digest("mask_after_digest"),
                "source_ws_digest": pair.optional_digest("source_ws_digest"),
            }
            for pair in fields.objects("pairs")
        ],
    }


def _check_entries(contents: dict[str, bytes], expected: dict[str, str], *, of: str) -> None:
    """The archive holds exactly the blobs that its records name, with those digests."""
    if surplus := sorted(contents.keys() - expected.keys()):
        raise ExchangeError(f"{of}: unexpected entry {surplus[0]!r}")
    if missing := sorted(expected.keys() - contents.keys()):
        raise ExchangeError(f"{of}: entry {missing[0]!r} is missing")
    for name, digest in expected.items():
        if digest_of(contents[name]) != digest:
            raise ExchangeError(f"{of}: entry {name!r}: its bytes were altered")


# --- import: the records ---


def _parcel(library: Library, record: Fields, contents: dict[str, bytes]) -> VectorParcel:
    class_name = record.name("class_name")
    model = library.get_class_of_generator(
        class_name, record.digest("generator_digest"), bundle_digest=record.digest("bundle_digest")
    )
    name = record.name("name")
    archived_as = f"{class_name}/{name}@{record.integer('version', 1, 999_999_999)}"
    return VectorParcel(
        new=_new_vector(record, name, model),
        delta=_latent(record.digest("delta_digest"), contents, of=f"delta of {archived_as}"),
        pairs=tuple(_pair(pair, contents) for pair in record.objects("pairs")),
        metrics=tuple(_metric(metric) for metric in record.objects("metrics")),
        terms=tuple(_term(term) for term in record.objects("terms")),
        archived_as=archived_as,
    )


def _new_vector(record: Fields, name: str, model: ClassModel) -> NewVector:
    return NewVector(
        class_name=model.address,
        name=name,
        kind=record.text("kind"),
        latent_space=record.text("latent_space"),
        generator_digest=record.digest("generator_digest"),
        row_mask=record.booleans("row_mask"),
        roi_labels=record.texts("roi_labels"),
        roi_policy=record.text("roi_policy"),
        dilation=record.integer("dilation", 0, 8192),
        settings=record.mapping("settings"),
        default_scale=record.number("default_scale"),
        scale_min=record.optional_number("scale_min"),
        scale_max=record.optional_number("scale_max"),
        license=record.text("license"),
        description=record.text("description"),
        tags=record.texts("tags"),
        created_at=record.instant("created_at"),
        created_by=record.text("created_by"),
    )


def _pair(pair: Fields, contents: dict[str, bytes]) -> NewMaskPair:
    source_ws = pair.optional_digest("source_ws_digest")
    return NewMaskPair(
        image_png=contents[f"blobs/{pair.digest('image_digest')}.png"],
        mask_before_png=contents[f"blobs/{pair.digest('mask_before_digest')}.png"],
        mask_after_png=contents[f"blobs/{pair.digest('mask_after_digest')}.png"],
        source_ws=None if source_ws is None else _latent(source_ws, contents, of="source ws"),
    )


def _metric(metric: Fields) -> Metric:
    return Metric(
        name=metric.name("name"),
        value=metric.number("value"),
        direction=metric.text("direction"),
        backbone=metric.optional_text("backbone"),
        sample_count=metric.integer("sample_count", 1, 1 << 31),
        probe_set=metric.optional_text("probe_set"),
        settings=metric.mapping("settings"),
        measured_at=metric.instant("measured_at"),
    )


def _term(term: Fields) -> Term:
    address = term.text("address")
    try:
        parse_address(address)
    except InvalidNameError as exc:
        raise term.refuse("address", "an address") from exc
    return Term(address=address, scale=term.number("scale"), row_mask=term.booleans("row_mask"))


def _latent(digest: str, contents: dict[str, bytes], *, of: str) -> Any:
    return codec.decode_latent(contents[f"blobs/{digest}.safetensors"], of=of)
