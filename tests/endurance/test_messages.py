"""What a stranger sends to a worker: refused unread, told, and the worker goes on."""

import os
import time
from pathlib import Path

from editvec.batch.recipes.settings import broker_url
from editvec.batch.workers.app import create_app, queue_name
from editvec.batch.workers.tasks import PROCESS_CHUNK
from tests.support.worker_processes import worker


class Opened:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder),)


def test_a_pickled_message_is_refused_unread(home: Path, tmp_path: Path) -> None:
    app, queue = create_app(broker_url(home)), queue_name("tiny@1")
    made = tmp_path / "made"
    headers = {"task": PROCESS_CHUNK, "id": "1", "lang": "py", "argsrepr": "", "kwargsrepr": ""}

    with app.connection_for_write() as connection:
        producer = connection.Producer(serializer="pickle")
        body = ((Opened(made), 1), {}, {})
        producer.publish(body, routing_key=queue, exchange="", headers=headers)
    app.send_task(PROCESS_CHUNK, args=["0123abcd", 1], queue=queue)
    with worker(home) as parent:
        log = home / "worker.log"
        deadline = time.monotonic() + 60
        while "does another library use this broker?" not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()
            assert parent.poll() is None
            time.sleep(0.05)

    assert not made.exists()
    assert "expected application/json, got application/x-python-serialize" in log.read_text()
    assert parent.returncode == 0
