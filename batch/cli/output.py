"""What the commands about runs print: results on stdout, progress and notes on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

if TYPE_CHECKING:
    from editvec.batch.execution.local import Progress
    from editvec.batch.runs.entities import ItemRow, RunCounts, RunRecord
    from editvec.batch.runs.planning import OpenedRun
    from editvec.batch.runs.progress import RunStatus
    from editvec.registry.config import RegistryConfig
    from editvec.registry.library.library import Library


JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

_TERMINAL_SECONDS = 0.2
_LOG_SECONDS = 10.0


class ProgressLine:
    """Shows progress with rate and time left."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._shown_at = 0.0 if self._is_terminal else time.monotonic()
        self._is_open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_open:
            click.echo(err=True)

    def show(self, progress: Progress) -> None:
        """Shows the progress if it is time to."""
        interval = _TERMINAL_SECONDS if self._is_terminal else _LOG_SECONDS
        is_last = self._is_terminal and progress.finished == progress.total
        if not is_last and time.monotonic() - self._shown_at < interval:
            return
        self._shown_at = time.monotonic()
        text = describe(progress)
        if self._is_terminal:
            renew_line(text)
            self._is_open = True
        else:
            click.echo(text, err=True)


def describe(progress: Progress | RunStatus) -> str:
    """``120/480 items (25%), 35.1 items/s, 10 s left``."""
    share = progress.finished / progress.total if progress.total else 1.0
    parts = [f"{progress.finished}/{progress.total} items ({share:.0%})"]
    if progress.seconds_left is not None:
        parts.append(f"{progress.rate:.3g} items/s")
        parts.append(f"{duration(progress.seconds_left)} left")
    return ", ".join(parts)


def stage_progress(title: str) -> Callable[[str, int, int], None]:
    """Shows stages on stderr: one line that moves on a terminal, a line now and then elsewhere."""
    moves = sys.stderr.isatty()
    shown_at = time.monotonic()

    def show(stage: str, done: int, total: int) -> None:
        nonlocal shown_at
        is_last = moves and done >= total
        now = time.monotonic()
        if not is_last and now - shown_at < (_TERMINAL_SECONDS if moves else _LOG_SECONDS):
            return
        shown_at = now
        line = f"{title}: {stage} {done}/{total}"
        if moves:
            renew_line("" if is_last else line)
        else:
            click.echo(line, err=True)

    return show


def renew_line(text: str) -> None:
    """Shows a text in place of the line that the terminal stands in."""
    from editvec.printing import Control, one_line

    click.echo(Control("\r\x1b[K"), nl=False, err=True)
    click.echo(one_line(text), nl=False, err=True)


def note(text: str) -> None:
    """Tells the user something beside the result, on one line whatever names are in it."""
    from editvec.printing import one_line

    click.echo(one_line(text), err=True)


def duration(seconds: float) -> str:
    """``2 h 5 min``, ``3 min 10 s``, ``12 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def open_library(ctx: click.Context) -> tuple[RegistryConfig, Library]:
    """The library that the command line names, and where it is."""
    from editvec.registry.config import RegistryConfig
    from editvec.registry.library.library import Library

    config = RegistryConfig.from_environment(ctx.obj["home"])
    return config, Library.open(config)


def tell_opened(opened: OpenedRun) -> None:
    """Tells what its user should know of a run before it goes on."""
    for text in opened.notes:
        note(text)
    if not opened.is_new:
        verb = "nothing to do for" if opened.run.is_finished else "continuing"
        note(f"{verb} run {opened.run.id[:8]} of {opened.run.created_at:%Y-%m-%d %H:%M}")


def summary(record: RunRecord, counts: RunCounts) -> str:
    """One line about a run."""
    states = {name: count for name, count in counts.to_json().items() if count and name != "total"}
    return f"run {record.id[:8]} {record.state}: {counts.total} items, {listed(states)}"


def listed(counts: dict[str, int]) -> str:
    """Counts as a list of words."""
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none decided"


def run_json(record: RunRecord, counts: RunCounts) -> dict[str, Any]:
    """What every `--json` says about a run."""
    return {
        "run_id": record.id,
        "kind": record.kind,
        "state": record.state,
        "reason": record.reason,
        "priority": record.priority.value,
        "class": record.plan.class_address,
        "recipes": [recipe.name for recipe in record.plan.recipes],
        "input_folder": _text(record.plan.input_folder),
        "output_folder": _text(record.plan.output_folder),
        "counts": {"inputs": record.input_count, **counts.to_json()},
        "created_at": record.created_at.isoformat(),
        "started_at": record.started_at and record.started_at.isoformat(),
        "finished_at": record.finished_at and record.finished_at.isoformat(),
    }


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path).encode("utf-8", "backslashreplace").decode()


# --- what a run added to the library; nothing for runs that write images ---

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
        note(line)


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
    from editvec.batch.runs.store import Runs
    from editvec.batch.sinks.manifests import failure_row, result_row

    runs = Runs(library.engine)
    return {
        "vectors": [result_row(item) for item in runs.items(record.id, states=["done"])],
        "failures": [
            failure_row(item) for item in runs.items(record.id, states=["failed", "quarantined"])
        ],
    }
