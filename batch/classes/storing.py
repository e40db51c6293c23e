"""What every training command does around the engine's loop: where it works, what it stores."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editvec.batch.classes.adding import add_bundle
from editvec.batch.errors import SettingsError
from editvec.engine.bundle.bundle import NetworkState, read_networks, write_bundle
from editvec.engine.bundle.description import CLASS_NAME, BundleLabel
from editvec.engine.training.loop import LOCK_FILE
from editvec.registry.blobs.opening import library_folders
from editvec.registry.labels.spellings import spellings_to_json

if TYPE_CHECKING:
    from editvec.registry.config import RegistryConfig
    from editvec.registry.entities.classes import ClassModel
    from editvec.registry.labels.scheme import LabelScheme
    from editvec.registry.library.library import Library


TRAINING_FOLDER = "training"
BUNDLE_FOLDER = "bundle"


def training_folder(config: RegistryConfig, class_name: str, what: str, work: Path | None) -> Path:
    """Where a training keeps its state: the folder given, or one in the home folder.

    Args:
        config: Where the library is.
        class_name: The class to train.
        what: ``generator``, ``segmentation``, ``encoder``.
        work: The user's choice; None takes ``<home>/training/<class>-<what>``.

    Raises:
        SettingsError: The class has no usable name, or the folder given is not that of a training:
            it holds other files, or lies in the library.
    """
    if not CLASS_NAME.fullmatch(class_name):
        raise SettingsError(
            f"class: expected lower case letters, digits, - and _, got {class_name!r}"
        )
    if work is None:
        return config.home / TRAINING_FOLDER / f"{class_name}-{what}"
    _claim(work, config)
    return work


def _claim(folder: Path, config: RegistryConfig) -> None:
    """Takes a folder that the user names for a training, unless it is somebody else's."""
    place = Path(os.path.realpath(folder))
    own = Path(os.path.realpath(config.home / TRAINING_FOLDER))
    for kept in library_folders(config).values():
        if place.is_relative_to(os.path.realpath(kept)) and own not in place.parents:
            raise SettingsError(f"work: {folder} lies in a folder of the library, {kept}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / LOCK_FILE).exists() and any(folder.iterdir()):
            raise SettingsError(
                f"work: {folder} holds other files, and no training; choose a new or empty folder"
            )
        (folder / LOCK_FILE).touch()
    except OSError as exc:
        raise SettingsError(f"work: cannot use {folder} ({exc.strerror or exc})") from exc


def store_class(
    library: Library,
    folder: Path,
    *,
    class_name: str,
    description: str,
    license_name: str,
    labels: tuple[BundleLabel, ...],
    networks: Mapping[str, NetworkState],
    built: Mapping[str, object],
    groups: Mapping[str, tuple[str, ...]] | None = None,
    mask_spellings: Mapping[str, Any] | None = None,
    valid_rectangle: Rectangle | None = None,
) -> ClassModel:
    """Write a bundle into the training's folder and add it to the library.

    Args:
        library: Where the class goes.
        folder: Of the training; the bundle is its `bundle`, and replaced.
        class_name: Lower case letters, digits, `-` and `_`.
        description: For people.
        license_name: Of the weights.
        labels: The label scheme.
        networks: All networks of the new version, the generator among them.
        built: How they were made; JSON.
        groups: Names for several labels.
        mask_spellings: How mask files spell the labels, as a bundle says it.
        valid_rectangle: top, left, bottom, right in pixels; None is the whole square.

    Returns:
        The new version of the class, or the one that holds this very bundle.

    Raises:
        BundleError: The parts do not fit each other, or cannot be written.
        RegistryError: The library cannot take it.
    """
    write_bundle(
        folder / BUNDLE_FOLDER,
        class_name=class_name,
        description=description,
        license=license_name,
        labels=labels,
        networks=networks,
        built=built,
        groups=groups,
        mask_spellings=mask_spellings,
        valid_rectangle=valid_rectangle,
        replace=True,
    )
    return add_bundle(library, folder / BUNDLE_FOLDER)


def store_networks(
    library: Library,
    folder: Path,
    model: ClassModel,
    *,
    networks: Mapping[str, NetworkState],
    built: Mapping[str, object],
    scheme: LabelScheme | None = None,
    valid_rectangle: Rectangle | None = None,
) -> ClassModel:
    """Give a class networks, in the place of those of the same name; all the rest stays.

    What was trained while this training ran is kept: the latest version that has the same
    generator gets the successor.

    Args:
        library: Where the class is.
        folder: Of the training.
        model: The class that was trained on; its generator stays, and with it every vector.
        networks: The new ones, by name; not the generator.
        built: How they were made, by the name of the network; JSON.
        scheme: The label scheme, where it changes with them.
        valid_rectangle: top, left, bottom, right in pixels, where it changes.

    Returns:
        The new version, or the latest one if it has these very networks and labels.

    Raises:
        BundleError: The parts do not fit each other, or cannot be written.
        RegistryError: The library cannot take it.
    """
    base = library.get_class_of_generator(model.name, model.generator_digest)
    bundle, held = read_networks(library.materialise_bundle(base))
    parts: dict[str, Any] = {
        "labels": bundle.labels,
        "groups": base.groups,
        "mask_spellings": bundle.mask_spellings,
    }
    if scheme is not None:
        parts = scheme_values(scheme)
    rectangle = valid_rectangle or bundle.valid_rectangle
    is_same = rectangle == bundle.valid_rectangle and (
        scheme is None or all(value == getattr(bundle, name) for name, value in parts.items())
    )
    if is_same and all(
        name in held and are_equal(held[name], network) for name, network in networks.items()
    ):
        return base
    return store_class(
        library,
        folder,
        class_name=bundle.class_name,
        description=bundle.description,
        license_name=bundle.license,
        networks={**held, **networks},
        built={**bundle.built, **built, "parent": bundle.bundle_digest},
        valid_rectangle=rectangle,
        **parts,
    )


def are_equal(one: NetworkState, other: NetworkState) -> bool:
    """Whether two networks have the same architecture and weights."""
    return (
        one.config == other.config
        and one.state.keys() == other.state.keys()
        and all(bool((one.state[name] == other.state[name].cpu()).all()) for name in one.state)
    )


Rectangle = tuple[int, int, int, int]
"""top, left, bottom, right in pixels."""


def scheme_values(scheme: LabelScheme) -> dict[str, Any]:
    """Labels, groups, and how mask files spell them, as arguments of `write_bundle`."""
    return {
        "labels": tuple(
            BundleLabel(label.index, label.name, label.color) for label in scheme.labels
        ),
        "groups": scheme.all_groups,
        "mask_spellings": spellings_to_json(scheme),
    }


def scheme_rectangle(scheme: LabelScheme | None, resolution: int) -> Rectangle | None:
    """The valid rectangle that a scheme says, at the generator's resolution; None for none."""
    if scheme is None or scheme.rectangle is None or scheme.resolution is None:
        return None
    top, left, bottom, right = (edge * resolution // scheme.resolution for edge in scheme.rectangle)
    return top, left, bottom, right
