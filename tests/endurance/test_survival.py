"""Runs on workers while servers and processes die: nothing is lost, nothing is made twice."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from editvec.batch.recipes.settings import MINI_BATCH
from editvec.batch.reports.audit import audit
from editvec.batch.runs.store import Runs
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from editvec.registry.tables.schema import upgrade
from tests.support.disturbances import wait_for_images
from tests.support.folder_runs import add_tiny_class
from tests.support.servers import PostgresServer, RedisServer, kill_tree
from tests.support.worker_processes import children_of, start, worker

MakePictures = Callable[..., Path]
pytestmark = [pytest.mark.slow, pytest.mark.services]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.kill()


def require_whole(config: RegistryConfig, items: int, *, log: str) -> None:
    with Library.open(config) as library:
        (run,) = Runs(library.engine).latest()
        assert Runs(library.engine).counts(run.id).done == items, log
        assert audit(library, run).problems == []


def finished(process: subprocess.Popen[str]) -> int:
    """The exit status, once its pipes are empty and closed."""
    process.communicate(timeout=300)
    return process.returncode


def words_for(source: Path, out: Path) -> tuple[object, ...]:
    edits = ("--edit", "smile=0:1:5", "--chunk-size", "4", "--workers", "celery")
    return ("batch", "run", source, out, *edits)


def test_a_broker_that_is_restarted_empty_in_the_middle_is_filled_again(
    home: Path, make_pictures: MakePictures, tmp_path: Path, redis: RedisServer
) -> None:
    source, out = make_pictures(48), tmp_path / "out"

    with worker(home, redis.url):
        process = start(home, *words_for(source, out), broker=redis.url)
        wait_for_images(out, 10)
        redis.kill()
        time.sleep(3)
        redis.start()
        _, errors = process.communicate(timeout=300)
        log = errors + (home / "worker.log").read_text()
        assert process.returncode == 0, log

    require_whole(RegistryConfig.for_home(home), 240, log=log)


def test_a_killed_parent_is_followed_by_another_worker(
    home: Path, make_pictures: MakePictures, tmp_path: Path, redis: RedisServer
) -> None:
    source, out = make_pictures(48), tmp_path / "out"

    with worker(home, redis.url) as first:
        process = start(home, *words_for(source, out), broker=redis.url)
        wait_for_images(out, 10)
        kill_tree(first.pid)
        with worker(home, redis.url):
            _, errors = process.communicate(timeout=300)
    log = errors + (home / "worker.log").read_text()

    assert process.returncode == 0, log
    require_whole(RegistryConfig.for_home(home), 240, log=log)


def test_an_orphaned_child_ends_by_itself(
    home: Path, make_pictures: MakePictures, tmp_path: Path, redis: RedisServer
) -> None:
    source, out = make_pictures(48), tmp_path / "out"

    with worker(home, redis.url) as parent:
        process = start(home, *words_for(source, out), broker=redis.url)
        wait_for_images(out, 10)
        children = children_of(parent.pid)
        os.kill(parent.pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while any(Path(f"/proc/{child}/exe").exists() for child in children):
            assert time.monotonic() < deadline, "the child outlives its parent"
            time.sleep(0.1)
        with worker(home, redis.url):
            _, errors = process.communicate(timeout=300)

    log = errors + (home / "worker.log").read_text()
    assert process.returncode == 0, log
    require_whole(RegistryConfig.for_home(home), 240, log=log)


def test_a_killed_coordinator_leaves_the_run_to_the_workers_and_can_follow_it_again(
    home: Path, make_pictures: MakePictures, tmp_path: Path, redis: RedisServer
) -> None:
    source, out = make_pictures(48), tmp_path / "out"

    with worker(home, redis.url):
        first = start(home, *words_for(source, out), broker=redis.url)
        wait_for_images(out, 10)
        kill_tree(first.pid)
        finished(first)
        again = start(home, *words_for(source, out), broker=redis.url)
        _, errors = again.communicate(timeout=300)

    log = errors + (home / "worker.log").read_text()
    assert again.returncode == 0, log
    require_whole(RegistryConfig.for_home(home), 240, log=log)


def test_a_cancelled_run_starts_nothing_more_after_a_broker_restart(
    home: Path, make_pictures: MakePictures, tmp_path: Path, redis: RedisServer
) -> None:
    source, out = make_pictures(600), tmp_path / "out"

    with worker(home, redis.url):
        process = start(home, *words_for(source, out), broker=redis.url)
        wait_for_images(out, 10)
        with Library.open(RegistryConfig.for_home(home)) as library:
            (run,) = Runs(library.engine).latest()
        assert finished(start(home, "batch", "cancel", run.id, broker=redis.url)) == 0
        at_cancel = len(list(out.glob("images/*/*.png")))
        redis.kill()
        redis.start()
        process.communicate(timeout=120)
        made = len(list(out.glob("images/*/*.png")))
        time.sleep(25)  # a worker tends its runs every 20 s
        assert len(list(out.glob("images/*/*.png"))) == made
        assert made - at_cancel <= MINI_BATCH * 5, "at most a mini-batch of every recipe"

    assert process.returncode == 1
    with Library.open(RegistryConfig.for_home(home)) as library:
        counts = Runs(library.engine).counts(run.id)
        assert counts.finished == counts.total
        assert counts.cancelled > 0
        assert audit(library, Runs(library.engine).get(run.id)).problems == []


def test_a_database_that_is_restarted_in_the_middle_loses_nothing(
    tmp_path: Path, tiny_bundle: Path, make_pictures: MakePictures, redis: RedisServer
) -> None:
    server = PostgresServer(tmp_path / "postgres")
    server.start()
    home = tmp_path / "home"
    config = RegistryConfig(home=home, database_url=server.url, blob_url=str(home / "blobs"))
    home.mkdir()
    try:
        upgrade(config)
        with Library.open(config) as library:
            add_tiny_class(library, tiny_bundle)
        source, out = make_pictures(48), tmp_path / "out"
        with worker(home, redis.url, database=server.url):
            words = words_for(source, out)
            process = start(home, *words, broker=redis.url, database=server.url)
            wait_for_images(out, 10)
            server.stop()
            time.sleep(2)
            server.start()
            _, errors = process.communicate(timeout=300)
        log = errors + (home / "worker.log").read_text()
        assert process.returncode == 0, log
        assert "waiting for it" in errors
        require_whole(config, 240, log=log)
    finally:
        server.stop()
        shutil.rmtree(tmp_path / "postgres", ignore_errors=True)


def test_a_run_leaves_no_key_behind_on_redis(
    home: Path, make_pictures: MakePictures, tmp_path: Path, redis: RedisServer
) -> None:
    import redis as client

    source, out = make_pictures(8), tmp_path / "out"
    connection = client.Redis(port=redis.port)

    with worker(home, redis.url):
        assert finished(start(home, *words_for(source, out), broker=redis.url)) == 0
        before = sorted(connection.keys())
        words = words_for(source, tmp_path / "out2")
        assert finished(start(home, *words, broker=redis.url)) == 0
        after = sorted(connection.keys())
    connection.close()

    assert after == before
    assert json.dumps([key.decode() for key in after if b"result" in key]) == "[]"
