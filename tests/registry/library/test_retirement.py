"""Retired versions: found by number only, refused for new work, restored."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from editvec.registry.entities.vectors import EditingVector, HistoryEntry, NewTerm, VectorParcel
from editvec.registry.errors import (
    ConflictError,
    InvalidNameError,
    RecordError,
    RetiredVectorError,
    VectorNotFoundError,
)
from editvec.registry.library.library import Library
from tests.support.registry_fixtures import contents, new_vector, random_delta

PNG = b"\x89PNG\r\n\x1a\n and whatever follows"


def add_versions(library: Library, count: int, name: str = "smile") -> list[EditingVector]:
    return [library.add_vector(new_vector(name), random_delta(seed)) for seed in range(count)]


def last_entry(library: Library) -> HistoryEntry:
    return library.history(limit=1)[0]


def test_retired_version_is_found_by_its_number_only(library: Library) -> None:
    add_versions(library, 3)

    retired = library.retire("smile@3", reason="leaks into the hair")

    assert retired.retired_at is not None
    assert library.get_vector("smile").version == 2
    assert library.get_vector("smile@latest").version == 2
    assert library.get_vector("smile@3") == retired
    assert library.delta(retired).any()
    entry = last_entry(library)
    assert (entry.action, entry.subject) == ("retire", "avatars/smile@3")
    assert entry.reason == "leaks into the hair"


def test_next_version_counts_on_from_a_retired_one(library: Library) -> None:
    add_versions(library, 2)
    library.retire("smile@2", reason="wrong")

    assert library.add_vector(new_vector(), random_delta(7)).version == 3


def test_restored_version_is_found_again(library: Library) -> None:
    add_versions(library, 2)
    library.retire("smile@2", reason="wrong")

    assert library.restore("smile@2", reason="right after all").retired_at is None

    assert library.get_vector("smile").version == 2
    entry = last_entry(library)
    assert (entry.action, entry.reason) == ("restore", "right after all")


def test_vector_whose_versions_are_all_retired_says_how_to_bring_one_back(library: Library) -> None:
    add_versions(library, 2)
    library.retire_vectors(["smile@1", "smile@2"], reason="wrong")

    with pytest.raises(VectorNotFoundError, match="all of its versions are retired") as caught:
        library.get_vector("smile")

    assert "`editvec registry restore avatars/smile@2`" in str(caught.value)


def test_retired_version_is_refused_for_new_work(library: Library) -> None:
    add_versions(library, 2)
    library.retire("smile@1", reason="wrong")
    before = contents(library)
    term = NewTerm(address="smile@1", scale=1.0)

    with pytest.raises(RetiredVectorError, match=r"avatars/smile@1 is retired since \d{4}"):
        library.plan_composition([term])
    with pytest.raises(RetiredVectorError, match="avatars/smile@1 is retired"):
        library.compose("mix", [NewTerm(address="smile@2", scale=1.0), term])
    with pytest.raises(RetiredVectorError, match="avatars/smile@1 is retired"):
        library.set_alias("smile@1", "stable")
    assert contents(library) == before


def test_retired_term_is_refused_where_the_sum_is_given(library: Library) -> None:
    add_versions(library, 1)
    library.retire("smile@1", reason="wrong")

    with pytest.raises(RetiredVectorError, match="composition avatars/mix: avatars/smile@1"):
        library.add_vector(
            new_vector("mix", kind="composed"),
            random_delta(),
            terms=[NewTerm(address="smile@1", scale=1.0)],
        )


def test_composition_of_a_vector_that_was_retired_later_stays_usable(library: Library) -> None:
    add_versions(library, 2)
    mix = library.compose("mix", [NewTerm(address="smile@1", scale=1.0)])

    library.retire("smile@1", reason="wrong")

    again = library.compose("more", [NewTerm(address="mix", scale=2.0)])
    assert library.get_vector("mix") == mix
    assert (library.delta(again) == 2 * library.delta(mix)).all()


def test_archived_composition_of_a_retired_vector_is_taken_in(library: Library) -> None:
    (smile,) = add_versions(library, 1)
    library.retire("smile@1", reason="wrong")
    archived = VectorParcel(
        new=new_vector("mix", kind="composed"),
        delta=library.delta(smile),
        terms=(NewTerm(address=smile.address, scale=1.0),),
        archived_as="avatars/mix@4",
    )

    assert library.add_vectors([archived])[0].vector.address == "avatars/mix@4"


def test_version_with_an_alias_is_not_retired(library: Library) -> None:
    add_versions(library, 2)
    library.set_alias("smile@1", "stable")
    library.set_alias("smile@1", "shipped")

    with pytest.raises(ConflictError, match="avatars/smile@1 has the alias shipped, stable"):
        library.retire("smile@1", reason="wrong")

    library.set_alias("smile@2", "stable")
    library.remove_alias("smile", "shipped")
    assert library.retire("smile@1", reason="wrong").is_retired


def test_several_versions_are_retired_all_or_none(library: Library) -> None:
    add_versions(library, 2)
    before = contents(library)

    with pytest.raises(VectorNotFoundError, match="no version 9"):
        library.retire_vectors(["smile@1", "smile@9"], reason="wrong")

    assert contents(library) == before


@pytest.mark.parametrize("address", ["smile", "smile@latest", "smile@stable"])
def test_retiring_and_restoring_take_explicit_versions(library: Library, address: str) -> None:
    add_versions(library, 2)
    library.set_alias("smile@1", "stable")

    with pytest.raises(InvalidNameError, match="retire: expected a version, such as avatars/smile"):
        library.retire(address, reason="wrong")
    with pytest.raises(InvalidNameError, match="restore: expected a version"):
        library.restore(address)


def test_retiring_needs_a_reason(sqlite_library: Library) -> None:
    add_versions(sqlite_library, 1)

    with pytest.raises(RecordError, match="expected a reason"):
        sqlite_library.retire("smile@1", reason=" ")


def test_eight_threads_retiring_and_aliasing_one_version_never_do_both(library: Library) -> None:
    add_versions(library, 1)

    def change(number: int) -> bool:
        try:
            if number % 2:
                library.retire("smile@1", reason="wrong")
            else:
                library.set_alias("smile@1", "stable")
        except (ConflictError, RetiredVectorError):
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        done = list(threads.map(change, range(8)))

    found = library.get_vector("smile@1")
    assert found.is_retired == (not found.aliases)
    assert done == [number % 2 == int(found.is_retired) for number in range(8)]
    assert len(library.history("avatars/smile")) == 2
