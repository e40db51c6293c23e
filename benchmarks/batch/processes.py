"""Processes that a benchmark of runs starts: commands with their peak memory, workers, a Redis."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
# The kernel keeps the peak of a process's memory; what `wait4` tells may be that of its parent.
_COMMAND = """
import sys
import editvec.cli
status = editvec.cli.main(sys.argv[2:])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
open(sys.argv[1], "w").write(peak.split()[1])
sys.exit(status)
"""


class Ended(NamedTuple):
    """A command that ended.

    Attributes:
        seconds: from its start to its end.
        peak_mib: the most memory that it held.
        output: what it printed.
        status: its exit status.
    """

    seconds: float
    peak_mib: float
    output: str
    status: int


def environment(broker: str | None = None, **more: str) -> dict[str, str]:
    """The environment of every process: one thread of torch, nothing of who measures."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EDITVEC_")}
    kept |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(ROOT), **more}
    return kept if broker is None else kept | {"EDITVEC_BROKER_URL": broker}


def command(
    home: Path, *words: object, broker: str | None = None, allowed: tuple[int, ...] = (0,)
) -> Ended:
    """Runs a command of `editvec` to its end.

    Raises:
        SystemExit: it ended with a status that is not allowed.
    """
    note = home.with_name(f"{home.name}.peak")
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND, note, "--home", home, *map(str, words)],
        env=environment(broker),
        cwd=home,
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - started
    if done.returncode not in allowed:
        raise SystemExit(f"{' '.join(map(str, words))} ended with {done.returncode}: {done.stderr}")
    return Ended(seconds, int(note.read_text()) / 1024, done.stdout, done.returncode)


def module(name: str, *words: object) -> dict[str, Any]:
    """Runs a module that prints JSON."""
    done = subprocess.run(
        [sys.executable, "-m", name, *map(str, words)],
        env=environment(),
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def peak_mib(pid: int) -> float:
    """The most memory that a living process held."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


@contextmanager
def workers(home: Path, count: int, broker: str | None) -> Iterator[None]:
    """Workers of class `avatars` on the CPU, ended in order."""
    words = ["--home", str(home), "worker", "--class", "avatars", "--device", "cpu"]
    with ExitStack() as stack:
        for number in range(count):
            log = stack.enter_context(home.with_name(f"{home.name}-{number}.log").open("w"))
            process = subprocess.Popen(
                [sys.executable, "-m", "editvec", *words],
                env=environment(broker),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            stack.callback(_end, process)
        yield


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """The URL of a Redis of our own, which keeps nothing on the disk.

    Raises:
        SystemExit: no Redis is installed.
    """
    binary = shutil.which("redis-server")
    if binary is None:
        raise SystemExit("redis-server is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder.mkdir()
    words = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen([binary, *words], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}"
    finally:
        _end(process)


def spread(values: list[float]) -> Mapping[str, float]:
    """The median of repetitions, with the least and the greatest."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else sum(ordered[middle - 1 : middle + 1]) / 2
    return {"median": median, "min": ordered[0], "max": ordered[-1]}


def _end(process: subprocess.Popen[Any]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
