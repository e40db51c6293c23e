"""The HTML page of a report: one file that needs nothing else, in light and in dark.

Every text that comes from outside goes through `_text`: names of files and of vectors are hostile
until escaped. The page holds no script, and its content policy allows none.
"""

from __future__ import annotations

import base64
import html
import io
import json
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from batch.contact_sheet import (
    Section,
    describe_recipe,
    number_text,
    printable,
    scale_text,
)
from batch.report_style import STYLE
from batch.samples import RecipeSummary, Sample, by_interest, metric_label

MAX_LISTED = 100
MAX_HISTOGRAMS = 6
_BINS = 24
_HISTOGRAM = (232, 64)

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class Leftovers:
    """Items that gave no image.

    Attributes:
        total: How many there are.
        first: Up to MAX_LISTED of their rows: source, recipe, reason.
    """

    total: int = 0
    first: Sequence[Mapping[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Page:
    """What the page says.

    Attributes:
        title: Headline.
        subtitle: Line below it.
        state: State of the run, as in the database.
        counts: Figures for the tiles at the top, by their names, in order.
        sections: Recipes and their images.
        failed: Items that failed or were quarantined.
        rejected: Items that a quality gate turned away.
        labels: Names and colours of the parts.
        run: The run's own record, listed as settings and provenance.
    """

    title: str
    subtitle: str
    state: str
    counts: Mapping[str, str]
    sections: Sequence[Section]
    failed: Leftovers
    rejected: Leftovers
    labels: Sequence[tuple[str, tuple[int, int, int]]]
    run: Mapping[str, Any]


def render_page(page: Page) -> str:
    """Write the page.

    Args:
        page: What it says.

    Returns:
        A complete HTML document without references to anything outside it.
    """
    main = [
        _header(page),
        _overview([section.recipe for section in page.sections]),
        _legend(page.labels),
        *(_recipe(number, section) for number, section in enumerate(page.sections)),
        _leftovers("Failed", "failed.jsonl", page.failed),
        _leftovers("Rejected", "rejected.jsonl", page.rejected),
        _settings(page.run),
    ]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{_text(page.title)}</title>",
            f"<style>{STYLE}</style></head><body><main>",
            *filter(None, main),
            "</main></body></html>\n",
        ]
    )


def _text(value: Any) -> str:
    """Text that HTML shows as it is, also within an attribute's quotes."""
    return html.escape(printable(str(value)), quote=True)


# Top of the page.


def _header(page: Page) -> str:
    kind = {"completed": "good", "running": "busy", "planned": "busy"}.get(page.state, "warn")
    tiles = "".join(
        f'<div class="tile"><b>{_text(value)}</b><span>{_text(name)}</span></div>'
        for name, value in page.counts.items()
    )
    state = _text(page.state.replace("_", " "))
    return (
        f'<header><div class="head"><div><h1>{_text(page.title)}</h1>'
        f'<p class="sub">{_text(page.subtitle)}</p></div>'
        f'<span class="badge {kind}">{state}</span></div><div class="tiles">{tiles}</div></header>'
    )


def _overview(recipes: Sequence[RecipeSummary]) -> str:
    """A table of the recipes; with one recipe its own section says it all."""
    if not recipes:
        return '<section class="card"><p class="empty">This run has no images.</p></section>'
    if len(recipes) == 1:
        return ""
    names = by_interest(dict.fromkeys(name for recipe in recipes for name in recipe.metrics))
    names = names[:MAX_HISTOGRAMS]
    head = "".join(f'<th class="num">{_text(metric_label(name))}</th>' for name in names)
    body = []
    for number, recipe in enumerate(recipes):
        medians = recipe.medians()
        cells = "".join(
            f'<td class="num">{number_text(medians[name]) if name in medians else "–"}</td>'
            for name in names
        )
        body.append(
            f'<tr><td><a href="#recipe-{number}">{_text(describe_recipe(recipe))}</a></td>'
            f'<td class="num">{recipe.count:,}</td>{cells}</tr>'
        )
    note = '<p class="note">Metrics are medians over the images of a recipe.</p>' if names else ""
    return (
        '<section class="card"><h2>Recipes</h2><div class="scroll"><table><thead><tr>'
        f'<th>recipe</th><th class="num">images</th>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>{note}</section>"
    )


def _legend(labels: Sequence[tuple[str, tuple[int, int, int]]]) -> str:
    if not labels:
        return ""
    chips = "".join(
        f'<span class="part"><i style="background:#{red:02x}{green:02x}{blue:02x}"></i>'
        f"{_text(name)}</span>"
        for name, (red, green, blue) in labels
    )
    return f'<section class="legend" aria-label="Colours of the parts">{chips}</section>'


# A recipe.


