"""Intervals against scipy's and against what theory says."""

import numpy as np
import pytest
import scipy.stats

from editvec.batch.evaluation.intervals import bootstrap, half_samples, statistic_of, wilson


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
