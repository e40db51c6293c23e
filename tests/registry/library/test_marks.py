"""Aliases, tags, metrics and previews of stored vectors, on both databases."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing.context import ForkServerContext
from typing import Any

import pytest
from sqlalchemy import func, select

from editvec.registry.entities.metrics import Metric, NewMetric
from editvec.registry.entities.vectors import EditingVector, HistoryEntry, NewTerm
from editvec.registry.errors import (
    AliasNotFoundError,
    BlobError,
    InvalidNameError,
    RecordError,
    RegistryError,
    VectorNotFoundError,
)
from editvec.registry.library.library import Library
from editvec.registry.tables.database import reading
from editvec.registry.tables.models import AliasRow, MetricRow
from tests.support.registry_fixtures import contents, new_vector, random_delta
from tests.support.registry_processes import move_alias

PNG = b"\x89PNG\r\n\x1a\n and whatever follows"


def add_versions(library: Library, count: int, name: str = "smile") -> list[EditingVector]:
    return [library.add_vector(new_vector(name), random_delta(seed)) for seed in range(count)]


def last_entry(library: Library) -> HistoryEntry:
    return library.history(limit=1)[0]


# --- aliases ---


def test_alias_stands_for_its_version_until_it_moves(library: Library) -> None:
    first, second, _ = add_versions(library, 3)

    assert library.set_alias("smile@1", "stable", reason="reviewed").aliases == ("stable",)
    assert library.get_vector("smile@stable").address == first.address

    library.set_alias("avatars/smile@2", "stable")
    assert library.get_vector("avatars/smile@stable").address == second.address
    assert library.get_vector("smile@1").aliases == ()


def test_alias_of_a_bare_name_is_of_the_newest_version(library: Library) -> None:
    add_versions(library, 2)

    assert library.set_alias("smile", "stable").version == 2
    add_versions(library, 3)
    assert library.get_vector("smile@stable").version == 2
    assert library.get_vector("smile@latest").version == 3
    assert library.set_alias("smile@stable", "shipped").aliases == ("shipped", "stable")


def test_moving_an_alias_is_told_in_the_history(library: Library) -> None:
    add_versions(library, 2)

    library.set_alias("smile@1", "stable")
    library.set_alias("smile@2", "stable", reason="leaks less")

    first, second = library.history("avatars/smile")[-2:]
    assert first.details == {"alias": "stable", "from": None, "to": 1}
    assert (second.action, second.subject) == ("set alias", "avatars/smile")
    assert second.details == {"alias": "stable", "from": 1, "to": 2}
    assert second.reason == "leaks less"
    assert second.by


def test_removed_alias_is_gone_and_its_version_stays(library: Library) -> None:
    add_versions(library, 1)
    library.set_alias("smile@1", "stable")

    assert library.remove_alias("smile", "stable", reason="premature").version == 1

    with pytest.raises(AliasNotFoundError, match="no alias 'stable'; it has none yet"):
        library.get_vector("smile@stable")
    assert library.get_vector("smile@1").aliases == ()
    assert last_entry(library).details == {"alias": "stable", "from": 1, "to": None}


def test_unknown_alias_lists_the_known_ones(library: Library) -> None:
    add_versions(library, 1)
    library.set_alias("smile", "stable")
    library.set_alias("smile", "shipped")

    message = "vector avatars/smile has no alias 'stabel'; its aliases are shipped, stable, latest"
    with pytest.raises(AliasNotFoundError, match=message):
        library.get_vector("smile@stabel")
    with pytest.raises(AliasNotFoundError, match=message):
        library.remove_alias("smile", "stabel")


def test_aliases_are_listed_with_their_versions(library: Library) -> None:
    add_versions(library, 2)
    add_versions(library, 1, "look")
    library.set_alias("smile@2", "stable")
    library.set_alias("look@1", "stable")
    library.set_alias("smile@1", "old")

    def listed(*names: str, **classes: str) -> list[tuple[str, str]]:
        return [(one.address, one.vector) for one in library.aliases(*names, **classes)]

    look = ("avatars/look@stable", "avatars/look@1")
    smile = [("avatars/smile@old", "avatars/smile@1"), ("avatars/smile@stable", "avatars/smile@2")]
    assert listed() == listed(class_name="avatars") == [look, *smile]
    assert listed("smile") == smile
    assert listed("avatars/look") == [look]
    with pytest.raises(VectorNotFoundError, match="did you mean smile"):
        library.aliases("smlie")


@pytest.mark.parametrize("pin", ["1", "2", "stable", "latest"])
def test_a_version_is_refused_where_all_versions_are_meant(library: Library, pin: str) -> None:
    add_versions(library, 2)
    library.set_alias("smile@1", "stable")
    before = contents(library)

    for of, call in (
        ("alias", lambda: library.remove_alias(f"smile@{pin}", "stable")),
        ("aliases", lambda: library.aliases(f"smile@{pin}")),
    ):
        with pytest.raises(
            InvalidNameError,
            match=f"{of}: expected a name without a version, such as avatars/smile, "
            f"got 'avatars/smile@{pin}'",
        ):
            call()

    assert contents(library) == before
    assert library.remove_alias("smile", "stable").version == 1


@pytest.mark.parametrize("address", ["smile", "smile@stable", "smile@latest"])
def test_a_name_or_an_alias_is_refused_where_one_version_is_meant(
    library: Library, address: str
) -> None:
    """Tomorrow it may stand for another one."""
    add_versions(library, 2)
    library.set_alias("smile@1", "stable")
    library.retire("smile@2", reason="before")
    before = contents(library)

    for of, call in (
        ("retire", lambda: library.retire(address, reason="why")),
        ("restore", lambda: library.restore(address)),
    ):
        with pytest.raises(InvalidNameError, match=f"{of}: expected a version, such as avatars/s"):
            call()

    assert contents(library) == before


def test_vector_of_the_same_name_in_another_class_has_aliases_of_its_own(
    library: Library, make_bundle: Any
) -> None:
    library.add_bundle(make_bundle("cars", name="car"))
    add_versions(library, 2)
    library.add_vector(new_vector(class_name="car"), random_delta())

    library.set_alias("avatars/smile@2", "stable")
    library.set_alias("smile", "stable", class_name="car")

    assert library.get_vector("avatars/smile@stable").version == 2
    assert library.get_vector("smile@stable", class_name="car").version == 1


def test_eight_threads_moving_one_alias_leave_one_and_a_history_without_gaps(
    library: Library,
) -> None:
    add_versions(library, 8)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda v: library.set_alias(f"smile@{v}", "stable"), range(1, 9)))

    check_chain(library, "avatars/smile", moves=8)


def test_four_processes_moving_one_alias_leave_one_and_a_history_without_gaps(
    library: Library, processes: ForkServerContext
) -> None:
    add_versions(library, 4, "raced")

    with processes.Pool(4) as pool:
        pool.starmap(move_alias, [(library.config, seed % 4 + 1) for seed in range(12)])

    check_chain(library, "avatars/raced", moves=12)


def check_chain(library: Library, name: str, *, moves: int) -> None:
    """One alias; its history leads from nothing to where it is, every move from the one before."""
    entries = [entry for entry in library.history(name) if entry.action == "set alias"]
    places = [None, *(entry.details["to"] for entry in entries)]
    with reading(library.engine) as session:
        assert session.scalar(select(func.count()).select_from(AliasRow)) == 1
    assert 1 <= len(entries) <= moves
    assert [entry.details["from"] for entry in entries] == places[:-1]
    assert library.get_vector(f"{name}@stable").version == places[-1]


# --- tags ---


def test_tags_are_added_and_removed(library: Library) -> None:
    library.add_vector(new_vector(tags=("mood", "draft")), random_delta())

    tagged = library.tag("smile", add=["face", "mood"], remove=["draft", "none"], reason="sorted")

    assert tagged.tags == library.get_vector("smile").tags == ("face", "mood")
    entry = last_entry(library)
    assert (entry.action, entry.subject) == ("tag", "avatars/smile@1")
    assert entry.details == {"added": ["face"], "removed": ["draft"]}


def test_tag_cannot_be_added_and_removed_at_once(sqlite_library: Library) -> None:
    add_versions(sqlite_library, 1)

    with pytest.raises(RecordError, match="mood cannot be added and removed at once"):
        sqlite_library.tag("smile", add=["mood"], remove=["mood"])


# --- metrics ---


def latest_metrics(library: Library) -> list[tuple[str, float]]:
    """Names and values of the rows that are marked as the newest, read from the table itself."""
    with reading(library.engine) as session:
        rows = session.scalars(select(MetricRow).where(MetricRow.is_latest))
        return sorted((row.name, row.value) for row in rows)


def test_newest_metric_of_a_name_is_the_one_that_counts(library: Library) -> None:
    first = [NewMetric(name="leakage", value=0.4), NewMetric(name="success", value=0.8)]
    library.add_vector(new_vector(), random_delta(), metrics=first)
    assert latest_metrics(library) == [("leakage", 0.4), ("success", 0.8)]

    measured = library.add_metrics(
        "smile", [NewMetric(name="leakage", value=0.1, sample_count=500)], reason="200 probes"
    )

    assert [metric.value for metric in measured.metrics] == [0.4, 0.8, 0.1]
    assert latest_metrics(library) == [("leakage", 0.1), ("success", 0.8)]
    entry = last_entry(library)
    assert (entry.action, entry.reason) == ("measure", "200 probes")
    assert entry.details == {"metrics": [{"name": "leakage", "value": 0.1}]}


def test_last_of_two_metrics_of_one_name_counts(library: Library) -> None:
    twice = [NewMetric(name="leakage", value=value) for value in (0.4, 0.3)]

    library.add_vector(new_vector(), random_delta(), metrics=twice)

    assert latest_metrics(library) == [("leakage", 0.3)]


def test_metric_that_was_measured_earlier_does_not_count_more(library: Library) -> None:
    library.add_vector(new_vector(), random_delta(), metrics=[NewMetric(name="leakage", value=0.4)])
    old = Metric(name="leakage", value=0.9, measured_at=datetime(2020, 1, 1, tzinfo=UTC))

    library.add_metrics("smile", [old])

    assert latest_metrics(library) == [("leakage", 0.4)]


def test_metrics_are_all_or_none(library: Library) -> None:
    add_versions(library, 1)
    before = contents(library)

    with pytest.raises(RecordError, match="finite"):
        library.add_metrics(
            "smile",
            [NewMetric(name="good", value=1.0), NewMetric(name="bad", value=float("nan"))],
        )
    with pytest.raises(RecordError, match="expected one at least"):
        library.add_metrics("smile", [])

    assert contents(library) == before


def test_metrics_of_several_vectors_are_all_or_none(library: Library) -> None:
    add_versions(library, 1)
    add_versions(library, 1, "frown")
    found = [NewMetric(name="overlap", value=0.3)]
    before = contents(library)

    for broken in ({"smile": found, "wink": found}, {"smile": found, "frown": []}):
        with pytest.raises(RegistryError):
            library.add_metrics_of_several(broken)
        assert contents(library) == before

    stored = library.add_metrics_of_several({"smile": found, "frown": found}, reason="64 samples")

    assert [one.address for one in stored] == ["avatars/smile@1", "avatars/frown@1"]
    assert all(one.metrics[-1].name == "overlap" for one in stored)
    assert latest_metrics(library) == [("overlap", 0.3), ("overlap", 0.3)]
    told = [(one.action, one.subject, one.reason) for one in library.history(limit=2)]
    assert told == [
        ("measure", "avatars/smile@1", "64 samples"),
        ("measure", "avatars/frown@1", "64 samples"),
    ]


def test_eight_threads_measuring_leave_one_newest_metric(library: Library) -> None:
    add_versions(library, 1)

    with ThreadPoolExecutor(8) as threads:
        list(
            threads.map(
                lambda seed: library.add_metrics("smile", [NewMetric(name="leakage", value=seed)]),
                range(8),
            )
        )

    assert len(latest_metrics(library)) == 1
    assert len(library.get_vector("smile").metrics) == 8


# --- preview ---


def test_preview_is_stored_and_replaced(library: Library) -> None:
    add_versions(library, 1)

    first = library.set_preview("smile", PNG)
    second = library.set_preview("smile", PNG + b"!", reason="more probes")

    assert first.preview_digest != second.preview_digest
    assert library.blobs.get(library.get_vector("smile").preview_digest or "") == PNG + b"!"
    entry = last_entry(library)
    assert (entry.action, entry.details) == ("preview", {"digest": second.preview_digest})


def test_preview_must_be_a_png(sqlite_library: Library) -> None:
    add_versions(sqlite_library, 1)

    with pytest.raises(RecordError, match="preview of smile: expected a PNG"):
        sqlite_library.set_preview("smile", b"GIF89a")


def test_preview_that_cannot_be_stored_changes_nothing(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_versions(library, 1)
    before = contents(library)

    def refuse(*_: object, **__: object) -> None:
        raise BlobError("no")

    with monkeypatch.context() as patch:
        patch.setattr(type(library.blobs), "put", refuse)
        with pytest.raises(BlobError):
            library.set_preview("smile", PNG)

    assert contents(library) == before


# --- all of them ---


def test_what_changes_nothing_writes_nothing(library: Library) -> None:
    library.add_vector(new_vector(tags=("mood",)), random_delta())
    library.add_vector(new_vector("frown"), random_delta(1))
    library.set_alias("smile", "stable")
    library.set_preview("smile", PNG)
    library.retire("frown@1", reason="wrong")
    before = contents(library)

    library.set_alias("smile@1", "stable", reason="again")
    library.set_preview("smile", PNG)
    library.retire("frown@1", reason="again")
    library.restore("smile@1")
    library.tag("smile", add=["mood"], remove=["none"])
    library.tag("smile")

    assert contents(library) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda library, address: library.set_alias(address, "stable"),
        lambda library, address: library.remove_alias(address, "stable"),
        lambda library, address: library.retire(address, reason="wrong"),
        lambda library, address: library.restore(address),
        lambda library, address: library.tag(address, add=["mood"]),
        lambda library, address: library.add_metrics(address, [NewMetric(name="x", value=1.0)]),
        lambda library, address: library.set_preview(address, PNG),
    ],
)
@pytest.mark.parametrize("address", ["smlie", "smile@9", "smile@stabel", "cat/smile@1", "../x@1"])
def test_mark_on_what_is_not_there_is_refused_and_nothing_changes(
    sqlite_library: Library, change: Any, address: str
) -> None:
    add_versions(sqlite_library, 1)
    sqlite_library.set_alias("smile@1", "shipped")
    before = contents(sqlite_library)

    with pytest.raises(RegistryError):
        change(sqlite_library, address)

    assert contents(sqlite_library) == before


def test_user_whose_name_no_database_keeps_is_refused(
    sqlite_library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_versions(sqlite_library, 1)
    monkeypatch.setenv("LOGNAME", "a" * 201)

    with pytest.raises(RecordError, match="user: expected at most 200 characters"):
        sqlite_library.set_alias("smile", "stable")


# --- dependents ---


def test_compositions_that_use_a_vector_are_its_dependents(library: Library) -> None:
    add_versions(library, 2)
    once, twice = NewTerm(address="smile@1", scale=1.0), NewTerm(address="smile@1", scale=0.5)
    library.compose("mix", [once, twice])
    library.compose("zoom", [once, NewTerm(address="smile@2", scale=1.0)])
    library.compose("more", [NewTerm(address="mix", scale=1.0)])

    assert library.dependents("smile@1") == ["avatars/mix@1", "avatars/zoom@1"]
    assert library.dependents("smile@2") == ["avatars/zoom@1"]
    assert library.dependents("more") == []


# --- releases ---


def test_composition_keeps_the_release_that_made_it(sqlite_library: Library) -> None:
    add_versions(sqlite_library, 1)

    mix = sqlite_library.compose("mix", [NewTerm(address="smile", scale=0.5)])

    assert mix.engine_version == f"editvec {version('editvec')}"
    assert mix.kernel_version == ""
