"""The settings of a measurement of vectors together: which, how far, and what each is for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from editvec.batch.errors import SettingsError
from editvec.batch.evaluation.settings import EvaluateSettings
from editvec.registry.entities.spaces import APPLICABLE_SPACES
from editvec.registry.entities.terms import parse_term
from editvec.registry.entities.vectors import EditingVector
from editvec.registry.library.library import Library

MAX_VECTORS = 16
"""More of them make more pairs than a table shows."""


class AskedVector(NamedTuple):
    """One vector as asked for.

    Attributes:
        address: as typed.
        scale: None takes its default scale.
        attribute: what it is for; None takes what it was evaluated for, or what its class says.
    """

    address: str
    scale: float | None = None
    attribute: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `smile`, `avatars/smile@2` or `smile=0.5`.

        Raises:
            RegistryError: neither an address nor a term.
        """
        if "=" not in text:
            return cls(text.strip())
        term = parse_term(text)
        return cls(term.address, term.scale)


@dataclass(frozen=True, kw_only=True)
class PairSettings:
    """How vectors are measured together.

    Attributes:
        vectors: two at least.
        images: which images are edited, and how they become latents; `operation`, `seed` and
            `max_reconstruction` count too.
    """

    vectors: tuple[AskedVector, ...]
    images: EvaluateSettings

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        images = self.images
        return {
            "vectors": [one._asdict() for one in self.vectors],
            "probe": None if images.probe is None else str(images.probe),
            "samples": None if images.probe else images.samples,
            "seed": images.seed,
            "embed": None if images.is_sampled else images.embed,
            "operation": images.operation,
            "max_reconstruction": images.max_reconstruction,
        }


def with_attributes(vectors: Sequence[AskedVector], words: Sequence[str]) -> list[AskedVector]:
    """Vectors with what `NAME=ATTRIBUTE` says that each is for.

    Raises:
        SettingsError: not such words, or of a vector that is not asked for.
    """
    said: dict[str, str] = {}
    for text in words:
        address, equals, attribute = (part.strip() for part in text.rpartition("="))
        if not equals or not address or not attribute:
            raise SettingsError(f"attribute: expected NAME=ATTRIBUTE, got {text!r}")
        if address not in {one.address for one in vectors}:
            raise SettingsError(f"attribute: {address!r} is none of the vectors")
        said[address] = attribute
    return [one._replace(attribute=said.get(one.address)) for one in vectors]


class PinnedPart(NamedTuple):
    """One vector with its version, how far it goes, and what it is for, where that was asked."""

    vector: EditingVector
    scale: float
    attribute: str | None


def pin_parts(
    library: Library, settings: PairSettings, *, class_name: str | None = None
) -> list[PinnedPart]:
    """Finds the vectors, with their versions.

    Args:
        library: where they are.
        settings: which.
        class_name: the class for addresses without one.

    Raises:
        SettingsError: fewer than two, one twice, too many, or not all of one generator.
        RegistryError: there is no such vector.
    """
    found = [
        _pin(library.get_vector(one.address, class_name=class_name), one)
        for one in settings.vectors
    ]
    addresses = [one.vector.address for one in found]
    twice = [one for one in addresses if addresses.count(one) > 1]
    if twice:
        raise SettingsError(f"disentangle: {twice[0]} is given twice; expected each vector once")
    if not 2 <= len(found) <= MAX_VECTORS:
        raise SettingsError(f"disentangle: expected 2 to {MAX_VECTORS} vectors, got {len(found)}")
    first = found[0].vector
    for other in (one.vector for one in found[1:]):
        for what, mine, theirs in (
            ("class", first.class_name, other.class_name),
            ("generator", first.generator_digest[:12], other.generator_digest[:12]),
        ):
            if mine != theirs:
                raise SettingsError(
                    f"disentangle: {first.address} and {other.address} differ in {what}: {mine} "
                    f"and {theirs}; expected vectors of one {what}"
                )
    return found


def _pin(vector: EditingVector, asked: AskedVector) -> PinnedPart:
    if vector.latent_space not in APPLICABLE_SPACES:
        raise SettingsError(
            f"disentangle: {vector.address} lives in space {vector.latent_space.value}; only "
            "vectors of W and W+ can be added to images"
        )
    scale = vector.default_scale if asked.scale is None else asked.scale
    if not math.isfinite(scale) or scale == 0:
        raise SettingsError(f"disentangle: {vector.address}: expected a scale other than 0")
    return PinnedPart(vector, scale, asked.attribute)
