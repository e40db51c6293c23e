"""What bundle.json says about a class: label scheme, networks, files and digests."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from editvec.engine.errors import BundleError, EngineSettingsError
from editvec.engine.networks.config import (
    ClassifierConfig,
    EncoderConfig,
    GeneratorConfig,
    JsonConfig,
    PerceptualConfig,
    SegmentationConfig,
)

FORMAT = "editvec-bundle"
FORMAT_VERSION = 1
MAX_FILE_BYTES = 4 * 2**30
CLASS_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
FILE_NAME = re.compile(r"[a-z0-9_]{1,60}\.safetensors")
DIGEST = re.compile(r"[0-9a-f]{64}")

CONFIGS: Mapping[str, type[JsonConfig]] = {
    "generator": GeneratorConfig,
    "segmentation": SegmentationConfig,
    "encoder": EncoderConfig,
    "perceptual": PerceptualConfig,
    "identity": ClassifierConfig,
    "classifier": ClassifierConfig,
}


@dataclass(frozen=True)
class BundleLabel:
    """One part of the label scheme.

    Attributes:
        index: Its value in a mask.
        name: Its name in ROI lists.
        color: RGB, 0 to 255.
    """

    index: int
    name: str
    color: tuple[int, int, int]


@dataclass(frozen=True)
class NetworkEntry:
    """One network of a bundle: its file and its architecture."""

    file: str
    config: JsonConfig


@dataclass(frozen=True)
class FileEntry:
    """Digest and size of one file."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Bundle:
    """The contents of bundle.json.

    Attributes:
        class_name: Lower case letters, digits, `-` and `_`.
        description: For people.
        license: Of the weights.
        valid_rectangle: top, left, bottom, right in pixels; the rest of the square is padding.
        labels: The label scheme, in the order of the indices.
        networks: By name; "generator" is always there.
        files: By name in the folder.
        generator_digest: What vectors and embeddings bind to.
        built: How the bundle was made; free JSON.
        groups: Names for several labels; members are labels or other groups.
        mask_spellings: How mask files spell the labels, beside names, colours and indices; JSON.
    """

    class_name: str
    description: str
    license: str
    valid_rectangle: tuple[int, int, int, int]
    labels: tuple[BundleLabel, ...]
    networks: Mapping[str, NetworkEntry]
    files: Mapping[str, FileEntry]
    generator_digest: str
    built: Mapping[str, Any]
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    mask_spellings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that the parts fit each other.

        Raises:
            BundleError: They do not.
        """
        _check_names(self)
        _check_labels(self.labels)
        _check_groups(self.groups, {label.name for label in self.labels})
        _check_networks(self)
        top, left, bottom, right = self.valid_rectangle
        if not (0 <= top < bottom <= self.resolution and 0 <= left < right <= self.resolution):
            raise BundleError(
                f"valid_rectangle: expected top, left, bottom, right within {self.resolution} "
                f"pixels, got {list(self.valid_rectangle)}"
            )

    @property
    def generator_config(self) -> GeneratorConfig:
        """Architecture of the generator."""
        config = self.networks["generator"].config
        assert isinstance(config, GeneratorConfig)
        return config

    @property
    def resolution(self) -> int:
        """Size of the images in pixels."""
        return self.generator_config.resolution

    @property
    def num_ws(self) -> int:
        """Rows of `ws`."""
        return self.generator_config.num_ws

    @property
    def w_dim(self) -> int:
        """Columns of `ws`."""
        return self.generator_config.w_dim

    @property
    def z_dim(self) -> int:
        """Size of the Z latent."""
        return self.generator_config.z_dim

    @property
    def bundle_digest(self) -> str:
        """SHA-256 of the canonical JSON of everything else: provenance."""
        return hashlib.sha256(canonical_json(self._without_digest()).encode()).hexdigest()

    def label_index(self, name: str) -> int:
        """Index of the label with this name.

        Raises:
            SettingsError: The scheme has no such label.
        """
        for label in self.labels:
            if label.name == name:
                return label.index
        names = ", ".join(label.name for label in self.labels)
        raise EngineSettingsError(f"label: expected one of {names}, got {name!r}")

    def label_indices(self, labels: Iterable[str | int]) -> list[int]:
        """Indices of labels that are given by name, by the name of a group, or by index.

        Raises:
            SettingsError: The scheme has no such label, or none is given.
        """
        indices: list[int] = []
        visited: set[str] = set()
        rest: list[Iterator[str | int]] = [
            iter(labels)
        ]  # of groups within groups, the innermost last
        while rest:
            label = next(rest[-1], None)
            if label is None:
                rest.pop()
            elif isinstance(label, str) and label in self.groups:
                if label not in visited:
                    visited.add(label)
                    rest.append(iter(self.groups[label]))
            elif isinstance(label, int) and not 0 <= label < len(self.labels):
                raise EngineSettingsError(
                    f"label: expected an index from 0 to {len(self.labels) - 1}, got {label}"
                )
            else:
                indices.append(label if isinstance(label, int) else self.label_index(label))
        if not indices:
            raise EngineSettingsError("roi_labels: expected at least one label, got none")
        return indices

    def to_json(self) -> dict[str, Any]:
        """The JSON object of bundle.json."""
        return {**self._without_digest(), "bundle_digest": self.bundle_digest}

    def _without_digest(self) -> dict[str, Any]:
        # where there are none, nothing is said: bundles of older releases keep their digests
        groups = {name: list(members) for name, members in self.groups.items()}
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "class_name": self.class_name,
            "description": self.description,
            "license": self.license,
            "resolution": self.resolution,
            "num_ws": self.num_ws,
            "w_dim": self.w_dim,
            "z_dim": self.z_dim,
            "valid_rectangle": list(self.valid_rectangle),
            "labels": [
                {"index": label.index, "name": label.name, "color": list(label.color)}
                for label in self.labels
            ],
            **({"groups": groups} if groups else {}),
            **({"mask_spellings": dict(self.mask_spellings)} if self.mask_spellings else {}),
            "networks": {
                name: {"file": entry.file, "config": entry.config.to_json()}
                for name, entry in self.networks.items()
            },
            "files": {name: dataclasses.asdict(entry) for name, entry in self.files.items()},
            "generator_digest": self.generator_digest,
            "built": dict(self.built),
        }


def canonical_json(values: Mapping[str, Any]) -> str:
    """One text for equal JSON objects: sorted names, no spaces, ASCII."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)


