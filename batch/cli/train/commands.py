"""The group `train`, and what its commands share: options, the line of progress."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from editvec.batch.cli.options import DEVICE, options
from editvec.batch.cli.output import JSON, duration, note, renew_line
from editvec.batch.cli.settings import setting_option
from editvec.batch.training.requests import TrainingRequest

if TYPE_CHECKING:
    from editvec.batch.quality.photographs import Photographs
    from editvec.engine.training.loop import TrainingProgress

_COMMAND = TypeVar("_COMMAND", bound=Callable[..., Any])

_TERMINAL_SECONDS = 0.2
_LOG_SECONDS = 10.0
_LISTED = 20
_READ_SHOWN = 1000

CLASS = click.option(
    "--class",
    "class_name",
    metavar="CLASS",
    required=True,
    help="Class to train; the result is a new version of it.",
)
WORK = click.option(
    "--work",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder of this training's state, log and samples. [default: in the home folder]",
)
FIT = setting_option(TrainingRequest, "fit")
TRAINING = options(
    setting_option(TrainingRequest, "seed"),
    DEVICE,
    JSON,
)
"""Options of every training, after its own; `--work` apart."""


@click.group()
def train() -> None:
    """Train the networks of a class; after a kill, the same command goes on."""


@contextlib.contextmanager
def progress_line(title: str) -> Iterator[Callable[[TrainingProgress], None]]:
    """Shows progress on stderr: one line that moves on a terminal, a line now and then elsewhere.

    Args:
        title: What is trained.
    """
    moves = sys.stderr.isatty()
    shown_at = 0.0 if moves else time.monotonic()
    values: dict[str, float] = {}

    def show(progress: TrainingProgress) -> None:
        nonlocal shown_at
        values.update((k, v) for k, v in progress.metrics.items() if isinstance(v, float))
        is_last = progress.step == progress.num_steps
        now = time.monotonic()
        if not is_last and now - shown_at < (_TERMINAL_SECONDS if moves else _LOG_SECONDS):
            return
        shown_at = now
        parts = [f"{title}: step {progress.step}/{progress.num_steps}"]
        if progress.seconds_left is not None and not is_last:
            parts.append(f"{duration(progress.seconds_left)} left")
        line = ", ".join(parts + [f"{name} {value:.4g}" for name, value in values.items()])
        if moves:
            renew_line(line)
        else:
            note(line)

    try:
        yield show
    except KeyboardInterrupt:
        note(f"{title}: stopped; the same command goes on")
        raise
    finally:
        if moves:
            click.echo(err=True)


def show_read(done: int, count: int) -> None:
    """How many photographs are read, now and then."""
    if done % _READ_SHOWN == 0 or (done == count and count > _READ_SHOWN):
        note(f"read {done}/{count} photographs")


def show_photographs(photographs: Photographs) -> None:
    """What the folder holds, and what of it cannot be used."""
    for name, reason in photographs.skipped[:_LISTED]:
        note(f"skipped {name}: {reason}")
    if len(photographs.skipped) > _LISTED:
        note(f"skipped {len(photographs.skipped) - _LISTED} more")
    text = f"{len(photographs.names)} photographs"
    if photographs.skipped:
        text += f", {len(photographs.skipped)} skipped"
    if photographs.other_files:
        text += f", {photographs.other_files} files that are no images left out"
    note(text)
