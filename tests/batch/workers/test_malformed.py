"""Whatever is sent to a worker: refused and told, kept aside, and the next chunk is done."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from editvec.batch.execution.remote import leave_to_workers
from editvec.batch.recipes.settings import broker_url
from editvec.batch.runs.entities import RunRecord
from editvec.batch.runs.planning import open_run
from editvec.batch.runs.store import Runs
from editvec.batch.workers.app import create_app, queue_name, require_queue
from editvec.registry.library.library import Library
from tests.support.folder_runs import request
from tests.support.malformed import (
    SECRET,
    dead_items,
    items,
    malformed,
    publish,
    publish_unreadable,
    put_items,
    rabbit,
)
from tests.support.servers import RedisServer, virtual_host
from tests.support.worker_processes import worker

MakePictures = Callable[..., Path]
QUEUE = queue_name("tiny@1")
TOLD = "a message was refused: "


def leave(library: Library, broker: str, source: Path, out: Path) -> RunRecord:
    """Plans a run of one chunk and gives it to the workers."""
    run = open_run(library, request(source, out, "smile=1", chunk_size=2)).run
    leave_to_workers(library, create_app(broker), run)
    return run


def wait_for_end(library: Library, run: RunRecord, home: Path, *, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not Runs(library.engine).get(run.id).is_finished:
        assert time.monotonic() < deadline, (home / "worker.log").read_text()[-5000:]
        time.sleep(0.05)


def refusals(home: Path) -> list[str]:
    """The lines about messages that were refused; there are no other than a worker's usual ones."""
    log = (home / "worker.log").read_text()
    assert "Traceback" not in log, log
    assert SECRET not in log
    assert all(len(line) < 300 and line.isprintable() for line in log.splitlines())
    return [line for line in log.splitlines() if TOLD in line]


def test_one_worker_survives_every_file_of_a_folder(
    home: Path, library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    broker, wanted = broker_url(home), items()
    put_items(broker, QUEUE, wanted)
    messages = home / "broker/messages"
    os.mkfifo(messages / f"0_{'0' * 20}_pipe.{QUEUE}.msg")
    (messages / f"0_{'0' * 20}_link.{QUEUE}.msg").symlink_to("/dev/zero")
    (messages / f"0_{'0' * 20}_folder.{QUEUE}.msg").mkdir()
    run = leave(library, broker, make_pictures(2), tmp_path / "out")

    with worker(home, broker) as parent:
        wait_for_end(library, run, home)

    assert parent.returncode == 0
    assert Runs(library.engine).counts(run.id).done == 2
    assert len(refusals(home)) == len(wanted) + 3
    kept = sorted((home / "broker/editvec.dead").iterdir())
    assert len(kept) == len(wanted) + 3
    assert sum(path.is_file() and not path.is_symlink() for path in kept) == len(wanted)


@pytest.mark.services
def test_one_worker_survives_every_item_of_a_list_of_redis(
    home: Path, library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    server = RedisServer(tmp_path / "redis")
    server.start()
    try:
        wanted = items()
        put_items(server.url, QUEUE, wanted)
        run = leave(library, server.url, make_pictures(2), tmp_path / "out")

        with worker(home, server.url) as parent:
            wait_for_end(library, run, home)

        assert parent.returncode == 0
        assert Runs(library.engine).counts(run.id).done == 2
        assert len(refusals(home)) == len(wanted)
        assert len(dead_items(server.url)) == len(wanted)
        with redis.Redis.from_url(server.url) as client:
            assert [key for key in client.scan_iter() if client.type(key) != b"set"] == [
                b"editvec.dead"
            ]
    finally:
        server.kill()


@pytest.mark.services
def test_one_worker_survives_every_message_of_rabbitmq(
    home: Path, library: Library, make_pictures: MakePictures, tmp_path: Path, rabbitmq_url: str
) -> None:
    with virtual_host(rabbitmq_url) as broker:
        wanted = malformed()
        require_queue(create_app(broker), QUEUE)
        publish(broker, QUEUE, wanted)
        publish_unreadable(broker, QUEUE)
        run = leave(library, broker, make_pictures(2), tmp_path / "out")

        with worker(home, broker) as parent:
            wait_for_end(library, run, home)

        assert parent.returncode == 0
        assert Runs(library.engine).counts(run.id).done == 2
        assert len(refusals(home)) == len(wanted) + 1
        with rabbit(broker) as connection:
            channel = connection.channel()
            dead = channel.queue_declare("editvec.dead", passive=True).message_count
            assert dead == len(wanted) + 1
            reasons = channel.basic_get("editvec.dead").application_headers["x-death"]
        assert (reasons[0]["queue"], reasons[0]["reason"]) == (QUEUE, "rejected")
