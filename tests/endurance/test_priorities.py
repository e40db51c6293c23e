"""Urgent runs first: on every transport, whatever waits in front of them."""

import time
import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select

from editvec.batch.execution.remote import leave_to_workers
from editvec.batch.recipes.settings import Priority, broker_url
from editvec.batch.runs.entities import RunRecord
from editvec.batch.runs.inputs import sampled_inputs
from editvec.batch.runs.leases import Leases
from editvec.batch.runs.models import Chunk
from editvec.batch.runs.planning import open_run
from editvec.batch.runs.store import Runs
from editvec.batch.workers.app import create_app, queue_name, send, waiting_messages
from editvec.batch.workers.tasks import publish_waiting
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from editvec.registry.tables.database import reading
from tests.batch.runs.test_pace import plan
from tests.support.folder_runs import request
from tests.support.worker_processes import start, worker

MakePictures = Callable[..., Path]
BROKERS = [
    "folder",
    pytest.param("redis", marks=pytest.mark.services),
    pytest.param("rabbitmq", marks=pytest.mark.services),
]
WORKER_BROKERS = [
    "folder",
    pytest.param("redis", marks=[pytest.mark.services, pytest.mark.slow]),
    pytest.param("rabbitmq", marks=[pytest.mark.services, pytest.mark.slow]),
]


@pytest.mark.parametrize("broker", BROKERS, indirect=True)
def test_messages_come_by_priority_and_then_by_age(broker: str) -> None:
    app, queue = create_app(broker), queue_name(f"tiny-{uuid.uuid4().hex}@1")
    given = [Priority.LOW, Priority.NORMAL, Priority.LOW, Priority.HIGH, Priority.NORMAL]

    for number, priority in enumerate(given):
        send(app, "any", [number], queue=queue, priority=priority)
    deadline = time.monotonic() + 10
    while waiting_messages(app, queue) < 5 and time.monotonic() < deadline:
        time.sleep(0.05)  # RabbitMQ takes messages in after `send` has returned
    assert waiting_messages(app, queue) == 5
    taken = []
    with app.connection_for_read() as connection:
        simple = connection.SimpleQueue(app.amqp.queues[queue])
        for _ in given:
            message = simple.get(timeout=10)
            taken.append(message.payload[0][0])
            message.ack()
        simple.queue.delete()

    assert taken == [3, 1, 4, 0, 2]


def chunk_times(library: Library, run: RunRecord) -> tuple[datetime, datetime]:
    """When the first and when the last chunk of a run was finished."""
    with reading(library.engine) as session:
        query = select(func.min(Chunk.finished_at), func.max(Chunk.finished_at))
        first, last = session.execute(query.where(Chunk.run_id == run.id)).one()
        return first, last


@pytest.mark.parametrize("broker", WORKER_BROKERS, indirect=True)
def test_a_worker_does_the_urgent_run_first_that_came_last(
    home: Path, library: Library, make_pictures: MakePictures, tmp_path: Path, broker: str
) -> None:
    app, runs, source = create_app(broker), Runs(library.engine), make_pictures(3)
    planned = {}
    for priority in (Priority.LOW, Priority.NORMAL, Priority.HIGH):
        wanted = request(source, tmp_path / priority, "smile=1", chunk_size=1)
        run = open_run(library, wanted).run
        runs.set_priority(run.id, priority)
        planned[priority] = runs.get(run.id)
        leave_to_workers(library, app, planned[priority])

    with worker(home, broker):
        watching = start(home, "batch", "status", planned[Priority.LOW].id, "--watch")
        _, errors = watching.communicate(timeout=240)

    log = errors + (home / "worker.log").read_text()
    assert {runs.get(run.id).state for run in planned.values()} == {"completed"}, log
    high, normal, low = (chunk_times(library, planned[priority]) for priority in Priority)
    assert high[1] < normal[0], log
    assert normal[1] < low[0], log


def test_a_run_is_normal_until_somebody_says_otherwise(library: Library, tmp_path: Path) -> None:
    runs = Runs(library.engine)
    run = runs.create(plan(kind="generate"), sampled_inputs(3, 0))
    assert run.priority is Priority.NORMAL

    runs.set_priority(run.id, Priority.HIGH)

    changed = runs.get(run.id)
    assert changed.priority is Priority.HIGH
    assert (changed.plan, changed.plan_digest) == (run.plan, run.plan_digest)


def test_a_changed_priority_sends_what_waits_again(
    home: Path, library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    app, runs, leases = create_app(broker_url(home)), Runs(library.engine), Leases(library.engine)
    run = open_run(
        library, request(make_pictures(2), tmp_path / "out", "smile=1", chunk_size=1)
    ).run
    assert (publish_waiting(app, library, run), publish_waiting(app, library, run)) == (2, 0)

    runs.set_priority(run.id, Priority.HIGH)

    assert len(leases.pending_chunks(run.id)) == 2
    assert publish_waiting(app, library, runs.get(run.id)) == 2
    names = sorted(path.name for path in (home / "broker/messages").glob("*.msg"))
    assert [name[0] for name in names] == ["7", "7", "8", "8"]


def test_the_same_command_changes_the_priority_of_its_run_and_nothing_else(
    home: Path,
    run_editvec: Callable[..., int],
    make_pictures: MakePictures,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("batch", "run", make_pictures(2), tmp_path / "out", "--edit", "smile=1")
    detached = (*words, "--workers", "celery", "--detach")

    assert run_editvec(*detached, "--priority", "low") == 0
    run_id = capsys.readouterr().out.strip()
    found = []
    for more in (["--priority", "high"], []):
        assert run_editvec(*detached, *more) == 0
        assert capsys.readouterr().out.strip() == run_id
        with Library.open(RegistryConfig.for_home(home)) as library:
            found.append(Runs(library.engine).get(run_id).priority)
    assert run_editvec("batch", "resume", run_id, "--priority", "normal") == 0

    assert found == [Priority.HIGH, Priority.HIGH]
    assert run_editvec("batch", "status", run_id, "--json") == 0
    assert '"priority": "normal"' in capsys.readouterr().out
