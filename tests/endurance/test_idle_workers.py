"""kill -9 of a child that waits for work: the next child gets it."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.worker_processes import children_of, start, worker

BROKERS = [
    "folder",
    pytest.param("redis", marks=[pytest.mark.services, pytest.mark.slow]),
    pytest.param("rabbitmq", marks=[pytest.mark.services, pytest.mark.slow]),
]


@pytest.mark.parametrize("broker", BROKERS, indirect=True)
def test_an_idle_child_that_is_killed_is_replaced_by_one_that_works(
    home: Path, make_pictures: Callable[..., Path], tmp_path: Path, broker: str
) -> None:
    words = ("batch", "run", make_pictures(1), "--workers", "celery", "--edit", "smile=1")

    with worker(home, broker) as process:
        for name in ("before", "after"):
            command = start(home, *words[:3], tmp_path / name, *words[3:], broker=broker)
            _, errors = command.communicate(timeout=240)
            assert command.returncode == 0, errors + (home / "worker.log").read_text()
            for child in children_of(process.pid):
                os.kill(child, signal.SIGKILL)
