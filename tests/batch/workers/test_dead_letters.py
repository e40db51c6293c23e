"""Messages that come back: how often, in which order, and where they end."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import update

from editvec.batch.errors import BrokerError
from editvec.batch.execution.remote import leave_to_workers
from editvec.batch.recipes.settings import Priority
from editvec.batch.runs.models import Chunk
from editvec.batch.runs.planning import open_run
from editvec.batch.runs.store import Runs
from editvec.batch.workers.amqp_transport import DELIVERY_LIMIT
from editvec.batch.workers.app import (
    create_app,
    queue_name,
    require_queue,
    send,
    waiting_messages,
)
from editvec.registry.library.library import Library
from editvec.registry.tables.database import now, transaction
from tests.support.folder_runs import request
from tests.support.malformed import RUN, dead_items, payload, publish, put_items, rabbit
from tests.support.servers import RedisServer, virtual_host
from tests.support.worker_processes import start_worker, worker

MakePictures = Callable[..., Path]
QUEUE = queue_name("tiny@1")


class Taker:
    """Somebody who takes messages as a worker does: one at a time, and tells what he holds."""

    def __init__(self, broker: str, *, in_hand: int = 1) -> None:
        app = create_app(broker)
        self.connection = app.connection_for_read()
        channel = self.connection.channel()
        channel.basic_qos(0, in_hand, True)
        self.held: list[Any] = []
        self.consumer = self.connection.Consumer(
            [app.amqp.queues[QUEUE]], channel=channel, on_message=self.held.append
        )
        self.consumer.consume()

    def listen(self, *, until: Callable[[], bool], seconds: float = 10) -> None:
        """Listens until something is so."""
        deadline = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < deadline
            try:
                self.connection.drain_events(timeout=0.05)
            except TimeoutError:
                continue

    def numbers(self) -> list[int]:
        return [message.payload[0][0] for message in self.held]


@contextmanager
def taker(broker: str, *, in_hand: int = 1) -> Iterator[Taker]:
    """A taker that dies at the end, with what it holds."""
    one = Taker(broker, in_hand=in_hand)
    try:
        yield one
    finally:
        one.connection.close()


def wait_until(is_so: Callable[[], bool], *, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def dead_count(url: str) -> int:
    with rabbit(url) as connection:
        found = connection.channel().queue_declare("editvec.dead", passive=True)
        return int(found.message_count)


@pytest.fixture
def rabbit_host(rabbitmq_url: str) -> Iterator[str]:
    """A virtual host of RabbitMQ with the queue of class `tiny`."""
    with virtual_host(rabbitmq_url) as url:
        require_queue(create_app(url), QUEUE)
        yield url


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own."""
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.kill()


def put(broker: str, *numbers: int, priority: Priority = Priority.NORMAL) -> None:
    app = create_app(broker)
    before = waiting_messages(app, QUEUE)
    for number in numbers:
        send(app, "any", [number], queue=QUEUE, priority=priority)
    wait_until(lambda: waiting_messages(app, QUEUE) == before + len(numbers))


@pytest.mark.services
def test_a_message_whose_takers_die_is_a_dead_letter_of_rabbitmq(rabbit_host: str) -> None:
    put(rabbit_host, 7)

    for _ in range(DELIVERY_LIMIT + 1):
        with taker(rabbit_host) as one:
            one.listen(until=lambda one=one: bool(one.held))  # type: ignore[misc]

    wait_until(lambda: dead_count(rabbit_host) == 1)
    assert waiting_messages(create_app(rabbit_host), QUEUE) == 0
    with rabbit(rabbit_host) as connection:
        letter = connection.channel().basic_get("editvec.dead")
    (death,) = letter.application_headers["x-death"]
    assert (death["queue"], death["reason"]) == (QUEUE, "delivery_limit")


@pytest.mark.services
def test_a_message_that_is_given_back_in_order_is_never_a_dead_letter(rabbit_host: str) -> None:
    put(rabbit_host, 7)

    with taker(rabbit_host) as one:
        for number in range(3 * DELIVERY_LIMIT):
            one.listen(until=lambda number=number: len(one.held) > number)  # type: ignore[misc]
            one.held[-1].reject(requeue=True)
        one.listen(until=lambda: len(one.held) > 3 * DELIVERY_LIMIT)
        one.held[-1].ack()

    assert set(one.numbers()) == {7}
    assert dead_count(rabbit_host) == 0
    assert waiting_messages(create_app(rabbit_host), QUEUE) == 0


