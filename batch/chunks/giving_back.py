"""How a lease ends when its chunk could not be finished: in order, whatever went wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from editvec.batch.chunks.stopping import undisturbed
from editvec.batch.errors import BatchError, DeviceLostError, DiskFullError, LeaseLostError
from editvec.batch.runs.leases import ItemResult, Lease, Leases
from editvec.batch.runs.store import Runs
from editvec.registry.errors import RegistryError

_LOG = logging.getLogger(__name__)


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
