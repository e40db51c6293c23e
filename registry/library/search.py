"""The part of the library that finds vectors by what is known about them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from editvec.registry.blobs.store import BlobStore
from editvec.registry.entities.queries import EVERYTHING, SimilarVector, VectorQuery
from editvec.registry.entities.vectors import EditingVector
from editvec.registry.library import selects
from editvec.registry.library.records import editing_vector
from editvec.registry.library.selects_search import page_of_ids
from editvec.registry.tables.database import reading

VECTORS_AT_ONCE = 500


class VectorSearch:
    """The part of the library that finds vectors."""

    engine: Engine
    blobs: BlobStore

    def find_vectors(self, query: VectorQuery = EVERYTHING) -> list[EditingVector]:
        """The vectors that pass every filter of a query, in its order, one page at most.

        While others add vectors, page after page shows every vector that was there once.

        Raises:
            ClassNotFoundError: no such class.
            LabelNotFoundError: no class, or not that one, has such a part.
            MetricNotFoundError: no vector has a metric that is asked for.
            VectorNotFoundError: the page cannot begin after a vector that there is not.

        Example:
            >>> from editvec.registry.entities.queries import VectorQuery, parse_bound
            >>> query = VectorQuery(roi_labels=("mouth",), bounds=(parse_bound("leakage<0.05"),))
            >>> [vector.address for vector in library.find_vectors(query)]
            ['avatars/frown@1', 'avatars/smile@1']
        """
        return list(self.iterate_vectors(query))

    def iterate_vectors(self, query: VectorQuery = EVERYTHING) -> Iterator[EditingVector]:
        """As `find_vectors`, for more vectors than memory should hold at once.

        Nothing is looked for before the first one is asked for.
        """
        with reading(self.engine) as session:
            ids = list(session.scalars(page_of_ids(session, query)))
            yield from load_vectors(session, ids)

    def find_similar(
        self, address: str, query: VectorQuery = EVERYTHING, *, limit: int = 10
    ) -> list[SimilarVector]:
        """The vectors that point most nearly the same way as one, by cosine, nearest first.

        The candidates are found by stored sketches and compared exactly by their deltas, a few
        hundred of them however many vectors there are. Only vectors of the same class, generator,
        latent space and shape have an angle with it.

        Args:
            address: of the vector, which is left out itself.
            query: filters that the others pass; it must not ask for an order or a page.
            limit: at most so many.

        Raises:
            VectorNotFoundError: no such vector.
            RecordError: a limit below 1, or a query with an order or a page.
            CompatibilityError: the query asks for another class.
            BlobError: the vector's delta is missing or was altered.

        Example:
            >>> for found in library.find_similar("avatars/smile", limit=2):
            ...     print(found.vector.address, round(found.cosine, 2))
            avatars/squint@1 0.4
            avatars/look-left@1 -0.07
        """
        from editvec.registry.library.similar import neighbours  # it loads numpy

        nearest = neighbours(self.engine, self.blobs, address, query, limit=limit)
        with reading(self.engine) as session:
            vectors = load_vectors(session, [one.id for one in nearest])
            return [
                SimilarVector(vector, one.cosine)
                for vector, one in zip(vectors, nearest, strict=True)
            ]


def load_vectors(session: Session, ids: Sequence[int]) -> Iterator[EditingVector]:
    """The vectors of some ids, in the order of these."""
    remaining = iter(ids)
    while chunk := list(islice(remaining, VECTORS_AT_ONCE)):
        rows = {row.id: row for row in session.scalars(selects.vectors_with_everything(chunk))}
        yield from (editing_vector(rows[identity]) for identity in chunk)
