"""Workers that are told to stop: what is in work is finished or given back, and nothing is lost."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import pytest

from editvec.batch.chunks.processor import give_back
from editvec.batch.chunks.stopping import StopRequest, undisturbed
from editvec.batch.errors import WorkerStoppingError
from editvec.batch.recipes.settings import MINI_BATCH
from editvec.batch.reports.audit import audit
from editvec.batch.runs.entities import RunCounts
from editvec.batch.runs.leases import ItemResult, Lease, Leases
from editvec.batch.runs.store import Runs
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from tests.support.worker_processes import children_of, start, worker

MakePictures = Callable[..., Path]
RECIPES = 4


def detached(home: Path, source: Path, out: Path) -> None:
    """Plans a run of one chunk of several mini-batches, and leaves it to the workers."""
    words = ("batch", "run", source, out, "--edit", f"smile=0:1:{RECIPES}", "--chunk-size", "64")
    planned = start(home, *words, "--workers", "celery", "--detach")
    _, errors = planned.communicate(timeout=120)
    assert planned.returncode == 0, errors


def wait_for_an_image(out: Path) -> None:
    deadline = time.monotonic() + 120
    while not list(out.glob("images/*/*.png")):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def state_of(home: Path) -> tuple[dict[str, int], RunCounts]:
    with Library.open(RegistryConfig.for_home(home)) as library:
        runs = Runs(library.engine)
        (run,) = runs.latest()
        return runs.chunk_states(run.id), runs.counts(run.id)


def test_a_worker_that_is_told_to_stop_finishes_the_mini_batch_and_gives_the_rest_back(
    home: Path, make_pictures: MakePictures, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    detached(home, make_pictures(64), out)

    with worker(home) as parent:
        wait_for_an_image(out)
        parent.send_signal(signal.SIGTERM)
        parent.wait(timeout=60)

    log = (home / "worker.log").read_text()
    chunks, counts = state_of(home)
    assert parent.returncode == 0, log
    assert "given back, to stop" in log
    assert chunks.keys() == {"pending"}  # a slow machine cuts the chunk
    assert counts.done > 0
    assert counts.done % (RECIPES * MINI_BATCH) == 0, "whole mini-batches"
    assert counts.done < counts.total


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["parent", "both"])
def test_a_worker_that_is_told_twice_stops_at_once_and_gives_back_what_is_in_work(
    home: Path, make_pictures: MakePictures, tmp_path: Path, whom: str
) -> None:
    out = tmp_path / "out"
    words = ("--edit", "smile=0:1:100", "--workers", "celery", "--detach")
    planned = start(home, "batch", "run", make_pictures(32), out, *words)
    assert finished(planned) == 0

    with worker(home) as parent:
        wait_for_an_image(out)
        children = children_of(parent.pid) if whom == "both" else []
        for _ in range(2):
            for pid in (parent.pid, *children):
                os.kill(pid, signal.SIGTERM)
            time.sleep(1.5)
        parent.wait(timeout=60)

    chunks, counts = state_of(home)
    assert parent.returncode == 0
    assert chunks.keys() == {"pending"}  # a slow machine cuts the chunk
    assert 0 < counts.done < MINI_BATCH * 100, "less than a mini-batch"

    with worker(home):
        watching = start(home, "batch", "status", run_id(home), "--watch", "--interval", "0.2")
        assert finished(watching) == 0
    with Library.open(RegistryConfig.for_home(home)) as library:
        (run,) = Runs(library.engine).latest()
        assert Runs(library.engine).counts(run.id).done == 32 * 100
        assert audit(library, run).problems == []


@pytest.mark.slow
def test_an_idle_worker_ends_with_status_0_and_a_log_of_what_matters(home: Path) -> None:
    with worker(home) as parent:
        wait_for_line(home, "Connected to")
        parent.send_signal(signal.SIGINT)
        parent.wait(timeout=60)

    lines = (home / "worker.log").read_text().splitlines()
    assert parent.returncode == 0
    assert [line.split(maxsplit=3)[3].split()[0] for line in lines] == [
        "serving",
        "Connected",
        "stopped",
    ]


def test_a_request_made_twice_within_a_second_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGALRM)
    request = StopRequest()
    try:
        request.listen()
        assert not request.is_made
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert request.is_made
        moment = time.monotonic() + 5
        monkeypatch.setattr(time, "monotonic", lambda: moment)
        with pytest.raises(SystemExit):
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGALRM, before[1])


def test_what_is_undisturbed_ends_before_the_process_does(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGALRM)
    request, steps = StopRequest(), []

    def work() -> None:
        with undisturbed():
            with undisturbed():
                signal.raise_signal(signal.SIGALRM)
                steps.append("within")
            steps.append("after")

    try:
        request.listen()
        with pytest.raises(SystemExit):
            work()
        assert steps == ["within", "after"]
        with undisturbed():
            steps.append("once more")  # told once, it raises once
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGALRM, before[1])


class Interrupted:
    """Leases that a second request to stop reaches while they give back."""

    def __init__(self) -> None:
        self.given_back = False

    def give_back(self, lease: Lease, items: Sequence[ItemResult]) -> None:
        signal.raise_signal(signal.SIGALRM)
        self.given_back = True


def test_a_chunk_is_given_back_even_when_told_to_stop_while_doing_so(home: Path) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGALRM)
    leases = Interrupted()
    lease = Lease(
        run_id="run", chunk_id=1, chunk_position=0, first_input=0, input_count=1, token="token"
    )
    with Library.open(RegistryConfig.for_home(home)) as library:
        try:
            StopRequest().listen()
            stopping = WorkerStoppingError("given back, to stop")
            with pytest.raises(SystemExit):
                give_back(
                    cast(Leases, leases), Runs(library.engine), lease, stopping, take_items=list
                )
        finally:
            signal.signal(signal.SIGTERM, before[0])
            signal.signal(signal.SIGALRM, before[1])
    assert leases.given_back


def run_id(home: Path) -> str:
    with Library.open(RegistryConfig.for_home(home)) as library:
        (run,) = Runs(library.engine).latest()
        return run.id


def finished(process: subprocess.Popen[str]) -> int:
    process.communicate(timeout=240)
    return process.returncode


def wait_for_line(home: Path, text: str) -> None:
    deadline = time.monotonic() + 60
    while text not in (home / "worker.log").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
