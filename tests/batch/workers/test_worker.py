"""Runs on real Celery workers, over a folder as the broker and over Redis."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from editvec.batch.reports.audit import audit
from editvec.batch.runs.store import Runs
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from tests.support.servers import virtual_host
from tests.support.worker_processes import ROOT, children_of, start, worker

MakePictures = Callable[..., Path]


def has_torch(pid: int) -> bool:
    return "libtorch" in Path(f"/proc/{pid}/maps").read_text()


def test_a_worker_does_a_run_over_a_folder_as_the_broker(
    home: Path, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source, out = make_pictures(12), tmp_path / "out"
    words = ("batch", "run", source, out, "--edit", "smile=1", "--chunk-size", "4")

    with worker(home) as parent:
        process = start(home, *words, "--workers", "celery", "--json")
        output, errors = process.communicate(timeout=240)
        log = (home / "worker.log").read_text()
        assert process.returncode == 0, errors + log
        assert json.loads(output)["counts"]["done"] == 12
        assert not has_torch(parent.pid), "the parent computes nothing"
        assert any(has_torch(child) for child in children_of(parent.pid))

    assert parent.returncode == 0, log
    with Library.open(RegistryConfig.for_home(home)) as library:
        (run,) = Runs(library.engine).latest()
        assert audit(library, run).problems == []
    assert list((home / "broker/messages").glob("*.msg")) == []


@pytest.mark.slow
def test_a_worker_whose_child_is_killed_finishes_the_run(
    home: Path, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source, out = make_pictures(40), tmp_path / "out"
    words = ("batch", "run", source, out, "--edit", "smile=0:1:5", "--chunk-size", "8")

    with worker(home) as parent:
        process = start(home, *words, "--workers", "celery")
        deadline = time.monotonic() + 120
        while len(list(out.glob("images/*/*.png"))) < 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        for child in children_of(parent.pid):
            os.kill(child, signal.SIGKILL)
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors + (home / "worker.log").read_text()

    with Library.open(RegistryConfig.for_home(home)) as library:
        (run,) = Runs(library.engine).latest()
        assert Runs(library.engine).counts(run.id).done == 200
        assert audit(library, run).problems == []


@pytest.mark.slow
@pytest.mark.services
def test_two_workers_share_a_run_over_redis(
    home: Path, make_pictures: MakePictures, tmp_path: Path, redis_url: str
) -> None:
    source, out = make_pictures(24), tmp_path / "out"
    words = ("batch", "run", source, out, "--edit", "smile=0:1:2", "--chunk-size", "2")
    # a database of its own on the shared server: messages of other tests stay away
    broker = f"{redis_url.rpartition('/')[0]}/{1 + uuid.uuid4().int % 15}"

    with worker(home, broker), worker(home, broker):
        process = start(home, *words, "--workers", "celery", broker=broker)
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors + (home / "worker.log").read_text()

    with Library.open(RegistryConfig.for_home(home)) as library:
        (run,) = Runs(library.engine).latest()
        assert Runs(library.engine).counts(run.id).done == 48
        assert audit(library, run).problems == []


def test_a_worker_s_parent_needs_no_torch_to_serve() -> None:
    program = "import editvec.batch.workers.worker, sys; assert 'torch' not in sys.modules"

    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_who_leaves_a_run_to_workers_needs_no_torch() -> None:
    program = (
        "import editvec.batch.runs.planning, editvec.batch.execution.remote, editvec.batch.cli.run;"
        "import sys; assert 'torch' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_a_worker_without_what_it_needs_says_so(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import editvec.cli

    monkeypatch.setenv("EDITVEC_BROKER_URL", "redis://127.0.0.1:1/0")

    assert editvec.cli.main(["--home", str(home), "worker", "--class", "cars"]) == 1
    assert "cars" in capsys.readouterr().err
    assert editvec.cli.main(["--home", str(home), "worker", "--class", "tiny"]) == 1
    assert "127.0.0.1:1/0 does not answer" in capsys.readouterr().err
    monkeypatch.delenv("EDITVEC_BROKER_URL")
    words = ["--home", str(home), "worker", "--class", "tiny"]
    assert editvec.cli.main([*words, "--device", "cuda:99"]) == 1
    assert "device: cannot use 'cuda:99'" in capsys.readouterr().err
    monkeypatch.setenv("EDITVEC_DATABASE_URL", "postgresql://ada:secret@127.0.0.1:1/none")
    assert editvec.cli.main(words) == 1
    line = capsys.readouterr().err
    assert line.startswith("editvec: error: database postgresql")
    assert "Connection refused" in line
    assert "secret" not in line


@pytest.mark.services
@pytest.mark.slow
def test_a_detached_run_over_rabbitmq_is_done_and_closed_by_the_worker_alone(
    home: Path, make_pictures: MakePictures, tmp_path: Path, rabbitmq_url: str
) -> None:
    source, out = make_pictures(8), tmp_path / "out"
    words = ("batch", "run", source, out, "--edit", "smile=1", "--chunk-size", "4")

    with virtual_host(rabbitmq_url) as broker:
        planned = start(home, *words, "--workers", "celery", "--detach", broker=broker)
        output, errors = planned.communicate(timeout=120)
        assert planned.returncode == 0, errors
        with worker(home, broker):
            watching = start(home, "batch", "status", output.strip(), "--watch", "--json")
            lines, errors = watching.communicate(timeout=240)

    last = json.loads(lines.splitlines()[-1])
    assert last["state"] == "completed", errors + (home / "worker.log").read_text()
    assert last["counts"]["done"] == 8
    assert [row["chunks_done"] for row in last["workers"]] == [2]
    with Library.open(RegistryConfig.for_home(home)) as library:
        (run,) = Runs(library.engine).latest()
        assert audit(library, run).problems == []


def test_a_message_about_a_run_of_another_library_is_told_and_left_alone(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from editvec.batch.workers.tasks import WorkerState

    with caplog.at_level("ERROR"):
        WorkerState(RegistryConfig.for_home(home), device="cpu").process_chunk("0123abcd", 1)

    assert "does another library use this broker?" in caplog.text
