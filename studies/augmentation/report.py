"""What `studies/augmentation` writes: tables with intervals, a figure, pictures."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from scipy.stats import t as student

from editvec.avatars.drawing.render import palette_image
from studies.augmentation.sets import Examples

Results = Mapping[str, Mapping[str, Mapping[int, Any]]]
"""By attribute, arm and seed, what was found."""

CLASSIFIER = ("balanced_accuracy", "recall", "specificity", "auc")
SEGMENTER = ("miou", "parts_iou", "parts_iou_negative")
_DRAWN = {"balanced_accuracy": "balanced accuracy", "auc": "AUC", "parts_iou": "IoU of the parts"}
_LEVEL = 0.95
_INK, _MEAN, _SEED = (40, 40, 40), "#d9480f", "#868e96"
_SHOWN = 12


class Estimate(NamedTuple):
    """A mean over seeds.

    Attributes:
        mean: Of the values.
        low: Lower end of its interval of 95 %; None for one value.
        high: The other end.
    """

    mean: float
    low: float | None
    high: float | None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.mean:.3f}"
        return f"{self.mean:.3f} ({self.low:.3f} to {self.high:.3f})"


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of values over seeds with Student's interval, at least one.

    Example:
        >>> print(estimate([1.0, 2.0, 3.0]))
        2.000 (-0.484 to 4.484)
    """
    mean = float(np.mean(values))
    if len(values) < 2:
        return Estimate(mean, None, None)
    quantile = float(student.ppf((1 + _LEVEL) / 2, len(values) - 1))
    reach = quantile * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return Estimate(mean, mean - reach, mean + reach)


def paired(arm: Mapping[int, Any], baseline: Mapping[int, Any], metric: str) -> Estimate | None:
    """The difference to the baseline over the seeds that both have; None where there is none."""
    shared = sorted(set(arm) & set(baseline))
    if not shared:
        return None
    return estimate(
        [arm[seed]["scores"][metric] - baseline[seed]["scores"][metric] for seed in shared]
    )


class Comparison(NamedTuple):
    """Arms that are shown together.

    Attributes:
        title: Of the tables.
        titles: Of the arms by name, in the order of the tables.
        baseline: The arm that the others are compared with, one of them.
    """

    title: str
    titles: Mapping[str, str]
    baseline: str


def write_report(out: Path, results: Results, comparisons: Sequence[Comparison]) -> None:
    """Write results.json and results.md, and results.png of the first comparison.

    Args:
        out: Folder.
        results: What was found.
        comparisons: What is shown; arms without results are left out.
    """
    lines: list[str] = []
    summary: dict[str, dict[str, Any]] = {}
    for attribute, arms in results.items():
        summary[attribute] = {}
        for title, titles, baseline in comparisons:
            known = {name: arms[name] for name in titles if name in arms}
            if not set(known) - {baseline}:
                continue
            compared = arms.get(baseline, {})
            summary[attribute][title] = {
                name: _summary(of_arm, compared) for name, of_arm in known.items()
            }
            lines += [f"## {attribute}: {title}", ""]
            for metrics in (CLASSIFIER, SEGMENTER):
                lines += [*_table(known, metrics, titles), ""]
            lines += [f"Difference to `{titles[baseline]}`, seed by seed:", ""]
            lines += [*_differences(known, baseline, titles), ""]
    _write(out / "results.json", json.dumps(summary, indent=2))
    _write(out / "results.md", "\n".join(lines))
    draw_results(out / "results.png", results, comparisons[0].titles)