def _recipe(number: int, section: Section) -> str:
    recipe = section.recipe
    chips = "".join(
        f'<span class="chip">{_text(term.address)} <b>× {scale_text(term)}</b></span>'
        for term in recipe.terms
    )
    charts = "".join(
        _histogram(name, values)
        for name in by_interest(recipe.metrics)[:MAX_HISTOGRAMS]
        # a number of steps is worth a picture only where images stopped early
        if len(set(values := recipe.metrics[name])) > 1 or not name.endswith("num_steps")
    )
    figures = "".join(_figure(sample) for sample in section.samples)
    shown = len(section.samples)
    note = f"{recipe.count:,} image{'' if recipe.count == 1 else 's'}"
    if shown < recipe.count:
        note += f", {shown} of them shown"
    return (
        f'<section class="card" id="recipe-{number}"><div class="head"><h2>'
        f"{_text(describe_recipe(recipe))}</h2>"
        f'<span class="note">{note} · before, after, mask</span></div>'
        f'<div class="chips">{chips}</div>'
        + (f'<div class="charts">{charts}</div>' if charts else "")
        + (f'<div class="grid">{figures}</div>' if figures else "")
        + "</section>"
    )


def _figure(sample: Sample) -> str:
    name = sample.source.replace("\\", "/").rpartition("/")[2]
    pictures = (
        _picture(sample.before, "before", lossless=False)
        + _picture(sample.after, "after", lossless=False)
        + _picture(sample.mask, "mask", lossless=True)
    )
    texts = [
        f"{_text(metric_label(key))} {number_text(sample.metrics[key])}"
        for key in by_interest(sample.metrics)
    ]
    return (
        f'<figure><div class="triple">{pictures}</div>'
        f'<figcaption title="{_text(sample.source)}"><b>{_text(name)}</b>'
        f'<span title="{"&#10;".join(texts)}">{" · ".join(texts[:2])}</span>'
        "</figcaption></figure>"
    )


def _picture(picture: Image.Image | None, role: str, *, lossless: bool) -> str:
    if picture is None:
        return f'<span class="missing" title="no {role} image">–</span>'
    stream = io.BytesIO()
    if lossless:
        picture.quantize(256).save(stream, "PNG", optimize=True)
    else:
        picture.save(stream, "JPEG", quality=90, subsampling=0)
    kind = "png" if lossless else "jpeg"
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    return f'<img class="{role}" alt="{role}" loading="lazy" src="data:image/{kind};base64,{data}">'


def _histogram(name: str, values: array[float]) -> str:
    """Counts over equal steps between the lowest and the highest value, the median marked."""
    width, height = _HISTOGRAM
    numbers = np.asarray(values, np.float64)
    low, high, median = float(numbers.min()), float(numbers.max()), float(np.median(numbers))
    if high > low:
        counts, _ = np.histogram(numbers, bins=_BINS, range=(low, high))
        place = width * (median - low) / (high - low)
    else:
        counts = np.zeros(_BINS, np.int64)
        counts[_BINS // 2] = len(numbers)
        place = width * (_BINS // 2 + 0.5) / _BINS
    step, tallest = width / _BINS, max(1, int(counts.max()))
    bars = "".join(
        f'<rect x="{position * step + 0.5:.1f}" y="{height - height * count / tallest:.1f}" '
        f'width="{step - 1:.1f}" height="{height * count / tallest:.1f}" rx="1"/>'
        for position, count in enumerate(counts.tolist())
        if count
    )
    label = f"{_text(metric_label(name))}: median {number_text(median)}, n={len(numbers)}"
    return (
        f'<div class="chart"><h3>{_text(metric_label(name))}<b>{number_text(median)}</b></h3>'
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{bars}'
        f'<line x1="{place:.1f}" x2="{place:.1f}" y1="0" y2="{height}"/></svg>'
        f"<p><span>{number_text(low)}</span><span>median of {len(numbers):,}</span>"
        f"<span>{number_text(high)}</span></p></div>"
    )


# What gave no image, and how the run was set.


def _leftovers(title: str, file_name: str, leftovers: Leftovers) -> str:
    if not leftovers.total:
        return ""
    rows = "".join(
        f"<tr><td>{_text(row.get('source', ''))}</td><td>{_text(row.get('recipe') or '')}</td>"
        f"<td>{_text(row.get('reason', ''))}</td></tr>"
        for row in leftovers.first
    )
    more = leftovers.total - len(leftovers.first)
    note = f'<p class="note">and {more:,} more in {file_name}</p>' if more > 0 else ""
    return (
        f'<section class="card"><h2>{title} <span class="count">{leftovers.total:,}</span></h2>'
        '<div class="scroll"><table><thead><tr><th>source</th><th>recipe</th><th>reason</th></tr>'
        f"</thead><tbody>{rows}</tbody></table></div>{note}</section>"
    )


def _settings(run: Mapping[str, Any]) -> str:
    if not run:
        return ""
    rows = "".join(
        f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in _flat(run)
    )
    return (
        '<section class="card"><h2>Settings and provenance</h2><div class="scroll">'
        f'<table class="facts"><tbody>{rows}</tbody></table></div></section>'
    )


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """Names and values of a record, objects within it opened, lists as one line of JSON."""
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            yield from _flat(inner, f"{prefix}{key}.")
        elif isinstance(inner, str):
            yield f"{prefix}{key}", inner
        else:
            yield f"{prefix}{key}", json.dumps(inner, ensure_ascii=False, default=str)
