"""How far a vector may go: success and leakage over scales, and the range that is usable."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from editvec.batch.editing.measuring import perceptual_value
from editvec.batch.evaluation.intervals import Interval, bootstrap
from editvec.batch.evaluation.measure import MeasuredEdits, Row
from editvec.batch.evaluation.settings import EvaluateSettings
from editvec.batch.evaluation.table import Measure
from editvec.batch.evaluation.targets import WantedAttribute
from editvec.json_codec import JsonFields, as_json
from editvec.registry.entities.metrics import Direction


class CurvePoint(NamedTuple):
    """One scale, over all images that count.

    Attributes:
        scale: how far along the vector.
        success: mean; None without a target from outside.
        success_interval: of it; None of too few images.
        leakage: mean perceptual distance outside the ROI; None without an ROI.
        leakage_interval: of it.
        leakage_psnr: median, in dB; infinite where nothing changed; None without an ROI.
    """

    scale: float
    success: float | None
    success_interval: Interval | None
    leakage: float | None
    leakage_interval: Interval | None
    leakage_psnr: float | None


@dataclass(frozen=True, kw_only=True)
class Calibration(JsonFields):
    """Curves over scales, and what follows from them.

    Attributes:
        success_name: what success is here, in words.
        points: in the order of the scales.
        monotonicity: of success, mean over images of Spearman's correlation with the scale.
        usable: the least and the largest usable scale; None where there is no such range.
        reason: why not.
        images: that count.
        left_out: images whose reconstruction is too far off to judge an edit by.
    """

    success_name: str
    points: list[CurvePoint]
    monotonicity: Measure | None
    usable: tuple[float, float] | None
    reason: str
    images: int
    left_out: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        values = super().to_json()
        points = [_point_json(point) for point in self.points]
        return {"success": values.pop("success_name"), **values, "points": points}


def calibrate(
    measured: MeasuredEdits, settings: EvaluateSettings, *, default_scale: float
) -> Calibration:
    """The curves of a sweep, and the usable range around the default scale.

    A scale is usable if leakage keeps to its bounds there and at all scales between it and the
    default scale, and if success rises with every step between them.

    Args:
        measured: with a sweep over at least three scales.
        settings: scales and bounds.
        default_scale: of the vector.
    """
    kept = [
        place
        for place, row in enumerate(measured.modes[0].rows)
        if not _is_far_off(row, settings.max_reconstruction)
    ]
    sweep = [[rows[place] for place in kept] for rows in measured.sweep]
    key, name = _success_of(measured, sweep)
    points = [
        _point(scale, rows, key, seed=settings.seed)
        for scale, rows in zip(settings.scales, sweep, strict=True)
    ]
    usable, reason = _usable(points, settings, default_scale=default_scale)
    if not kept:
        reason = "no image is reconstructed closely enough (--max-reconstruction)"
    elif key is None:
        reason = "success has no target from outside: --attribute, --operation or --renders"
    return Calibration(
        success_name=name,
        points=points,
        monotonicity=_monotonicity(sweep, key, name, settings),
        usable=usable if key is not None and kept else None,
        reason=reason,
        images=len(kept),
        left_out=len(measured.names) - len(kept),
    )


def _is_far_off(row: Row, limit: float | None) -> bool:
    distance = perceptual_value(row.get("reconstruction") or {})
    return limit is not None and distance is not None and distance > limit


def _success_of(measured: MeasuredEdits, sweep: Sequence[Sequence[Row]]) -> tuple[str | None, str]:
    """Which entry of the rows is success, and what it is called.

    The logit of an attribute, not its sign: a share of images stands still long before the edit
    does.
    """
    if isinstance(measured.attribute, WantedAttribute):
        return "attribute", f"logit of {measured.attribute}"
    if any(row.get("success_iou") is not None for rows in sweep for row in rows):
        return "success_iou", f"IoU with {measured.target}"
    return None, "none"


def _point(scale: float, rows: Sequence[Row], key: str | None, *, seed: int) -> CurvePoint:
    reached = [row[key] for row in rows if key is not None and row.get(key) is not None]
    leaks = [row["leakage"] for row in rows if row.get("leakage")]
    found = [perceptual_value(leak) for leak in leaks]
    distances = [one for one in found if one is not None]
    # equal pictures have no number of dB
    psnrs = [math.inf if leak["psnr"] is None else leak["psnr"] for leak in leaks]
    return CurvePoint(
        scale=scale,
        success=statistics.fmean(reached) if reached else None,
        success_interval=bootstrap(reached, "mean", seed=seed),
        leakage=statistics.fmean(distances) if distances else None,
        leakage_interval=bootstrap(distances, "mean", seed=seed),
        leakage_psnr=statistics.median(psnrs) if psnrs else None,
    )


def _usable(
    points: Sequence[CurvePoint], settings: EvaluateSettings, *, default_scale: float
) -> tuple[tuple[float, float] | None, str]:
    """The range around the default scale, or why there is none."""
    if not points[0].scale <= default_scale <= points[-1].scale:
        return None, f"the scales do not hold the default scale {default_scale:g}"
    # the first scale that is not below it: between two scales nothing is known
    above = next(place for place, point in enumerate(points) if point.scale >= default_scale)
    below = above if points[above].scale == default_scale else above - 1
    for place in (below, above):
        if complaint := _beyond_bounds(points[place], settings):
            return None, f"at scale {points[place].scale:g} {complaint}"
    if below != above and not _rises(points[below], points[above]):
        return None, f"success does not rise from {points[below].scale:g} on"
    low, high = below, above
    while low > 0 and _may_step(points[low - 1], points[low], points[low - 1], settings):
        low -= 1
    while high + 1 < len(points) and _may_step(
        points[high], points[high + 1], points[high + 1], settings
    ):
        high += 1
    if low == high:
        return None, f"success does not rise around scale {default_scale:g}, or leakage is too much"
    return (points[low].scale, points[high].scale), ""


def _may_step(
    lower: CurvePoint, upper: CurvePoint, reached: CurvePoint, settings: EvaluateSettings
) -> bool:
    return _rises(lower, upper) and not _beyond_bounds(reached, settings)


def _rises(lower: CurvePoint, upper: CurvePoint) -> bool:
    return lower.success is not None and upper.success is not None and lower.success < upper.success


def _beyond_bounds(point: CurvePoint, settings: EvaluateSettings) -> str:
    """Which bound a scale breaks; empty for none."""
    psnr, distance = point.leakage_psnr, point.leakage
    if psnr is not None and psnr < settings.min_leakage_psnr:
        return f"leakage of {psnr:.1f} dB is under {settings.min_leakage_psnr:g}"
    limit = settings.max_leakage
    if limit is not None and distance is not None and distance > limit:
        return f"leakage of {distance:.4g} is over {limit:g}"
    return ""


def _monotonicity(
    sweep: Sequence[Sequence[Row]], key: str | None, name: str, settings: EvaluateSettings
) -> Measure | None:
    """The mean over images of Spearman's rank correlation of success with the scale."""
    if key is None or not sweep[0]:
        return None
    from scipy.stats import spearmanr

    found = []
    for rows in zip(*sweep, strict=True):
        values = [row.get(key) for row in rows]
        if None not in values and len(set(values)) > 1:
            found.append(float(spearmanr(settings.scales, values).statistic))
    if not found:
        return None
    return Measure(
        name="monotonicity",
        value=statistics.fmean(found),
        interval=bootstrap(found, "mean", seed=settings.seed),
        count=len(found),
        direction=Direction.HIGHER,
        backbone="classifier" if key == "attribute" else None,
        against=f"{name}, scales {settings.scales[0]:g} to {settings.scales[-1]:g}",
        statistic="mean of Spearman's rho",
    )


def _point_json(point: CurvePoint) -> dict[str, Any]:
    values: dict[str, Any] = as_json(point._asdict())
    if point.leakage_psnr is not None and math.isinf(point.leakage_psnr):
        values["leakage_psnr"] = None
    return values
