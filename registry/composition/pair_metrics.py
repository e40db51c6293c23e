"""What was measured of two vectors in one picture: how metrics keep it, and how it is found again.

A vector keeps a metric for every partner that it was measured with. The partner is told by its
delta: an address may mean another vector in the library that an archive is imported into.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from editvec.registry.addresses import MAX_NAME_LENGTH
from editvec.registry.entities.metrics import Direction, Metric, NewMetric
from editvec.registry.entities.vectors import EditingVector

KEPT_SUCCESS = "kept_success"
KEPT_CHANGE = "kept_change"
FEWEST_IMAGES = 8
"""Fewer say nothing of other images: as of intervals, in `editvec.batch.evaluation.intervals`."""
_PARTNER = "partner_delta"
_OF_ONE_VALUE = ("interval", "against")


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A share that a vector keeps when another one is applied too.

    Attributes:
        value: 1 keeps everything; of IoU it may be beyond 0 and 1.
        count: images behind it.
        interval: of 95 %; None for too few images.
        against: what the share is of, such as an attribute; empty for the change itself.
    """

    value: float
    count: int
    interval: tuple[float, float] | None = None
    against: str = ""


@dataclass(frozen=True, kw_only=True)
class Together:
    """One vector beside another, as measured.

    Attributes:
        partner: address of the other, where it was measured.
        scale, partner_scale: of both.
        probe_set: the images, in words.
        success: what is left of the success against a target from outside; None without one.
        change: the share of the pixels whose label the vector alone changes inside its ROI and
            that get the same label with both; None without masks, or where it changes none.
        overlap: Jaccard index of the pixels whose labels each changes alone, 0 to 1; None likewise.
        moved: 1 - IoU of every part before and after both, by the part's name.
    """

    partner: str
    scale: float
    partner_scale: float
    probe_set: str
    success: Kept | None = None
    change: Kept | None = None
    overlap: float | None = None
    moved: Mapping[str, float] | None = None

    @property
    def count(self) -> int:
        """The most images behind one of its values."""
        return max((one.count for one in (self.success, self.change) if one), default=0)

    @property
    def is_enough(self) -> bool:
        """Whether the images say something of others."""
        return self.count >= FEWEST_IMAGES

    @property
    def kept(self) -> Kept | None:
        """What is left of its success, or else of its change."""
        return self.success or self.change

    def is_at(self, scale: float, partner_scale: float) -> bool:
        """Whether it was measured at these scales."""
        return _is_near(self.scale, scale) and _is_near(self.partner_scale, partner_scale)

    def is_with(self, other: Together) -> bool:
        """Whether this is the other side of one measurement."""
        return (
            self.is_at(other.partner_scale, other.scale)
            and self.probe_set == other.probe_set
            and self.overlap == other.overlap
            and self.moved == other.moved
        )

    def moved_beyond(self, inside: Collection[str], share: float = 0.0) -> dict[str, float]:
        """The parts that move by more than a share, what moves most first.

        Args:
            inside: parts that may move; they are left out.
            share: of 1 - IoU.
        """
        moved = self.moved or {}
        found = [one for one in moved if one not in inside and moved[one] > share]
        return {one: moved[one] for one in sorted(found, key=lambda one: -moved[one])}


def metrics_of_pair(
    together: Together, partner: EditingVector, settings: Mapping[str, Any]
) -> list[NewMetric]:
    """What a vector keeps of a measurement with a partner; nothing where nothing was measured.

    Args:
        together: as measured.
        partner: the other vector.
        settings: what else makes it repeatable.
    """
    about = {
        **settings,
        "partner": together.partner,
        _PARTNER: partner.delta_digest,
        "scale": together.scale,
        "partner_scale": together.partner_scale,
        "overlap": together.overlap,
        "moved": None if together.moved is None else dict(together.moved),
    }
    return [
        NewMetric(
            name=_metric_name(kind, partner),
            value=kept.value,
            direction=Direction.HIGHER,
            sample_count=kept.count,
            probe_set=together.probe_set,
            settings={
                **about,
                "interval": None if kept.interval is None else list(kept.interval),
                "against": kept.against,
            },
        )
        for kind, kept in ((KEPT_SUCCESS, together.success), (KEPT_CHANGE, together.change))
        if kept is not None
    ]


