"""What every kind of chunk needs: the right class, finished items, and an end in order."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from editvec.batch.chunks.stopping import undisturbed
from editvec.batch.errors import (
    BatchError,
    DeviceLostError,
    DiskFullError,
    LeaseLostError,
    WorkerError,
)
from editvec.batch.runs.entities import RunRecord
from editvec.batch.runs.leases import ItemResult, Lease, Leases
from editvec.batch.runs.store import Runs
from editvec.engine.editor import Editor
from editvec.registry.errors import RegistryError

_LOG = logging.getLogger(__name__)


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


def require_generator(editor: Editor, run: RunRecord) -> None:
    """Refuses to work on a run with another generator than its own.

    Raises:
        WorkerError: names both.
    """
    if editor.bundle.generator_digest != run.plan.generator_digest:
        raise WorkerError(
            f"class: run {run.id[:8]} needs {run.plan.class_address} "
            f"({run.plan.generator_digest[:12]}), loaded is another generator"
        )


def give_back(
    leases: Leases,
    runs: Runs,
    lease: Lease,
    error: BaseException,
    *,
    take_items: Callable[[], Sequence[ItemResult]],
) -> None:
    """Gives a chunk back with the items that are finished; a full disk pauses the run.

    Args:
        leases: the leases.
        runs: the runs.
        lease: of the chunk.
        error: what ended the work, which the caller raises after this.
        take_items: gives the items that are finished.

    Raises:
        LeaseLostError: what went wrong did so because the chunk is somebody else's by now: a holder
            that slept finds the files of its run removed, or its inputs replaced.
    """
    try:
        with undisturbed():
            leases.give_back(lease, take_items())
            if isinstance(error, DiskFullError):
                runs.pause(lease.run_id, str(error))
    except LeaseLostError as lost:
        if isinstance(error, Exception) and not isinstance(error, DeviceLostError):
            raise lost from error
    except (RegistryError, BatchError, OSError) as exc:
        # the first error is the one to tell; the lease ends by itself
        _LOG.warning("chunk %s: the lease was not given back: %s", lease.chunk_position, exc)
