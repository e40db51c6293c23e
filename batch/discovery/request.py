"""What direction is to be found, by which method, from which labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from editvec.batch.errors import SettingsError
from editvec.batch.recipes.settings import EmbeddingMethod
from editvec.registry.addresses import check_name
from editvec.registry.entities.classes import ClassModel
from editvec.registry.entities.spaces import rows_between

NOT = "not "
"""Before the name of an attribute: the direction that takes it away."""

_MOST_SAMPLES = 100_000


class Method(StrEnum):
    """How a direction is found."""

    INTERFACEGAN = "interfacegan"
    MEAN = "mean"
    SEFA = "sefa"
    GANSPACE = "ganspace"

    @property
    def is_supervised(self) -> bool:
        """Whether it is made from labels, and not only chosen by them."""
        return self in (Method.INTERFACEGAN, Method.MEAN)


_SAMPLES = {
    Method.INTERFACEGAN: 1000,
    Method.MEAN: 1000,
    Method.SEFA: 10_000,
    Method.GANSPACE: 10_000,
}
_CONFIDENT = {Method.INTERFACEGAN: 0.2, Method.MEAN: 1.0}
_CANDIDATES = 10  # to choose from by an attribute
_STORED = 5  # without one


@dataclass(frozen=True)
class DiscoverRequest:
    """What is to be found. None leaves a setting to its method.

    Attributes:
        class_name: `avatars`, or `avatars@2`; None takes the only class that there is.
        name: Of the vector. Several directions without an attribute are called NAME-1, NAME-2...
        method: How.
        attribute: Whose direction: an output of the class's classifier, or a column of `labels`.
            `not smiling` asks for its opposite. sefa and ganspace need none: with one they keep the
            direction that moves it most, with its sign.
        conditional: Attributes that the direction shall not move; interfacegan only.
        samples: Sampled latents, whose pictures are classified for interfacegan and mean. By
            default 1000 for these and 10 000 for the others.
        seed: Of the samples and of which of them are held out.
        roi: Parts or groups that the vector may change; none means all.
        rows: First and last + 1 of the rows of ws that it moves; None means all. For sefa also the
            rows whose layers are factorised.
        count: Directions of sefa and ganspace: that are stored (5), or that are tried (10).
        labels: A CSV file or a folder of pictures instead of the classifier; see
            `batch/discovery/labels.py`.
        embed: How pictures of `labels` become latents: ``encoder``, ``steps:N``, ``target:DB``.
        confident: Share of the samples that is taken at each end, those that the classifier is
            surest of: 0.2 for interfacegan, all for mean.
        probes: Further samples on which the change of every logit is measured; 0 for none.
        version: That it must get; None takes the next one.
    """

    class_name: str | None
    name: str
    method: Method | str
    attribute: str | None = None
    conditional: tuple[str, ...] = ()
    samples: int | None = None
    seed: int = 0
    roi: tuple[str, ...] = ()
    rows: tuple[int, int] | None = None
    count: int | None = None
    labels: Path | None = None
    embed: str = "encoder"
    confident: float | None = None
    probes: int = 64
    version: int | None = None
    description: str = ""
    license: str = ""
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            SettingsError: One is out of its range, or of another method.
            InvalidNameError: The name cannot stand in an address.
        """
        check_name(self.name, of="vector name")
        if self.method not in tuple(Method):
            known = ", ".join(Method)
            raise SettingsError(f"method: expected one of {known}, got {self.method!r}")
        method = self.way
        if not 2 <= self.num_samples <= _MOST_SAMPLES:
            raise SettingsError(f"samples: expected 2 to {_MOST_SAMPLES}, got {self.num_samples}")
        if self.seed < 0 or self.probes < 0:
            raise SettingsError(f"seed, probes: expected 0 or more, got {self.seed}, {self.probes}")
        if self.count is not None and self.count < 1:
            raise SettingsError(f"count: expected 1 or more, got {self.count}")
        share = self.confident
        if share is not None and not (math.isfinite(share) and 0 < share <= 1):
            raise SettingsError(f"confident: expected above 0, up to 1, got {share}")
        EmbeddingMethod.parse(self.embed)
        self._check_method(method)

    def _check_method(self, method: Method) -> None:
        if method.is_supervised:
            if self.attribute is None and self.labels is None:
                raise SettingsError(f"attribute: {method} needs one, or a file of labels")
            if self.count is not None:
                raise SettingsError(f"count: {method} finds one direction")
            if self.conditional and method is Method.MEAN:
                raise SettingsError(
                    "conditional: mean has no boundary to keep along; interfacegan has"
                )
            if self.own_attribute in self.conditional:
                raise SettingsError(
                    f"conditional: {self.own_attribute} is the attribute of the direction itself"
                )
            return
        for name in ("conditional", "labels", "confident"):
            if getattr(self, name):
                raise SettingsError(f"{name}: {method} is found without labels")
        if self.attribute is not None and not self.probes:
            raise SettingsError("probes: expected 1 or more, to find what moves the attribute")
        if self.version is not None and self.attribute is None and self.num_directions > 1:
            raise SettingsError(f"version: expected none, for {self.num_directions} directions")

    @property
    def way(self) -> Method:
        """The method as one of its names."""
        return Method(self.method)

    @property
    def own_attribute(self) -> str | None:
        """The attribute without `not`."""
        return None if self.attribute is None else self.attribute.removeprefix(NOT).strip()

    @property
    def sign(self) -> int:
        """-1 where the attribute shall go, 1 otherwise."""
        return -1 if self.attribute is not None and self.attribute.startswith(NOT) else 1

    @property
    def num_samples(self) -> int:
        """Sampled latents."""
        return _SAMPLES[self.way] if self.samples is None else self.samples

    @property
    def share(self) -> float:
        """Share of the samples that is taken at each end."""
        return _CONFIDENT[self.way] if self.confident is None else self.confident

    @property
    def num_directions(self) -> int:
        """Directions that sefa and ganspace look at."""
        default = _STORED if self.attribute is None else _CANDIDATES
        return default if self.count is None else self.count

    def rows_of(self, model: ClassModel) -> tuple[bool, ...]:
        """The row mask of the vector, [num_ws].

        Raises:
            CompatibilityError: The rows do not lie inside ws.
        """
        return rows_between(*(self.rows or (0, model.num_ws)), rows=model.num_ws)

    def parts_of(self, model: ClassModel) -> tuple[str, ...]:
        """The parts that the vector may change: those asked for, or all.

        Raises:
            LabelNotFoundError: The class has no such part.
        """
        return model.parts(self.roi) if self.roi else model.label_names


def known_attribute(name: str, known: Sequence[str], *, of: str) -> str:
    """The name of an attribute that is there.

    Raises:
        SettingsError: It is not; lists those that are.
    """
    if name not in known:
        listed = ", ".join(known) or "none"
        raise SettingsError(f"attribute: {of} knows {listed}; got {name!r}")
    return name
