"""Processes that end at any moment: what is left is whole, and the same command continues."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from editvec.batch.execution.local import run_locally
from editvec.batch.recipes.pinning import parse_edit
from editvec.batch.recipes.settings import RunSettings
from editvec.batch.reports.audit import audit
from editvec.batch.runs.planning import RunRequest, open_run
from editvec.batch.runs.store import Runs
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from tests.support.places import ROOT


def command(home: Path, source: Path, target: Path) -> list[str]:
    words = f"batch run {source} {target} --class tiny --edit smile=0:1:2 --chunk-size 4".split()
    return [sys.executable, "-m", "editvec", "--home", str(home), *words]


def start(arguments: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*arguments, "--batch-size", "2", "--device", "cpu"],
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def images_in(target: Path) -> int:
    return sum(1 for path in target.glob("images/*/*.png"))


def keys(target: Path) -> dict[str, Any]:
    lines = (target / "metadata.jsonl").read_text().splitlines()
    return {row["file_name"]: row["content_key"] for row in map(json.loads, lines)}


def test_a_killed_run_continues_with_the_same_command(
    home: Path, make_pictures: Callable[..., Path], tmp_path: Path
) -> None:
    source, target = make_pictures(24), tmp_path / "out"
    arguments = command(home, source, target)

    for wanted in (1, 14):
        process = start(arguments)
        wait_until(lambda wanted=wanted: images_in(target) >= wanted, process)  # type: ignore[misc]
        process.kill()
        process.communicate()
        for path in target.glob("images/*/*.png"):
            assert path.read_bytes().endswith(b"IEND\xaeB`\x82")
    with Library.open(RegistryConfig.for_home(home)) as library:
        finished_before = Runs(library.engine).counts(Runs(library.engine).latest()[0].id).finished
    untouched = {
        path: path.stat().st_mtime_ns
        for path in list(target.glob("images/*/*.png"))
        if finished_before
    }
    process = start(arguments)
    _, progress = process.communicate(timeout=120)

    assert process.returncode == 0, progress
    assert "continuing run" in progress
    with Library.open(RegistryConfig.for_home(home)) as library:
        (run,) = Runs(library.engine).latest()
        assert Runs(library.engine).counts(run.id).done == 48
        assert audit(library, run).problems == []
    again = sum(path.stat().st_mtime_ns != at for path, at in untouched.items())
    assert again <= len(untouched) - finished_before, "what was recorded is not done twice"
    assert list(target.glob(".editvec/*/tmp")) == []

    undisturbed = RunRequest(
        class_name="tiny",
        input_folder=source,
        output_folder=tmp_path / "other",
        edits=[parse_edit("smile=0:1:2")],
        settings=RunSettings(),
    )
    with Library.open(RegistryConfig.for_home(home)) as library:
        run_locally(library, open_run(library, undisturbed).run)
    assert keys(target) == keys(tmp_path / "other")


@pytest.mark.parametrize(
    ("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_an_interrupted_run_gives_its_lease_back(
    home: Path,
    make_pictures: Callable[..., Path],
    tmp_path: Path,
    sent: signal.Signals,
    status: int,
) -> None:
    source, target = make_pictures(24), tmp_path / "out"
    process = start(command(home, source, target))
    wait_until(lambda: images_in(target) >= 4, process)

    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == status
    assert "Traceback" not in errors
    with Library.open(RegistryConfig.for_home(home)) as library:
        (run,) = Runs(library.engine).latest()
        assert "leased" not in Runs(library.engine).chunk_states(run.id)
        counts = Runs(library.engine).counts(run.id)
        assert 0 < counts.done < counts.total


@pytest.mark.parametrize("pause", [0.05, pytest.param(0.6, marks=pytest.mark.slow)])
def test_an_impatient_interrupt_ends_at_once_and_the_same_command_goes_on(
    home: Path, make_pictures: Callable[..., Path], tmp_path: Path, pause: float
) -> None:
    source, target = make_pictures(24), tmp_path / "out"
    process = start(command(home, source, target))
    wait_until(lambda: images_in(target) >= 4, process)

    for _ in range(3):
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        time.sleep(pause)
    output, errors = process.communicate(timeout=60)

    assert process.returncode in (130, -signal.SIGINT), errors
    assert "Traceback" not in output + errors
    with Library.open(RegistryConfig.for_home(home)) as library:
        (run,) = Runs(library.engine).latest()
        # the end of the lease may have been interrupted too: its holder is seen to be gone
        assert audit(library, run).problems == []
        run = run_locally(library, run)
        assert (run.state, Runs(library.engine).counts(run.id).done) == ("completed", 48)
        assert audit(library, run).problems == []


POISONED = """
import os, signal, sys
import editvec.batch.chunks.images, editvec.cli

def decode(plan, planned, **options):
    if planned.source == "5.png":
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(plan, planned, **options)

whole, editvec.batch.chunks.images.decode = editvec.batch.chunks.images.decode, decode
sys.exit(editvec.cli.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_an_input_that_kills_every_process_is_quarantined_and_the_rest_is_done(
    home: Path, make_pictures: Callable[..., Path], tmp_path: Path
) -> None:
    source, target = make_pictures(8), tmp_path / "out"
    words = command(home, source, target)[3:]
    statuses = []

    while not statuses or statuses[-1] == -signal.SIGKILL:
        assert len(statuses) < 10
        process = start([sys.executable, "-c", POISONED, *words])
        _, errors = process.communicate(timeout=240)
        statuses.append(process.returncode)

    assert statuses[-1] == 3, errors
    with Library.open(RegistryConfig.for_home(home)) as library:
        (run,) = Runs(library.engine).latest()
        counts = Runs(library.engine).counts(run.id)
        assert (counts.done, counts.quarantined) == (14, 2)
        assert audit(library, run).problems == []
    lines = (target / "failed.jsonl").read_text().splitlines()
    assert {row["source"] for row in map(json.loads, lines)} == {"5.png"}
