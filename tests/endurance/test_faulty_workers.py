"""Workers whose children end or stand still, and models that take long to load."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from editvec.batch.reports.audit import audit
from editvec.batch.runs.models import Chunk
from editvec.batch.runs.store import Runs
from editvec.batch.workers.tasks import EXIT_DEVICE_LOST
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from editvec.registry.tables.database import now, reading, transaction
from tests.support.folder_runs import rows
from tests.support.servers import RedisServer, virtual_host
from tests.support.worker_processes import children_of, end_worker, start, start_worker, worker

MakePictures = Callable[..., Path]
pytestmark = pytest.mark.slow


def faulty(patch: str) -> str:
    """The program of a worker that does something else than it should."""
    return (
        f"import os, signal, sys, time\nimport editvec.cli\n{patch}\nsys.exit(editvec.cli.main())\n"
    )


# Loads what computes before the children are forked: each of them begins at once.
EARLY = "import editvec.batch.chunks.images\n"

POISON = (
    EARLY
    + """
def decode(plan, planned, **options):
    if planned.source == "5.png":
        if {whom!r} == "parent":
            os.kill(os.getppid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(plan, planned, **options)

whole, editvec.batch.chunks.images.decode = editvec.batch.chunks.images.decode, decode
"""
)

RECYCLED = (
    EARLY
    + """
import editvec.batch.workers.worker

def create_app(url):
    app = whole(url)
    app.conf.worker_max_tasks_per_child = 1
    return app

whole, editvec.batch.workers.worker.create_app = editvec.batch.workers.worker.create_app, create_app
"""
)

DEAD_DEVICE = (
    EARLY
    + """
import torch
from editvec.batch.editing.variants import VariantMaker

def make(self, *arguments):
    try:
        with open({mark!r}, "x") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        return whole(self, *arguments)
    raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

whole, VariantMaker.make = VariantMaker.make, make
"""
)

NO_DEVICE = """
from editvec.engine.editor import Editor

def fail(cls, *arguments, **options):
    import torch
    raise torch.AcceleratorError("CUDA error: ECC")

Editor.open = classmethod(fail)
"""

SLOW_MODEL = """
from editvec.engine.editor import Editor

def open_slowly(cls, *arguments, **options):
    with open({mark!r}, "a") as file:
        file.write(f"{{os.getpid()}}\\n")
    time.sleep(10)
    return whole(*arguments, **options)

whole, Editor.open = Editor.open, classmethod(open_slowly)
"""


def ended(process: subprocess.Popen[str], *, seconds: float = 400) -> tuple[int, str]:
    """The exit status and what was said on stderr."""
    _, errors = process.communicate(timeout=seconds)
    return process.returncode, errors


def attempts(library: Library) -> int:
    with reading(library.engine) as session:
        return session.scalar(select(func.sum(Chunk.attempts))) or 0


def expire_leases(config: RegistryConfig) -> None:
    """Lets it be later than any lease lasts."""
    with Library.open(config) as library, transaction(library.engine) as session:
        past = now() - timedelta(seconds=1)
        leased = update(Chunk).where(Chunk.state == "leased")
        session.execute(leased.values(lease_expires_at=past))


def wait_for_line(home: Path, text: str) -> None:
    deadline = time.monotonic() + 120
    while text not in (home / "worker.log").read_text():
        assert time.monotonic() < deadline, (home / "worker.log").read_text()
        time.sleep(0.1)


@pytest.mark.parametrize("whom", ["child", "parent"])
def test_an_input_that_kills_its_worker_is_quarantined_alone(
    home: Path, make_pictures: MakePictures, tmp_path: Path, whom: str
) -> None:
    source, out = make_pictures(8), tmp_path / "out"
    words = ("batch", "run", source, out, "--edit", "smile=0:1:2", "--chunk-size", "4")
    program = faulty(POISON.format(whom=whom))

    following = start(home, *words, "--workers", "celery")
    starts, serving = 1, start_worker(home, program=program)
    deadline = time.monotonic() + 400
    while following.poll() is None and time.monotonic() < deadline:
        if serving.poll() is not None:  # its administrator starts it again
            starts, serving = starts + 1, start_worker(home, program=program)
        time.sleep(0.2)
    if serving.poll() is None:
        end_worker(serving)
    status, errors = ended(following)

    assert status == 3, errors + (home / "worker.log").read_text()
    assert (starts > 1) == (whom == "parent")
    with Library.open(RegistryConfig.for_home(home)) as library:
        (run,) = Runs(library.engine).latest()
        counts = Runs(library.engine).counts(run.id)
        assert (counts.done, counts.quarantined, counts.total) == (14, 2, 16)
        assert audit(library, run).problems == []
        assert attempts(library) == 6, "three of the chunk, three of the input"
    failed = rows(out, "failed.jsonl")
    assert {row["source"] for row in failed} == {"5.png"}
    assert {row["reason"] for row in failed} == {"the worker died 3 times on this input"}


def test_a_child_that_is_replaced_after_each_of_fifty_tasks_loses_none(
    home: Path, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source, out = make_pictures(50), tmp_path / "out"
    words = ("batch", "run", source, out, "--edit", "smile=1", "--chunk-size", "1")

    with worker(home, program=faulty(RECYCLED)):
        status, errors = ended(start(home, *words, "--workers", "celery"))

    assert status == 0, errors + (home / "worker.log").read_text()
    with Library.open(RegistryConfig.for_home(home)) as library:
        (run,) = Runs(library.engine).latest()
        assert Runs(library.engine).counts(run.id).done == 50
        with reading(library.engine) as session:
            workers = set(session.scalars(select(Chunk.worker)))
        assert len(workers) == 50, "every chunk had a process of its own"
        assert attempts(library) == 0
        assert audit(library, run).problems == []


def test_a_dead_device_ends_the_child_and_its_chunk_is_done_by_the_next(
    home: Path, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source, out = make_pictures(12), tmp_path / "out"
    words = ("batch", "run", source, out, "--edit", "smile=1", "--chunk-size", "4")
    program = faulty(DEAD_DEVICE.format(mark=str(tmp_path / "died")))

    with worker(home, program=program):
        status, errors = ended(start(home, *words, "--workers", "celery"))

    log = (home / "worker.log").read_text()
    assert status == 0, errors + log
    assert "device: it stopped working (CUDA error: an illegal memory access" in log
    with Library.open(RegistryConfig.for_home(home)) as library:
        (run,) = Runs(library.engine).latest()
        assert Runs(library.engine).counts(run.id).done == 12
        with reading(library.engine) as session:
            (survivor,) = set(session.scalars(select(Chunk.worker)))
        assert f":{(tmp_path / 'died').read_text()} " not in f"{survivor} "
        assert attempts(library) == 0, "the chunk is not to blame"
        assert audit(library, run).problems == []


def test_a_device_that_fails_while_the_model_loads_stops_its_worker_only(
    home: Path, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source, out = make_pictures(8), tmp_path / "out"
    words = ("batch", "run", source, out, "--edit", "smile=1", "--chunk-size", "4")

    broken = start_worker(home, program=faulty(NO_DEVICE))
    following = start(home, *words, "--workers", "celery")
    assert broken.wait(timeout=120) == EXIT_DEVICE_LOST, "whoever watches it starts it again"
    log = (home / "worker.log").read_text()
    with worker(home):
        status, errors = ended(following)

    assert status == 0, errors + (home / "worker.log").read_text()
    assert log.count("device: the networks cannot be loaded (CUDA error: ECC)") == 1
    assert "Traceback" not in log
    with Library.open(RegistryConfig.for_home(home)) as library:
        (run,) = Runs(library.engine).latest()
        assert Runs(library.engine).counts(run.id).done == 8
        assert attempts(library) == 0
        assert audit(library, run).problems == []


@pytest.fixture(params=["filesystem", "redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str | None]:
    """Each kind of broker, with queues of the test's own."""
    if request.param == "redis":
        server = RedisServer(tmp_path / "redis")
        server.start()
        yield server.url
        server.kill()
    elif request.param == "rabbitmq":
        with virtual_host(request.getfixturevalue("rabbitmq_url")) as url:
            yield url
    else:
        yield None


@pytest.mark.services
def test_a_model_that_loads_for_ten_seconds_is_loaded_once(
    home: Path, make_pictures: MakePictures, tmp_path: Path, broker: str | None
) -> None:
    source, out, mark = make_pictures(8), tmp_path / "out", tmp_path / "loaded"
    words = ("batch", "run", source, out, "--edit", "smile=1", "--chunk-size", "2")

    with worker(home, broker, program=faulty(SLOW_MODEL.format(mark=str(mark)))) as parent:
        status, errors = ended(start(home, *words, "--workers", "celery", broker=broker))
        assert parent.poll() is None

    assert status == 0, errors + (home / "worker.log").read_text()
    assert len(mark.read_text().splitlines()) == 1
    with Library.open(RegistryConfig.for_home(home)) as library:
        (run,) = Runs(library.engine).latest()
        assert Runs(library.engine).counts(run.id).done == 8
        assert audit(library, run).problems == []


def test_a_worker_that_stood_still_while_its_lease_ended_writes_nothing(
    home: Path, make_pictures: MakePictures, tmp_path: Path
) -> None:
    """A suspended machine: the chunk is done by another worker, and then the first one wakes up."""
    source, out = make_pictures(64), tmp_path / "out"
    words = ("batch", "run", source, out, "--edit", "smile=0:1:8", "--chunk-size", "64")
    config = RegistryConfig.for_home(home)

    with worker(home) as first:
        following = start(home, *words, "--workers", "celery")
        deadline = time.monotonic() + 120
        while not list(out.glob("images/*/*.png")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        (child,) = children_of(first.pid)
        os.kill(child, signal.SIGSTOP)
        try:
            expire_leases(config)
            with worker(home):
                status, errors = ended(following)
                before = json.dumps(rows(out))
                os.kill(child, signal.SIGCONT)
                wait_for_line(home, "the lease was lost")
        finally:
            os.kill(child, signal.SIGCONT)

    assert status == 0, errors + (home / "worker.log").read_text()
    with Library.open(config) as library:
        (run,) = Runs(library.engine).latest()
        assert Runs(library.engine).counts(run.id).done == 64 * 8
        assert json.dumps(rows(out)) == before
        assert audit(library, run).problems == []
