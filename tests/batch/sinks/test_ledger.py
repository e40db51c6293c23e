import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from editvec.batch.errors import DiskFullError
from editvec.batch.sinks.ledger import Entry, Ledger


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
