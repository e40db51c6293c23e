"""A class that comes with the installation gets into a library, with its vectors."""

from __future__ import annotations

from pathlib import Path

from editvec.registry.bundles.shipped import STARTERS, load_entry, registered, shipped_bundles
from editvec.registry.entities.classes import ClassModel
from editvec.registry.errors import BundleFormatError
from editvec.registry.library.library import Library
from editvec.registry.sharing.exchange import import_library


def install_shipped(library: Library, name: str) -> ClassModel:
    """Put a shipped class and its starter library into a library.

    What the library already holds stays as it is, so that installing again changes nothing.

    Args:
        library: Where to.
        name: Of the class.

    Raises:
        BundleFormatError: This installation has no such class, or a file of it was altered.
        ExchangeError: The starter library cannot be read.
    """
    folders = shipped_bundles()
    if name not in folders:
        known = ", ".join(folders) or "none"
        raise BundleFormatError(f"class {name}: not shipped with this installation ({known} is)")
    model = library.add_bundle(folders[name])
    if (starter := registered(STARTERS).get(name)) is not None:
        archive = Path(load_entry(starter))
        if not archive.is_file():
            raise BundleFormatError(f"class {name}: {archive} is missing; install editvec again")
        import_library(library, archive)
    return model
