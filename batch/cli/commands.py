"""The commands `batch` and `worker`, and the list of this package's commands."""

from __future__ import annotations

import click

from editvec.batch.cli.demo import demo
from editvec.batch.cli.discover import discover
from editvec.batch.cli.disentangle import disentangle
from editvec.batch.cli.doctor import doctor
from editvec.batch.cli.embed import embed
from editvec.batch.cli.evaluate import evaluate
from editvec.batch.cli.learn import learn
from editvec.batch.cli.model.importing import add_model, import_members, import_model
from editvec.batch.cli.model.quality import compare_models, sample_model, verify_models
from editvec.batch.cli.preview import preview
from editvec.batch.cli.run import generate, resume, retry, run
from editvec.batch.cli.runs import audit, cancel, list_runs, report, status
from editvec.batch.cli.train.commands import train
from editvec.batch.cli.train.encoder import train_encoder
from editvec.batch.cli.train.generator import train_generator
from editvec.batch.cli.train.segmentation import train_segmentation
from editvec.batch.cli.worker import worker


@click.group()
def batch() -> None:
    """Apply editing vectors to folders, or to sampled images.

    RUN is the output folder of a run, or its id or the first letters of that, as `batch list`
    shows them.
    """


for _command in (run, generate, list_runs, status, resume, retry, cancel, report, audit):
    batch.add_command(_command)

train.add_command(train_encoder)
train.add_command(train_generator)
train.add_command(train_segmentation)

COMMANDS: list[click.Command] = [
    batch, learn, discover, evaluate, disentangle, train, embed, worker, demo, doctor
]  # fmt: skip
ATTACHED: dict[str, list[click.Command]] = {
    "registry": [preview],
    "model": [
        add_model,
        import_model,
        import_members,
        sample_model,
        compare_models,
        verify_models,
    ],
}
"""Commands that need networks and belong to the groups of other packages, by the group's name."""
