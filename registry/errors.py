"""The errors of the library of vectors.

RegistryError
+-- ConfigError            (ValueError)    a setting of the library is wrong
+-- InvalidNameError       (ValueError)    a name or an address that cannot be one
+-- ClassNotFoundError     (LookupError)   no such class model
+-- VectorNotFoundError    (LookupError)   no such editing vector
|   +-- AliasNotFoundError                  the vector has no such alias
+-- LabelNotFoundError     (LookupError)   no such part label in the class
+-- MetricNotFoundError    (LookupError)   no vector has such a metric
+-- ConflictError          (ValueError)    the version is taken by other content, or has an alias
+-- RetiredVectorError     (ValueError)    a retired vector was asked for new work
+-- CompatibilityError     (ValueError)    another class, generator, space or shape
+-- RecordError            (ValueError)    a value of a record that is out of its range
+-- CodecError             (ValueError)    bytes that are no vector, or a vector that is not usable
+-- MaskError              (ValueError)    a picture that is no mask of this class
+-- SchemeError            (ValueError)    a file that is no label scheme
+-- OperationError         (ValueError)    a text that is no edit of a mask
+-- BundleFormatError      (ValueError)    a folder that is no class bundle
+-- CompositionError       (ValueError)    terms that cannot be summed
+-- ExchangeError          (ValueError)    an archive that cannot be read or installed
+-- SchemaError            (RuntimeError)  the database has no tables, or those of another release
+-- DatabaseError          (RuntimeError)  the database cannot be reached or refuses
+-- VerificationError      (RuntimeError)  the library holds something that is wrong
+-- BlobError              (OSError)       bytes that cannot be stored, found or trusted
    +-- LibraryDiskFullError                no space left, for bytes or rows
"""

from __future__ import annotations

from editvec.masking import MaskedError


class RegistryError(MaskedError):
    """Anything that the library of vectors refuses or cannot do."""


class ConfigError(RegistryError, ValueError):
    """A setting of the library is wrong."""


class InvalidNameError(RegistryError, ValueError):
    """A text that cannot be a name or an address."""


class ClassNotFoundError(RegistryError, LookupError):
    """The library holds no such class model."""


class VectorNotFoundError(RegistryError, LookupError):
    """The library holds no such editing vector."""


class AliasNotFoundError(VectorNotFoundError):
    """The vector has no such alias."""


class LabelNotFoundError(RegistryError, LookupError):
    """The label scheme of the class has no such part."""


class MetricNotFoundError(RegistryError, LookupError):
    """No vector has such a metric."""


class ConflictError(RegistryError, ValueError):
    """The wanted version holds something else, or an alias forbids what was asked."""


class RetiredVectorError(RegistryError, ValueError):
    """A retired vector was asked for new work."""


class CompatibilityError(RegistryError, ValueError):
    """Things of different classes, generators, latent spaces or shapes were put together."""


class RecordError(RegistryError, ValueError):
    """A value of a record is out of its range."""


class CodecError(RegistryError, ValueError):
    """Bytes that hold no vector, or a vector that cannot be used."""


class MaskError(RegistryError, ValueError):
    """A picture that is no label mask of the class."""


class SchemeError(RegistryError, ValueError):
    """A file that is no label scheme; the message names its line."""


class OperationError(RegistryError, ValueError):
    """A text that is no edit of a mask."""


class BundleFormatError(RegistryError, ValueError):
    """A folder that is no valid class bundle."""


class CompositionError(RegistryError, ValueError):
    """Terms that cannot be composed."""


class ExchangeError(RegistryError, ValueError):
    """An archive that cannot be read, trusted or installed."""


class SchemaError(RegistryError, RuntimeError):
    """The database has no tables yet, or those of another release."""


class DatabaseError(RegistryError, RuntimeError):
    """The database cannot be reached, is damaged, locked or read-only, or refuses a statement."""


class VerificationError(RegistryError, RuntimeError):
    """The library holds something that is wrong."""


class BlobError(RegistryError, OSError):
    """Bytes that cannot be stored, found or trusted."""


class LibraryDiskFullError(BlobError):
    """No space is left for bytes or rows."""
