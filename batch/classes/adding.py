"""The one door by which bundles enter a library: networks that could not be loaded stay outside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from editvec.engine.bundle.bundle import check_bundle
from editvec.registry.bundles.manifest import BUNDLE_FILE, read_manifest
from editvec.registry.bundles.shipped import STARTERS, load_entry, registered, shipped_bundles
from editvec.registry.errors import BundleFormatError
from editvec.registry.library.succession import former_version, succession_notes
from editvec.registry.sharing.bundle_archives import opened_bundle
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


class AddedClass(NamedTuple):
    """A class that was added, and what its user should know, in sentences."""

    model: ClassModel
    notes: list[str]


def add_class(library: Library, source: Path | str) -> AddedClass:
    """Add a class: a bundle, or one that comes with the installation, with its vectors.

    Args:
        library: Where it goes.
        source: A bundle's folder or ``.tar``; or the name of a shipped class, ``avatars``.

    Raises:
        BundleFormatError, BundleError: There is no such bundle, or its networks cannot be built.
        RegistryError: The library cannot take it.
    """
    place = Path(source)
    is_bundle = place.is_file() or (place / BUNDLE_FILE).exists()
    if not is_bundle and str(source) in shipped_bundles():
        return AddedClass(install_shipped(library, str(source)), [])
    with opened_bundle(place) as found:
        former = former_version(library, read_manifest(found).class_name)
        model = add_bundle(library, found)
    return AddedClass(model, succession_notes(library, former, model))
