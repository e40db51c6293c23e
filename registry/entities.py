"""Frozen values: what callers give to the library and get from it. Rows never leave the store."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from registry.errors import InvalidNameError, LabelNotFoundError

FloatArray = npt.NDArray[np.float32]

MAX_NAME_LENGTH = 100
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.-]{{0,{MAX_NAME_LENGTH - 1}}}\Z", re.ASCII)
_VERSION = re.compile(r"[1-9][0-9]{0,8}\Z", re.ASCII)


class Kind(StrEnum):
    """Where a vector comes from."""

    LEARNED = "learned"
    IMPORTED = "imported"
    COMPOSED = "composed"


class LatentSpace(StrEnum):
    """The space that a delta lives in."""

    Z = "Z"
    W = "W"
    W_PLUS = "W+"
    S = "S"


class RoiPolicy(StrEnum):
    """How the region that may change is found."""

    LABELS = "labels"
    BRUSH = "brush"
    UNION = "union"


class Direction(StrEnum):
    """Which values of a metric are better."""

    HIGHER = "higher"
    LOWER = "lower"
    NONE = "none"


# --- names and addresses ---


@dataclass(frozen=True)
class Address:
    """`class/name@version`; the class and the version may be left open.

    Example:
        >>> parse_address("avatars/smile@2")
        Address(class_name='avatars', name='smile', version=2)
    """

    class_name: str | None
    name: str
    version: int | None

    def __str__(self) -> str:
        prefix = f"{self.class_name}/" if self.class_name is not None else ""
        suffix = f"@{self.version}" if self.version is not None else ""
        return f"{prefix}{self.name}{suffix}"


def check_name(name: str, *, of: str = "name") -> str:
    """Returns a name that can stand in an address, a path and a URL.

    Raises:
        InvalidNameError: says what a name is made of.
    """
    if _NAME.match(name) is None:
        shown = repr(name) if len(name) <= 60 else f"{name[:60]!r}..."
        raise InvalidNameError(
            f"{of}: expected a letter or digit, then at most {MAX_NAME_LENGTH - 1} letters, "
            f"digits, '_', '.' or '-', got {shown}"
        )
    return name


def parse_address(text: str) -> Address:
    """Parses `class/name@version`, `name@version`, `class/name` or `name`.

    Raises:
        InvalidNameError: not an address.
    """
    prefix, slash, rest = text.rpartition("/")
    name, at, version = rest.partition("@")
    if at and _VERSION.match(version) is None:
        raise InvalidNameError(f"address {text!r}: expected a version of 1 or more after '@'")
    return Address(
        class_name=check_name(prefix, of="class name") if slash else None,
        name=check_name(name, of="vector name"),
        version=int(version) if at else None,
    )


def parse_class_address(text: str) -> tuple[str, int | None]:
    """Parses `class@version` or `class`.

    Raises:
        InvalidNameError: not the address of a class.
    """
    name, at, version = text.partition("@")
    if at and _VERSION.match(version) is None:
        raise InvalidNameError(f"class {text!r}: expected a version of 1 or more after '@'")
    return check_name(name, of="class name"), int(version) if at else None


# --- class models ---


@dataclass(frozen=True)
class Label:
    """One part of the label scheme; `color` is RGB, 0 to 255."""

    index: int
    name: str
    color: tuple[int, int, int]


@dataclass(frozen=True)
class BundleFile:
    """One file of a bundle; `digest` is its SHA-256, `size` its bytes."""

    name: str
    digest: str
    size: int


@dataclass(frozen=True, kw_only=True)
class ClassModel:
    """A named, versioned bundle of networks; `valid_rectangle` is (top, left, bottom, right)."""

    id: int
    name: str
    version: int
    generator_digest: str
    bundle_digest: str
    resolution: int
    num_ws: int
    w_dim: int
    z_dim: int
    valid_rectangle: tuple[int, int, int, int]
    labels: tuple[Label, ...]
    files: tuple[BundleFile, ...]
    license: str
    description: str
    created_at: datetime
    created_by: str

    @property
    def address(self) -> str:
        """`class@version`."""
        return f"{self.name}@{self.version}"

    @property
    def label_names(self) -> tuple[str, ...]:
        """The part names in the order of their indices."""
        return tuple(label.name for label in self.labels)

    def label(self, name: str) -> Label:
        """The part of that name.

        Raises:
            LabelNotFoundError: lists the parts of the class.
        """
        for label in self.labels:
            if label.name == name:
                return label
        raise LabelNotFoundError(
            f"class {self.address} has no part {name!r}; its parts are "
            f"{', '.join(self.label_names)}"
        )


# --- editing vectors ---


@dataclass(frozen=True, kw_only=True)
class NewMetric:
    """One measured quality of a vector.

    Attributes:
        direction: which values are better.
        backbone: the network that measured, where one did; it always travels with the value.
        sample_count: over how many images.
        probe_set: which images.
        settings: whatever else makes the value repeatable.
    """

    name: str
    value: float
    direction: Direction | str = Direction.NONE
    backbone: str | None = None
    sample_count: int = 1
    probe_set: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Metric(NewMetric):
    """A stored metric, and when it was measured."""

    measured_at: datetime


@dataclass(frozen=True, kw_only=True)
class NewMaskPair:
    """What a vector was learned from: files' bytes, and the ws of the source image."""

    image_png: bytes
    mask_before_png: bytes
    mask_after_png: bytes
    source_ws: FloatArray | None = None


