"""A composition is stored as the sum of its terms, with the rows that this touches, or not."""

from collections.abc import Sequence

import numpy as np
import pytest

from editvec.registry.composition.compose import recompute
from editvec.registry.entities.vectors import (
    EditingVector,
    Kind,
    LatentSpace,
    NewTerm,
    VectorParcel,
)
from editvec.registry.errors import CompatibilityError, CompositionError
from editvec.registry.library import inserts
from editvec.registry.library.library import Library
from editvec.registry.library.parcels import check_parcel, contents_of
from editvec.registry.library.references import storing
from editvec.registry.maintenance.verification import verify
from tests.support.registry_fixtures import contents, new_vector, random_delta

ROWS = tuple(row in (1, 2, 5) for row in range(6))


@pytest.fixture
def faces(sqlite_library: Library) -> Library:
    sqlite_library.add_vector(new_vector("smile"), random_delta(0))
    sqlite_library.add_vector(new_vector("look"), random_delta(1))
    return sqlite_library


def add(
    library: Library, delta: object, terms: Sequence[NewTerm], **changes: object
) -> EditingVector:
    new = new_vector("mix", kind=Kind.COMPOSED, **changes)
    return library.add_vector(new, np.asarray(delta), terms=terms)


def store_as_before(library: Library, name: str, delta: object, terms: Sequence[NewTerm]) -> None:
    """Stores a composition that nobody has summed, as the library once did."""
    new = new_vector(name, kind=Kind.COMPOSED, row_mask=ROWS)
    cut = np.where(np.array(ROWS)[:, None], np.asarray(delta), 0)
    parcel = VectorParcel(new=new, delta=cut, terms=tuple(terms))
    checked = check_parcel(parcel, library.get_class())
    with storing(library.engine, library.blobs, contents_of(checked)) as (session, digests):
        inserts.add_vectors(session, [checked], digests, reason="")


@pytest.mark.parametrize("rows", [ROWS, (True,) * 5 + (False,), (False,) * 5 + (True,)])
def test_own_row_mask_that_cuts_the_terms_is_refused(
    faces: Library, rows: tuple[bool, ...]
) -> None:
    before = contents(faces)

    with pytest.raises(CompositionError, match=r"avatars/mix: row mask: expected 111111, the rows"):
        add(
            faces,
            random_delta(0) * np.float32(0.3),
            [NewTerm(address="smile", scale=0.3)],
            row_mask=rows,
        )

    assert contents(faces) == before


def test_own_row_mask_beyond_the_terms_is_refused(faces: Library) -> None:
    cut = np.where(np.array(ROWS)[:, None], random_delta(0), 0)

    with pytest.raises(CompositionError, match=r"row mask: expected 011001, .* got 111111"):
        add(faces, cut, [NewTerm(address="smile", scale=1.0, row_mask=ROWS)], row_mask=(True,) * 6)


@pytest.mark.parametrize("row_mask", [None, ROWS])
def test_row_mask_of_the_terms_is_that_of_the_sum(
    faces: Library, row_mask: tuple[bool, ...] | None
) -> None:
    cut = np.where(np.array(ROWS)[:, None], random_delta(0), 0)

    mix = add(faces, cut, [NewTerm(address="smile", scale=1.0, row_mask=ROWS)], row_mask=row_mask)

    assert mix.row_mask == ROWS
    assert mix.terms[0].row_mask == ROWS
    assert recompute(faces, mix).tobytes() == faces.delta(mix).tobytes()
    assert verify(faces).is_clean


def test_rows_of_a_composition_are_cut_in_its_terms(faces: Library) -> None:
    faces.compose("both", [NewTerm(address="smile", scale=1), NewTerm(address="look", scale=2)])

    part = faces.compose("part", [NewTerm(address="both", scale=0.5, row_mask=ROWS)])

    expected = 0.5 * random_delta(0).astype(np.float64) + random_delta(1)
    assert part.row_mask == part.terms[0].row_mask == ROWS
    assert (faces.delta(part) == np.where(np.array(ROWS)[:, None], expected, 0).astype("f4")).all()


