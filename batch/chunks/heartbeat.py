"""Keeps a lease alive from a thread of its own, and hands in finished items on the way."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Self

from editvec.batch.errors import LeaseLostError
from editvec.batch.recipes.settings import HEARTBEAT_SECONDS
from editvec.batch.runs.leases import ItemResult, Lease, Leases
from editvec.registry.errors import RegistryError

_LOG = logging.getLogger(__name__)


class Heartbeat:
    """While the block runs, the lease is prolonged every `interval` seconds.

    Attributes:
        is_lost: True once the lease was found to be somebody else's.
    """

    def __init__(
        self,
        leases: Leases,
        lease: Lease,
        *,
        take_finished: Callable[[], Sequence[ItemResult]],
        put_back: Callable[[Sequence[ItemResult]], None],
        interval: float = HEARTBEAT_SECONDS,
    ) -> None:
        """Makes the heartbeat.

        Args:
            leases: the leases.
            lease: the one to keep.
            take_finished: gives the items whose files are on the disk since the last call.
            put_back: takes them again when they could not be recorded.
            interval: seconds between two beats.
        """
        self.is_lost = False
        self._leases = leases
        self._lease = lease
        self._take_finished = take_finished
        self._put_back = put_back
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._stop.wait(self._interval):
            try:
                items = self._take_finished()
            except OSError as exc:  # the disk: the chunk loop meets it too, and says so
                _LOG.warning("heartbeat: %s", exc)
                items = []
            try:
                self._leases.heartbeat(self._lease, items)
            except LeaseLostError:
                self.is_lost = True
                return
            except RegistryError as exc:  # a database that is away may be back at the next beat
                self._put_back(items)
                _LOG.warning("heartbeat: %s", exc)
