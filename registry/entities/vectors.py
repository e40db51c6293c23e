"""Frozen values: what callers give to the library and get from it. Rows never leave the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from editvec.registry.entities.metrics import Metric, NewMetric, newest_of_each
from editvec.registry.errors import RetiredVectorError

if TYPE_CHECKING:  # numpy takes long to load, and a listing needs none
    import numpy as np
    import numpy.typing as npt


FloatArray: TypeAlias = "npt.NDArray[np.float32]"


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


class TermRole(StrEnum):
    """What a term of a composition is there for."""

    SUM = "sum"
    CONDITION = "condition"


# --- editing vectors ---


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
        role: why it is there; the scale of a condition is what projecting it out took.
    """

    address: str
    scale: float
    row_mask: tuple[bool, ...] | None = None
    role: TermRole = TermRole.SUM


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What a composition shall not do: a vector that is projected out of its sum.

    Attributes:
        address: the vector; without a version, the latest.
        row_mask: the rows of `ws` that count, [num_ws]; None means all of the vector's.
    """

    address: str
    row_mask: tuple[bool, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Term:
    """A stored summand: `address` has its version, `row_mask` is [num_ws].

    A term of the role `condition` was projected out; its scale is what that took.
    """

    address: str
    scale: float
    row_mask: tuple[bool, ...]
    role: TermRole = TermRole.SUM


@dataclass(frozen=True, kw_only=True)
class NewVector:
    """Everything about a vector that is about to be stored, but its delta.

    Attributes:
        class_name: `avatars`, or `avatars@2` for another version than the latest.
        version: None takes the next one; a number that is taken by other content is a conflict.
        generator_digest: where the delta's origin says so; it must be the class's own.
        latent_space: in W every row that the mask keeps is the same.
        row_mask: rows of the delta that it touches; None means all.
        dilation: ROI buffer in pixels at the class's resolution; None means 3 at 512, scaled.
        settings: loss weights, steps, seeds: what it takes to learn the vector again.
        scale_min, scale_max: the usable range, where it was measured.
        engine_version: the release whose engine made the delta.
        kernel_version: which implementation of its operations, such as `reference`.
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
    engine_version: str = ""
    kernel_version: str = ""
    created_at: datetime | None = None
    created_by: str | None = None


@dataclass(frozen=True, kw_only=True)
class OriginalFile:
    """The file that a vector was imported from, byte for byte."""

    name: str
    data: bytes


@dataclass(frozen=True, kw_only=True)
class VectorParcel:
    """A vector that is about to be stored, with everything that belongs to it.

    Attributes:
        delta: [num_ws, w_dim], any float dtype; in Z and S one row.
        terms: of a composition; an address is looked up among the parcels stored with it first.
        brush_png: the painted region, where the ROI policy asks for one: an index PNG, 0 = keep.
        original: the file that the delta was read from.
        preview_png: a picture of what the vector does.
        archived_as: its address in the library that it comes from. It keeps that version where
            it is free, and takes the next one otherwise.
    """

    new: NewVector
    delta: npt.NDArray[np.floating[Any]]
    pairs: tuple[NewMaskPair, ...] = ()
    metrics: tuple[NewMetric, ...] = ()
    terms: tuple[NewTerm | Term, ...] = ()
    brush_png: bytes | None = None
    original: OriginalFile | None = None
    preview_png: bytes | None = None
    archived_as: str | None = None


@dataclass(frozen=True, kw_only=True)
class EditingVector:
    """A stored editing vector; its delta comes from `Library.delta`.

    Attributes:
        num_ws, w_dim: rows and columns of the delta: those of `ws` in W and W+, [1, z_dim] in Z,
            [1, channels] in S.
        row_mask: rows of the delta that it touches.
    """

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
    engine_version: str = ""
    kernel_version: str = ""
    brush_digest: str | None = None
    original_digest: str | None = None
    original_name: str | None = None
    preview_digest: str | None = None
    aliases: tuple[str, ...] = ()
    retired_at: datetime | None = None

    @property
    def address(self) -> str:
        """`class/name@version`."""
        return f"{self.class_name}/{self.name}@{self.version}"

    @property
    def latest_metrics(self) -> tuple[Metric, ...]:
        """The newest metric of every name, in the order of the names' first measurement."""
        return tuple(newest_of_each(self.metrics).values())

    @property
    def is_retired(self) -> bool:
        """True when it is no longer offered: by its own version only, and not for new work."""
        return self.retired_at is not None


class Retirable(Protocol):
    """What may be retired: a vector, or its row."""

    @property
    def address(self) -> str:
        """`class/name@version`."""

    @property
    def retired_at(self) -> datetime | None:
        """Since when; None means that it is active."""


def require_active(vector: Retirable, *, of: str) -> None:
    """Refuses new work with a retired vector.

    Raises:
        RetiredVectorError: names it and what it was wanted for.
    """
    if vector.retired_at is not None:
        raise RetiredVectorError(
            f"{of}: {vector.address} is retired since {vector.retired_at:%Y-%m-%d}; take another "
            f"version, or `editvec registry restore {vector.address}`"
        )


@dataclass(frozen=True, kw_only=True)
class Alias:
    """A name for one version of a vector; it may move to another version.

    Attributes:
        vector: address of the version that it stands for.
        set_at, set_by: since when, and who said so.
    """

    vector: str
    alias: str
    set_at: datetime
    set_by: str

    @property
    def address(self) -> str:
        """`class/name@alias`."""
        return f"{self.vector.partition('@')[0]}@{self.alias}"


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
        generator_digest: whose latents they are.
        settings_key: digest of everything else: the encoder, the steps, the space.
        ws: [num_ws, w_dim].
        perceptual_name: which perceptual distance, with its trunk; None when none was measured.
        psnr: decibel, against the fitted input.
    """

    image_digest: str
    generator_digest: str
    settings_key: str
    ws: FloatArray
    perceptual_name: str | None
    perceptual_value: float | None
    psnr: float
    num_steps: int


@dataclass(frozen=True)
class EmbeddingUsage:
    """A number of cached embeddings, and the bytes of their ws."""

    count: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class HistoryEntry:
    """Who did what to which address, when and why.

    Attributes:
        subject: `class/name@version`, `class/name`, or `class@version` of a class model.
        details: what else there is to know, such as where an alias pointed before.
    """

    at: datetime
    by: str
    action: str
    subject: str
    reason: str
    details: Mapping[str, Any] = field(default_factory=dict)


class ParcelDigests(NamedTuple):
    """What became of a parcel's bytes in the blob store."""

    delta: str
    brush: str | None = None
    original: str | None = None
    original_name: str | None = None
    preview: str | None = None
    pairs: tuple[MaskPair, ...] = ()