@pytest.mark.services
def test_a_worker_of_rabbitmq_holds_one_message_of_all_priorities(rabbit_host: str) -> None:
    for priority, number in zip(Priority, range(3), strict=True):
        put(rabbit_host, number, priority=priority)

    with taker(rabbit_host) as one, taker(rabbit_host) as other:
        one.listen(until=lambda: bool(one.held))
        other.listen(until=lambda: bool(other.held))
        with pytest.raises(TimeoutError):
            one.connection.drain_events(timeout=0.5)
        assert (one.numbers(), other.numbers()) == ([0], [1])
        assert waiting_messages(create_app(rabbit_host), QUEUE) == 1
        one.held[0].ack()
        one.listen(until=lambda: len(one.held) == 2)
        one.held[1].ack()
        other.held[0].ack()
        assert one.numbers() == [0, 2]

        # nothing waits now: what comes is taken at once, by either of the two
        put_app = create_app(rabbit_host)
        for priority in Priority:
            for number in (3, 4):
                send(put_app, "any", [number], queue=QUEUE, priority=priority)
        while len(one.held) + len(other.held) < 9:
            for each in (one, other):
                with suppress(TimeoutError):
                    each.connection.drain_events(timeout=0.05)
                unacked = [message for message in each.held if not message.acknowledged]
                assert len(unacked) <= 1
                for message in unacked:
                    message.ack()

    assert sorted([*one.numbers(), *other.numbers()]) == [0, 1, 2, 3, 3, 3, 4, 4, 4]
    assert dead_count(rabbit_host) == 0


@pytest.mark.services
def test_an_idle_taker_sees_what_comes_at_once(rabbit_host: str) -> None:
    with taker(rabbit_host) as one:
        with pytest.raises(TimeoutError):
            one.connection.drain_events(timeout=0.5)
        send(create_app(rabbit_host), "any", [5], queue=QUEUE, priority=Priority.LOW)
        one.listen(until=lambda: bool(one.held), seconds=3)

    assert one.numbers() == [5]


