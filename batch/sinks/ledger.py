"""Compares sets of names that are larger than memory: they wait in a temporary file of SQLite."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, Self

from editvec.batch.errors import DiskFullError
from editvec.batch.naming import display_path

_CACHE_KIB = 32 << 10
_NAMES_AT_A_TIME = 1000


class Entry(NamedTuple):
    """A name on one side of a comparison, with what is said of it there."""

    side: str
    name: str
    value: str | None = None


class Ledger:
    """Names by side; a side holds each name once. Memory does not grow with their number."""

    def __init__(self) -> None:
        # no name: a file of its own in the folder for temporary files, gone when it is closed
        with _plain_errors():
            self._file = sqlite3.connect("", isolation_level=None)
            for setting in (f"temp.cache_size = -{_CACHE_KIB}", "temp.journal_mode = OFF"):
                self._file.execute(f"PRAGMA {setting}")
            self._file.execute(
                "CREATE TEMP TABLE entries (side TEXT NOT NULL, name BLOB NOT NULL, value TEXT, "
                "PRIMARY KEY (side, name)) WITHOUT ROWID"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, entries: Iterable[Entry]) -> int:
        """Takes entries; the first of each name counts.

        Returns:
            How many names were there already on their side.

        Raises:
            DiskFullError: the folder for temporary files cannot take them.
        """
        count = 0

        def rows() -> Iterator[tuple[str, bytes, str | None]]:
            nonlocal count
            for side, name, value in entries:
                count += 1
                yield side, os.fsencode(name), value

        with _plain_errors():
            before = self._file.total_changes
            self._file.execute("BEGIN")
            try:
                self._file.executemany("INSERT OR IGNORE INTO entries VALUES (?, ?, ?)", rows())
            finally:
                if self._file.in_transaction:  # SQLite itself ends it where the disk is full
                    self._file.execute("COMMIT")
            return count - (self._file.total_changes - before)

    def has(self, side: str, name: str) -> bool:
        """True if a side holds a name."""
        query = "SELECT 1 FROM entries WHERE side = ? AND name = ?"
        with _plain_errors():
            return self._file.execute(query, (side, os.fsencode(name))).fetchone() is not None

    def only_in(self, side: str, other: str) -> Iterator[str]:
        """The names of a side that another one lacks, in order, as text for people."""
        yield from self._names(
            "SELECT name FROM entries AS one WHERE side = ? AND NOT EXISTS (SELECT 1 "
            "FROM entries AS other WHERE other.side = ? AND other.name = one.name) ORDER BY name",
            side,
            other,
        )

    def differing(self, side: str, other: str) -> Iterator[str]:
        """The names of which two sides say different things, in order, as text for people."""
        yield from self._names(
            "SELECT one.name FROM entries AS one JOIN entries AS other ON other.name = one.name "
            "WHERE one.side = ? AND other.side = ? AND one.value IS NOT other.value "
            "ORDER BY one.name",
            side,
            other,
        )

    def _names(self, query: str, *sides: str) -> Iterator[str]:
        with _plain_errors():
            found = self._file.execute(query, sides)
            while some := found.fetchmany(_NAMES_AT_A_TIME):
                for (name,) in some:
                    yield display_path(name)


@contextmanager
def _plain_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as exc:
        raise DiskFullError(f"folder for temporary files: {exc} (TMPDIR names another)") from exc


# --- what an audit found, a line for each problem ---

# the images of the done items with their content keys, as SQL has them
IMAGES = "images in SQL"
_MOST_NAMED = 20


@dataclass(kw_only=True)
class Audit:
    """What an audit found; nothing at all if the run is whole.

    Attributes:
        items: items that were compared.
        problems: one line each; at most some of every kind are named.
    """

    items: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, kind: str, names: Iterable[str]) -> None:
        """Adds a line for each name, up to a limit, and one for how many more there are."""
        rest = iter(names)
        self.problems.extend(f"{kind}: {name}" for name in islice(rest, _MOST_NAMED))
        if more := sum(1 for _ in rest):
            self.problems.append(f"{kind}: {more} more")

    def compare(self, manifest: str, ledger: Ledger) -> None:
        """Compares the images that a manifest lists, with their content keys, with those in SQL."""
        self.add(f"not in {manifest}", ledger.only_in(IMAGES, manifest))
        self.add(f"only in {manifest}", ledger.only_in(manifest, IMAGES))
        differing = ledger.differing(IMAGES, manifest)
        self.add(f"of another content key in {manifest}", differing)
