"""Intervals that say how far a value would move with other images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

LEVEL = 0.95
RESAMPLES = 1000
HALVES = 40
FEWEST = 8
_NORMAL_QUANTILE = 1.959964  # of LEVEL, two-sided
Statistic = Literal["mean", "median"]
_STATISTICS: dict[Statistic, Callable[..., npt.NDArray[np.float64]]] = {
    "mean": np.mean,
    "median": np.median,
}


class Interval(NamedTuple):
    """The ends of an interval of `LEVEL`."""

    low: float
    high: float


def statistic_of(values: Sequence[float], statistic: Statistic) -> float:
    """The mean or the median of numbers, at least one."""
    return float(_STATISTICS[statistic](np.asarray(values, np.float64)))


def bootstrap(values: Sequence[float], statistic: Statistic, *, seed: int = 0) -> Interval | None:
    """The percentile interval over resampled images (Efron 1979).

    Args:
        values: one of each image.
        statistic: what is taken of them.
        seed: of the resampling.

    Returns:
        None for fewer than `FEWEST` values, of which resampling says nothing.
    """
    if len(values) < FEWEST:
        return None
    array = np.asarray(values, np.float64)
    chosen = np.random.default_rng(seed).integers(len(array), size=(RESAMPLES, len(array)))
    found = _STATISTICS[statistic](array[chosen], axis=1)
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def bootstrap_ratio(
    above: Sequence[float], below: Sequence[float], *, seed: int = 0
) -> Interval | None:
    """The percentile interval of a ratio of two means over the same images.

    Args:
        above: one of each image.
        below: likewise; their mean is not 0.
        seed: of the resampling.

    Returns:
        None for fewer than `FEWEST` images.
    """
    if len(above) < FEWEST:
        return None
    pairs = np.array([above, below], np.float64)
    chosen = np.random.default_rng(seed).integers(len(above), size=(RESAMPLES, len(above)))
    tops, bottoms = pairs[:, chosen].mean(axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = (tops / bottoms)[bottoms != 0]
    low, high = np.quantile(ratios, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def wilson(share: float, count: int) -> Interval:
    """The interval of a share of images (Wilson 1927), which also tells of none and of all.

    Resampling images that all succeed can only succeed again.
    """
    square = _NORMAL_QUANTILE**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    spread = share * (1 - share) / count + square / (4 * count**2)
    reach = _NORMAL_QUANTILE * spread**0.5 / (1 + square / count)
    return Interval(max(0.0, middle - reach), min(1.0, middle + reach))


def half_samples(
    measure: Callable[[npt.NDArray[np.intp]], float], count: int, value: float, *, seed: int = 0
) -> Interval | None:
    """The interval of a value of a whole set, by the spread of its value on halves of the set.

    A bootstrap draws images twice, which KID and FID take for a narrower distribution. Halves
    drawn without replacement hold no image twice, and the deviation over them estimates the
    standard error of the whole (the delete-half jackknife, Shao and Tu 1995, 5.2).

    Args:
        measure: the value of a subset, given by its indices.
        count: images of the set.
        value: of the whole set: the middle of the interval.
        seed: of the drawing.

    Returns:
        None for sets whose halves would be of fewer than `FEWEST` images.
    """
    if count < 2 * FEWEST:
        return None
    random = np.random.default_rng(seed)
    found = [measure(np.sort(random.permutation(count)[: count // 2])) for _ in range(HALVES)]
    reach = _NORMAL_QUANTILE * float(np.std(found, ddof=1))
    return Interval(value - reach, value + reach)
