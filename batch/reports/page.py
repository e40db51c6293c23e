"""The HTML page of a report: one file that needs nothing else, in light and in dark.

The page holds no script, and its content policy allows none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from editvec.batch.recipes.recipe import SOURCE_RECIPE
from editvec.batch.reports.contact_sheet import number_text, scale_text
from editvec.batch.reports.html import (
    card,
    document,
    exact_picture,
    header,
    photograph,
    table,
    text,
)
from editvec.batch.reports.metrics import in_order, metric_of
from editvec.batch.reports.pictures import Sample, ShownTerm
from editvec.batch.reports.sections import Reason, attributes, leftovers, measures, record, workers
from editvec.batch.reports.tally import RecipeTally, RunTally

# of the sections with images; the others come to some hundred kilobytes
MAX_BYTES = 4_000_000

_MEASURES_SHOWN = 3


@dataclass(frozen=True)
class VectorFact:
    """A vector of the run.

    Attributes:
        address: `class/name@version`.
        scales: as typed: numbers, or what they are drawn from.
        parts: labels that it may touch.
        digest: of its delta; empty if unknown.
    """

    address: str
    scales: Sequence[str]
    parts: Sequence[str] = ()
    digest: str = ""


@dataclass(frozen=True)
class Shown:
    """The images of a recipe that the page shows.

    Attributes:
        spread: some, evenly spread over the run.
        worst: those that changed most outside the ROI.
        best: those that changed least there.
        missed: those that stayed furthest from their wanted mask.
        met: those that came closest to it.
    """

    spread: Sequence[Sample] = ()
    worst: Sequence[Sample] = ()
    best: Sequence[Sample] = ()
    missed: Sequence[Sample] = ()
    met: Sequence[Sample] = ()


@dataclass(frozen=True)
class Page:
    """What the page says.

    Attributes:
        title: Headline.
        subtitle: Line below it.
        state: State of the run, as in the database.
        note: What to know before reading; empty for a finished run.
        tiles: Figures at the top, by their names, in order.
        facts: What was run: lines of words by their names.
        vectors: Those of the run.
        tally: Its numbers.
        shown: Images by the name of their recipe.
        reasons: Why items gave no image.
        labels: Names and colours of the parts.
        workers: Who worked on it.
        run: The run's own record.
    """

    title: str
    subtitle: str
    state: str
    note: str
    tiles: Mapping[str, str]
    facts: Mapping[str, Sequence[str]]
    vectors: Sequence[VectorFact]
    tally: RunTally
    shown: Mapping[str, Shown]
    reasons: Sequence[Reason]
    labels: Sequence[tuple[str, tuple[int, int, int]]]
    workers: Sequence[Mapping[str, Any]] = ()
    run: Mapping[str, Any] = field(default_factory=dict)


def render_page(page: Page) -> str:
    """Write the page.

    Args:
        page: What it says.

    Returns:
        A complete HTML document without references to anything outside it.
    """
    vectors = {vector.address: number for number, vector in enumerate(page.vectors)}
    names = {
        name: f'<a href="#recipe-{number}">{_terms(recipe)}</a>'
        if _has_section(page.tally, recipe)
        else _terms(recipe)
        for number, (name, recipe) in enumerate(page.tally.recipes.items())
    }
    with_section = (
        number
        for number, recipe in enumerate(page.tally.recipes.values())
        if _has_section(page.tally, recipe)
    )
    first = f"recipe-{next(with_section, 0)}"
    settings = page.run.get("settings")
    settings = settings if isinstance(settings, Mapping) else {}
    sections = [
        _facts(page),
        _overview(page.tally, names),
        *_recipes(page, vectors),
        measures(page.tally, names, settings),
        attributes(page.tally),
        leftovers(page.tally, page.reasons),
        workers(page.workers),
        record(page.run),
    ]
    top = header(page.title, page.subtitle, state=page.state, note=page.note, tiles=page.tiles)
    return document(page.title, [top, _contents(sections, first), *filter(None, sections)])


# Top of the page.


def _contents(sections: Sequence[str], first: str) -> str:
    """Links to the sections that the page has; the images begin at the `first` of the recipes."""
    wanted = {
        first: "Images",
        "measures": "Measures",
        "attributes": "Attributes",
        "leftovers": "Rejected and failed",
        "workers": "Workers",
        "settings": "Settings",
    }
    links = "".join(
        f'<a href="#{identifier}">{name}</a>'
        for identifier, name in wanted.items()
        if any(f'id="{identifier}"' in section[:80] for section in sections)
    )
    return f'<nav aria-label="Sections">{links}</nav>' if links else ""


def _facts(page: Page) -> str:
    """What was run."""
    facts = "".join(
        f"<div><dt>{text(name)}</dt><dd>{'<br>'.join(map(text, values))}</dd></div>"
        for name, values in page.facts.items()
    )
    body = f'<dl class="what">{facts}</dl>' if facts else ""
    if page.vectors:
        rows = [
            [
                f'<b id="vector-{number}">{text(vector.address)}</b>',
                ", ".join(f'<span class="nowrap">{text(one)}</span>' for one in vector.scales),
                text(", ".join(vector.parts)) or "–",
                f"<code>{text(vector.digest[:12])}</code>" if vector.digest else "–",
            ]
            for number, vector in enumerate(page.vectors)
        ]
        body += table(["vector", "scales", "parts that may change", "digest"], rows)
    return card("what", "What was run", body)


def _overview(tally: RunTally, names: Mapping[str, str]) -> str:
    """A table of the recipes; with one recipe its own section says it all."""
    recipes = list(tally.recipes.values())
    if not any(recipe.count for recipe in recipes):
        return '<section class="card"><p class="empty">This run has no images.</p></section>'
    if len(recipes) == 1:
        return ""
    metrics = in_order(name for recipe in recipes for name in recipe.metrics)
    metrics = [name for name in metrics if not metric_of(name).is_of_input][:_MEASURES_SHOWN]
    states = [
        state
        for state in ("rejected", "failed", "quarantined")
        if any(recipe.states[state] for recipe in recipes)
    ]
    rows = []
    for recipe in recipes:
        cells = [names[recipe.name], f"{recipe.count:,}"]
        cells += [f"{recipe.states[state]:,}" for state in states]
        for name in metrics:
            known = recipe.metrics.get(name)
            cells.append("–" if known is None else number_text(known.quantiles([0.5])[0]))
        rows.append(cells)
    head = ["recipe", "images", *states, *(text(metric_of(name).title) for name in metrics)]
    made = table(head, rows, numbers=range(1, len(head)))
    note = "measures are medians" if metrics else ""
    return card("recipes", "Recipes", made, note=note)


# A recipe.


def _recipes(page: Page, vectors: Mapping[str, int]) -> list[str]:
    """The sections of the recipes; as many images as the page can hold."""
    sections: list[str] = []
    used = largest = 0
    for number, (name, recipe) in enumerate(page.tally.recipes.items()):
        if not _has_section(page.tally, recipe):
            continue
        fits = used + largest < MAX_BYTES
        shown = page.shown.get(name, Shown()) if fits else Shown()
        # the colours of the parts are told once
        labels = [] if sections else page.labels
        sections.append(_recipe(number, recipe, shown, vectors, labels))
        used += len(sections[-1])
        largest = max(largest, len(sections[-1]))
    return sections


def _has_section(tally: RunTally, recipe: RecipeTally) -> bool:
    """Unedited samples are the inputs that the sections of the other recipes show."""
    others = any(other.count for other in tally.recipes.values() if other is not recipe)
    return bool(recipe.count) and not (recipe.name == SOURCE_RECIPE and others)


def _recipe(
    number: int,
    recipe: RecipeTally,
    shown: Shown,
    vectors: Mapping[str, int],
    labels: Sequence[tuple[str, tuple[int, int, int]]],
) -> str:
    title = " + ".join(_linked(term, vectors) for term in recipe.terms) or _terms(recipe)
    note = f"{recipe.count:,} image{'' if recipe.count == 1 else 's'}"
    if len(shown.spread) < recipe.count:
        note += f", {len(shown.spread) or 'none'} of them shown"
    body = _key(labels) if shown.spread else "<p></p>"
    with_scales = any(isinstance(term.scale, str) for term in recipe.terms)
    for heading, samples in (
        ("", shown.spread),
        ("Most changed outside the region", shown.worst),
        ("Least changed outside the region", shown.best),
        ("Furthest from the wanted mask", shown.missed),
        ("Closest to the wanted mask", shown.met),
    ):
        if samples:
            figures = "".join(_figure(sample, with_scales=with_scales) for sample in samples)
            body += (
                f"<h3>{heading}</h3>" if heading else ""
            ) + f'<div class="grid">{figures}</div>'
    return card(f"recipe-{number}", title, body, note=note)


def _linked(term: ShownTerm, vectors: Mapping[str, int]) -> str:
    """A vector and its scale; the vector leads to what is known of it."""
    address = text(term.address)
    if term.address in vectors:
        address = f'<a href="#vector-{vectors[term.address]}">{address}</a>'
    return f"{address} × {text(scale_text(term))}"


def _key(labels: Sequence[tuple[str, tuple[int, int, int]]]) -> str:
    """What the four pictures are, and the colours of the parts."""
    chips = "".join(
        f'<span class="part"><i style="background:#{red:02x}{green:02x}{blue:02x}"></i>'
        f"{text(name)}</span>"
        for name, (red, green, blue) in labels
    )
    parts = f'<span class="parts">{chips}</span>' if chips else ""
    return f'<div class="legend"><b>input · edited · mask · changed pixels</b>{parts}</div>'


def _figure(sample: Sample, *, with_scales: bool) -> str:
    name = sample.source.replace("\\", "/").rpartition("/")[2]
    changed = sample.changed
    share = "" if changed is None else f"{changed.share:.1%} changed"
    pictures = (
        photograph(sample.before, "before", f"input {name}")
        + photograph(sample.after, "after", f"edited {name}")
        + exact_picture(sample.mask, "mask", f"mask of {name}")
        + photograph(
            None if changed is None else changed.picture, "changed", f"changed pixels of {name}"
        )
    )
    lines = []
    if with_scales:
        lines.append(", ".join(f"{_name(term)} × {_short_scale(term)}" for term in sample.terms))
    measured = [
        f"{metric_of(key).short} {number_text(sample.metrics[key])}"
        for key in in_order(sample.metrics)
        if not key.endswith("num_steps")
    ]
    lines += [*filter(None, [share]), *measured]
    caption = "".join(f'<span title="{text(line)}">{text(line)}</span>' for line in lines[:6])
    return (
        f'<figure><div class="row">{pictures}</div><figcaption>'
        f'<b title="{text(sample.source)}">{text(name)}</b>{caption}</figcaption></figure>'
    )


def _name(term: ShownTerm) -> str:
    """The vector without its class and version."""
    return term.address.rpartition("/")[2].partition("@")[0]


def _short_scale(term: ShownTerm) -> str:
    if isinstance(term.scale, str):
        return term.scale
    return number_text(term.scale).replace("-", "−")


def _terms(recipe: RecipeTally) -> str:
    """The recipe's vectors and scales in words, or its name where it has none; HTML."""
    if not recipe.terms:
        return text(recipe.name or "no edit")
    return " + ".join(
        f"{text(term.address.rpartition('/')[2])} × {text(scale_text(term))}"
        for term in recipe.terms
    )
