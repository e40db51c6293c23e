"""The measures of an evaluation: each with its interval, its images and its network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from editvec.batch.editing.measuring import perceptual_value
from editvec.batch.evaluation.intervals import (
    LEVEL,
    Interval,
    Statistic,
    bootstrap,
    statistic_of,
    wilson,
)
from editvec.batch.evaluation.measure import MeasuredEdits, ModeResult, Row
from editvec.batch.evaluation.sets import INCEPTION, MIN_IMAGES, distances
from editvec.batch.evaluation.settings import EvaluateSettings
from editvec.batch.evaluation.targets import WantedAttribute
from editvec.json_codec import JsonFields
from editvec.registry.entities.metrics import Direction, NewMetric


@dataclass(frozen=True, kw_only=True)
class Measure(JsonFields):
    """One value of the table.

    Attributes:
        name: with the mode behind it, unless that is mode vector.
        value: of all images.
        interval: of `LEVEL`; None of too few images, and of what is no sample.
        count: images behind it.
        unit: of value and interval.
        direction: which values are better.
        backbone: the network that measured, where one did.
        against: target or reference, in words.
        statistic: what was taken of the images.
    """

    name: str
    value: float
    interval: Interval | None
    count: int
    direction: Direction
    unit: str = ""
    backbone: str | None = None
    against: str = ""
    statistic: str = "mean"

    def to_metric(self, probe_set: str, settings: dict[str, Any]) -> NewMetric:
        """What the library stores."""
        ends = None if self.interval is None else list(self.interval)
        about = {"interval": ends, "level": LEVEL, "statistic": self.statistic, "unit": self.unit}
        return NewMetric(
            name=self.name,
            value=self.value,
            direction=self.direction,
            backbone=self.backbone,
            sample_count=self.count,
            probe_set=probe_set,
            settings=settings | about | ({"against": self.against} if self.against else {}),
        )


class Missing(NamedTuple):
    """What could not be measured, why, and how to get it."""

    name: str
    reason: str


@dataclass
class Table:
    """All measures, and what is missing."""

    measures: list[Measure] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)

    def lack(self, name: str, reason: str) -> None:
        """Names what could not be measured."""
        if all(one.name != name for one in self.missing):
            self.missing.append(Missing(name, reason))


def tabulate(measured: MeasuredEdits, settings: EvaluateSettings) -> Table:
    """The measures of every mode, and what is missing of them.

    Args:
        measured: image by image.
        settings: of the evaluation.
    """
    table = Table()
    for mode in measured.modes:
        _add_success(table, mode, measured, settings)
        _add_leakage(table, mode, settings)
        _add_means(table, mode, measured, settings)
        _add_sets(table, mode, measured, settings)
        table.measures.append(
            Measure(
                name=f"seconds_per_image{mode.mode.suffix}",
                value=sum(mode.seconds) / len(mode.seconds),
                interval=None,
                count=mode.timed,
                unit="s",
                direction=Direction.LOWER,
                backbone=str(measured.sets.device),
                against="the edit, its mask, compositing",
            )
        )
    _add_reconstruction(table, measured.modes[0].rows, settings)
    return table


def _add_success(
    table: Table, mode: ModeResult, measured: MeasuredEdits, settings: EvaluateSettings
) -> None:
    suffix = mode.mode.suffix
    if isinstance(measured.attribute, WantedAttribute):
        # who had it before is no success of the edit
        lacking = [row for row in mode.rows if row["attribute_unedited"] <= 0]
        values = [float(row["attribute"] > 0) for row in lacking]
        if values:
            share = statistic_of(values, "mean")
            table.measures.append(
                Measure(
                    name=f"success_attribute{suffix}",
                    value=share,
                    interval=wilson(share, len(values)),
                    count=len(values),
                    direction=Direction.HIGHER,
                    backbone="classifier",
                    against=str(measured.attribute),
                    statistic="share",
                )
            )
        else:
            table.lack(
                "success_attribute",
                f"every image is {measured.attribute} before the edit; give others",
            )
    else:
        table.lack("success_attribute", measured.attribute)
    rows = [row for row in mode.rows if row.get("success_iou") is not None]
    if measured.target is None:
        table.lack("success_iou", measured.no_target)
    elif not rows:
        table.lack("success_iou", f"{measured.target}: {_why_no_iou(mode)}")
    else:
        for name, direction in (
            ("success_iou", Direction.HIGHER),
            ("success_iou_unedited", Direction.NONE),
        ):
            values = [row[name] for row in rows if row.get(name) is not None]
            if values:
                table.measures.append(
                    _measure(
                        f"{name}{suffix}", values, direction, seed=settings.seed,
                        against=measured.target,
                    )
                )  # fmt: skip


def _why_no_iou(mode: ModeResult) -> str:
    if all("leakage" not in row for row in mode.rows):
        return "the class has no segmentation branch; `train segmentation` makes one"
    return "no image has these parts, or the vector has no part labels, only a brush"


def _add_leakage(table: Table, mode: ModeResult, settings: EvaluateSettings) -> None:
    rows = [row["leakage"] for row in mode.rows if row.get("leakage")]
    if not rows:
        table.lack(
            "leakage",
            "nothing says what the edit may not touch: it needs a class with a segmentation branch "
            "(`train segmentation`), and a vector with part labels, but not all, or a brush "
            "(`--roi` of `learn`, `discover` and `registry add`)",
        )
        return
    _add_psnr_and_distance(
        table, "leakage", rows, mode.mode.suffix, settings, "G(ws), outside the ROI"
    )


def _add_reconstruction(table: Table, items: Sequence[Row], settings: EvaluateSettings) -> None:
    rows = [row["reconstruction"] for row in items if row.get("reconstruction")]
    if not rows:
        table.lack(
            "reconstruction",
            "sampled images are their own reconstruction; --probe DIR measures photographs",
        )
        return
    _add_psnr_and_distance(table, "reconstruction", rows, "", settings, "the image itself")


def _add_psnr_and_distance(
    table: Table,
    name: str,
    rows: Sequence[dict[str, Any]],
    suffix: str,
    settings: EvaluateSettings,
    against: str,
) -> None:
    psnrs = [row["psnr"] for row in rows if row["psnr"] is not None]
    if psnrs:
        table.measures.append(
            _measure(
                f"{name}_psnr{suffix}", psnrs, Direction.HIGHER, seed=settings.seed,
                statistic="median", unit="dB", against=against,
            )
        )  # fmt: skip
    found = [perceptual_value(row) for row in rows]
    distances_ = [one for one in found if one is not None]
    if distances_:
        backbone = next(key for key in rows[0] if key.startswith(("perceptual/", "lpips")))
        table.measures.append(
            _measure(
                f"{name}_perceptual{suffix}", distances_, Direction.LOWER, seed=settings.seed,
                backbone=backbone, against=against,
            )
        )  # fmt: skip
    else:
        table.lack(f"{name}_perceptual", "the class has no perceptual network")


_MEANS: tuple[tuple[str, Direction, str, str | None, str, str], ...] = (
    (
        "identity_similarity", Direction.HIGHER, "", "identity of the bundle", "G(ws)",
        "the class has no identity network",
    ),
    (
        "uncertainty", Direction.LOWER, "nats", "segmentation", "",
        "the class has no segmentation branch; `train segmentation` makes one",
    ),
    (
        "uncertainty_unedited", Direction.NONE, "nats", "segmentation", "G(ws)",
        "the class has no segmentation branch; `train segmentation` makes one",
    ),
)  # fmt: skip


def _add_means(
    table: Table, mode: ModeResult, measured: MeasuredEdits, settings: EvaluateSettings
) -> None:
    for name, direction, unit, backbone, against, reason in _MEANS:
        if name.endswith("_unedited") and mode is not measured.modes[0]:
            continue
        values = [row[name] for row in mode.rows if row.get(name) is not None]
        if not values:
            table.lack(name, reason)
            continue
        table.measures.append(
            _measure(
                name if name.endswith("_unedited") else f"{name}{mode.mode.suffix}",
                values, direction, seed=settings.seed, unit=unit, backbone=backbone,
                against=against,
            )
        )  # fmt: skip


def _add_sets(
    table: Table, mode: ModeResult, measured: MeasuredEdits, settings: EvaluateSettings
) -> None:
    for network, reason in measured.sets.missing.items():
        table.lack("fid, kid" if network == INCEPTION else network, reason)
    count = len(mode.rows)
    if count < MIN_IMAGES:
        table.lack(
            "fid, kid on any network",
            f"{count} images, at least {MIN_IMAGES} are needed: --samples {MIN_IMAGES}",
        )
        return
    for network in measured.sets.names:
        reference = measured.sets.reference(network)
        if len(reference) < MIN_IMAGES:
            continue
        suffix = "" if network == INCEPTION else f"_{network.replace('/', '-')}"
        about = f"{measured.sets.reference_words}, n={len(reference)}"
        sets = [("", mode.features, mode.mode.suffix, Direction.LOWER)]
        if mode is measured.modes[0]:
            # the bias of a small set is in both: only their difference tells of the edit
            sets.append(("_unedited", measured.unedited, "", Direction.NONE))
        for which, features, of_mode, direction in sets:
            if network not in features:
                continue
            found = distances(torch.cat(features[network]), reference, seed=settings.seed)
            table.measures += [
                Measure(
                    name=f"{name}{suffix}{which}{of_mode}", value=value, interval=interval,
                    count=count, direction=direction, backbone=network, against=about,
                    statistic="set",
                )
                for name, (value, interval) in found.items()
            ]  # fmt: skip


def _measure(
    name: str,
    values: Sequence[float],
    direction: Direction,
    *,
    seed: int,
    statistic: Statistic = "mean",
    unit: str = "",
    backbone: str | None = None,
    against: str = "",
) -> Measure:
    return Measure(
        name=name,
        value=statistic_of(values, statistic),
        interval=bootstrap(values, statistic, seed=seed),
        count=len(values),
        direction=direction,
        unit=unit,
        backbone=backbone,
        against=against,
        statistic=statistic,
    )
