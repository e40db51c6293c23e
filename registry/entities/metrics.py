"""What is measured of vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, TypeVar


class Direction(StrEnum):
    """Which values of a metric are better."""

    HIGHER = "higher"
    LOWER = "lower"
    NONE = "none"


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


class Measured(Protocol):
    """What was measured: a metric, or its row."""

    @property
    def name(self) -> str:
        """Of what."""

    @property
    def measured_at(self) -> datetime:
        """When."""


_Measured = TypeVar("_Measured", bound=Measured)


def newest_of_each(metrics: Sequence[_Measured]) -> dict[str, _Measured]:
    """The newest metric by name; of one instant, the last."""
    newest: dict[str, _Measured] = {}
    for metric in metrics:
        held = newest.get(metric.name)
        if held is None or metric.measured_at >= held.measured_at:
            newest[metric.name] = metric
    return newest
