"""The history: what it keeps, and which of it a subject gets, on both databases."""

from collections.abc import Callable
from pathlib import Path

import pytest

from editvec.registry.entities.metrics import NewMetric
from editvec.registry.errors import (
    ClassNotFoundError,
    InvalidNameError,
    RecordError,
    RegistryError,
    VectorNotFoundError,
)
from editvec.registry.library.library import Library
from tests.support.registry_fixtures import contents, new_vector, random_delta


def subjects(library: Library, *arguments: str, **options: object) -> list[str]:
    found = library.history(*arguments, **options)  # type: ignore[arg-type]
    return [entry.subject for entry in found]


@pytest.fixture
def storied(library: Library, make_bundle: Callable[..., Path]) -> Library:
    """Names that a pattern could confuse with each other, in two classes."""
    library.add_bundle(make_bundle("cars", name="avatars-wide"))
    for seed, name in enumerate(("smile", "smile-wide", "Smile", "smi_e", "smile")):
        library.add_vector(new_vector(name), random_delta(seed))
    library.add_vector(new_vector("smile", class_name="avatars-wide"), random_delta())
    library.set_alias("avatars/smile@1", "stable")
    return library


def test_history_tells_who_what_when_and_why_oldest_first(library: Library) -> None:
    library.add_vector(new_vector(), random_delta(), reason="the first one")
    library.retire("smile@1", reason="leaks")

    entries = library.history()

    assert [entry.action for entry in entries] == ["add class", "add", "retire"]
    assert [entry.subject for entry in entries[1:]] == ["avatars/smile@1"] * 2
    assert [entry.reason for entry in entries] == ["", "the first one", "leaks"]
    assert all(entry.by and entry.at.tzinfo is not None for entry in entries)
    assert entries[0].at <= entries[1].at <= entries[2].at


def test_class_has_the_history_of_all_its_vectors_and_of_no_other_class(storied: Library) -> None:
    assert subjects(storied, "avatars") == [
        "avatars@1",
        "avatars/smile@1",
        "avatars/smile-wide@1",
        "avatars/Smile@1",
        "avatars/smi_e@1",
        "avatars/smile@2",
        "avatars/smile",
    ]
    assert subjects(storied, class_name="avatars") == subjects(storied, "avatars")
    assert subjects(storied, "avatars@1") == ["avatars@1"]
    assert subjects(storied, "avatars-wide") == ["avatars-wide@1", "avatars-wide/smile@1"]


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("avatars/smile", ["avatars/smile@1", "avatars/smile@2", "avatars/smile"]),
        ("avatars/smile@1", ["avatars/smile@1"]),
        ("avatars/smile@stable", ["avatars/smile@1"]),
        ("avatars/smile@latest", ["avatars/smile@2"]),
        ("avatars/Smile", ["avatars/Smile@1"]),
        ("avatars/smi_e", ["avatars/smi_e@1"]),
        ("avatars/smile-wide", ["avatars/smile-wide@1"]),
    ],
)
def test_vector_has_its_own_history_only(
    storied: Library, subject: str, expected: list[str]
) -> None:
    assert subjects(storied, subject) == expected


def test_limit_keeps_the_newest(storied: Library) -> None:
    assert subjects(storied, limit=2) == ["avatars-wide/smile@1", "avatars/smile"]
    assert subjects(storied, "avatars/smile", limit=1) == ["avatars/smile"]
    assert subjects(storied, limit=10**30) == subjects(storied)
    with pytest.raises(RecordError, match="limit of 1 or more, got 0"):
        storied.history(limit=0)


def test_name_without_class_is_a_class_first_and_a_vector_of_the_only_class_then(
    library: Library,
) -> None:
    library.add_vector(new_vector("smile"), random_delta(0))
    library.add_vector(new_vector("avatars"), random_delta(1))

    assert subjects(library, "smile") == ["avatars/smile@1"]
    assert subjects(library, "avatars") == ["avatars@1", "avatars/smile@1", "avatars/avatars@1"]
    assert subjects(library, "avatars", class_name="avatars") == ["avatars/avatars@1"]


def test_vector_whose_versions_are_all_retired_keeps_its_history(library: Library) -> None:
    library.add_vector(new_vector(), random_delta())
    library.retire("smile@1", reason="leaks")

    assert subjects(library, "avatars/smile") == ["avatars/smile@1"] * 2


@pytest.mark.parametrize(
    ("subject", "error", "message"),
    [
        ("avatars/smlie", VectorNotFoundError, "did you mean smile"),
        ("avatars/smile@9", VectorNotFoundError, "no version 9"),
        ("avatars/smile@stabel", VectorNotFoundError, "its aliases are stable, latest"),
        ("cat/smile", ClassNotFoundError, "no class 'cat'"),
        ("avatars@9", ClassNotFoundError, "no version 9"),
        ("smile", ClassNotFoundError, "several classes"),
        ("../smile", InvalidNameError, "class name: expected a letter"),
        ("avatars/%", InvalidNameError, "vector name: expected a letter"),
    ],
)
def test_history_of_what_is_not_there_is_refused(
    storied: Library, subject: str, error: type[RegistryError], message: str
) -> None:
    with pytest.raises(error, match=message):
        storied.history(subject)


def test_reason_that_the_database_does_not_keep_is_refused(sqlite_library: Library) -> None:
    sqlite_library.add_vector(new_vector(), random_delta())
    before = contents(sqlite_library)

    for reason in ("a\0b", "\udcff", "a" * 10_001):
        with pytest.raises(RecordError, match="reason: expected"):
            sqlite_library.set_alias("smile", "stable", reason=reason)
        with pytest.raises(RecordError, match="reason: expected"):
            sqlite_library.add_metrics("smile", [NewMetric(name="x", value=1)], reason=reason)

    assert contents(sqlite_library) == before
