"""Tests of the avatar parameters and their prior."""

import math

import numpy as np
import pytest

from editvec.avatars.drawing.parameters import (
    CORRELATIONS,
    PARAMETER_NAMES,
    PARAMETERS,
    Parameter,
    from_normal,
    from_unit,
    index,
    mixing_matrix,
    sample,
    to_unit,
    with_values,
)


def test_there_are_at_least_26_parameters_with_distinct_names() -> None:
    assert len(PARAMETERS) >= 26
    assert len(set(PARAMETER_NAMES)) == len(PARAMETERS)
    assert [index(name) for name in PARAMETER_NAMES] == list(range(len(PARAMETERS)))


def test_marginals_are_uniform_over_the_ranges() -> None:
    unit = to_unit(sample(20_000, seed=3))
    assert np.abs(unit).max() <= 1.0 + 1e-12
    # a uniform on [-1, 1] has mean 0, variance 1/3 and lower quartile -1/2
    assert np.abs(unit.mean(0)).max() < 0.02
    assert np.abs(unit.var(0) - 1 / 3).max() < 0.01
    assert np.abs(np.quantile(unit, 0.25, axis=0) + 0.5).max() < 0.03


def test_correlated_parameters_move_together_and_others_do_not() -> None:
    # the correlation of uniforms is 6/pi asin(r/2) for normals with correlation r
    correlation = np.asarray(np.corrcoef(sample(20_000, seed=4).T))

    def of(first: str, second: str) -> float:
        return float(correlation[index(first), index(second)])

    assert of("smile", "mouth_opening") == pytest.approx(6 / math.pi * math.asin(0.25), abs=0.02)
    assert of("smile", "brow_height") == pytest.approx(6 / math.pi * math.asin(0.175), abs=0.02)
    assert of("skin_tone", "hair_tone") > 0.4
    assert abs(of("smile", "hair_length")) < 0.03


def test_mixing_matrix_is_lower_triangular_with_unit_rows() -> None:
    matrix = mixing_matrix()
    assert np.array_equal(matrix, np.tril(matrix))
    assert (np.diag(matrix) > 0.5).all()
    np.testing.assert_allclose((matrix**2).sum(1), 1.0, atol=1e-12)
    assert (matrix != 0).sum() == len(PARAMETERS) + sum(map(len, CORRELATIONS.values()))


def test_normal_distribution_function_has_its_known_values() -> None:
    u = np.zeros((3, len(PARAMETERS)))
    u[1, index("smile")] = 1.0
    u[2, index("smile")] = -1.959963984540054
    smile = from_normal(u)[:, index("smile")]
    np.testing.assert_allclose(smile, [0.0, 0.6826894921370859, -0.95], atol=1e-12)


def test_map_is_smooth() -> None:
    u = np.random.default_rng(0).standard_normal((50, len(PARAMETERS)))
    step = to_unit(from_normal(u + 1e-4)) - to_unit(from_normal(u - 1e-4))
    assert np.abs(step).max() < 1e-3


def test_far_tails_stay_in_the_ranges() -> None:
    for tail in (-100.0, 100.0):
        for parameter, value in zip(
            PARAMETERS, from_normal(np.eye(len(PARAMETERS)) * tail).T, strict=True
        ):
            assert (value >= parameter.low).all(), parameter.name
            assert (value <= parameter.high).all(), parameter.name


def test_the_same_seed_draws_the_same_values() -> None:
    assert np.array_equal(sample(5, seed=9), sample(5, seed=9))
    assert not np.array_equal(sample(5, seed=9), sample(5, seed=10))


def test_from_unit_inverts_to_unit() -> None:
    params = sample(10, seed=1)
    np.testing.assert_allclose(from_unit(to_unit(params)), params, atol=1e-12)
    low = [parameter.low for parameter in PARAMETERS]
    np.testing.assert_allclose(from_unit(-np.ones((1, len(PARAMETERS))))[0], low, atol=1e-12)


def test_with_values_changes_a_copy_and_only_what_is_named() -> None:
    params = sample(4, seed=2)
    before = params.copy()
    changed = with_values(params, smile=1.0, gaze_x=-0.5)
    assert np.array_equal(params, before)
    assert (changed[:, index("smile")] == 1.0).all()
    others = [i for i, name in enumerate(PARAMETER_NAMES) if name not in ("smile", "gaze_x")]
    assert np.array_equal(changed[:, others], before[:, others])


def test_errors_name_what_is_wrong() -> None:
    params = sample(1, seed=0)
    with pytest.raises(ValueError, match="beard"):
        with_values(params, beard=1.0)
    with pytest.raises(ValueError, match="smile must be in"):
        with_values(params, smile=1.5)
    with pytest.raises(ValueError, match="smile must be in"):
        with_values(params, smile=math.nan)
    with pytest.raises(ValueError, match="u must be"):
        from_normal(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="below high"):
        Parameter("flat", 1.0, 1.0, "no range")
