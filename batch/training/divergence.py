"""What is said of a training that diverged, or that ends no better than it began."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from editvec.engine.errors import DivergedError


class Dial(NamedTuple):
    """A setting that may be the reason.

    Attributes:
        option: As typed.
        value: As it is.
        usual: As it is where nobody chooses it.
        way: What helps.
    """

    option: str
    value: float
    usual: float
    way: Literal["lower", "raise"]

    @property
    def is_off(self) -> bool:
        """Whether it is on the wrong side of what is usual."""
        return self.value > self.usual if self.way == "lower" else self.value < self.usual

    def __str__(self) -> str:
        return f"{self.way} {self.option} ({self.value:.15g} now)"


def advice_of(dials: Sequence[Dial]) -> str:
    """Which settings to change: those that are not as usual, or else all.

    Example:
        >>> rate = Dial("--learning-rate", 1.0, 0.0025, "lower")
        >>> advice_of([rate, Dial("--batch-size", 32, 32, "raise")])
        'lower --learning-rate (1 now)'
    """
    return " or ".join(map(str, [one for one in dials if one.is_off] or dials))


def refusal(what: str, reason: str, dials: Sequence[Dial]) -> DivergedError:
    """The error of a training of which nothing is stored.

    Args:
        what: What was trained, as in `generator of car`.
        reason: What was measured.
        dials: Settings that may be the reason.
    """
    return DivergedError(f"{what}: {reason}; nothing is stored: {advice_of(dials)}")
