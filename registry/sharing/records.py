"""The records of an archive: what it says of each vector, and the vector that this makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from editvec.json_codec import as_json
from editvec.registry import codec
from editvec.registry.addresses import MAX_VERSION, parse_address
from editvec.registry.entities.classes import ClassModel
from editvec.registry.entities.metrics import Metric
from editvec.registry.entities.vectors import (
    EditingVector,
    FloatArray,
    LatentSpace,
    NewMaskPair,
    NewVector,
    OriginalFile,
    RoiPolicy,
    Term,
    TermRole,
    VectorParcel,
)
from editvec.registry.errors import InvalidNameError
from editvec.registry.json_fields import Fields
from editvec.registry.library.library import Library
from editvec.registry.library.parcels import base_name

# What only one library knows: its numbers, and its decisions about a vector.
_OF_ONE_LIBRARY = ("id", "class_version", "aliases", "retired_at")


def record_of(vector: EditingVector) -> dict[str, Any]:
    """A vector's record, without what only its library knows."""
    record: dict[str, Any] = as_json(vector)
    for key in _OF_ONE_LIBRARY:
        del record[key]
    return record


def blobs_of(record: Fields) -> Iterator[tuple[str, str]]:
    """The archive entry and the digest of each blob that a record names.

    Raises:
        ExchangeError: what should be a digest is none.
    """
    yield _latent_entry(delta := record.digest("delta_digest")), delta
    for key, entry in (
        ("brush_digest", _picture_entry),
        ("original_digest", _original_entry),
        ("preview_digest", _picture_entry),
    ):
        if (digest := record.optional_digest(key)) is not None:
            yield entry(digest), digest
    for pair in record.objects("pairs"):
        for key in ("image_digest", "mask_before_digest", "mask_after_digest"):
            yield _picture_entry(digest := pair.digest(key)), digest
        if (source_ws := pair.optional_digest("source_ws_digest")) is not None:
            yield _latent_entry(source_ws), source_ws


def parcel_of(library: Library, record: Fields, entries: Mapping[str, bytes]) -> VectorParcel:
    """The vector that a record and its blobs make.

    Args:
        library: must hold the class, with the same generator.
        record: of the archive.
        entries: bytes by entry; those that the record names are there.

    Raises:
        ExchangeError: a field is missing, or has a wrong value.
        CodecError: the delta or a source ws cannot be read.
        CompatibilityError: it is for another generator; shows both digests.
        ClassNotFoundError: the library lacks the class.
    """
    class_name = record.name("class_name")
    model = library.get_class_of_generator(
        class_name, record.digest("generator_digest"), bundle_digest=record.digest("bundle_digest")
    )
    name = record.name("name")
    archived_as = f"{class_name}/{name}@{record.integer('version', 1, MAX_VERSION)}"
    if record.text("address") != archived_as:
        raise record.refuse("address", archived_as)
    return VectorParcel(
        new=_new_vector(record, name, model),
        delta=_delta(record, entries, of=f"delta of {archived_as}"),
        pairs=tuple(_pair(pair, entries) for pair in record.objects("pairs")),
        metrics=tuple(_metric(metric) for metric in record.objects("metrics")),
        terms=tuple(_term(term) for term in record.objects("terms")),
        brush_png=_optional(record, "brush_digest", _picture_entry, entries),
        original=_original(record, entries),
        preview_png=_optional(record, "preview_digest", _picture_entry, entries),
        archived_as=archived_as,
    )


def _new_vector(record: Fields, name: str, model: ClassModel) -> NewVector:
    return NewVector(
        class_name=model.address,
        name=name,
        kind=record.text("kind"),
        latent_space=record.one_of("latent_space", LatentSpace),
        generator_digest=record.digest("generator_digest"),
        row_mask=record.booleans("row_mask"),
        roi_labels=record.texts("roi_labels"),
        roi_policy=record.one_of("roi_policy", RoiPolicy),
        dilation=record.integer("dilation", 0, 8192),
        settings=record.mapping("settings"),
        default_scale=record.number("default_scale"),
        scale_min=record.optional_number("scale_min"),
        scale_max=record.optional_number("scale_max"),
        license=record.text("license"),
        description=record.text("description"),
        tags=record.texts("tags"),
        engine_version=record.text("engine_version", ""),
        kernel_version=record.text("kernel_version", ""),
        created_at=record.instant("created_at"),
        created_by=record.text("created_by"),
    )


def _delta(record: Fields, entries: Mapping[str, bytes], *, of: str) -> FloatArray:
    delta = _latent(record.digest("delta_digest"), entries, of=of)
    rows, columns = record.integer("num_ws", 1, 1 << 16), record.integer("w_dim", 1, 1 << 16)
    return codec.check_shape(delta, (rows, columns), of=of)


def _original(record: Fields, entries: Mapping[str, bytes]) -> OriginalFile | None:
    data = _optional(record, "original_digest", _original_entry, entries)
    if data is None:
        return None
    name = record.text("original_name")
    if name != base_name(name):
        raise record.refuse("original_name", "the name of a file, without folders")
    return OriginalFile(name=name, data=data)


def _pair(pair: Fields, entries: Mapping[str, bytes]) -> NewMaskPair:
    source_ws = pair.optional_digest("source_ws_digest")
    return NewMaskPair(
        image_png=entries[_picture_entry(pair.digest("image_digest"))],
        mask_before_png=entries[_picture_entry(pair.digest("mask_before_digest"))],
        mask_after_png=entries[_picture_entry(pair.digest("mask_after_digest"))],
        source_ws=None if source_ws is None else _latent(source_ws, entries, of="source ws"),
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
    # an archive without roles is older than conditions
    role = TermRole.SUM if term.is_silent("role") else term.one_of("role", TermRole)
    return Term(
        address=address,
        scale=term.number("scale"),
        row_mask=term.booleans("row_mask"),
        role=role,
    )


def _latent(digest: str, entries: Mapping[str, bytes], *, of: str) -> FloatArray:
    return codec.decode_latent(entries[_latent_entry(digest)], of=of)


def _optional(record: Fields, key: str, entry: Any, entries: Mapping[str, bytes]) -> bytes | None:
    digest = record.optional_digest(key)
    return None if digest is None else entries[entry(digest)]


def _latent_entry(digest: str) -> str:
    return f"blobs/{digest}.safetensors"


def _picture_entry(digest: str) -> str:
    return f"blobs/{digest}.png"


def _original_entry(digest: str) -> str:
    return f"originals/{digest}"
