"""The library: classes, editing vectors and embeddings, in SQL and blobs.

The only place that reads and writes the library's tables (its SELECTs are in selects.py). Every
method is one transaction; blobs go first, because an unused blob does no harm and a row without
its blob does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
from sqlalchemy import Engine

from registry import codec, composition, embeddings, inserts, selects
from registry.blobs import BlobStore, open_blob_store, put_all
from registry.bundles import lay_out, read_manifest, verify_files
from registry.composition import PlannedComposition
from registry.config import RegistryConfig
from registry.database import open_engine, reading, serialise, transaction
from registry.entities import (
    ClassModel,
    EditingVector,
    Embedding,
    FloatArray,
    HistoryEntry,
    Kind,
    NewMaskPair,
    NewMetric,
    NewTerm,
    NewVector,
    StoredVector,
    VectorParcel,
    parse_address,
)
from registry.errors import (
    BundleFormatError,
    CompatibilityError,
    CompositionError,
)
from registry.models import VectorRow
from registry.parcels import (
    CheckedParcel,
    ParcelDigests,
    check_parcel,
    contents_of,
    name_digests,
)
from registry.records import class_model, editing_vector, history_entry, one_of
from registry.schema import ensure_current


class Library:
    """A library of class models and editing vectors.

    Attributes:
        config: where it lives.
        engine: the database; the runs keep their tables there too.
        blobs: the content-addressed bytes.

    Example:
        >>> with Library.open(RegistryConfig.from_environment()) as library:  # doctest: +SKIP
        ...     smile = library.get_vector("avatars/smile")
        ...     delta = library.delta(smile)  # float32 [num_ws, w_dim]
    """

    def __init__(self, config: RegistryConfig, engine: Engine, blobs: BlobStore) -> None:
        self.config = config
        self.engine = engine
        self.blobs = blobs

    @classmethod
    def open(cls, config: RegistryConfig) -> Library:
        """Opens a library; the home folder's own is created and upgraded on first use.

        Raises:
            SchemaError: the named database has no tables, or those of another release.
            DatabaseError: the database cannot be reached.
        """
        engine = open_engine(config.database_url)
        try:
            ensure_current(config, engine)
            return cls(config, engine, open_blob_store(config.blob_url))
        except BaseException:
            engine.dispose()
            raise

    def close(self) -> None:
        """Closes the database connections."""
        self.engine.dispose()

    def __enter__(self) -> Library:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- class models ---

    def classes(self) -> list[ClassModel]:
        """Every version of every class, by name and version."""
        with reading(self.engine) as session:
            return [class_model(row) for row in session.scalars(selects.all_classes())]

    def get_class(self, address: str | None = None) -> ClassModel:
        """The class model at `name@version`; `name` means the latest version.

        Args:
            address: None means the only class that there is.

        Raises:
            ClassNotFoundError: there is none, or None does not say which.
            InvalidNameError: not an address.
        """
        with reading(self.engine) as session:
            return class_model(selects.find_class(session, address))

    def get_class_of_generator(
        self, class_name: str, generator_digest: str, *, bundle_digest: str | None = None
    ) -> ClassModel:
        """The version of a class that holds a generator: with that bundle, else the latest one.

        Raises:
            ClassNotFoundError: no such class.
            CompatibilityError: the class has other generators only; shows both digests.
        """
        with reading(self.engine) as session:
            latest = selects.find_class(session, class_name)
            query = selects.classes_of_generator(latest.name, generator_digest)
            rows = list(session.scalars(query))
            if not rows:
                raise CompatibilityError(
                    f"expected generator {generator_digest}, class {latest.name}@{latest.version} "
                    f"has generator {latest.generator_digest}"
                )
            same = [row for row in rows if row.bundle_digest == bundle_digest]
            return class_model((same or rows)[0])

    def add_bundle(self, folder: Path, *, created_by: str | None = None) -> ClassModel:
        """Stores a class bundle; its files become blobs.

        Returns:
            The new version of the class, or the version that holds this very bundle.

        Raises:
            BundleFormatError: the folder is no valid bundle, or a file was altered.
        """
        manifest = read_manifest(folder)
        verify_files(folder, manifest)
        for file in manifest.files:
            if self.blobs.put_file(folder / file.name) != file.digest:
                raise BundleFormatError(f"bundle {folder}: {file.name} changed while it was read")
        with transaction(self.engine) as session:
            # one lock for all classes: the bundle digest is unique over all of them
            serialise(session, "classes")
            user = created_by or inserts.current_user()
            return class_model(inserts.add_class(session, manifest, by=user))

    def materialise_bundle(self, model: ClassModel) -> Path:
        """Lays a bundle out as files, once per home folder; appears whole or not at all.

        Returns:
            A folder as the engine reads it. Its files must not be changed.

        Raises:
            BlobError: a file is missing from the blob store, or was altered there.
        """
        return lay_out(model, self.blobs, self.config.bundle_folder / model.bundle_digest)

    # --- vectors ---

    def add_vector(
        self,
        new: NewVector,
        delta: npt.ArrayLike,
        *,
        pairs: Sequence[NewMaskPair] = (),
        metrics: Sequence[NewMetric] = (),
        terms: Sequence[NewTerm] = (),
        reason: str = "",
    ) -> EditingVector:
        """Stores a vector with its pairs, metrics and terms in one transaction.

        Versions are free of races. Equal content (generator, delta, rows, ROI) answers with the
        version that holds it; other content makes the next version.

        Args:
            new: the vector's record.
            delta: [num_ws, w_dim] or [1, num_ws, w_dim], any float dtype; rows outside the row
                mask are stored as zeros.
            pairs: what it was learned from.
            metrics: how good it is.
            terms: what it was composed of.
            reason: why, for the history.

        Raises:
            ConflictError: `new.version` holds other content.
            RegistryError: a child that says what is wrong with the class, a name, a part, the
                delta, a mask, a number or a term.
        """
        parcel = VectorParcel(
            new=new,
            delta=np.asarray(delta),
            pairs=tuple(pairs),
            metrics=tuple(metrics),
            terms=tuple(terms),
        )
        return self.add_vectors([parcel], reason=reason)[0].vector

    def add_vectors(
        self, parcels: Sequence[VectorParcel], *, reason: str = ""
    ) -> list[StoredVector]:
        """Stores several vectors in one transaction: all of them or none.

        Raises:
            RegistryError: as `add_vector` does.
        """
        checked = [
            check_parcel(parcel, self.get_class(parcel.new.class_name)) for parcel in parcels
        ]
        digests = self._put_blobs(checked)
        stored: dict[str, VectorRow] = {}
        user = inserts.current_user()
        with transaction(self.engine) as session:
            for subject in sorted({f"{one.model.name}/{one.new.name}" for one in checked}):
                serialise(session, f"vector {subject}")
            return [
                inserts.add_vector(session, one, blobs, stored=stored, by=user, reason=reason)
                for one, blobs in zip(checked, digests, strict=True)
            ]

    def get_vector(self, address: str, *, class_name: str | None = None) -> EditingVector:
        """The vector at `class/name@version`; without a version, the latest.

        Args:
            address: the class may be left out where `class_name` gives it, or where the library
                holds one class only.
            class_name: the class for an address without one.

        Raises:
            VectorNotFoundError: no such vector or version; close names are suggested.
            ClassNotFoundError: no such class, or it must be named.
            InvalidNameError: not an address.
        """
        with reading(self.engine) as session:
            return editing_vector(selects.find_vector_text(session, address, class_name))

    def find_vectors(
        self,
        *,
        class_name: str | None = None,
        name_glob: str | None = None,
        roi_label: str | None = None,
        kind: Kind | str | None = None,
        tag: str | None = None,
        limit: int | None = None,
    ) -> list[EditingVector]:
        """The vectors that pass every given filter, by class, name and version.

        Args:
            class_name: of this class.
            name_glob: name as a glob with `*` and `?`.
            roi_label: with this part in the ROI.
            kind: learned, imported or composed.
            tag: with this tag.
            limit: at most so many.

        Raises:
            ClassNotFoundError: no such class.
            LabelNotFoundError: no class, or not that one, has such a part.
            RecordError: no such kind.
        """
        kind = None if kind is None else one_of(Kind, kind, of="kind")
        with reading(self.engine) as session:
            if class_name is not None:
                class_name = selects.find_class(session, class_name).name
            if roi_label is not None:
                selects.check_label(session, roi_label, class_name)
            query = selects.vectors(
                class_name=class_name,
                name_glob=name_glob,
                roi_label=roi_label,
                kind=kind,
                tag=tag,
                limit=limit,
            )
            return [editing_vector(row) for row in session.scalars(query)]

    def delta(self, vector: EditingVector) -> FloatArray:
        """The delta of a vector, float32 [num_ws, w_dim], verified.

        Raises:
            BlobError: its bytes are missing or were altered.
            CodecError: its bytes are no delta of that shape.
        """
        data = self.blobs.get(vector.delta_digest)
        return codec.check_delta(
            codec.decode_latent(data, of=f"delta of {vector.address}"),
            num_ws=vector.num_ws,
            w_dim=vector.w_dim,
            of=f"delta of {vector.address}",
        )

    # --- composition ---

    def plan_composition(
        self, terms: Sequence[NewTerm], *, class_name: str | None = None
    ) -> PlannedComposition:
        """Sums the terms and measures how they work together; stores nothing.

        A term that is a composition itself counts as its own terms, scaled.

        Raises:
            CompositionError: no terms, a bad scale, or a sum that cancels to zero.
            CompatibilityError: terms of different classes or generators.
        """
        return composition.plan(self, terms, class_name=class_name)

    def compose(
        self,
        address: str,
        terms: Sequence[NewTerm],
        *,
        class_name: str | None = None,
        roi_labels: Sequence[str] | None = None,
        license: str = "",  # noqa: A002 (the record's word)
        description: str = "",
        tags: Sequence[str] = (),
        reason: str = "",
    ) -> EditingVector:
        """Stores the weighted sum of vectors as a new vector, with its terms.

        Args:
            address: `class/name` or `name` of the new vector.
            terms: at least one.
            class_name: the class for addresses without one.
            roi_labels: None means the union of the terms' ROIs, in the order of the scheme.
            license: of the new vector.
            description: of the new vector.
            tags: of the new vector.
            reason: why, for the history.

        Raises:
            CompositionError: as `plan_composition` does.
            CompatibilityError: as `plan_composition` does.
        """
        wanted = parse_address(address)
        planned = self.plan_composition(terms, class_name=wanted.class_name or class_name)
        if wanted.class_name not in (None, planned.model.name):
            raise CompositionError(
                f"composition {address}: the terms are of class {planned.model.name}"
            )
        new = NewVector(
            class_name=planned.model.address,
            name=wanted.name,
            version=wanted.version,
            kind=Kind.COMPOSED,
            roi_labels=tuple(roi_labels or planned.report.roi_labels),
            row_mask=planned.row_mask,
            dilation=planned.dilation,
            license=license,
            description=description,
            tags=tuple(tags),
        )
        return self.add_vector(new, planned.delta, terms=planned.terms, reason=reason)

    # --- embeddings and history ---

    def get_embeddings(
        self, image_digests: Sequence[str], *, bundle_digest: str, settings_key: str
    ) -> dict[str, Embedding]:
        """The cached embeddings of these images, by image digest; what is not held is left out."""
        return embeddings.read_embeddings(
            self.engine,
            self.blobs,
            image_digests,
            bundle_digest=bundle_digest,
            settings_key=settings_key,
        )

    def put_embeddings(self, batch: Iterable[Embedding]) -> None:
        """Adds embeddings to the cache, in one transaction.

        Raises:
            RecordError: a key that is no digest.
            CodecError: ws with NaN or of another dtype.
        """
        embeddings.write_embeddings(self.engine, self.blobs, batch)

    def history(self, subject: str | None = None) -> list[HistoryEntry]:
        """Who did what, when and why, oldest first; of one address, or of everything."""
        with reading(self.engine) as session:
            return [history_entry(row) for row in session.scalars(selects.history(subject))]

    def _put_blobs(self, parcels: Sequence[CheckedParcel]) -> list[ParcelDigests]:
        """Stores the bytes of all parcels together."""
        contents = [contents_of(checked) for checked in parcels]
        flat = [data for content in contents for data in content]
        digests = iter(put_all(self.blobs, flat))
        return [name_digests(checked, digests) for checked in parcels]
