"""Intervals against scipy's and against what theory says."""

import numpy as np
import pytest
import scipy.stats

from editvec.batch.evaluation.intervals import (
    bootstrap,
    bootstrap_ratio,
    half_samples,
    statistic_of,
    wilson,
)


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_bootstrap_is_the_percentile_interval_of_scipy(statistic: str) -> None:
    values = np.random.default_rng(3).exponential(size=80)
    function = {"mean": np.mean, "median": np.median}[statistic]
    theirs = scipy.stats.bootstrap(
        (values,), function, method="percentile", n_resamples=4000, rng=np.random.default_rng(1)
    ).confidence_interval

    ours = bootstrap(values.tolist(), statistic)  # type: ignore[arg-type]

    assert ours is not None
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.1 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.1 * width)
    assert ours.low < statistic_of(values.tolist(), statistic) < ours.high  # type: ignore[arg-type]


def test_too_few_images_have_no_interval() -> None:
    assert bootstrap([1.0] * 7, "mean") is None
    assert half_samples(lambda places: 0.0, 15, 0.0) is None


@pytest.mark.parametrize(("count", "of"), [(0, 20), (7, 20), (20, 20)])
def test_the_interval_of_a_share_is_that_of_scipy(count: int, of: int) -> None:
    theirs = scipy.stats.binomtest(count, of).proportion_ci(method="wilson")

    assert wilson(count / of, of) == pytest.approx(tuple(theirs), abs=1e-6)


def test_halves_estimate_the_standard_error_of_the_whole() -> None:
    values = np.random.default_rng(5).normal(size=400)

    found = half_samples(lambda places: float(values[places].mean()), 400, float(values.mean()))

    assert found is not None
    expected = 1.96 * values.std(ddof=1) / np.sqrt(400)
    assert (found.high - found.low) / 2 == pytest.approx(expected, rel=0.3)


def test_eight_images_are_enough() -> None:
    values = [float(value) for value in range(8)]

    assert bootstrap(values, "mean") is not None
    assert bootstrap(values[:7], "median") is None
    assert bootstrap_ratio(values, [1.0] * 8) is not None
    assert bootstrap_ratio(values[:7], [1.0] * 7) is None
    assert half_samples(lambda places: float(len(places)), 16, 0.0) == (0.0 - 0.0, 0.0)


def test_halves_hold_half_of_the_images_once() -> None:
    seen: list[list[int]] = []

    def measure(places: np.ndarray) -> float:
        seen.append(places.tolist())
        return 0.0

    half_samples(measure, 17, 1.0)

    assert len(seen) == 40
    for places in seen:
        assert len(places) == len(set(places)) == 8
        assert places == sorted(places)
    assert {place for places in seen for place in places} == set(range(17))


def test_the_interval_of_a_ratio_is_that_of_scipy() -> None:
    random = np.random.default_rng(4)
    below = random.uniform(1, 3, size=60)
    above = 2 * below + random.normal(size=60)

    def ratio(tops: np.ndarray, bottoms: np.ndarray, axis: int) -> np.ndarray:
        return np.mean(tops, axis=axis) / np.mean(bottoms, axis=axis)

    theirs = scipy.stats.bootstrap(
        (above, below), ratio, paired=True, method="percentile", n_resamples=4000,
        rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip

    ours = bootstrap_ratio(above.tolist(), below.tolist())

    assert ours is not None
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.1 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.1 * width)


def test_draws_whose_lower_mean_is_zero_do_not_count() -> None:
    below = [-1.0] * 4 + [1.0] * 3 + [2.0]

    found = bootstrap_ratio([1.0] * 8, below)

    assert found is not None
    assert np.isfinite(found).all()


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_interval_of_none_and_of_all_ends_there(share: float) -> None:
    low, high = wilson(share, 5)

    assert (low == 0.0, high == 1.0) == (share == 0, share == 1)
    assert 0 <= low < high <= 1


def test_another_seed_draws_other_images() -> None:
    values = np.random.default_rng(3).exponential(size=20).tolist()

    assert bootstrap(values, "mean", seed=1) == bootstrap(values, "mean", seed=1)
    assert bootstrap(values, "mean", seed=1) != bootstrap(values, "mean", seed=2)
