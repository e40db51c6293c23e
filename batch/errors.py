"""What can go wrong in a run.

BatchError
├── RecipeError (ValueError)          an edit, sweep or scale that cannot be read
├── SettingsError (ValueError)        a setting out of its range, settings that exclude each other
├── PlanError (ValueError)            a folder that cannot be planned
├── MaskPairingError (ValueError)     a mask that is missing or does not fit its image
├── RunNotFoundError (LookupError)    no such run
├── RunConflictError (ValueError)     the output folder belongs to a run with other parameters
├── LeaseLostError (RuntimeError)     another worker owns the chunk: nothing may be written
├── RunCancelledError (RuntimeError)  the run was cancelled between two mini-batches
├── WorkerStoppingError (RuntimeError)  this process was told to stop, between two mini-batches
├── DiskFullError (OSError)           the output folder cannot take more; the run is paused
├── BrokerError (ConnectionError)     no broker answers at EDITVEC_BROKER_URL
├── WorkerError (RuntimeError)        a worker cannot serve its class or device
└── DeviceLostError (RuntimeError)    the device stopped working: its process must end
"""

from editvec.masking import MaskedError


class BatchError(MaskedError):
    """Anything that a run reports in one line."""


class RecipeError(BatchError, ValueError):
    """An edit, a sweep or a scale cannot be read."""


class SettingsError(BatchError, ValueError):
    """A setting is out of its range, or two settings exclude each other."""


class PlanError(BatchError, ValueError):
    """A folder cannot be planned: missing, empty, or entangled with the output folder."""


class MaskPairingError(BatchError, ValueError):
    """A mask is missing or does not fit its image."""


class RunNotFoundError(BatchError, LookupError):
    """No run has this id."""


class RunConflictError(BatchError, ValueError):
    """The output folder belongs to a run with other parameters."""


class LeaseLostError(BatchError, RuntimeError):
    """The lease ended or moved to another worker: its holder writes nothing more."""


class RunCancelledError(BatchError, RuntimeError):
    """The run was cancelled: its holder starts no further mini-batch."""


class WorkerStoppingError(BatchError, RuntimeError):
    """The process was told to stop: it gives its chunk back between two mini-batches."""


class DiskFullError(BatchError, OSError):
    """The output folder cannot take more bytes."""


class BrokerError(BatchError, ConnectionError):
    """No broker answers."""


class WorkerError(BatchError, RuntimeError):
    """A worker cannot serve its class or its device."""


class DeviceLostError(BatchError, RuntimeError):
    """The device stopped working under a computation: its process must end."""
