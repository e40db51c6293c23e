"""Is a class what it was stored as? Every byte is hashed again, every network built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from editvec.engine.bundle.bundle import load_bundle
from editvec.engine.errors import EngineError
from editvec.registry.bundles.manifest import lay_out, read_manifest
from editvec.registry.errors import BlobError, RegistryError
from editvec.registry.files import temporary_folder

if TYPE_CHECKING:
    from editvec.registry.entities.classes import ClassModel
    from editvec.registry.library.library import Library


def check_model(library: Library, model: ClassModel) -> list[str]:
    """What is wrong with a class, in a sentence each; nothing if it is as it was stored.

    The blobs are read, not the copy that commands work with.

    Args:
        library: Where the class is.
        model: One version.
    """
    faults = []
    for file in model.files:
        try:
            found = library.blobs.rehash(file.digest)
        except BlobError as exc:
            faults.append(f"{file.name}: {exc}")
            continue
        if found != file.digest:
            faults.append(f"{file.name}: expected digest {file.digest}, its bytes have {found}")
    if faults:
        return faults
    try:
        with temporary_folder(library.config.bundle_folder) as folder:
            laid_out = lay_out(model, library.blobs, folder / "bundle")
            manifest = read_manifest(laid_out)
            load_bundle(laid_out)
    except (EngineError, RegistryError) as exc:
        return [str(exc)]
    for name in ("generator_digest", "bundle_digest"):
        stored, said = getattr(model, name), getattr(manifest, name)
        if stored != said:
            faults.append(f"{name}: the database has {stored}, bundle.json {said}")
    return faults
