"""The commands and workers that tests start as processes of their own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.places import ROOT


def environment(broker: str | None = None, database: str | None = None) -> dict[str, str]:
    """The environment of a process; None means the embedded default."""
    chosen = {"EDITVEC_BROKER_URL": broker, "EDITVEC_DATABASE_URL": database}
    given = {name: value for name, value in chosen.items() if value is not None}
    return {**os.environ, "OMP_NUM_THREADS": "1", **given}


def start(
    home: Path,
    *words: object,
    broker: str | None = None,
    database: str | None = None,
    program: str | None = None,
) -> subprocess.Popen[str]:
    """Starts a command of `editvec`, or of a program that changes it, which is given as text."""
    return subprocess.Popen(
        [*_editvec(program), "--home", str(home), *map(str, words)],
        cwd=ROOT,
        env=environment(broker, database),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # whoever started the tests may ignore interrupts (nohup does), and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def start_worker(
    home: Path,
    broker: str | None = None,
    *,
    database: str | None = None,
    program: str | None = None,
) -> subprocess.Popen[str]:
    """Starts a worker of class `tiny` on the CPU; it writes to HOME/worker.log."""
    with (home / "worker.log").open("a") as log:
        return subprocess.Popen(
            [
                *(*_editvec(program), "--home", str(home)),
                *("worker", "--class", "tiny", "--device", "cpu"),
            ],
            cwd=ROOT,
            env=environment(broker, database),
            text=True,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def end_worker(process: subprocess.Popen[str]) -> None:
    """Ends a worker in order; at once if that takes long."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def worker(
    home: Path,
    broker: str | None = None,
    *,
    database: str | None = None,
    program: str | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """A worker as `start_worker` makes it, ended in order."""
    process = start_worker(home, broker, database=database, program=program)
    try:
        yield process
    finally:
        end_worker(process)


def children_of(pid: int) -> list[int]:
    """The processes that a process started and that live."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in listed.split()]


def _editvec(program: str | None) -> list[str]:
    return [sys.executable, *(["-m", "editvec"] if program is None else ["-c", program])]
