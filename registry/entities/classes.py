"""Classes as callers see them: a named, versioned bundle and its parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from editvec.registry.addresses import quote
from editvec.registry.errors import LabelNotFoundError
from editvec.registry.labels.label import Label, expand_parts
from editvec.registry.labels.scheme import LabelScheme


@dataclass(frozen=True)
class BundleFile:
    """One file of a bundle; `digest` is its SHA-256, `size` its bytes."""

    name: str
    digest: str
    size: int


@dataclass(frozen=True, kw_only=True)
class ClassModel:
    """A named, versioned bundle of networks.

    Attributes:
        valid_rectangle: top, left, bottom, right in pixels.
        groups: names for several parts at once; members are parts or other groups.
    """

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
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """`class@version`."""
        return f"{self.name}@{self.version}"

    @property
    def label_names(self) -> tuple[str, ...]:
        """The part names in the order of their indices."""
        return tuple(label.name for label in self.labels)

    @property
    def scheme(self) -> LabelScheme:
        """Its parts and groups; `scheme_of_class` knows also how files spell them."""
        return LabelScheme(labels=self.labels, name=self.address, groups=self.groups)

    def label(self, name: str) -> Label:
        """The part of that name.

        Raises:
            LabelNotFoundError: lists the parts of the class.
        """
        for label in self.labels:
            if label.name == name:
                return label
        raise LabelNotFoundError(
            f"class {self.address} has no part {quote(name)}; its parts are "
            f"{', '.join(self.label_names)}"
        )

    def parts(self, names: Iterable[str]) -> tuple[str, ...]:
        """The parts that names of parts and groups stand for, each once, in their order.

        Raises:
            LabelNotFoundError: lists the parts and groups of the class.
        """
        return expand_parts(names, self.label_names, self.groups, of=f"class {self.address}")
