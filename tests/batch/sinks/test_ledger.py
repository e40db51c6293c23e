import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from editvec.batch.errors import DiskFullError
from editvec.batch.sinks.ledger import IMAGES, Audit, Entry, Ledger


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with Ledger() as opened:
        yield opened


def test_sides_are_compared_by_name_and_by_value(ledger: Ledger) -> None:
    ledger.add([Entry("a", "1", "x"), Entry("a", "3", "x"), Entry("a", "2", None)])
    ledger.add([Entry("b", "4", "x"), Entry("b", "3", "y"), Entry("b", "2", None)])

    assert list(ledger.only_in("a", "b")) == ["1"]
    assert list(ledger.only_in("b", "a")) == ["4"]
    assert list(ledger.differing("a", "b")) == ["3"]
    assert list(ledger.only_in("a", "nowhere")) == ["1", "2", "3"]
    assert ledger.has("a", "1")
    assert not ledger.has("b", "1")


def test_a_value_differs_from_none(ledger: Ledger) -> None:
    ledger.add([Entry("a", "1", "x"), Entry("b", "1", None)])

    assert list(ledger.differing("a", "b")) == ["1"]


def test_names_that_come_twice_are_counted_and_the_first_value_counts(ledger: Ledger) -> None:
    assert ledger.add([Entry("a", "1", "x"), Entry("b", "1", "x")]) == 0
    assert ledger.add([Entry("a", "1", "y"), Entry("a", "2", "y"), Entry("a", "2", "z")]) == 2

    assert list(ledger.differing("a", "b")) == []


def test_names_that_are_no_utf8_come_out_as_text(ledger: Ledger) -> None:
    ledger.add([Entry("files", "images/\udcff\nü.png")])

    assert list(ledger.only_in("files", "rows")) == ["images/\\xff\nü.png"]


def test_what_came_before_an_error_is_kept(ledger: Ledger) -> None:
    def entries() -> Iterator[Entry]:
        yield Entry("a", "1")
        raise ValueError("torn")

    with pytest.raises(ValueError, match="torn"):
        ledger.add(entries())

    assert ledger.has("a", "1")
    assert ledger.add([Entry("a", "2")]) == 0


def test_a_full_temporary_folder_is_told_in_one_line(ledger: Ledger) -> None:
    # stands for a disk: SQLite refuses more pages with the error of a full one
    ledger._file.execute("PRAGMA temp.max_page_count = 20")

    with pytest.raises(DiskFullError, match=r"temporary files: .* full"):
        ledger.add(Entry("a", f"{number:0200}") for number in range(10_000))


def test_memory_does_not_grow_with_the_number_of_names(ledger: Ledger) -> None:
    def entries(side: str) -> Iterator[Entry]:
        return (Entry(side, f"images/{number:09}.png", "key") for number in range(20_000))

    tracemalloc.start()
    try:
        ledger.add(entries("a"))
        ledger.add(entries("b"))
        assert sum(1 for _ in ledger.only_in("a", "nowhere")) == 20_000
        assert sum(1 for _ in ledger.only_in("a", "b")) == 0
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    # the names alone would be 2 MB
    assert peak < 500_000


def test_the_file_of_a_ledger_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQLITE_TMPDIR", str(tmp_path))

    with Ledger() as ledger:
        ledger._file.execute("PRAGMA temp.cache_size = 10")
        ledger.add(Entry("a", f"{number:0200}") for number in range(2_000))
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("count", "more"), [(0, []), (20, []), (21, ["x: 1 more"])])
def test_twenty_problems_of_a_kind_are_named(count: int, more: list[str]) -> None:
    found = Audit(problems=["before"])

    found.add("x", (str(number) for number in range(count)))

    assert found.problems == ["before", *(f"x: {n}" for n in range(min(count, 20))), *more]


def test_a_manifest_is_compared_in_both_directions_and_by_value(ledger: Ledger) -> None:
    ledger.add([Entry(IMAGES, name, "key") for name in ("a", "b", "c")])
    ledger.add([Entry("rows", "b", "key"), Entry("rows", "c", "other"), Entry("rows", "d", "key")])
    found = Audit()

    found.compare("rows", ledger)

    assert found.problems == [
        "not in rows: a",
        "only in rows: d",
        "of another content key in rows: c",
    ]


def test_more_names_than_are_fetched_at_a_time_come_in_order(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{number:04}" for number in range(2001)]

    ledger.add(Entry("a", name) for name in reversed(names))

    assert list(ledger.only_in("a", "b")) == names


def test_a_closed_ledger_holds_nothing_more() -> None:
    with Ledger() as ledger:
        ledger.add([Entry("a", "1")])

    with pytest.raises(DiskFullError, match=r"folder for temporary files: .*closed"):
        ledger.has("a", "1")
