"""The library: classes, editing vectors and embeddings, in SQL and blobs.

The only place that reads and writes the library's tables (its SELECTs are in selects.py). Every
method is one transaction; blobs go first, because an unused blob does no harm and a row without
its blob does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from editvec.registry.addresses import parse_new_address
from editvec.registry.blobs.opening import open_blob_store
from editvec.registry.blobs.store import BlobStore
from editvec.registry.config import RegistryConfig
from editvec.registry.entities.classes import ClassModel
from editvec.registry.entities.metrics import NewMetric
from editvec.registry.entities.vectors import (
    Condition,
    EditingVector,
    Embedding,
    FloatArray,
    NewMaskPair,
    NewTerm,
    NewVector,
    StoredVector,
    VectorParcel,
)
from editvec.registry.errors import BundleFormatError, CompatibilityError
from editvec.registry.library import selects
from editvec.registry.library.groups import ClassGroups
from editvec.registry.library.marks import VectorMarks
from editvec.registry.library.measurements import ScaleRanges, VectorMetrics
from editvec.registry.library.records import class_model, editing_vector
from editvec.registry.library.references import storing
from editvec.registry.library.search import VectorSearch
from editvec.registry.tables.database import open_engine, reading, rehearsal, serialise
from editvec.registry.tables.schema import ensure_current

# A listing must start as fast as its database allows: what loads numpy or pictures is imported
# by the methods that need it.
if TYPE_CHECKING:
    import numpy.typing as npt

    from editvec.registry.composition.compose import PlannedComposition
    from editvec.registry.library.parcels import CheckedParcel


class Library(VectorMarks, VectorMetrics, ScaleRanges, VectorSearch, ClassGroups):
    """A library of class models and editing vectors.

    Attributes:
        config: where it lives.
        engine: the database; the runs keep their tables there too.
        blobs: the content-addressed bytes.

    Example:
        >>> from editvec.registry.config import RegistryConfig
        >>> with Library.open(RegistryConfig.from_environment()) as library:
        ...     smile = library.get_vector("avatars/smile")
        ...     delta = library.delta(smile)
        >>> smile.address, smile.roi_labels, delta.shape
        ('avatars/smile@1', ('mouth', 'teeth'), (6, 4))
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

    def __exit__(self, *error: object) -> None:
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

        The bytes are verified here. That networks can be built of them is for the engine to tell,
        which the library does not know: `editvec.batch.classes.adding.add_bundle` asks it first.

        Returns:
            The new version of the class, or the version that holds this very bundle.

        Raises:
            BundleFormatError: the folder is no valid bundle, or a file was altered.
        """
        from editvec.registry.bundles.manifest import read_manifest, verify_files
        from editvec.registry.library import inserts

        manifest = read_manifest(folder)
        verify_files(folder, manifest)
        files = [folder / file.name for file in manifest.files]
        with storing(self.engine, self.blobs, files) as (session, digests):
            for file, digest in zip(manifest.files, digests, strict=True):
                if digest != file.digest:
                    raise BundleFormatError(
                        f"bundle {folder}: {file.name} changed while it was read"
                    )
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
        from editvec.registry.bundles.manifest import lay_out

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
            delta: [num_ws, w_dim] or [1, num_ws, w_dim], any float dtype; [1, z_dim] in Z and
                [1, channels] in S. Rows outside the row mask are stored as zeros.
            pairs: what it was learned from.
            metrics: how good it is.
            terms: what it was composed of: the delta must be the sum of these, and the row mask
                that of the rows which the sum touches; None takes that.
            reason: why, for the history.

        Raises:
            ConflictError: `new.version` holds other content.
            CompositionError: the delta or the row mask does not follow from the terms.
            RegistryError: a child that says what is wrong with the class, a name, a part, the
                delta, a mask, a number or a term.

        Example:
            >>> import numpy as np
            >>> from editvec.registry.entities.vectors import NewVector
            >>> new = NewVector(class_name="avatars", name="grin", roi_labels=("mouth",))
            >>> library.add_vector(new, np.ones((6, 4)), reason="a first try").address
            'avatars/grin@1'
            >>> library.add_vector(new, np.full((6, 4), 0.5), reason="milder").address
            'avatars/grin@2'
            >>> library.add_vector(new, np.ones((6, 4))).address  # equal content: nothing new
            'avatars/grin@1'
        """
        import numpy as np

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
        from editvec.registry.library import inserts
        from editvec.registry.library.parcels import contents_of

        checked = self._checked(parcels)
        contents = [data for one in checked for data in contents_of(one)]
        with storing(self.engine, self.blobs, contents) as (session, digests):
            return inserts.add_vectors(session, checked, digests, reason=reason)

    def rehearse_vectors(self, parcels: Sequence[VectorParcel]) -> list[StoredVector]:
        """What `add_vectors` would answer now; stores nothing.

        Raises:
            RegistryError: as `add_vectors` does.
        """
        from editvec.registry.library import inserts
        from editvec.registry.library.parcels import contents_of
        from editvec.whole_files import digest_of

        checked = self._checked(parcels)
        digests = [digest_of(data) for one in checked for data in contents_of(one)]
        with rehearsal(self.engine) as session:
            return inserts.add_vectors(session, checked, digests, reason="")

    def _checked(self, parcels: Sequence[VectorParcel]) -> list[CheckedParcel]:
        from editvec.registry.library.parcels import check_parcel
        from editvec.registry.library.recipes import settle

        return settle(
            self, [check_parcel(one, self.get_class(one.new.class_name)) for one in parcels]
        )

    def get_vector(self, address: str, *, class_name: str | None = None) -> EditingVector:
        """The vector at `class/name@version` or `class/name@alias`, or the newest of `class/name`.

        A retired version is found by its number only.

        Args:
            address: the class may be left out where `class_name` gives it, or where the library
                holds one class only.
            class_name: the class for an address without one.

        Raises:
            VectorNotFoundError: no such vector, version or alias, or all versions are retired.
            ClassNotFoundError: no such class, or it must be named.
            InvalidNameError: not an address.
        """
        with reading(self.engine) as session:
            return editing_vector(selects.find_vector_text(session, address, class_name))

    def delta(self, vector: EditingVector) -> FloatArray:
        """The delta of a vector, float32 [num_ws, w_dim] (in Z and S one row), verified.

        Raises:
            BlobError: its bytes are missing or were altered.
            CodecError: its bytes are no delta of that shape.
        """
        from editvec.registry import codec

        data = self.blobs.get(vector.delta_digest)
        return codec.check_delta(
            codec.decode_latent(data, of=f"delta of {vector.address}"),
            num_ws=vector.num_ws,
            w_dim=vector.w_dim,
            of=f"delta of {vector.address}",
        )

    # --- composition ---

    def plan_composition(
        self,
        terms: Sequence[NewTerm] | Mapping[str, float],
        *,
        conditions: Sequence[Condition | str] = (),
        class_name: str | None = None,
        roi_labels: Sequence[str] | None = None,
    ) -> PlannedComposition:
        """Sums terms, projects conditions out, and measures how all work together; stores nothing.

        Args:
            terms: at least one; a composition among them counts as its own terms, scaled. A mapping
                gives the scale of each address.
            conditions: what the result shall not do, as addresses or more exactly: it is made
                orthogonal to them.
            class_name: the class for addresses without one.
            roi_labels: None means the union of the terms' ROIs, in the order of the scheme.

        Raises:
            CompositionError: no terms, a bad scale, or a result that cancels to zero.
            CompatibilityError: terms of different classes, generators or latent spaces.
            RetiredVectorError: a retired term.

        Example:
            >>> from editvec.registry.entities.vectors import NewTerm
            >>> half = library.plan_composition([NewTerm(address="smile", scale=0.5)])
            >>> bool((half.delta == library.delta(library.get_vector("smile")) / 2).all())
            True
        """
        from editvec.registry.composition import compose as composition

        if isinstance(terms, Mapping):
            terms = [NewTerm(address=address, scale=scale) for address, scale in terms.items()]
        return composition.plan(
            self,
            terms,
            conditions=[
                Condition(address=one) if isinstance(one, str) else one for one in conditions
            ],
            class_name=class_name,
            roi_labels=roi_labels,
        )

    def add_composition(
        self,
        address: str,
        planned: PlannedComposition,
        *,
        license: str = "",  # noqa: A002 (the record's word)
        description: str = "",
        tags: Sequence[str] = (),
        reason: str = "",
    ) -> StoredVector:
        """Stores what `plan_composition` made as a new vector, with its terms.

        Args:
            address: `class/name` or `name` of the new vector.
            planned: the composition.
            license: of the new vector.
            description: of the new vector.
            tags: of the new vector.
            reason: why, for the history.

        Raises:
            CompatibilityError: the address names another class than that of the terms.
            CompositionError: a version that would be made of itself.
            ConflictError: the address names a version that holds other content.
        """
        from editvec.registry.composition import compose as composition

        parcel = composition.parcel_of(
            planned, address, license=license, description=description, tags=tags
        )
        return self.add_vectors([parcel], reason=reason)[0]

    def compose(
        self,
        address: str,
        terms: Sequence[NewTerm] | Mapping[str, float],
        *,
        conditions: Sequence[Condition | str] = (),
        class_name: str | None = None,
        roi_labels: Sequence[str] | None = None,
        license: str = "",  # noqa: A002 (the record's word)
        description: str = "",
        tags: Sequence[str] = (),
        reason: str = "",
    ) -> EditingVector:
        """Plans a composition and stores it: `plan_composition`, then `add_composition`.

        Example:
            >>> grin = library.compose(
            ...     "avatars/grin", {"smile": 1.0, "squint": 0.5}, conditions=["look-left"]
            ... )
            >>> grin.address, grin.roi_labels
            ('avatars/grin@1', ('mouth', 'teeth', 'eye'))
        """
        planned = self.plan_composition(
            terms,
            conditions=conditions,
            class_name=parse_new_address(address).class_name or class_name,
            roi_labels=roi_labels,
        )
        return self.add_composition(
            address, planned, license=license, description=description, tags=tags, reason=reason
        ).vector

    # --- embeddings ---

    def get_embeddings(
        self, image_digests: Sequence[str], *, generator_digest: str, settings_key: str
    ) -> dict[str, Embedding]:
        """The cached embeddings of these images, by image digest; what is not held is left out."""
        from editvec.registry.library import embeddings

        return embeddings.read_embeddings(
            self.engine,
            self.blobs,
            image_digests,
            generator_digest=generator_digest,
            settings_key=settings_key,
        )

    def put_embeddings(self, batch: Iterable[Embedding]) -> None:
        """Adds embeddings to the cache, in one transaction.

        Raises:
            RecordError: a key that is no digest.
            CodecError: ws with NaN or of another dtype.
        """
        from editvec.registry.library import embeddings

        embeddings.write_embeddings(self.engine, self.blobs, batch)