def write_grid(path: Path, shown: Mapping[str, Examples]) -> None:
    """Draw positives of training sets, the last ones first, with their masks below.

    Args:
        path: PNG to write.
        shown: By title of the arm.
    """
    size, head = next(iter(shown.values())).pixels.shape[1], 18
    height = head + 2 * size
    canvas = Image.new("RGB", (_SHOWN * size, height * len(shown)), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(12)
    for row, (title, examples) in enumerate(shown.items()):
        draw.text((2, row * height + 2), title, fill=_INK, font=font)
        for place, number in enumerate(np.flatnonzero(examples.positive)[::-1][:_SHOWN].tolist()):
            corner = (place * size, row * height + head)
            canvas.paste(Image.fromarray(examples.pixels[number]), corner)
            mask = Image.fromarray(palette_image(examples.mask[number]))
            canvas.paste(mask, (corner[0], corner[1] + size))
    canvas.save(path, optimize=True)


def draw_results(path: Path, results: Results, titles: Mapping[str, str]) -> None:
    """Draw every arm's mean with its interval, and its seeds, for each attribute and metric."""
    figure = Figure((11, 0.8 + 2.6 * len(results)), layout="constrained")
    panels = figure.subplots(len(results), len(_DRAWN), squeeze=False, sharey=True)
    for row, (attribute, arms) in zip(panels, results.items(), strict=True):
        known = [name for name in titles if name in arms]
        for axes, metric in zip(row, _DRAWN, strict=True):
            axes.set_title(f"{attribute}: {_DRAWN[metric]}", fontsize=9)
            for place, name in enumerate(known):
                values = [one["scores"][metric] for one in arms[name].values()]
                mean, low, high = estimate(values)
                if low is not None and high is not None:
                    axes.plot([max(low, 0), min(high, 1)], [place, place], color=_MEAN, lw=2)
                axes.plot([mean], [place], "o", color=_MEAN, ms=6)
                axes.plot(values, [place + 0.25] * len(values), ".", color=_SEED, ms=4)
            axes.set_yticks(range(len(known)), [titles[name] for name in known], fontsize=8)
            axes.tick_params(axis="x", labelsize=8)
            axes.locator_params(axis="x", nbins=5)
            axes.grid(axis="x", alpha=0.3)
        row[0].set_ylim(len(known) - 0.5, -0.5)
    figure.savefig(path, dpi=100)


def _table(
    arms: Mapping[str, Mapping[int, Any]], metrics: Sequence[str], titles: Mapping[str, str]
) -> list[str]:
    rows = [f"| arm | images | seeds | {' | '.join(metrics)} |", "|---" * (3 + len(metrics)) + "|"]
    for name, of_arm in arms.items():
        images = np.mean([one["images"] for one in of_arm.values()])
        found = [
            str(estimate([one["scores"][metric] for one in of_arm.values()])) for metric in metrics
        ]
        rows.append(f"| {titles[name]} | {images:.0f} | {len(of_arm)} | {' | '.join(found)} |")
    return rows


def _differences(
    arms: Mapping[str, Mapping[int, Any]], baseline: str, titles: Mapping[str, str]
) -> list[str]:
    metrics = ("balanced_accuracy", "auc", "miou", "parts_iou")
    rows = [f"| arm | {' | '.join(metrics)} |", "|---" * (1 + len(metrics)) + "|"]
    for name, of_arm in arms.items():
        if name != baseline:
            found = [str(paired(of_arm, arms.get(baseline, {}), metric)) for metric in metrics]
            rows.append(f"| {titles[name]} | {' | '.join(found)} |")
    return rows


def _summary(of_arm: Mapping[int, Any], baseline: Mapping[int, Any]) -> dict[str, Any]:
    metrics = (*CLASSIFIER, *SEGMENTER)
    return {
        "seeds": sorted(of_arm),
        "images": [of_arm[seed]["images"] for seed in sorted(of_arm)],
        "positives": [of_arm[seed]["positives"] for seed in sorted(of_arm)],
        "scores": {
            metric: estimate([one["scores"][metric] for one in of_arm.values()])
            for metric in metrics
        },
        "difference": {metric: paired(of_arm, baseline, metric) for metric in metrics},
        "settings": next(iter(of_arm.values()))["settings"],
    }


def _write(path: Path, text: str) -> None:
    temporary = path.with_suffix(".partial")
    temporary.write_text(text)
    temporary.replace(path)