@dataclass(frozen=True, kw_only=True)
class MaskPair:
    """A stored mask pair: digests of blobs."""

    image_digest: str
    mask_before_digest: str
    mask_after_digest: str
    source_ws_digest: str | None


@dataclass(frozen=True, kw_only=True)
class NewTerm:
    """One summand of a composition.

    Attributes:
        address: the vector; without a version, the latest.
        scale: its factor.
        row_mask: the rows of `ws` that it contributes, [num_ws]; None means all of the vector's.
    """

    address: str
    scale: float
    row_mask: tuple[bool, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Term:
    """A stored summand: `address` has its version, `row_mask` is [num_ws]."""

    address: str
    scale: float
    row_mask: tuple[bool, ...]


@dataclass(frozen=True, kw_only=True)
class NewVector:
    """Everything about a vector that is about to be stored, but its delta.

    Attributes:
        class_name: `avatars`, or `avatars@2` for another version than the latest.
        version: None takes the next one; a number that is taken by other content is a conflict.
        generator_digest: where the delta's origin says so; it must be the class's own.
        row_mask: rows of `ws` that the delta touches, [num_ws]; None means all.
        dilation: ROI buffer in pixels at the class's resolution; None means 3 at 512, scaled.
        settings: loss weights, steps, seeds: what it takes to learn the vector again.
        scale_min, scale_max: the usable range, where it was measured.
        created_at, created_by: None means now and this user.
    """

    class_name: str
    name: str
    roi_labels: tuple[str, ...]
    kind: Kind | str = Kind.LEARNED
    version: int | None = None
    latent_space: LatentSpace | str = LatentSpace.W_PLUS
    generator_digest: str | None = None
    row_mask: tuple[bool, ...] | None = None
    roi_policy: RoiPolicy | str = RoiPolicy.LABELS
    dilation: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    default_scale: float = 1.0
    scale_min: float | None = None
    scale_max: float | None = None
    license: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    created_at: datetime | None = None
    created_by: str | None = None


@dataclass(frozen=True, kw_only=True)
class VectorParcel:
    """A vector that is about to be stored, with everything that belongs to it.

    Attributes:
        delta: [num_ws, w_dim], any float dtype.
        terms: of a composition; an address is looked up among the parcels stored with it first.
        archived_as: its address in the library that it comes from. It keeps that version where
            it is free, and takes the next one otherwise.
    """

    new: NewVector
    delta: npt.NDArray[np.floating[Any]]
    pairs: tuple[NewMaskPair, ...] = ()
    metrics: tuple[NewMetric, ...] = ()
    terms: tuple[NewTerm | Term, ...] = ()
    archived_as: str | None = None


@dataclass(frozen=True, kw_only=True)
class EditingVector:
    """A stored editing vector; its delta comes from `Library.delta`."""

    id: int
    class_name: str
    class_version: int
    name: str
    version: int
    kind: Kind
    latent_space: LatentSpace
    num_ws: int
    w_dim: int
    generator_digest: str
    bundle_digest: str
    delta_digest: str
    row_mask: tuple[bool, ...]
    roi_labels: tuple[str, ...]
    roi_policy: RoiPolicy
    dilation: int
    settings: Mapping[str, Any]
    default_scale: float
    scale_min: float | None
    scale_max: float | None
    license: str
    description: str
    tags: tuple[str, ...]
    created_at: datetime
    created_by: str
    metrics: tuple[Metric, ...] = ()
    terms: tuple[Term, ...] = ()
    pairs: tuple[MaskPair, ...] = ()

    @property
    def address(self) -> str:
        """`class/name@version`."""
        return f"{self.class_name}/{self.name}@{self.version}"


class StoredVector(NamedTuple):
    """A vector of the library; `is_new` is False when equal content was there before."""

    vector: EditingVector
    is_new: bool


# --- embeddings and history ---


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """An image's `ws` and how well it reconstructs the image.

    Attributes:
        image_digest: SHA-256 of the decoded and fitted pixels.
        bundle_digest: the networks that embedded it.
        settings_key: digest of the embedding's settings.
        ws: [num_ws, w_dim].
        perceptual_name: which perceptual distance, with its trunk; None when none was measured.
        psnr: decibel, against the fitted input.
    """

    image_digest: str
    bundle_digest: str
    settings_key: str
    ws: FloatArray
    perceptual_name: str | None
    perceptual_value: float | None
    psnr: float
    num_steps: int


@dataclass(frozen=True, kw_only=True)
class HistoryEntry:
    """Who did what to which address, when and why."""

    at: datetime
    by: str
    action: str
    subject: str
    reason: str
