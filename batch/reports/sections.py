"""The sections of the report page that hold numbers: measures, attributes, reasons, workers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from editvec.batch.reports.charts import ChartRow, chart, share_bar
from editvec.batch.reports.contact_sheet import number_text
from editvec.batch.reports.html import card, photograph, table, text
from editvec.batch.reports.metrics import bound_of, in_order, metric_of
from editvec.batch.reports.pictures import Sample
from editvec.batch.reports.tally import AttributeTally, ReasonTally, RunTally

MAX_CHARTS = 10
MAX_REASONS = 20
MAX_COMBINATIONS = 32
_MANIFESTS = {"rejected": "rejected.jsonl"}


class Reason(NamedTuple):
    """Why items gave no image, with some of them."""

    tally: ReasonTally
    examples: Sequence[Sample]
    words: Sequence[str]


def measures(tally: RunTally, names: Mapping[str, str], settings: Mapping[str, Any]) -> str:
    """A chart of every metric.

    Args:
        tally: of the run.
        names: the recipes by their names, as HTML.
        settings: of the run, for the gates.
    """
    recipes = [recipe for recipe in tally.recipes.values() if recipe.metrics]
    found = in_order(name for recipe in recipes for name in recipe.metrics)
    charts = []
    for name in found:
        metric = metric_of(name)
        rows = [
            ChartRow(
                names.get(recipe.name, "") if len(recipes) > 1 else "images", recipe.metrics[name]
            )
            for recipe in recipes
            if name in recipe.metrics
        ]
        if metric.is_of_input:
            rows = [ChartRow("inputs", max(rows, key=lambda row: row.numbers.count).numbers)]
        # a number of steps is worth a picture only where images stopped early
        if name.endswith("num_steps") and all(row.numbers.is_constant for row in rows):
            continue
        bound = bound_of(name, settings)
        charts.append(chart(metric.title, rows, bound=bound, hint=metric.hint))
    more = len(charts) - MAX_CHARTS
    note = "of images and of rejected items" if tally.state("rejected") else ""
    if more > 0:
        note += f" {more} further metrics are in metadata.jsonl"
    body = f'<div class="charts">{"".join(charts[:MAX_CHARTS])}</div>' if charts else ""
    return card("measures", "Measures", body, note=note)


def attributes(tally: RunTally) -> str:
    """How often each attribute has which scale, and which attributes come together."""
    parts = [
        _attribute(name, attribute)
        for name, attribute in tally.attributes.items()
        if not attribute.spread.is_constant
    ]
    body = f'<div class="charts">{"".join(parts)}</div>' if parts else ""
    if len(tally.combinations) > 1 and len(tally.attributes) > 1:
        body += _combinations(tally)
    return card("attributes", "Attributes", body, note="scales of the images made")


def _attribute(name: str, attribute: AttributeTally) -> str:
    if not attribute.is_listed:
        return chart(name, [ChartRow("images", attribute.spread)])
    most = max(attribute.scales.values())
    total = attribute.spread.count
    rows = [
        [
            number_text(scale).replace("-", "−"),
            share_bar(count, most),
            f"{count:,}",
            f"{count / total:.1%}",
        ]
        for scale, count in sorted(attribute.scales.items())
    ]
    made = table(["scale", "", "images", "share"], rows, numbers=(0, 2, 3))
    return f'<div class="chart counts"><h3>{text(name)}</h3>{made}</div>'


def _combinations(tally: RunTally) -> str:
    """Counts of each set of attributes that are on."""
    names = list(tally.attributes)
    total = sum(tally.combinations.values())
    most = max(tally.combinations.values())
    rows = [
        [
            *(
                '<span class="on">on</span>' if name in on else '<span class="off">off</span>'
                for name in names
            ),
            share_bar(count, most),
            f"{count:,}",
            f"{count / total:.1%}",
        ]
        for on, count in tally.combinations.most_common(MAX_COMBINATIONS)
    ]
    more = len(tally.combinations) - len(rows)
    note = f'<p class="note">and {more:,} more combinations</p>' if more > 0 else ""
    head = [*map(text, names), "", "images", "share"]
    made = table(head, rows, numbers=(len(names) + 1, len(names) + 2))
    return f"<h3>Combinations</h3>{made}{note}"


def leftovers(tally: RunTally, reasons: Sequence[Reason]) -> str:
    """Items that gave no image: counts by reason, and examples."""
    everything = tally.reasons()
    if not everything:
        return ""
    most = everything[0].count
    rows = [
        [
            f'<span class="state {text(reason.tally.state)}">{text(reason.tally.state)}</span>',
            text(reason.tally.reason),
            share_bar(reason.tally.count, most),
            f"{reason.tally.count:,}",
        ]
        for reason in reasons
    ]
    more = everything[len(reasons) :]
    note = ""
    if more:
        items = sum(one.count for one in more)
        note = f'<p class="note">and {items:,} more items for {len(more):,} other reasons</p>'
    files = sorted({_MANIFESTS.get(one.state, "failed.jsonl") for one in everything})
    shown = "".join(_examples(reason) for reason in reasons)
    total = sum(one.count for one in everything)
    return card(
        "leftovers",
        f'Rejected and failed <span class="count">{total:,}</span>',
        table(["state", "reason", "", "items"], rows, numbers=(3,)) + note + shown,
        note=f"a number in a reason is #; in the end every item is in {' and '.join(files)}",
    )


def _examples(reason: Reason) -> str:
    """Some of the inputs: pictures of those that can be read, the names of the others."""
    figures, names = [], []
    for sample, words in zip(reason.examples, reason.words, strict=True):
        source = text(sample.source)
        name = text(sample.source.replace("\\", "/").rpartition("/")[2])
        if sample.before is None:
            names.append(f"<code>{source}</code>")
            continue
        figures.append(
            f'<figure class="example">'
            f"{photograph(sample.before, 'before', f'input {sample.source}')}"
            f'<figcaption><b title="{source}">{name}</b><span>{text(words)}</span></figcaption>'
            "</figure>"
        )
    body = f'<div class="examples">{"".join(figures)}</div>' if figures else ""
    if names:
        body += f'<p class="note">{", ".join(names)}</p>'
    title = f"{reason.tally.state}: {reason.tally.reason}"
    return f"<h3>{text(title)}</h3>{body}" if body else ""


def workers(found: Sequence[Mapping[str, Any]]) -> str:
    """Who did how much, where several worked."""
    if len(found) < 2:
        return ""
    most = max(int(one["inputs_done"]) for one in found)
    rows = [
        [
            text(one["name"]),
            share_bar(int(one["inputs_done"]), most),
            f"{one['inputs_done']:,}",
            f"{one['chunks_done']:,}",
            "–" if one["chunk"] is None else f"{one['chunk']:,}",
        ]
        for one in found
    ]
    head = ["worker", "", "inputs done", "chunks done", "holds chunk"]
    return card("workers", "Workers", table(head, rows, numbers=(2, 3, 4)))


def record(run: Mapping[str, Any]) -> str:
    """The run's own record, line by line."""
    if not run:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{text(name)}</th><td>{text(value)}</td></tr>'
        for name, value in _flat(run)
    )
    return (
        '<section class="card" id="settings"><details><summary><h2>Settings and provenance</h2>'
        '</summary><div class="scroll" tabindex="0">'
        f'<table class="facts"><tbody>{rows}</tbody></table></div></details></section>'
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
