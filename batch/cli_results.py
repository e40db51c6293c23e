"""What a run added to the library, for people and as JSON; nothing for runs that write images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from batch.entities import RunRecord
    from registry.store import Library

_SHOWN = ("success_iou", "leakage_psnr", "reconstruction_psnr")
_LISTED = "learn"


def echo_results(library: Library, record: RunRecord) -> None:
    """Prints a table of the learned vectors, and why jobs failed."""
    if record.kind != _LISTED:
        return
    from batch.runs import Runs
    from registry.tables import format_table

    rows, failures = [], []
    for item in Runs(library.engine).items(record.id, states=["done", "failed", "quarantined"]):
        if item.state == "done":
            values = item.metrics or {}
            measured = [f"{values[name]:.4g}" if name in values else "" for name in _SHOWN]
            rows.append([(item.result or {}).get("vector", ""), *measured, item.input.source])
        else:
            failures.append(f"{item.state} {item.input.output_name}: {item.reason}")
    if rows:
        click.echo(format_table(["vector", *_SHOWN, "picture"], rows))
    for line in failures:
        click.echo(line, err=True)


def results_json(library: Library, record: RunRecord) -> dict[str, Any]:
    """The learned vectors and the failures, for `--json`."""
    if record.kind != _LISTED:
        return {}
    from batch.runs import Runs
    from batch.work_report import failure_row, result_row

    runs = Runs(library.engine)
    return {
        "vectors": [result_row(item) for item in runs.items(record.id, states=["done"])],
        "failures": [
            failure_row(item) for item in runs.items(record.id, states=["failed", "quarantined"])
        ],
    }
