"""The page about an evaluated vector: measures, curves, its best and its worst images. One file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from editvec.batch.editing.measuring import perceptual_value
from editvec.batch.evaluation.calibration import Calibration, CurvePoint
from editvec.batch.evaluation.curves import Place, curve
from editvec.batch.evaluation.evaluate import Evaluation
from editvec.batch.evaluation.measure import MeasuredEdits, ModeResult, Row, ScalePictures
from editvec.batch.evaluation.table import Measure
from editvec.batch.evaluation.targets import WantedAttribute
from editvec.batch.reports.contact_sheet import number_text
from editvec.batch.reports.html import (
    card,
    document,
    exact_picture,
    header,
    photograph,
    table,
    text,
)
from editvec.engine.bundle.description import BundleLabel

SHOWN = 6
_TILES = 6
_LARGEST_SIDE = 256


def page_of(found: Evaluation, labels: Sequence[BundleLabel]) -> str:
    """A page that refers to nothing outside it.

    Args:
        found: the evaluation.
        labels: of the class, for the colours of masks.
    """
    measured, settings = found.measured, found.settings
    title = found.vector.address
    subtitle = f"evaluated at scale {measured.scale:g} on {settings.probe_set()}"
    parts = [
        header(
            title,
            subtitle,
            state="completed",
            note="",
            tiles={
                one.name: f"{number_text(one.value)} {one.unit}".strip()
                for one in found.table.measures[:_TILES]
            },
        ),
        card("measures", "Measures", _measures(found.table.measures)),
        card("missing", "Not measured", _missing(found)),
        card("curves", "Over scales", _curves(found)),
    ]
    for mode in measured.modes:
        name = f"Mode {mode.mode}"
        best, worst = _ends(mode, measured)
        key = str(mode.mode).replace(":", "-")
        parts.append(
            card(f"best-{key}", text(f"{name}: best"), _grid(mode, measured, best, labels))
        )
        parts.append(
            card(f"worst-{key}", text(f"{name}: worst"), _grid(mode, measured, worst, labels))
        )
    return document(title, [part for part in parts if part])


def _measures(measures: Sequence[Measure]) -> str:
    rows = [
        [
            f"<b>{text(one.name)}</b>",
            text(f"{number_text(one.value)} {one.unit}".strip()),
            _interval_text(one),
            f"{one.count:,}",
            text(one.backbone or ""),
            text(one.against),
        ]
        for one in measures
    ]
    head = ["metric", "value", "95 % interval", "n", "backbone", "against"]
    return table(head, rows, numbers=[1, 2, 3])


def _interval_text(one: Measure) -> str:
    if one.interval is None:
        return "–"
    return f"{number_text(one.interval.low)} to {number_text(one.interval.high)}"


def _missing(found: Evaluation) -> str:
    rows = [[f"<b>{text(one.name)}</b>", text(one.reason)] for one in found.table.missing]
    skipped = found.measured.skipped
    rows += [[text(name), f"left out: {text(reason)}"] for name, reason in skipped.items()]
    if found.unlike_text:
        rows.append(["the class", text(found.unlike_text)])
    return table(["what", "why, and how to get it"], rows) if rows else ""


# --- curves ---


def _curves(found: Evaluation) -> str:
    calibration, settings = found.calibration, found.settings
    if calibration is None:
        return ""
    usable = calibration.usable
    charts = [
        _chart(f"success: {calibration.success_name}", _success(calibration.points), usable=usable),
        _chart(
            "leakage outside the ROI",
            [
                Place(one.scale, one.leakage, one.leakage_interval)
                for one in calibration.points
                if one.leakage is not None
            ],
            usable=usable,
            bound=settings.max_leakage,
            hint="perceptual, lower is better",
        ),
        _chart(
            "leakage outside the ROI, dB",
            [
                Place(one.scale, one.leakage_psnr)
                for one in calibration.points
                if one.leakage_psnr is not None and math.isfinite(one.leakage_psnr)
            ],
            usable=usable,
            bound=settings.min_leakage_psnr,
            hint="higher is better",
        ),
    ]
    said = f'<p class="note">{_range_text(calibration)}</p>'
    return f'{said}<div class="charts">{"".join(charts)}</div>'


def _success(points: Sequence[CurvePoint]) -> list[Place]:
    return [
        Place(one.scale, one.success, one.success_interval)
        for one in points
        if one.success is not None
    ]


def _chart(
    title: str,
    places: Sequence[Place],
    *,
    usable: tuple[float, float] | None,
    bound: float | None = None,
    hint: str = "higher is better",
) -> str:
    if len(places) < 2:
        return ""
    # the range is shaded as far as the drawing goes
    if usable is not None:
        usable = (max(usable[0], places[0].scale), min(usable[1], places[-1].scale))
    return curve(title, places, bound=bound, usable=usable, hint=hint)


def _range_text(calibration: Calibration) -> str:
    of = f"{calibration.images} images"
    if calibration.left_out:
        of += f", {calibration.left_out} left out for their reconstruction"
    if calibration.usable is None:
        return text(f"No usable range: {calibration.reason} ({of}).")
    low, high = calibration.usable
    return text(f"Usable from {low:g} to {high:g}, shaded ({of}).")


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


def _grid(
    mode: ModeResult, measured: MeasuredEdits, places: Sequence[int], labels: Sequence[BundleLabel]
) -> str:
    figures = [
        _figure(measured.names[place], mode.rows[place], mode.pictures[place], labels)
        for place in places
    ]
    if not figures:
        return ""
    legend = '<div class="legend"><b>before · after · mask before · mask after</b></div>'
    return f'{legend}<div class="grid">{"".join(figures)}</div>'


def _figure(name: str, row: Row, pictures: ScalePictures, labels: Sequence[BundleLabel]) -> str:
    images = [
        photograph(_small(pictures.before), "before", f"{name} before"),
        photograph(_small(pictures.after), "after", f"{name} after"),
        exact_picture(_mask(pictures.mask_before, labels), "mask", f"mask of {name} before"),
        exact_picture(_mask(pictures.mask_after, labels), "mask", f"mask of {name} after"),
    ]
    values = [
        f"<span>{text(key)} {number_text(value)}</span>"
        for key in ("attribute", "success_iou", "identity_similarity", "uncertainty")
        if (value := row.get(key)) is not None
    ]
    leak = (row.get("leakage") or {}).get("psnr")
    if leak is not None:
        values.append(f"<span>leakage {number_text(leak)} dB</span>")
    return (
        f'<figure><div class="row">{"".join(images)}</div>'
        f"<figcaption><b>{text(name)}</b>{''.join(values)}</figcaption></figure>"
    )


def _small(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    picture = Image.fromarray(pixels)
    picture.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE))
    return picture


def _mask(
    mask: npt.NDArray[np.integer[Any]] | None, labels: Sequence[BundleLabel]
) -> Image.Image | None:
    if mask is None:
        return None
    colours = np.zeros((max(label.index for label in labels) + 1, 3), np.uint8)
    for label in labels:
        colours[label.index] = label.color
    picture = Image.fromarray(colours[np.asarray(mask)])
    picture.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE), Image.Resampling.NEAREST)
    return picture
