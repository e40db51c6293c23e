"""Exports and imports vectors as one archive: JSON, safetensors and PNGs, all by digest.

The same vectors give the same bytes. An archive carries everything that belongs to a vector. What
it does not carry are aliases, retirement and history: those are decisions of one library, and it
takes its own about what it imports.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from editvec.outputs import OutputFile
from editvec.registry.addresses import parse_class_address
from editvec.registry.composition.compose import MAX_SCALE
from editvec.registry.entities.vectors import EditingVector, StoredVector, TermRole, VectorParcel
from editvec.registry.errors import CompositionError, ExchangeError
from editvec.registry.json_fields import Fields
from editvec.registry.library.library import Library
from editvec.registry.sharing.archives import (
    archive_bytes,
    check_entries,
    read_archive,
)
from editvec.registry.sharing.records import blobs_of, parcel_of, record_of


@dataclass(frozen=True)
class ImportedVector:
    """What became of one vector of an archive, or would become of it.

    Attributes:
        archived_as: its address in the archive.
        vector: the vector of this library that holds it.
        is_new: False when equal content was here before.
        is_renumbered: True when it has another version here: its own is taken, or equal content
            has another one.
    """

    archived_as: str
    vector: EditingVector
    is_new: bool
    is_renumbered: bool


def export_library(
    library: Library, path: Path | OutputFile, addresses: Sequence[str]
) -> list[EditingVector]:
    """Writes vectors, and those that they are composed of, to one archive.

    Args:
        library: where they are.
        path: the archive; it appears whole, and replaces an older one of ours.
        addresses: at least one.

    Returns:
        What the archive holds, parts before what is composed of them.

    Raises:
        VectorNotFoundError: an address that the library does not hold.
        OutputError: at `path` lies another file, or it cannot be written.
        BlobError: a blob is missing or was altered.
    """
    target = path if isinstance(path, OutputFile) else OutputFile(path)
    if not addresses:
        raise ExchangeError("export: expected one vector at least")
    vectors: dict[str, EditingVector] = {}
    for address in sorted(library.get_vector(address).address for address in addresses):
        _collect(library, library.get_vector(address), vectors)
    records = [record_of(vector) for vector in vectors.values()]
    target.check()
    entries = {
        entry: library.blobs.get(digest)
        for record in records
        for entry, digest in blobs_of(Fields(record, of="export", error=ExchangeError))
    }
    target.write(archive_bytes({"vectors": records}, entries))
    return list(vectors.values())


def import_library(library: Library, path: Path, *, reason: str = "") -> list[ImportedVector]:
    """Installs every vector of an archive, or none.

    Everything is verified before the first write. A vector keeps its version where that is free
    here. Equal content is not stored twice, and a version that is taken by other content makes the
    vector the next version.

    Args:
        library: must hold the classes, with the same generators.
        path: the archive.
        reason: why, for the history.

    Raises:
        ExchangeError: the archive is damaged, or not one of ours, or a composition of it is not the
            sum of its terms.
        CompatibilityError: it is for another generator; shows both digests.
        ClassNotFoundError: the library lacks the class.
        RegistryError: as `Library.add_vectors` does.
    """
    parcels = _read_parcels(library, path)
    with _named(path):
        stored = library.add_vectors(parcels, reason=reason or f"import of {path.name}")
    return _outcomes(parcels, stored)


def rehearse_import(library: Library, path: Path) -> list[ImportedVector]:
    """What `import_library` would do now; verifies as much, and writes nothing.

    Raises:
        RegistryError: as `import_library` does.
    """
    parcels = _read_parcels(library, path)
    with _named(path):
        stored = library.rehearse_vectors(parcels)
    return _outcomes(parcels, stored)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Says of a composition that is not the sum of its terms which archive it is in."""
    try:
        yield
    except CompositionError as exc:
        raise ExchangeError(f"archive {path}: {exc}") from exc


def _collect(library: Library, vector: EditingVector, vectors: dict[str, EditingVector]) -> None:
    """Adds a vector after its terms, each once."""
    if vector.address not in vectors:
        for term in vector.terms:
            _collect(library, library.get_vector(term.address), vectors)
        vectors[vector.address] = vector


def _read_parcels(library: Library, path: Path) -> list[VectorParcel]:
    """The vectors of an archive, with everything checked but what `Library.add_vectors` checks."""
    archive = read_archive(path)
    records, of = archive.manifest.objects("vectors"), f"archive {path}"
    expected = {entry: digest for record in records for entry, digest in blobs_of(record)}
    check_entries(archive.entries, expected, of=of)
    parcels: dict[str, VectorParcel] = {}
    for record in records:
        parcel = parcel_of(library, record, archive.entries)
        address = parcel.archived_as or ""
        if address in parcels:
            raise ExchangeError(f"{of}: two vectors are {address}")
        if parcel.terms:
            _check_terms(parcel, parcels, of=f"{of}: {address}")
        parcels[address] = parcel
    return list(parcels.values())


def _check_terms(parcel: VectorParcel, known: Mapping[str, VectorParcel], *, of: str) -> None:
    """Checks that the archive holds the terms of a composition before it, and of its own kind.

    Raises:
        ExchangeError: a term is missing, is of another class or shape, or has too large a scale.
    """
    for term in parcel.terms:
        source = known.get(term.address)
        if source is None:
            raise ExchangeError(f"{of}: its term {term.address} does not come before it")
        for what, mine, theirs in (
            ("class", _class_name(parcel), _class_name(source)),
            ("generator", parcel.new.generator_digest, source.new.generator_digest),
            ("shape", list(parcel.delta.shape), list(source.delta.shape)),
        ):
            if mine != theirs:
                raise ExchangeError(
                    f"{of}: its term {term.address} has {what} {theirs}, it has {mine}"
                )
        if len(term.row_mask or ()) != len(parcel.delta):
            raise ExchangeError(
                f"{of}: its term {term.address}: expected a row mask of {len(parcel.delta)} rows, "
                f"got {len(term.row_mask or ())}"
            )
        # what projecting a condition out took is computed, and may be any number
        if term.role is TermRole.SUM and abs(term.scale) > MAX_SCALE:
            raise ExchangeError(f"{of}: scale {term.scale:g} is beyond {MAX_SCALE:g}")


def _class_name(parcel: VectorParcel) -> str:
    return parse_class_address(parcel.new.class_name)[0]


def _outcomes(
    parcels: Sequence[VectorParcel], stored: Sequence[StoredVector]
) -> list[ImportedVector]:
    return [
        ImportedVector(
            parcel.archived_as or "",
            one.vector,
            one.is_new,
            one.vector.address != parcel.archived_as,
        )
        for parcel, one in zip(parcels, stored, strict=True)
    ]