def parse_bundle(text: str) -> Bundle:
    """Read the text of a bundle.json and check it.

    Raises:
        BundleError: It is no bundle, of an unknown version, incomplete, inconsistent or altered.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise BundleError(f"bundle.json: expected JSON, got an error: {exc}") from exc
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise BundleError(f'bundle.json: expected an object with "format": "{FORMAT}"')
    if values.get("format_version") != FORMAT_VERSION:
        raise BundleError(
            f"bundle.json: expected format_version {FORMAT_VERSION}, "
            f"got {values.get('format_version')!r}; a newer version of editvec wrote it"
        )
    try:
        bundle = _build(values)
        said = bundle.to_json()
    except EngineSettingsError as exc:
        raise BundleError(f"bundle.json: {exc}") from exc
    except KeyError as exc:
        raise BundleError(f"bundle.json: {exc.args[0]!r} is missing") from exc
    except (TypeError, ValueError, AttributeError, OverflowError) as exc:
        if isinstance(exc, BundleError):
            raise
        raise BundleError(f"bundle.json: a value has the wrong type: {exc}") from exc
    if canonical_json(said) != canonical_json(values):
        changed = sorted(
            name
            for name in {*values, *said}
            if values.get(name) != json.loads(json.dumps(said.get(name)))
        )
        raise BundleError(
            f"bundle.json: its content does not match its digests and sizes: {', '.join(changed)}"
        )
    return bundle


def _build(values: Mapping[str, Any]) -> Bundle:
    networks = {}
    for name, entry in values["networks"].items():
        if name not in CONFIGS:
            raise BundleError(f"bundle.json: unknown network {name!r}")
        config = CONFIGS[name].from_json(entry["config"])
        networks[name] = NetworkEntry(file=entry["file"], config=config)
    labels = [
        BundleLabel(entry["index"], entry["name"], _integers(entry["color"], count=3))
        for entry in values["labels"]
    ]
    files = {
        name: FileEntry(entry["sha256"], entry["bytes"]) for name, entry in values["files"].items()
    }
    return Bundle(
        class_name=values["class_name"],
        description=values["description"],
        license=values["license"],
        valid_rectangle=_integers(values["valid_rectangle"], count=4),
        labels=tuple(labels),
        networks=networks,
        files=files,
        generator_digest=values["generator_digest"],
        built=values["built"],
        groups={name: tuple(members) for name, members in values.get("groups", {}).items()},
        mask_spellings=values.get("mask_spellings", {}),
    )


def _integers(values: Sequence[Any], *, count: int) -> Any:
    """A tuple of `count` integers."""
    if len(values) != count or not all(type(value) is int for value in values):
        raise BundleError(f"bundle.json: expected {count} integers, got {values}")
    return tuple(values)


def _check_names(bundle: Bundle) -> None:
    texts = (bundle.class_name, bundle.description, bundle.license, bundle.generator_digest)
    if not all(isinstance(text, str) for text in texts):
        raise BundleError("class_name, description, license, generator_digest: expected texts")
    if not CLASS_NAME.fullmatch(bundle.class_name):
        raise BundleError(
            f"class_name: expected lower case letters, digits, - and _, got {bundle.class_name!r}"
        )
    for name, entry in bundle.files.items():
        if not FILE_NAME.fullmatch(name):
            raise BundleError(f"files: expected a name like generator.safetensors, got {name!r}")
        if type(entry.bytes) is not int or not 0 < entry.bytes <= MAX_FILE_BYTES:
            raise BundleError(
                f"files: expected 1 to {MAX_FILE_BYTES} bytes for {name}, got {entry.bytes!r}"
            )
        if not DIGEST.fullmatch(entry.sha256):
            raise BundleError(f"files: expected a SHA-256 in hex for {name}, got {entry.sha256!r}")
    if not DIGEST.fullmatch(bundle.generator_digest):
        raise BundleError(f"generator_digest: expected a SHA-256, got {bundle.generator_digest!r}")


def _check_labels(labels: Sequence[BundleLabel]) -> None:
    if [label.index for label in labels] != list(range(len(labels))):
        raise BundleError(
            f"labels: expected the indices 0 to {len(labels) - 1} in order, "
            f"got {[label.index for label in labels]}"
        )
    names = [label.name for label in labels]
    if len(set(names)) != len(names) or not all(type(n) is str and n for n in names):
        raise BundleError(f"labels: expected different names, got {names}")
    for label in labels:
        if not all(0 <= value <= 255 for value in label.color):
            raise BundleError(f"labels: expected colours from 0 to 255, got {label.color}")


def _check_groups(groups: Mapping[str, Sequence[str]], labels: Set[str]) -> None:
    """Every group has members, and in the end they are labels."""
    waits_for = {name: len(set(members) - labels) for name, members in groups.items()}
    holders: dict[str, list[str]] = {}
    for name, members in groups.items():
        for member in set(members) - labels:
            holders.setdefault(member, []).append(name)
    ready = [name for name, count in waits_for.items() if not count]
    resolved = set(ready)
    while ready:
        for holder in holders.get(ready.pop(), ()):
            waits_for[holder] -= 1
            if not waits_for[holder]:
                resolved.add(holder)
                ready.append(holder)
    wrong = {name for name, members in groups.items() if name in labels or not members}
    if wrong := wrong | (groups.keys() - resolved):
        raise BundleError(
            f"groups: expected new names with labels or groups as members, got {sorted(wrong)}"
        )


def _check_networks(bundle: Bundle) -> None:
    if "generator" not in bundle.networks:
        raise BundleError("networks: expected a generator, found none")
    files = [entry.file for entry in bundle.networks.values()]
    if sorted(files) != sorted(bundle.files):
        raise BundleError(
            f"networks, files: expected one file for each network, got {sorted(files)} "
            f"and {sorted(bundle.files)}"
        )
    generator = bundle.generator_config
    for name, entry in bundle.networks.items():
        config = entry.config
        wanted: dict[str, Any] = {}
        if isinstance(config, EncoderConfig):
            wanted = {"num_ws": generator.num_ws, "w_dim": generator.w_dim}
        if isinstance(config, EncoderConfig | ClassifierConfig):
            wanted["resolution"] = generator.resolution
        if isinstance(config, SegmentationConfig):
            wanted["num_labels"] = len(bundle.labels)
            wanted["feature_channels"] = generator.feature_channels
        if isinstance(config, PerceptualConfig) and not generator.resolution >> (
            len(config.channels) - 1
        ):
            raise BundleError(
                f"networks: expected stages of the {name} that leave at least one pixel of "
                f"{generator.resolution}, got {len(config.channels)} stages"
            )
        for setting, value in wanted.items():
            if getattr(config, setting) != value:
                raise BundleError(
                    f"networks: expected {setting} {value} of the {name}, as the generator and "
                    f"the labels have it, got {getattr(config, setting)}"
                )
