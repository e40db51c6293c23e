"""The laws of composition, of arrays and of a library (failure 35: compositions wrong or lossy)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from editvec.registry.codec import decode_latent, encode_latent
from editvec.registry.composition.compose import recompute
from editvec.registry.composition.sums import WeightedDelta, exact_sum, to_float32
from editvec.registry.config import RegistryConfig
from editvec.registry.entities.vectors import Condition, FloatArray, NewTerm, TermRole
from editvec.registry.errors import CompatibilityError, CompositionError
from editvec.registry.library.library import Library
from tests.support.registry_fixtures import (
    NUM_WS,
    W_DIM,
    new_vector,
    random_delta,
    write_small_bundle,
)


def _sum(terms: Sequence[WeightedDelta]) -> FloatArray:
    return to_float32(exact_sum(terms))


SHAPE = (4, 3)
deltas = hnp.arrays(np.float32, SHAPE, elements=st.floats(-100, 100, width=32))
scales = st.floats(-4, 4, allow_nan=False)
row_masks = st.none() | st.tuples(*[st.booleans()] * SHAPE[0])
summands = st.builds(WeightedDelta, deltas, scales, row_masks)


# --- of arrays ---


@given(deltas)
def test_one_times_a_delta_is_the_delta(delta: np.ndarray) -> None:
    delta = delta + np.float32(0)  # as the library stores it: no zero is negative

    assert _sum([WeightedDelta(delta, 1.0)]).tobytes() == delta.tobytes()


@given(deltas, scales, row_masks)
def test_a_delta_and_its_negation_cancel_exactly(
    delta: np.ndarray, scale: float, rows: tuple[bool, ...] | None
) -> None:
    both = [WeightedDelta(delta, scale, rows), WeightedDelta(delta, -scale, rows)]

    assert _sum(both).tobytes() == bytes(delta.nbytes)


@given(st.lists(summands, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_order_of_summands_does_not_matter(some: list[WeightedDelta], random: Random) -> None:
    shuffled = list(some)
    random.shuffle(shuffled)

    assert _sum(shuffled).tobytes() == _sum(some).tobytes()


@given(deltas, deltas, scales, scales)
def test_scale_distributes(one: np.ndarray, other: np.ndarray, a: float, b: float) -> None:
    over_vectors = _sum([WeightedDelta(one, a), WeightedDelta(other, a)])
    summed = one.astype(np.float64) + other
    over_scales = _sum([WeightedDelta(one, a), WeightedDelta(one, b)])

    np.testing.assert_allclose(over_vectors, a * summed, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(over_scales, (a + b) * one.astype(np.float64), rtol=1e-6, atol=1e-9)


@given(st.lists(summands, min_size=1, max_size=4))
def test_sum_survives_encoding_and_decoding(some: list[WeightedDelta]) -> None:
    total = _sum(some)

    assert decode_latent(encode_latent(total)).tobytes() == total.tobytes()


@given(st.lists(summands, min_size=1, max_size=4))
def test_sum_equals_the_naive_one(some: list[WeightedDelta]) -> None:
    expected = np.zeros(SHAPE)
    for term in some:
        rows = np.ones(SHAPE[0]) if term.row_mask is None else np.array(term.row_mask, float)
        expected += term.scale * rows[:, None] * term.delta

    np.testing.assert_allclose(_sum(some), expected, rtol=1e-5, atol=1e-5)


# --- of a library ---

NAMES = ("a", "b", "c", "few-rows", "tiny", "nested")
names = st.sampled_from(NAMES)
whole_scales = st.floats(0.125, 4) | st.floats(-4, -0.125)
library_rows = st.none() | st.tuples(*[st.booleans()] * NUM_WS).filter(any)
terms = st.builds(NewTerm, address=names, scale=whole_scales, row_mask=library_rows)
term_lists = st.lists(terms, min_size=1, max_size=4)
conditions = st.builds(Condition, address=names, row_mask=library_rows)
condition_lists = st.lists(conditions, max_size=4)
some_examples = settings(max_examples=25)


@pytest.fixture(scope="module")
def laws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """A library of vectors that differ in length, rows and kind; the laws only add to it."""
    folder: Path = tmp_path_factory.mktemp("laws")
    with Library.open(RegistryConfig.for_home(folder / "home")) as library:
        library.add_bundle(write_small_bundle(folder / "bundle"))
        library.add_bundle(write_small_bundle(folder / "cars", name="car"))
        few = (False, True, True, False, False, False)
        deltas = [random_delta(0), random_delta(1), random_delta(2), random_delta(3)]
        for name, delta in zip("abc", deltas, strict=False):
            library.add_vector(new_vector(name), delta)
        library.add_vector(new_vector("few-rows", row_mask=few), deltas[3])
        library.add_vector(new_vector("tiny"), random_delta(4) * np.float32(1e-12))
        library.compose(
            "avatars/nested", [NewTerm(address="a", scale=0.3), NewTerm(address="b", scale=-1.7)]
        )
        library.add_vector(new_vector("wheel", class_name="car"), random_delta(5))
        yield library


def plan_bytes(
    library: Library, some: list[NewTerm], others: list[Condition] | None = None
) -> bytes:
    """The bytes of the delta that a composition would have; examples that cancel do not count."""
    try:
        planned = library.plan_composition(some, conditions=others or (), class_name="avatars")
    except CompositionError:
        assume(False)
        raise
    return planned.delta.tobytes()


@given(names)
def test_one_times_a_vector_is_the_vector(laws: Library, name: str) -> None:
    stored = laws.delta(laws.get_vector(name, class_name="avatars"))

    assert plan_bytes(laws, [NewTerm(address=name, scale=1.0)]) == stored.tobytes()


@some_examples
@given(names, whole_scales)
def test_a_vector_and_its_negation_are_refused(laws: Library, name: str, scale: float) -> None:
    both = [NewTerm(address=name, scale=scale), NewTerm(address=name, scale=-scale)]

    with pytest.raises(CompositionError, match="the terms cancel to zero"):
        laws.compose("avatars/nothing", both)


@some_examples
@given(term_lists, condition_lists, st.randoms(use_true_random=False))
def test_order_of_terms_and_conditions_does_not_matter(
    laws: Library, some: list[NewTerm], others: list[Condition], random: Random
) -> None:
    expected = plan_bytes(laws, some, others)
    random.shuffle(some)
    random.shuffle(others)

    assert plan_bytes(laws, some, others) == expected


@settings(max_examples=10)
@given(term_lists, whole_scales, library_rows)
def test_nested_is_flat_and_scale_distributes_exactly(
    laws: Library, some: list[NewTerm], scale: float, rows: tuple[bool, ...] | None
) -> None:
    plan_bytes(laws, some)
    inner = laws.compose("avatars/inner", some)
    flat = [
        NewTerm(
            address=term.address,
            scale=scale * term.scale,
            row_mask=tuple(
                mine and other
                for mine, other in zip(
                    rows or (True,) * NUM_WS, term.row_mask or (True,) * NUM_WS, strict=True
                )
            ),
        )
        for term in some
    ]
    flat = [term for term in flat if any(term.row_mask or ())]
    assume(flat)

    nested = [NewTerm(address=inner.address, scale=scale, row_mask=rows)]

    assert plan_bytes(laws, nested) == plan_bytes(laws, flat)


@some_examples
@given(term_lists, condition_lists)
def test_result_is_orthogonal_to_what_was_projected_out(
    laws: Library, some: list[NewTerm], others: list[Condition]
) -> None:
    before = np.frombuffer(plan_bytes(laws, some), np.float32).astype(np.float64)
    after = np.frombuffer(plan_bytes(laws, some, others), np.float32).astype(np.float64)

    for condition in others:
        delta = laws.delta(laws.get_vector(condition.address, class_name="avatars"))
        rows = np.array(condition.row_mask or (True,) * NUM_WS)
        left = (delta.astype(np.float64) * rows[:, None]).ravel()
        assert abs(left @ after) <= 1e-6 * np.linalg.norm(before) * np.linalg.norm(delta)


@some_examples
@given(term_lists, condition_lists)
def test_result_touches_no_row_that_the_terms_do_not(
    laws: Library, some: list[NewTerm], others: list[Condition]
) -> None:
    shape = (NUM_WS, W_DIM)
    before = np.frombuffer(plan_bytes(laws, some), np.float32).reshape(shape)
    after = np.frombuffer(plan_bytes(laws, some, others), np.float32).reshape(shape)

    assert not after[~before.any(axis=1)].any()


@settings(max_examples=10)
@given(term_lists, condition_lists)
def test_projecting_out_twice_changes_nothing(
    laws: Library, some: list[NewTerm], others: list[Condition]
) -> None:
    once = np.frombuffer(plan_bytes(laws, some, others), np.float32)
    before = np.frombuffer(plan_bytes(laws, some), np.float32)
    stored = laws.compose("avatars/once", some, conditions=others)

    again = plan_bytes(laws, [NewTerm(address=stored.address, scale=1.0)], others)

    bound = 2e-6 * np.linalg.norm(before.astype(np.float64))
    np.testing.assert_allclose(np.frombuffer(again, np.float32), once, rtol=0, atol=bound)


@some_examples
@given(term_lists, st.floats(0.5, 2), st.floats(-2, -0.5))
def test_dependent_conditions_take_what_their_basis_takes(
    laws: Library, some: list[NewTerm], one: float, other: float
) -> None:
    mixed = [NewTerm(address="a", scale=one), NewTerm(address="b", scale=other)]
    mixture = laws.compose("avatars/mixture", mixed)
    basis = [Condition(address="a"), Condition(address="b")]

    of_basis = np.frombuffer(plan_bytes(laws, some, basis), np.float32)
    of_all = plan_bytes(laws, some, [*basis, Condition(address=mixture.address)])

    before = np.frombuffer(plan_bytes(laws, some), np.float32).astype(np.float64)
    np.testing.assert_allclose(
        np.frombuffer(of_all, np.float32), of_basis, rtol=0, atol=1e-6 * np.linalg.norm(before)
    )


@settings(max_examples=10)
@given(term_lists, condition_lists)
def test_saving_and_loading_is_exact_and_so_is_the_recipe(
    laws: Library, some: list[NewTerm], others: list[Condition]
) -> None:
    expected = plan_bytes(laws, some, others)

    stored = laws.compose("avatars/saved", some, conditions=others)

    loaded = laws.get_vector(stored.address)
    assert laws.delta(loaded).tobytes() == expected
    assert recompute(laws, loaded).tobytes() == expected
    roles = [term.role for term in loaded.terms]
    assert roles == sorted(roles, key=[TermRole.SUM, TermRole.CONDITION].index)


@some_examples
@given(term_lists, condition_lists, whole_scales)
def test_another_class_is_refused_by_both_names(
    laws: Library, some: list[NewTerm], others: list[Condition], scale: float
) -> None:
    wheel = NewTerm(address="car/wheel", scale=scale)

    with pytest.raises(CompatibilityError, match="avatars and car"):
        laws.plan_composition([*some, wheel], conditions=others, class_name="avatars")
    with pytest.raises(CompatibilityError, match="avatars and car"):
        laws.plan_composition(
            some, conditions=[*others, Condition(address="car/wheel")], class_name="avatars"
        )
