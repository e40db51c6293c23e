"""Finished items on their way into SQL."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from editvec.batch.runs.leases import ItemResult


class Collected:
    """Items whose files are written; handed on only when the files are safe on the disk."""

    def __init__(self, sync: Callable[[], None]) -> None:
        """Makes an empty collection.

        Args:
            sync: returns when everything written is on the disk.
        """
        self._sync = sync
        self._lock = threading.Lock()
        self._items: list[ItemResult] = []

    def add(self, items: Sequence[ItemResult]) -> None:
        """Adds items whose files are written."""
        with self._lock:
            self._items.extend(items)

    def take(self) -> list[ItemResult]:
        """Removes and returns what is there, after its files are on the disk.

        Raises:
            DiskFullError: the disk could not take them.
        """
        with self._lock:
            if any(item.state == "done" for item in self._items):
                self._sync()
            items, self._items = self._items, []
            return items

    def put_back(self, items: Sequence[ItemResult]) -> None:
        """Takes items again that could not be recorded."""
        with self._lock:
            self._items[:0] = items
