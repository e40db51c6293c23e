"""The class that is shipped: its bundle, its starter library, and how both get into a library."""

from pathlib import Path

from editvec.registry.entities.classes import ClassModel
from editvec.registry.errors import BundleFormatError
from editvec.registry.library.library import Library
from editvec.registry.sharing.exchange import import_library

CLASS_NAME = "avatars"

_FOLDER = Path(__file__).parent

BUNDLE_FOLDER = _FOLDER / "bundle"
STARTER_ARCHIVE = _FOLDER / "starter.editvec.zip"


def is_shipped() -> bool:
    """Whether this installation holds the bundle and the starter library."""
    return (BUNDLE_FOLDER / "bundle.json").is_file() and STARTER_ARCHIVE.is_file()


def install(library: Library) -> ClassModel:
    """Put the shipped class and its starter library into a library.

    What the library already holds stays as it is, so that installing again changes nothing.

    Args:
        library: Where to.

    Returns:
        The class model.

    Raises:
        BundleFormatError: The installation lacks the bundle, or a file of it was altered.
        ExchangeError: The starter library cannot be read.
    """
    if not is_shipped():
        missing = STARTER_ARCHIVE if BUNDLE_FOLDER.is_dir() else BUNDLE_FOLDER
        raise BundleFormatError(f"class {CLASS_NAME}: {missing} is missing; install editvec again")
    model = library.add_bundle(BUNDLE_FOLDER)
    import_library(library, STARTER_ARCHIVE)
    return model
