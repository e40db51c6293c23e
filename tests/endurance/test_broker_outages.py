"""Brokers that are away at the start, go away in the middle, or drop their connections."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from editvec.batch.runs.store import Runs
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from tests.support.disturbances import wait_for_images
from tests.support.servers import RabbitServer, RedisServer, virtual_host
from tests.support.worker_processes import start, worker

MakePictures = Callable[..., Path]
EDITS = ("--edit", "smile=0:1:5", "--chunk-size", "4", "--workers", "celery")


@pytest.mark.parametrize(
    ("url", "detached"),
    [("redis://ada:secret@127.0.0.1:1/0", False), ("amqp://ada:secret@127.0.0.1:1//", True)],
)
def test_a_broker_that_is_away_at_the_start_is_one_line_and_the_run_waits(
    run_editvec: Callable[..., int],
    library: Library,
    make_pictures: MakePictures,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    url: str,
    detached: bool,
) -> None:
    source, out = make_pictures(2), tmp_path / "out"
    words = ("batch", "run", source, out, "--edit", "smile=1")
    monkeypatch.setenv("EDITVEC_BROKER_URL", url)

    status = run_editvec(*words, "--workers", "celery", *(["--detach"] if detached else []))

    said = capsys.readouterr().err
    assert status == 1
    assert said.splitlines()[-1].startswith("editvec: error: broker: ")
    assert "127.0.0.1:1" in said
    assert "does not answer" in said
    assert "secret" not in said
    assert "Traceback" not in said
    # what was planned is not lost: here it is done without any broker
    assert run_editvec(*words, "--device", "cpu") == 0
    assert Runs(library.engine).latest()[0].state == "completed"


def require_done(home: Path, items: int) -> None:
    with Library.open(RegistryConfig.for_home(home)) as library:
        (run,) = Runs(library.engine).latest()
        assert (run.state, Runs(library.engine).counts(run.id).done) == ("completed", items)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def rabbit(tmp_path: Path) -> Iterator[RabbitServer]:
    server = RabbitServer(tmp_path / "rabbit")
    server.start()
    yield server
    server.end()


@pytest.mark.slow
@pytest.mark.services
def test_an_idle_worker_hears_again_within_a_minute_of_a_restart(
    home: Path, make_pictures: MakePictures, tmp_path: Path, redis: RedisServer
) -> None:
    source = make_pictures(8)

    with worker(home, redis.url) as parent:
        first = start(home, "batch", "run", source, tmp_path / "a", *EDITS, broker=redis.url)
        _, errors = first.communicate(timeout=240)
        assert first.returncode == 0, errors
        redis.kill()
        time.sleep(2)
        redis.start()
        began = time.monotonic()
        second = start(home, "batch", "run", source, tmp_path / "b", *EDITS, broker=redis.url)
        wait_for_images(tmp_path / "b", 1, seconds=90)
        waited = time.monotonic() - began
        _, errors = second.communicate(timeout=240)
        assert second.returncode == 0, errors
        assert parent.poll() is None

    assert waited < 60


@pytest.mark.slow
@pytest.mark.services
def test_rabbitmq_that_is_killed_and_comes_back_in_the_middle_is_waited_for(
    home: Path, make_pictures: MakePictures, tmp_path: Path, rabbit: RabbitServer
) -> None:
    source, out = make_pictures(48), tmp_path / "out"

    with worker(home, rabbit.url) as parent:
        process = start(home, "batch", "run", source, out, *EDITS, broker=rabbit.url)
        wait_for_images(out, 10)
        rabbit.kill()
        time.sleep(2)
        rabbit.start()
        _, errors = process.communicate(timeout=300)
        log = errors + (home / "worker.log").read_text()
        assert process.returncode == 0, log
        assert parent.poll() is None
        assert "Traceback" not in log

    require_done(home, 240)


@pytest.mark.slow
@pytest.mark.services
def test_connections_that_rabbitmq_closes_are_made_anew(
    home: Path, make_pictures: MakePictures, tmp_path: Path, rabbitmq_url: str
) -> None:
    source, out = make_pictures(48), tmp_path / "out"
    program = str(shutil.which("rabbitmqctl"))

    with virtual_host(rabbitmq_url) as broker, worker(home, broker) as parent:
        name = broker.rpartition("/")[2]
        close = [program, "--quiet", "close_all_connections", "--vhost", name, "test"]
        process = start(home, "batch", "run", source, out, *EDITS, broker=broker)
        for images in (10, 120):
            wait_for_images(out, images)
            subprocess.run(close, check=True, timeout=60, stdout=subprocess.DEVNULL)
        _, errors = process.communicate(timeout=300)
        log = errors + (home / "worker.log").read_text()
        assert process.returncode == 0, log
        assert parent.poll() is None

    require_done(home, 240)
