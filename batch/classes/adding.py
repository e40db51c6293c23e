"""The one door by which bundles enter a library: networks that could not be loaded stay outside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from editvec.engine.bundle.bundle import check_bundle
from editvec.registry.bundles.manifest import read_manifest
from editvec.registry.bundles.shipped import STARTERS, load_entry, registered, shipped_bundles
from editvec.registry.errors import BundleFormatError
from editvec.registry.sharing.exchange import import_library

if TYPE_CHECKING:
    from editvec.registry.entities.classes import ClassModel
    from editvec.registry.library.library import Library


def add_bundle(library: Library, folder: Path) -> ClassModel:
    """Store a class bundle after telling that each of its networks can be built.

    Time and memory follow the size of the files, whatever bundle.json says.

    Args:
        library: Where it goes.
        folder: With bundle.json and its safetensors.

    Returns:
        The new version of the class, or the one that holds this very bundle.

    Raises:
        BundleFormatError: The folder is no valid bundle, or a file was altered.
        BundleError: A network cannot be built from its weights; names what is missing or wrong.
        RegistryError: The library cannot take it.
    """
    manifest = read_manifest(folder)
    checked = check_bundle(folder)
    if checked.bundle_digest != manifest.bundle_digest:
        raise BundleFormatError(f"bundle {folder}: bundle.json changed while it was read")
    return library.add_bundle(folder)


def install_shipped(library: Library, name: str) -> ClassModel:
    """Put a class that comes with the installation into a library, with its starter library.

    What the library already holds stays as it is, so that installing again changes nothing.

    Args:
        library: Where to.
        name: Of the class.

    Raises:
        BundleFormatError: This installation has no such class, or a file of it was altered.
        BundleError: A network cannot be built from its weights.
        ExchangeError: The starter library cannot be read.
    """
    folders = shipped_bundles()
    if name not in folders:
        known = ", ".join(folders) or "none"
        raise BundleFormatError(f"class {name}: not shipped with this installation ({known} is)")
    model = add_bundle(library, folders[name])
    if (starter := registered(STARTERS).get(name)) is not None:
        archive = Path(load_entry(starter))
        if not archive.is_file():
            raise BundleFormatError(f"class {name}: {archive} is missing; install editvec again")
        import_library(library, archive)
    return model
