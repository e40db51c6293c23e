"""Sizes and times as people write them."""

import doctest
from datetime import timedelta

import pytest

import editvec.registry.quantities
from editvec.registry.errors import RecordError
from editvec.registry.quantities import parse_duration, parse_size, size_text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("123", 123),
        ("10GB", 10 * 10**9),
        ("10 gb", 10 * 10**9),
        ("500MiB", 500 * 2**20),
        ("1.5kB", 1500),
        ("2TiB", 2 * 2**40),
        (" 7B ", 7),
    ],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "GB", "-1", "1e9", "10 GB GB", "10X", "1,5GB", "٣GB", "nan", "1" * 20]
)
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(RecordError, match=r"size: expected bytes such as 10GB, 500MiB or 0, got"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("0", timedelta(0)),
        ("0s", timedelta(0)),
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("24h", timedelta(days=1)),
        ("1.5h", timedelta(minutes=90)),
        ("7D", timedelta(days=7)),
        ("2w", timedelta(days=14)),
    ],
)
def test_times_are_read(text: str, time: timedelta) -> None:
    assert parse_duration(text) == time


def test_times_end_at_a_hundred_years() -> None:
    assert parse_duration("36500d") == timedelta(days=36_500)
    with pytest.raises(RecordError, match=r"time: expected at most 36500 days, got '36500.01d'"):
        parse_duration("36500.01d")


def test_fractions_are_rounded_to_a_byte() -> None:
    assert [parse_size(text) for text in ("1.6", "0.4B", "1.0006kB", "2PB", "1PiB")] == [
        2, 0, 1001, 2 * 10**15, 2**50,
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "24", "h", "-1h", "1y", "1h30m", "999999999999d"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(RecordError, match=r"time: expected"):
        parse_duration(text)


def test_sizes_are_written_for_people() -> None:
    sizes = [0, 999, 1000, 999_499, 999_500, 1_250_000, 32 * 10**9, 10**18]

    assert [size_text(size) for size in sizes] == [
        "0 B", "999 B", "1 kB", "999 kB", "1 MB", "1.25 MB", "32 GB", "1 EB",
    ]  # fmt: skip


def test_examples_are_true() -> None:
    assert doctest.testmod(editvec.registry.quantities).failed == 0
