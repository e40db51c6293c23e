"""The metrics of a report in words, and the gates on them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from editvec.batch.recipes.settings import RunSettings
from editvec.batch.reports.charts import Bound

_ORDER = ("leakage", "success", "uncertainty", "reconstruction", "refined")
_GATES = (
    ("leakage.", "max_leakage", True),
    ("reconstruction.", "max_reconstruction", True),
    ("uncertainty", "max_uncertainty", True),
    ("success_iou", "min_success", False),
)
# what the gate on a group of metrics looks at
_JUDGED = ("perceptual", "lpips")


class ReportMetric(NamedTuple):
    """A metric in words.

    Attributes:
        title: what it is.
        short: the same below a picture.
        hint: what is better; empty where neither is.
        is_of_input: True if all recipes of an input have the same.
    """

    title: str
    short: str
    hint: str
    is_of_input: bool


def metric_of(name: str) -> ReportMetric:
    """What a metric is called on the page."""
    group, _, inner = name.partition(".")
    is_of_input = group == "reconstruction"
    if name == "uncertainty":
        return ReportMetric("Label uncertainty in nats", "uncertainty", "less is better", False)
    if name == "success_iou":
        return ReportMetric("Success: IoU with the wanted mask", "success", "more is better", False)
    if name == "refined_steps":
        return ReportMetric("Steps of refinement", "refined steps", "", False)
    short = f"{group} {inner}".replace("_", " ").replace(".", " ").strip()
    title = short
    if inner == "psnr":
        title, short = f"{group}: PSNR in dB", f"{group} PSNR"
    elif inner.startswith(_JUDGED):
        title, short = f"{group}: perceptual ({inner.rpartition('/')[2]})", group
    hint = ""
    if inner == "psnr":
        hint = "more is better"
    elif inner.startswith(_JUDGED):
        hint = "less is better"
    return ReportMetric(title[:1].upper() + title[1:], short, hint, is_of_input)


def bound_of(name: str, settings: RunSettings) -> Bound | None:
    """The gate of the run on a metric."""
    for start, setting, is_upper in _GATES:
        value = getattr(settings, setting)
        if value is None or not math.isfinite(value) or not name.startswith(start):
            continue
        if not start.endswith(".") or name.removeprefix(start).startswith(_JUDGED):
            return Bound(float(value), is_upper)
    return None


def in_order(names: Iterable[str]) -> list[str]:
    """Names of metrics: of the edit first, of the input next, numbers of steps last."""

    def place(name: str) -> tuple[bool, int]:
        group = [number for number, start in enumerate(_ORDER) if name.startswith(start)]
        return name.endswith("steps"), group[0] if group else len(_ORDER)

    return sorted(dict.fromkeys(names), key=place)
