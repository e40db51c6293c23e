"""Networks of other programs become classes of the library: generators, then their classifiers.

The files are read and checked before the library is opened for writing: what is refused leaves it
as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from editvec.batch.classes.adding import add_bundle
from editvec.batch.classes.request import ImportRequest
from editvec.batch.classes.shipped import trunk_folder
from editvec.batch.classes.storing import (
    are_equal,
    scheme_rectangle,
    scheme_values,
    store_networks,
)
from editvec.batch.classes.succession import heritage_of
from editvec.batch.errors import SettingsError
from editvec.engine.bundle.bundle import NetworkState, read_networks, write_bundle
from editvec.engine.bundle.description import BundleLabel
from editvec.engine.foreign.checkpoint import read_generator
from editvec.engine.foreign.members import member_files, read_members
from editvec.registry.bundles.manifest import BUNDLE_FILE
from editvec.registry.files import temporary_folder
from editvec.registry.library.succession import former_version, succession_notes
from editvec.whole_files import digest_of_file

if TYPE_CHECKING:
    from editvec.registry.entities.classes import ClassModel
    from editvec.registry.labels.scheme import LabelScheme
    from editvec.registry.library.library import Library

PLACEHOLDER = BundleLabel(0, "background", (0, 0, 0))
"""The only label of a class whose scheme nobody has said yet."""


class ReadyBundle(NamedTuple):
    """All that `write_bundle` needs, read and checked.

    Attributes:
        values: Arguments of `write_bundle`.
        origin: Where the networks came from, in a few words.
        notes: What a user should know, in sentences.
    """

    values: dict[str, Any]
    origin: str
    notes: tuple[str, ...]


class ImportedModel(NamedTuple):
    """A class that was made of a file.

    Attributes:
        model: The class version.
        ready: What was read of the file.
        notes: What a user should know, in sentences.
    """

    model: ClassModel
    ready: ReadyBundle
    notes: list[str]


def import_model(library: Library, source: str, request: ImportRequest) -> ImportedModel:
    """Make a class of a StyleGAN2 generator of another program.

    Args:
        library: Where it goes.
        source: NVIDIA's ``.pkl``, rosinality's ``.pt``, or the folder of a bundle. Nothing in a
            pickle is run.
        request: What the file does not say.

    Raises:
        EngineError: The file cannot be read, or is of another kind.
        RegistryError: The library cannot take it.
    """
    ready = read_import(source, request)
    former = former_version(library, request.class_name)
    model = store_import(library, ready)
    return ImportedModel(model, ready, [*ready.notes, *succession_notes(library, former, model)])


def read_import(source: str, request: ImportRequest) -> ReadyBundle:
    """Read a generator of any known format, or a bundle of ours.

    Args:
        source: A file, or a bundle's folder, on this machine.
        request: What the user says about it.

    Raises:
        SettingsError: It is an address on the network, or the request does not fit.
        EngineError: It cannot be read, or is refused; names the reason.
    """
    if "://" in source:
        raise SettingsError(
            f"FILE: expected a file on this machine, got {source}; download it and give its path"
        )
    path = Path(source)
    if path.is_dir() or path.name == BUNDLE_FILE:
        return _read_bundle(path if path.is_dir() else path.parent, request)
    imported = read_generator(path, label_classes=request.label_classes)
    built: dict[str, Any] = {
        "by": "editvec model import",
        "origin": imported.origin,
        "file": path.name,
        "sha256": digest_of_file(path),
        "notes": list(imported.notes),
    }
    if request.label_classes:
        built["label_classes"] = list(request.label_classes)
    values = {
        "class_name": request.class_name,
        "description": request.description or f"{path.name} ({imported.origin})",
        "license": request.license_name or "unknown",
        "labels": [PLACEHOLDER],
        "networks": {
            "generator": NetworkState(imported.config, imported.state),
            **shipped_perceptual(),
        },
        "built": built,
    }
    values |= _scheme_values(request, imported.config.resolution)
    return ReadyBundle(values, imported.origin, imported.notes)


def shipped_perceptual() -> dict[str, NetworkState]:
    """The small trunk of a shipped class, which lends its perceptual distance to one without.

    Embedding and learning need such a distance, and checkpoints bring none. Its values keep their
    name, such as `perceptual/avatars`.
    """
    folder = trunk_folder()
    if folder is None:
        return {}
    _, networks = read_networks(folder)
    return {"perceptual": networks["perceptual"]}


def _read_bundle(folder: Path, request: ImportRequest) -> ReadyBundle:
    """A bundle of ours, under the class name that was asked for."""
    if request.label_classes:
        raise SettingsError("label_class: expected none, because a bundle has no labels to choose")
    bundle, networks = read_networks(folder)
    values = {
        "class_name": request.class_name,
        "description": request.description or bundle.description,
        "license": request.license_name or bundle.license,
        "labels": bundle.labels,
        "groups": bundle.groups,
        "mask_spellings": bundle.mask_spellings,
        "valid_rectangle": bundle.valid_rectangle,
        "networks": networks,
        "built": dict(bundle.built),
    }
    values |= _scheme_values(request, bundle.resolution)
    return ReadyBundle(values, "editvec bundle", ())


def _scheme_values(request: ImportRequest, resolution: int) -> dict[str, Any]:
    """What the request tells of labels and rectangle."""
    values = {} if request.scheme is None else scheme_values(request.scheme)
    rectangle = request.valid_rectangle or scheme_rectangle(request.scheme, resolution)
    return values if rectangle is None else {**values, "valid_rectangle": rectangle}


def store_import(library: Library, ready: ReadyBundle) -> ClassModel:
    """Write the bundle and store it; a class that is there keeps what fits the new generator.

    Returns:
        The new version of the class, or the one that holds this very bundle.

    Raises:
        EngineError: The parts do not fit each other.
        RegistryError: The library cannot take it.
    """
    values = dict(ready.values)
    former = former_version(library, values["class_name"])
    if former is not None:
        bundle, held = read_networks(library.materialise_bundle(former))
        is_unnamed = list(values["labels"]) == [PLACEHOLDER]
        if not are_equal(held["generator"], values["networks"]["generator"]):
            resolution = values["networks"]["generator"].config.resolution
            heritage = heritage_of(library, former, resolution=resolution)
            if is_unnamed:
                values = {**values, **heritage.scheme, **_rectangle_of(values)}
            values["networks"] = {**heritage.networks, **values["networks"]}
            values["built"] = {**heritage.built, **values["built"]}
        elif is_unnamed and "parent" in bundle.built:
            return former  # imported before, over another generator
    with temporary_folder(library.config.bundle_folder) as folder:
        write_bundle(folder / "bundle", **values)
        return add_bundle(library, folder / "bundle")


def _rectangle_of(values: dict[str, Any]) -> dict[str, Any]:
    """The rectangle that was asked for, if one was."""
    return {name: values[name] for name in ("valid_rectangle",) if name in values}


def import_members(
    library: Library,
    sources: Sequence[Path],
    *,
    class_address: str,
    scheme: LabelScheme | None = None,
) -> ClassModel:
    """Give a class the segmentation branch that DatasetGAN's or EditGAN's classifiers make.

    The generator stays what it is, so that no vector is orphaned, and so do networks that were
    trained meanwhile: see `store_networks`.

    Args:
        library: Where the class is.
        sources: One file for each member, or a folder of them.
        class_address: The class, of whose generator's features the classifiers are; its latest
            version that has the same generator gets a successor.
        scheme: Label scheme; None keeps the class's.

    Returns:
        The new version of the class, or the latest one if it has these very members and labels.

    Raises:
        EngineError: A file is refused, or the members do not fit generator or labels.
        RegistryError: There is no such class.
    """
    files = member_files(sources)
    members = read_members(files)
    model = library.get_class(class_address)
    model = library.get_class_of_generator(model.name, model.generator_digest)
    count = len((scheme or model).labels)
    if count != members.num_labels:
        raise SettingsError(
            f"scheme: expected one of {members.num_labels} labels, as the members have them, "
            f"got {count}; --scheme names another one"
        )
    bundle, _ = read_networks(library.materialise_bundle(model))
    made = {
        "by": "editvec model import-members",
        "files": {path.name: digest_of_file(path) for path in files},
    }
    with temporary_folder(library.config.bundle_folder) as folder:
        return store_networks(
            library,
            folder,
            model,
            networks={
                "segmentation": NetworkState(
                    members.config_for(bundle.generator_config), members.state
                )
            },
            built={"segmentation": made},
            scheme=scheme,
            valid_rectangle=scheme_rectangle(scheme, bundle.resolution),
        )
