"""What a run added to the library, for people and as JSON; nothing for runs that write images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from editvec.batch.runs.entities import ItemRow, RunRecord
    from editvec.registry.library.library import Library

_SHOWN = {
    "learn": ("success_iou", "leakage_psnr", "reconstruction_psnr"),
    "evaluate": ("success_attribute", "success_iou", "leakage_psnr", "identity_similarity"),
}


def echo_results(library: Library, record: RunRecord) -> None:
    """Prints a table of the vectors, and why jobs failed."""
    if record.kind not in _SHOWN:
        return
    from editvec.batch.runs.store import Runs
    from editvec.registry.text_tables import format_table

    shown = _SHOWN[record.kind]
    rows, failures = [], []
    for item in Runs(library.engine).items(record.id, states=["done", "failed", "quarantined"]):
        if item.state == "done":
            values = item.metrics or {}
            measured = [f"{values[name]:.4g}" if name in values else "" for name in shown]
            rows.append([(item.result or {}).get("vector", ""), *measured, _last_cell(item)])
        else:
            failures.append(f"{item.state} {item.input.output_name}: {item.reason}")
    if rows:
        click.echo(
            format_table(["vector", *shown, "picture" if record.kind == "learn" else "range"], rows)
        )
    for line in failures:
        click.echo(line, err=True)


def _last_cell(item: ItemRow) -> str:
    """The picture that was learned from, or the usable range."""
    ends = (item.result or {}).get("scale_range")
    if ends is None:
        return item.input.source
    return "" if None in ends else f"{ends[0]:g} to {ends[1]:g}"


def results_json(library: Library, record: RunRecord) -> dict[str, Any]:
    """The vectors and the failures, for `--json`."""
    if record.kind not in _SHOWN:
        return {}
    from editvec.batch.reports.library_report import failure_row, result_row
    from editvec.batch.runs.store import Runs

    runs = Runs(library.engine)
    return {
        "vectors": [result_row(item) for item in runs.items(record.id, states=["done"])],
        "failures": [
            failure_row(item) for item in runs.items(record.id, states=["failed", "quarantined"])
        ],
    }
