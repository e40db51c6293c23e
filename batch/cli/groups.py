"""The groups `batch` and `train`, with their commands."""

from __future__ import annotations

import click

from editvec.batch.cli.run import generate, resume, retry, run
from editvec.batch.cli.runs import audit, cancel, list_runs, report, status
from editvec.batch.cli.train.commands import train
from editvec.batch.cli.train.encoder import train_encoder
from editvec.batch.cli.train.generator import train_generator
from editvec.batch.cli.train.segmentation import train_segmentation

__all__ = ["batch", "train"]


@click.group()
def batch() -> None:
    """Apply editing vectors to folders, or to sampled images.

    RUN is the output folder of a run, or its id or the first letters of that, as `batch list`
    shows them.
    """


for _command in (run, generate, list_runs, status, resume, retry, cancel, report, audit):
    batch.add_command(_command)

for _command in (train_encoder, train_generator, train_segmentation):
    train.add_command(_command)