@pytest.mark.services
def test_a_queue_of_another_kind_is_told_with_the_way_out(
    home: Path, rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    import editvec.cli

    with virtual_host(rabbitmq_url) as url:
        with rabbit(url) as connection:
            connection.channel().queue_declare(
                QUEUE, durable=True, auto_delete=False, arguments={"x-max-priority": 2}
            )
        name = url.rpartition("/")[2]
        told = f"rabbitmqctl delete_queue -p {name} {QUEUE}"
        with pytest.raises(BrokerError, match=told):
            require_queue(create_app(url), QUEUE)
        monkeypatch.setenv("EDITVEC_BROKER_URL", url)
        words = ["--home", str(home), "worker", "--class", "tiny", "--device", "cpu"]

        assert editvec.cli.main(words) == 1

        (line,) = capsys.readouterr().err.splitlines()
        assert told in line


@pytest.mark.slow
@pytest.mark.services
def test_a_deleted_queue_is_declared_again(
    home: Path, library: Library, make_pictures: MakePictures, tmp_path: Path, rabbit_host: str
) -> None:
    with worker(home, rabbit_host):
        log = home / "worker.log"
        wait_until(lambda: "Connected to amqp://" in log.read_text(), seconds=60)
        with rabbit(rabbit_host) as connection:
            for suffix in (".high", "", ".low"):
                connection.channel().queue_delete(QUEUE + suffix)
        run = open_run(library, request(make_pictures(1), tmp_path / "out", "smile=1")).run
        leave_to_workers(library, create_app(rabbit_host), run)
        wait_until(lambda: Runs(library.engine).get(run.id).is_finished, seconds=60)

    assert "Traceback" not in log.read_text()


DEADLY = f"""
import os, signal, sys
import editvec.cli
from editvec.batch.workers import consumer

def require_task(message):
    if b"{RUN}" in message.body:
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(message)

whole, consumer.require_task = consumer.require_task, require_task
sys.exit(editvec.cli.main())
"""


@pytest.mark.slow
@pytest.mark.services
def test_a_message_that_kills_its_worker_is_put_aside_and_the_others_are_done(
    home: Path, library: Library, make_pictures: MakePictures, tmp_path: Path, rabbit_host: str
) -> None:
    publish(rabbit_host, QUEUE, [{}])
    run = open_run(library, request(make_pictures(2), tmp_path / "out", "smile=1")).run
    leave_to_workers(library, create_app(rabbit_host), run)

    for _ in range(DELIVERY_LIMIT + 1):
        process = start_worker(home, rabbit_host, program=DEADLY)
        assert process.wait(timeout=60) == -signal.SIGKILL
    with worker(home, rabbit_host, program=DEADLY) as last:
        wait_until(lambda: Runs(library.engine).get(run.id).is_finished, seconds=90)

    assert last.returncode == 0
    assert Runs(library.engine).counts(run.id).done == 2
    assert dead_count(rabbit_host) == 1


# --- Redis ---


def take_from(server: RedisServer) -> Any:
    """A channel of Redis for which every message that was taken is overdue."""
    app = create_app(server.url)
    options = {**app.conf.broker_transport_options, "visibility_timeout": -1}
    connection = app.connection_for_read(transport_options=options)
    return connection.default_channel


def restore(channel: Any) -> None:
    channel.qos.restore_visible(num=10, interval=1)


@pytest.mark.services
def test_a_message_whose_takers_die_is_a_dead_letter_of_redis(redis_server: RedisServer) -> None:
    put(redis_server.url, 7)

    for _ in range(6):
        channel = take_from(redis_server)
        assert channel.basic_get(QUEUE).payload[0] == [7]
        channel.qos._delivered.clear()  # it dies without giving it back
        restore(take_from(redis_server))

    assert take_from(redis_server).basic_get(QUEUE) is None
    (letter,) = dead_items(redis_server.url)
    assert json.loads(letter)[0]["headers"]["task"] == "any"


@pytest.mark.services
def test_a_message_that_is_given_back_in_order_stays_in_redis(redis_server: RedisServer) -> None:
    put(redis_server.url, 7)

    channel = take_from(redis_server)
    for _ in range(20):
        channel.basic_get(QUEUE).reject(requeue=True)
    channel.basic_get(QUEUE).ack()

    assert dead_items(redis_server.url) == []
    assert channel.basic_get(QUEUE) is None


@pytest.mark.services
@pytest.mark.parametrize(
    "kept",
    [
        b"no JSON",
        b"[]",
        b"7",
        b"[[], 1, 2]",
        b'[{"headers": 1}, "", ""]',
        json.dumps([payload({}), 1, []]).encode(),
        json.dumps([payload({}, delivery_info=7), "", QUEUE]).encode(),
    ],
)
def test_what_was_taken_and_cannot_be_given_back_is_a_dead_letter(
    redis_server: RedisServer, kept: bytes
) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.hset("unacked", "tag", kept)
        client.zadd("unacked_index", {"tag": 1.0})

        restore(take_from(redis_server))

        assert dead_items(redis_server.url) == [kept]
        assert client.exists("unacked", "unacked_index") == 0


@pytest.mark.services
def test_the_oldest_dead_letters_go_and_long_ones_are_cut(redis_server: RedisServer) -> None:
    put_items(redis_server.url, QUEUE, [b"x" * 100_000, *(b"%d" % n for n in range(1001))])

    assert take_from(redis_server).basic_get(QUEUE) is None

    kept = dead_items(redis_server.url)
    assert kept == [b"%d" % n for n in range(1, 1001)]
    put_items(redis_server.url, QUEUE, [b"x" * 100_000])
    assert take_from(redis_server).basic_get(QUEUE) is None
    assert dead_items(redis_server.url)[-1] == b"x" * 65_536


@pytest.mark.services
def test_a_key_of_another_type_is_moved_out_of_the_way(
    home: Path, redis_server: RedisServer
) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.set(QUEUE, "no list")
        log = home / "worker.log"
        with worker(home, redis_server.url) as parent:
            wait_until(lambda: client.get(f"editvec.dead.{QUEUE}") == b"no list", seconds=60)
            wait_until(lambda: "Connected to" in log.read_text(), seconds=60)
            client.set(QUEUE, "again")
            wait_until(lambda: client.get(f"editvec.dead.{QUEUE}") == b"again", seconds=60)

    assert parent.returncode == 0
    assert log.read_text().count(f"key {QUEUE} was no list") == 2
    assert "Traceback" not in log.read_text()


# --- no chunk is lost ---


@pytest.mark.services
@pytest.mark.parametrize(
    "broker",
    [
        pytest.param("folder", marks=pytest.mark.slow),
        pytest.param("redis", marks=pytest.mark.slow),
        "rabbitmq",
    ],
    indirect=True,
)
def test_the_chunk_of_a_refused_message_is_sent_again(
    home: Path, library: Library, make_pictures: MakePictures, tmp_path: Path, broker: str
) -> None:
    run = open_run(library, request(make_pictures(2), tmp_path / "out", "smile=1")).run
    app = create_app(broker)
    leave_to_workers(library, app, run)
    wait_until(lambda: waiting_messages(app, QUEUE) == 1)
    with app.connection_for_read() as connection:
        simple = connection.SimpleQueue(app.amqp.queues[QUEUE])
        simple.get(timeout=10).reject(requeue=False)  # as somebody garbled it
        simple.close()
    with transaction(library.engine) as session:  # a while ago
        session.execute(update(Chunk).values(published_at=now() - timedelta(hours=1)))

    with worker(home, broker):
        wait_until(lambda: Runs(library.engine).get(run.id).is_finished, seconds=90)

    assert Runs(library.engine).counts(run.id).done == 2
