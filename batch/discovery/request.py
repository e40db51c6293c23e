"""What direction is to be found, by which method, from which labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from editvec.batch.errors import SettingsError
from editvec.batch.recipes.settings import EmbeddingMethod
from editvec.registry.addresses import check_name
from editvec.settings import check_settings, setting

if TYPE_CHECKING:
    from editvec.registry.entities.classes import ClassModel

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


SAMPLES = {
    Method.INTERFACEGAN: 1000,
    Method.MEAN: 1000,
    Method.SEFA: 10_000,
    Method.GANSPACE: 10_000,
}
CONFIDENT = {Method.INTERFACEGAN: 0.2, Method.MEAN: 1.0}
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
        samples: Sampled latents, whose pictures are classified for interfacegan and mean.
        seed: Of the samples and of which of them are held out.
        roi: Parts or groups that the vector may change; none means all.
        rows: First and last + 1 of the rows of ws that it moves; None means all. For sefa also the
            rows whose layers are factorised.
        count: Directions of sefa and ganspace: that are stored, or that are tried.
        labels: A CSV file or a folder of pictures instead of the classifier; see
            `batch/discovery/labels.py`.
        embed: How pictures of `labels` become latents: ``encoder``, ``steps:N``, ``target:DB``.
        confident: Share of the samples that is taken at each end, those that the classifier is
            surest of.
        probes: Further samples on which the change of every logit is measured; 0 for none.
        version: That it must get; None takes the next one.
    """

    class_name: str | None
    name: str
    method: Method | str
    attribute: str | None = setting(
        None,
        help="Whose direction: an output of the class's attribute classifier, or a column of "
        "--labels; `not smiling` for its opposite.",
    )
    conditional: tuple[str, ...] = setting(
        (), help="An attribute that the direction shall not move; repeatable."
    )
    samples: int | None = setting(
        None,
        kind=int,
        least=2,
        most=_MOST_SAMPLES,
        help="Samples of the class that are classified.",
    )
    seed: int = setting(0, least=0, help="Of samples.")
    roi: tuple[str, ...] = setting(
        (),
        help="Parts that the vector may change: what is composited, and outside of which leakage "
        "is measured. [default: all]",
    )
    rows: tuple[int, int] | None = setting(
        None, kind=tuple, help="Move rows FIRST to LAST - 1 of ws only. [default: all]"
    )
    count: int | None = setting(
        None,
        kind=int,
        least=1,
        help=f"The K strongest directions. [default: {_STORED}; with --attribute {_CANDIDATES}]",
    )
    labels: Path | None = setting(
        None,
        kind=Path,
        help="Instead of the classifier: CSV with the column sample (a number, or the name that "
        "`batch generate` gave) or file_name, and columns of 1, 0 or nothing, one for each "
        "attribute; or a folder of pictures with the folders `with` and `without`.",
    )
    embed: str = setting("encoder", help="How pictures of --labels become latents.")
    confident: float | None = setting(
        None,
        kind=float,
        above=0,
        most=1,
        help="Share of the samples that is taken at each end: those that the classifier is surest "
        "of.",
    )
    probes: int = setting(
        64,
        least=0,
        help="Further samples, on which the change of every logit is measured.",
    )
    version: int | None = None
    description: str = setting("", help="What the vector does, for people.")
    license: str = setting("", help="License of the vector.")
    tags: tuple[str, ...] = setting((), help="A word to find it by; repeatable.")

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
        check_settings(self, SettingsError)
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
        return SAMPLES[self.way] if self.samples is None else self.samples

    @property
    def share(self) -> float:
        """Share of the samples that is taken at each end."""
        return CONFIDENT[self.way] if self.confident is None else self.confident

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
        from editvec.registry.entities.spaces import rows_between

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