def test_sum_that_somebody_else_rounded_is_stored_exactly(faces: Library) -> None:
    roughly = random_delta(0) * np.float32(0.3) + random_delta(1) * np.float32(-1.1)
    exactly = 0.3 * random_delta(0).astype(np.float64) - 1.1 * random_delta(1).astype(np.float64)
    assert (roughly != exactly.astype(np.float32)).any()

    mix = add(
        faces, roughly, [NewTerm(address="smile", scale=0.3), NewTerm(address="look", scale=-1.1)]
    )

    assert (faces.delta(mix) == exactly.astype(np.float32)).all()
    assert [term.address for term in mix.terms] == ["avatars/smile@1", "avatars/look@1"]
    assert verify(faces).is_clean


@pytest.mark.parametrize(
    ("delta", "message"),
    [
        (random_delta(7), r"expected the sum of its terms, its delta is off by .* at \["),
        (random_delta(0) * 0.3001, "expected the sum of its terms"),
        (
            random_delta(0) * 0.3 + np.eye(6, 4) * 1e-4,
            r"expected the sum of its terms, its delta is off by .* at \[([0-3]), \1\]",
        ),
        (random_delta(0) * -0.3, "expected the sum of its terms"),
    ],
)
def test_delta_that_is_not_the_sum_is_refused(
    faces: Library, delta: np.ndarray, message: str
) -> None:
    before = contents(faces)

    with pytest.raises(CompositionError, match=f"composition avatars/mix: {message}") as caught:
        add(faces, delta, [NewTerm(address="smile", scale=0.3)])

    assert "\n" not in str(caught.value)
    assert contents(faces) == before


def test_terms_that_cancel_are_refused(faces: Library) -> None:
    terms = [NewTerm(address="smile", scale=1.0), NewTerm(address="smile", scale=-1.0)]

    with pytest.raises(CompositionError, match="composition avatars/mix: the terms cancel to zero"):
        add(faces, random_delta(3), terms)


def test_terms_of_another_latent_space_are_refused(faces: Library) -> None:
    flat = np.tile(random_delta(5)[:1], (6, 1))
    faces.add_vector(new_vector("flat", latent_space=LatentSpace.W), flat)
    terms = [NewTerm(address="smile", scale=1.0)]

    with pytest.raises(
        CompatibilityError, match=r"expected terms of latent space W, .* is of .*W\+"
    ):
        add(faces, random_delta(0), terms, latent_space=LatentSpace.W)

    mix = add(faces, flat, [NewTerm(address="flat", scale=1.0)], latent_space=LatentSpace.W)
    assert mix.latent_space is LatentSpace.W
    cut = np.where(np.array(ROWS)[:, None], flat, 0)
    part = NewTerm(address="flat", scale=1.0, row_mask=ROWS)
    assert add(faces, cut, [part], latent_space=LatentSpace.W).row_mask == ROWS


def test_compositions_stored_before_are_found(faces: Library) -> None:
    smile = [NewTerm(address="smile", scale=0.5)]
    right = [NewTerm(address="smile", scale=0.5, row_mask=ROWS)]
    part = [NewTerm(address="smile", scale=0.5, row_mask=(True, *ROWS[1:]))]
    store_as_before(faces, "cut", random_delta(0) * np.float32(0.5), smile)
    store_as_before(faces, "right", random_delta(0) * np.float32(0.5), right)
    store_as_before(faces, "rest", random_delta(0) * np.float32(0.5), part)

    faults = {fault.subject: fault.text for fault in verify(faces).faults}

    assert faults == {
        "avatars/cut@1": "its delta is not the sum of its terms",
        "avatars/rest@1": "its delta is not the sum of its terms",
    }


def test_own_row_mask_of_rows_that_stay_is_found(faces: Library) -> None:
    only = tuple(row == 5 for row in range(6))
    cut = np.where(np.array(only)[:, None], random_delta(0), 0) * np.float32(0.5)
    store_as_before(faces, "wide", cut, [NewTerm(address="smile", scale=0.5, row_mask=only)])

    (fault,) = verify(faces).faults

    assert (fault.subject, fault.text) == (
        "avatars/wide@1",
        "its row mask is not that of the sum of its terms",
    )
