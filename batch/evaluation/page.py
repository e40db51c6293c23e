"""The page about an evaluated vector: measures, curves, its best and its worst images. One file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from editvec.batch.editing.measuring import perceptual_value
from editvec.batch.evaluation.calibration import Calibration
from editvec.batch.evaluation.curves import Curve, Place
from editvec.batch.evaluation.evaluate import Evaluation
from editvec.batch.evaluation.measure import MeasuredEdits, ModeResult, Row
from editvec.batch.evaluation.targets import WantedAttribute
from editvec.batch.reports.contact_sheet import number_text
from editvec.batch.reports.rendering import Figure, exact_picture, photograph, render, small
from editvec.engine.bundle.description import BundleLabel

SHOWN = 6
_TILES = 6
_VALUES = ("attribute", "success_iou", "identity_similarity", "uncertainty")


def page_of(found: Evaluation, labels: Sequence[BundleLabel]) -> str:
    """A page that refers to nothing outside it.

    Args:
        found: the evaluation.
        labels: of the class, for the colours of masks.
    """
    measured = found.measured
    return render(
        "evaluation/templates/evaluation.html",
        title=found.vector.address,
        subtitle=f"evaluated at scale {measured.scale:g} on {found.settings.probe_set()}",
        state="completed",
        note="",
        tiles={
            one.name: f"{number_text(one.value)} {one.unit}".strip()
            for one in found.table.measures[:_TILES]
        },
        found=found,
        curves=list(_curves(found)),
        range_text="" if found.calibration is None else _range_text(found.calibration),
        grids=[
            (str(mode.mode), which, [_figure(measured, mode, place, labels) for place in end])
            for mode in measured.modes
            for which, end in zip(("best", "worst"), _ends(mode, measured), strict=True)
        ],
    )


def _curves(found: Evaluation) -> Iterator[Curve]:
    """Success and leakage over scales, where there are two scales at the least."""
    calibration, settings = found.calibration, found.settings
    if calibration is None:
        return
    success, distances, decibels = [], [], []
    for one in calibration.points:
        if one.success is not None:
            success.append(Place(one.scale, one.success, one.success_interval))
        if one.leakage is not None:
            distances.append(Place(one.scale, one.leakage, one.leakage_interval))
        if one.leakage_psnr is not None and math.isfinite(one.leakage_psnr):
            decibels.append(Place(one.scale, one.leakage_psnr))
    for title, places, bound, hint in (
        (f"success: {calibration.success_name}", success, None, "higher is better"),
        ("leakage outside the ROI", distances, settings.max_leakage, "perceptual, lower is better"),
        ("leakage outside the ROI, dB", decibels, settings.min_leakage_psnr, "higher is better"),
    ):
        if len(places) >= 2:
            yield Curve(title, places, bound, calibration.usable, hint)


def _range_text(calibration: Calibration) -> str:
    of = f"{calibration.images} images"
    if calibration.left_out:
        of += f", {calibration.left_out} left out for their reconstruction"
    if calibration.usable is None:
        return f"No usable range: {calibration.reason} ({of})."
    low, high = calibration.usable
    return f"Usable from {low:g} to {high:g}, shaded ({of})."


# --- images ---


def _ends(mode: ModeResult, measured: MeasuredEdits) -> tuple[list[int], list[int]]:
    """The places of the best images and of the worst, each best or worst first."""
    ranked = sorted(
        (-score, place)
        for place, row in enumerate(mode.rows)
        if (score := _score(row, measured)) is not None
    )
    places = [place for _, place in ranked]
    worst = places[::-1][: min(SHOWN, len(places) // 2)]
    return places[: min(SHOWN, len(places) - len(worst))], worst


def _score(row: Row, measured: MeasuredEdits) -> float | None:
    """Success where it has a target, else how little leaks; higher is better."""
    if isinstance(measured.attribute, WantedAttribute):
        return float(row["attribute"]) if row["attribute_unedited"] <= 0 else None
    if row.get("success_iou") is not None:
        return float(row["success_iou"])
    distance = perceptual_value(row.get("leakage") or {})
    return None if distance is None else -distance


def _figure(
    measured: MeasuredEdits, mode: ModeResult, place: int, labels: Sequence[BundleLabel]
) -> Figure:
    name, row, shown = measured.names[place], mode.rows[place], mode.pictures[place]
    pictures = [
        photograph(small(shown.before), "before", f"{name} before"),
        photograph(small(shown.after), "after", f"{name} after"),
        exact_picture(_mask(shown.mask_before, labels), "mask", f"mask of {name} before"),
        exact_picture(_mask(shown.mask_after, labels), "mask", f"mask of {name} after"),
    ]
    known = {key: row[key] for key in _VALUES if row.get(key) is not None}
    lines = [f"{key} {number_text(value)}" for key, value in known.items()]
    if (leak := (row.get("leakage") or {}).get("psnr")) is not None:
        lines.append(f"leakage {number_text(leak)} dB")
    return Figure(name, name, pictures, lines)


def _mask(
    mask: npt.NDArray[np.integer[Any]] | None, labels: Sequence[BundleLabel]
) -> Image.Image | None:
    if mask is None:
        return None
    colours = np.zeros((max(label.index for label in labels) + 1, 3), np.uint8)
    for label in labels:
        colours[label.index] = label.color
    return small(colours[np.asarray(mask)], Image.Resampling.NEAREST)