def measured_together(
    vector: EditingVector, partner: EditingVector, *, scales: tuple[float, float] | None = None
) -> Together | None:
    """What was measured of a vector beside another; None where nothing was.

    The newest measurement counts, but one of `FEWEST_IMAGES` before one of fewer.

    Args:
        vector: the one.
        partner: the other.
        scales: of both; a measurement at other scales is told only where there is none at these.
    """
    found = _measurements(vector, partner.delta_digest)
    at_scales = [one for one in found if scales is not None and one.is_at(*scales)]
    return _best(at_scales or found)


def all_together(vector: EditingVector) -> list[Together]:
    """What was measured of a vector beside each of its partners, as `measured_together` tells."""
    digests = dict.fromkeys(one.settings[_PARTNER] for one in vector.metrics if is_of_pair(one))
    found = (_best(_measurements(vector, digest)) for digest in digests)
    return [one for one in found if one is not None]


def is_of_pair(metric: NewMetric) -> bool:
    """Whether a metric is about a vector beside another."""
    return isinstance(metric.settings.get(_PARTNER), str)


def _metric_name(kind: str, partner: EditingVector) -> str:
    """Such as `kept_success.open-mouth-1`: every partner has a name of its own."""
    name = f"{kind}.{partner.name}-{partner.version}"
    if len(name) <= MAX_NAME_LENGTH:
        return name
    return f"{kind}.{hashlib.sha256(partner.address.encode()).hexdigest()[:16]}"


def _is_with(metric: Metric, digest: str) -> bool:
    return metric.settings.get(_PARTNER) == digest


def _is_near(one: float, other: float) -> bool:
    """Whether two scales are the same but for rounding."""
    return math.isclose(one, other, rel_tol=1e-6)


def _best(newest_first: Sequence[Together]) -> Together | None:
    """The newest of enough images, or else the newest."""
    enough = (one for one in newest_first if one.is_enough)
    return next(enough, newest_first[0] if newest_first else None)


def _measurements(vector: EditingVector, digest: str) -> list[Together]:
    """Every measurement with a partner, the newest first; what is not ours is left out."""
    measured: list[list[Metric]] = []
    for metric in sorted(vector.metrics, key=lambda one: one.measured_at)[::-1]:
        if not _is_with(metric, digest):
            continue
        same = next((one for one in measured if _is_same(one[0], metric)), None)
        if same is None:
            measured.append([metric])
        else:
            same.append(metric)
    return [one for one in map(_read, measured) if one is not None]


def _is_same(one: Metric, other: Metric) -> bool:
    """Whether two metrics are of one measurement."""
    return one.probe_set == other.probe_set and _shared(one) == _shared(other)


def _shared(metric: Metric) -> dict[str, Any]:
    """What the metrics of one measurement have in common."""
    return {name: value for name, value in metric.settings.items() if name not in _OF_ONE_VALUE}


def _read(newest_first: Sequence[Metric]) -> Together | None:
    """The metrics of one measurement as it was; None for what is not ours."""
    newest = newest_first[0]
    about = newest.settings
    known = {one.name.partition(".")[0]: one for one in reversed(newest_first)}
    try:
        return Together(
            partner=str(about["partner"]),
            scale=float(about["scale"]),
            partner_scale=float(about["partner_scale"]),
            probe_set=newest.probe_set or "",
            success=_kept(known.get(KEPT_SUCCESS)),
            change=_kept(known.get(KEPT_CHANGE)),
            overlap=None if about.get("overlap") is None else float(about["overlap"]),
            moved=(
                None
                if about.get("moved") is None
                else {str(part): float(value) for part, value in about["moved"].items()}
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None  # an archive may say anything


def _kept(metric: Metric | None) -> Kept | None:
    if metric is None:
        return None
    ends = metric.settings.get("interval")
    return Kept(
        value=metric.value,
        count=metric.sample_count,
        interval=None if ends is None else (float(ends[0]), float(ends[1])),
        against=str(metric.settings.get("against") or ""),
    )
