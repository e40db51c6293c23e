"""The command `worker`: one Celery worker for one device."""

from __future__ import annotations

import sys
from typing import Any

import click

from editvec.batch.cli.options import DEVICE
from editvec.registry.cli.completion import complete_class


@click.command()
@click.option(
    "--class",
    "class_name",
    metavar="CLASS",
    required=True,
    shell_complete=complete_class,
    help="Class model to serve.",
)
@DEVICE
@click.option(
    "--log-level",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"]),
    default="INFO",
    show_default=True,
)
@click.pass_obj
def worker(obj: dict[str, Any], /, *, class_name: str, device: str | None, log_level: str) -> None:
    """Serve the runs of one class on one device, until stopped.

    Messages come from EDITVEC_BROKER_URL: redis://, amqp://, or by default a folder in the home
    folder, for workers of this machine. Use the same library as the commands that start runs
    (EDITVEC_DATABASE_URL, EDITVEC_BLOB_URL). The folders of the runs must have the same paths here.
    Start one worker for each device.

    At TERM or Ctrl-C the worker finishes the images in work, and gives the rest of their chunk back
    to other workers. At a second one it gives back the images in work, too.

    \b
    editvec worker --class avatars --device cuda:0
    """  # noqa: D301 (click reads the backspace)
    from editvec.batch.recipes.settings import broker_url
    from editvec.batch.workers.worker import run_worker
    from editvec.registry.config import RegistryConfig

    config = RegistryConfig.from_environment(obj["home"])
    exit_status = run_worker(
        config,
        broker_url=broker_url(config.home),
        class_name=class_name,
        device=device,
        log_level=log_level,
    )
    sys.exit(exit_status)
