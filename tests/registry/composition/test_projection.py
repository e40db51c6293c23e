"""What is projected out of a delta, and what is left of it."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from editvec.registry.composition.projection import project_out

SIZE = 12
FloatArray = np.ndarray

# no values so small that rounding them to float32 would lose digits
values = st.floats(-100, 100, width=32).map(lambda value: value if abs(value) > 1e-3 else 0.0)
deltas = hnp.arrays(np.float64, SIZE, elements=values)
condition_sets = st.integers(0, 5).flatmap(
    lambda count: hnp.arrays(np.float64, (count, SIZE), elements=values)
)


def _reference_projection(delta: FloatArray, conditions: FloatArray) -> FloatArray:
    """Gram-Schmidt with exact rational numbers: what the span of the conditions takes away."""
    from fractions import Fraction

    def dot(one: list[Fraction], other: list[Fraction]) -> Fraction:
        return sum((a * b for a, b in zip(one, other, strict=True)), Fraction(0))

    def without(vector: list[Fraction], basis: list[list[Fraction]]) -> list[Fraction]:
        for base in basis:
            factor = dot(vector, base) / dot(base, base)
            vector = [a - factor * b for a, b in zip(vector, base, strict=True)]
        return vector

    basis: list[list[Fraction]] = []
    for condition in conditions.tolist():
        rest = without([Fraction(value) for value in condition], basis)
        if any(rest):
            basis.append(rest)
    rest = without([Fraction(value) for value in delta.tolist()], basis)
    return np.array([float(value) for value in rest])


def test_published_form_with_one_condition() -> None:
    delta, condition = np.array([1.0, 2.0, 3.0]), np.array([0.6, 0.8, 0.0])

    remainder, coefficients = project_out(delta, condition[None])

    np.testing.assert_allclose(remainder, delta - (delta @ condition) * condition, atol=1e-12)
    np.testing.assert_allclose(coefficients, [delta @ condition])


def test_coefficients_solve_the_normal_equations() -> None:
    generator = np.random.default_rng(0)
    delta, conditions = generator.normal(size=SIZE), generator.normal(size=(3, SIZE))

    coefficients = project_out(delta, conditions).coefficients

    gram = conditions @ conditions.T
    np.testing.assert_allclose(gram @ coefficients, conditions @ delta, rtol=1e-10)


@given(
    hnp.arrays(np.int64, SIZE, elements=st.integers(-9, 9)),
    hnp.arrays(np.int64, (3, SIZE), elements=st.integers(-2, 2)),
)
def test_projection_equals_exact_arithmetic(delta: FloatArray, conditions: FloatArray) -> None:
    remainder = project_out(delta.astype(float), conditions.astype(float)).remainder

    np.testing.assert_allclose(remainder, _reference_projection(delta, conditions), atol=1e-9)


@given(deltas, condition_sets)
def test_remainder_is_orthogonal_to_every_condition(
    delta: FloatArray, conditions: FloatArray
) -> None:
    remainder = project_out(delta, conditions).remainder

    bound = 1e-6 * np.linalg.norm(delta) * np.linalg.norm(conditions, axis=1)
    assert (np.abs(conditions @ remainder) <= bound).all()


@given(deltas, condition_sets)
def test_projecting_twice_is_projecting_once(delta: FloatArray, conditions: FloatArray) -> None:
    once = project_out(delta, conditions).remainder

    twice = project_out(once, conditions).remainder

    np.testing.assert_allclose(twice, once, atol=1e-6 * np.linalg.norm(delta))


@given(deltas, condition_sets, st.integers(0, 2**32 - 1))
def test_dependent_conditions_take_what_their_basis_takes(
    delta: FloatArray, conditions: FloatArray, seed: int
) -> None:
    singular = np.linalg.svd(conditions / _lengths(conditions), compute_uv=False)
    assume(not len(conditions) or singular.min() > 1e-3)
    mixtures = np.random.default_rng(seed).normal(size=(4, len(conditions))) @ conditions

    of_basis = project_out(delta, conditions)
    of_all = project_out(delta, np.concatenate([conditions, conditions, mixtures]))

    scale = np.linalg.norm(delta)
    np.testing.assert_allclose(of_all.remainder, of_basis.remainder, atol=1e-6 * scale)


def _lengths(conditions: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(conditions, axis=1, keepdims=True)
    return np.where(lengths > 0, lengths, 1.0)


@given(deltas, st.integers(-45, 38))
def test_length_of_a_condition_does_not_matter(delta: FloatArray, exponent: int) -> None:
    conditions = np.random.default_rng(0).normal(size=(2, SIZE))
    resized = conditions * np.array([[1.0], [10.0**exponent]])

    np.testing.assert_allclose(
        project_out(delta, resized).remainder,
        project_out(delta, conditions).remainder,
        atol=1e-9 * np.linalg.norm(delta),
    )


def test_two_roundings_of_one_condition_count_once() -> None:
    generator = np.random.default_rng(0)
    delta, condition = generator.normal(size=500), generator.normal(size=500)
    rounded = [(condition * factor).astype(np.float32) / factor for factor in (1.0, 0.3, 0.7)]

    coefficients = project_out(delta, np.array(rounded, np.float64)).coefficients

    assert np.abs(coefficients).max() <= np.abs(delta @ condition) / (condition @ condition)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_zero_conditions_take_nothing(count: int) -> None:
    delta = np.arange(SIZE, dtype=float)

    remainder, coefficients = project_out(delta, np.zeros((count, SIZE)))

    np.testing.assert_array_equal(remainder, delta)
    np.testing.assert_array_equal(coefficients, np.zeros(count))


def test_zero_condition_among_others_gets_no_trace_of_a_coefficient() -> None:
    generator = np.random.default_rng(0)
    delta, conditions = generator.normal(size=SIZE), generator.normal(size=(3, SIZE))
    conditions[1] = 0.0

    assert project_out(delta, conditions).coefficients[1] == 0.0


def test_shape_of_the_delta_is_kept() -> None:
    assert project_out(np.ones((3, 4)), np.ones((1, 12))).remainder.shape == (3, 4)
