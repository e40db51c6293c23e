"""Errors of the engine.

    EngineError
    ├── ShapeError               a tensor with the wrong shape, dtype or range of labels
    ├── SettingsError            a setting outside its range
    ├── BundleError              a bundle that is incomplete, altered or of an unknown format
    ├── ImageError               an image file that cannot be used
    ├── MaskError                a mask that does not fit its image or its label scheme
    ├── WeightsUnavailableError  published weights that are neither cached nor given
    ├── CompatibilityError       a delta for another generator or latent space
    ├── NonFiniteError           NaN or infinity in a latent, loss or image
    ├── DivergedError            a training that gets worse without end, or no better than its start
    ├── ForeignFileError         a file of another program that cannot be imported
    ├── CheckpointError          a training's state that is damaged, in use or of other settings
    ├── MissingPackageError      an optional package that is not installed
    └── OutOfMemoryError         a step that does not fit the device's memory

Each class also inherits the builtin error that it specialises. The single argument is one
line for the user: which argument, what was expected, what came.
"""

from editvec.masking import MaskedError


class EngineError(MaskedError):
    """Base of every error that the engine raises on purpose."""


class ShapeError(EngineError, ValueError):
    """A tensor has the wrong shape, dtype or range."""


class EngineSettingsError(EngineError, ValueError):
    """A setting is outside its range."""


class BundleError(EngineError, ValueError):
    """A class bundle is incomplete, altered or of an unknown format."""


class ImageError(EngineError, ValueError):
    """An image file cannot be read or cannot be used."""


class EngineMaskError(EngineError, ValueError):
    """A mask does not fit its image or its label scheme."""


class WeightsUnavailableError(EngineError, FileNotFoundError):
    """Published weights are neither in the cache nor given as a file."""


class EngineCompatibilityError(EngineError, ValueError):
    """A delta belongs to another generator or another latent space."""


class NonFiniteError(EngineError, ArithmeticError):
    """A latent, a loss or an image holds NaN or infinity."""


class DivergedError(EngineError, ArithmeticError):
    """A training has grown beyond all bounds, or ends no better than it began."""


class ForeignFileError(EngineError, ValueError):
    """A file of another program is damaged, of an unknown kind, or asks for code to be run."""


class CheckpointError(EngineError, ValueError):
    """The state of a training is damaged, in use, or was begun with other settings."""


class MissingPackageError(EngineError, ImportError):
    """An optional package is not installed; the message says how to get it."""


class OutOfMemoryError(EngineError, MemoryError):
    """A step does not fit the device's memory; the message says which setting lowers it."""
