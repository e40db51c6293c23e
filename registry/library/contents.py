"""What is in a class's bundle: its networks and how they were made, and the versions around it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from editvec.registry.bundles.manifest import BUNDLE_FILE
from editvec.registry.errors import BlobError, BundleFormatError
from editvec.registry.labels.scheme import LabelScheme
from editvec.registry.labels.spellings import FIELD, parse_spellings

if TYPE_CHECKING:
    from editvec.registry.entities.classes import ClassModel
    from editvec.registry.library.library import Library


@dataclass(frozen=True, kw_only=True)
class Network:
    """One network of a bundle.

    Attributes:
        name: generator, segmentation, encoder, perceptual, identity or classifier.
        file: its file.
        size: of that in bytes.
        digest: of that.
        settings: its architecture.
        built: how it was made, where the bundle says so; empty for what was made with the rest.
    """

    name: str
    file: str
    size: int
    digest: str
    settings: Mapping[str, Any]
    built: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of a class.

    Attributes:
        address: ``class@version``.
        parent: the version that it was made of; None for the first, or where it is not here.
        differs_in: networks that are not those of the parent, by name; of a class without parent
            all that it has.
        same_generator: whether vectors of the class that is asked about fit.
    """

    address: str
    parent: str | None
    differs_in: tuple[str, ...]
    same_generator: bool


@dataclass(frozen=True, kw_only=True)
class ClassContents:
    """What is in a class's bundle.

    Attributes:
        networks: in the order of the bundle.
        built: how it was made, without what belongs to one network.
        versions: of the class, oldest first.
    """

    networks: tuple[Network, ...]
    built: Mapping[str, Any]
    versions: tuple[Version, ...]


def contents_of(library: Library, model: ClassModel) -> ClassContents:
    """Reads the bundle.json of a class, and those of its other versions.

    Raises:
        BlobError: it is missing from the blob store, or altered there.
    """
    content = description_of(library, model)
    networks = _networks(model, content)
    own = {network.name for network in networks}
    built = {key: value for key, value in _mapping(content, "built").items() if key not in own}
    return ClassContents(networks=networks, built=built, versions=_versions(library, model))


def scheme_of_class(library: Library, model: ClassModel) -> LabelScheme:
    """The scheme by which mask files are read for a class: its parts, and how files spell them.

    Raises:
        BlobError: its bundle.json is missing from the blob store, or altered there.
        BundleFormatError: it is not JSON.
    """
    said = parse_spellings(
        description_of(library, model).get(FIELD), model.label_names, of=f"class {model.address}"
    )
    return LabelScheme(
        labels=model.labels,
        name=model.address,
        groups=model.groups,
        splits=said.splits,
        spellings=said.spellings,
        ignored=said.ignored,
    )


def description_of(library: Library, model: ClassModel) -> Mapping[str, Any]:
    """The bundle.json of a class.

    Raises:
        BlobError: it is missing from the blob store, or altered there.
        BundleFormatError: it is not JSON.
    """
    digest = next(file.digest for file in model.files if file.name == BUNDLE_FILE)
    data = library.blobs.get(digest)
    try:
        content: Mapping[str, Any] = json.loads(data)
    except ValueError as exc:
        raise BundleFormatError(f"class {model.address}: {BUNDLE_FILE}: not JSON ({exc})") from exc
    return content


def _networks(model: ClassModel, content: Mapping[str, Any]) -> tuple[Network, ...]:
    files = {file.name: file for file in model.files}
    built = _mapping(content, "built")
    found = []
    for name, entry in _mapping(content, "networks").items():
        file = files.get(entry.get("file", ""))
        if file is not None:
            how = built.get(name, {})
            found.append(
                Network(
                    name=name,
                    file=file.name,
                    size=file.size,
                    digest=file.digest,
                    settings=entry.get("config", {}),
                    built=how if isinstance(how, Mapping) else {"by": how},
                )
            )
    return tuple(found)


def _versions(library: Library, model: ClassModel) -> tuple[Version, ...]:
    models = [one for one in library.classes() if one.name == model.name]
    by_digest = {one.bundle_digest: one for one in models}
    files = {one.address: {f.name: f.digest for f in one.files} for one in models}
    versions = []
    for one in models:
        try:
            parent = by_digest.get(
                _mapping(description_of(library, one), "built").get("parent", "")
            )
        except (BlobError, BundleFormatError):
            parent = None  # told by `model verify`
        before = {} if parent is None else files[parent.address]
        versions.append(
            Version(
                address=one.address,
                parent=None if parent is None else parent.address,
                differs_in=tuple(
                    name.removesuffix(".safetensors")
                    for name, digest in sorted(files[one.address].items())
                    if name != BUNDLE_FILE and before.get(name) != digest
                ),
                same_generator=one.generator_digest == model.generator_digest,
            )
        )
    return tuple(versions)


def _mapping(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = content.get(name)
    return value if isinstance(value, Mapping) else {}
