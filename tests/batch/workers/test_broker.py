"""Brokers: which addresses are taken, how we are let in, and what a broker that is away is told."""

import logging
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from editvec.batch.errors import BrokerError, SettingsError
from editvec.batch.recipes.settings import Priority, broker_url
from editvec.batch.workers.app import (
    create_app,
    forget_taken_messages,
    require_broker,
    send,
    waiting_messages,
)
from editvec.batch.workers.broker import parse_broker_url
from editvec.batch.workers.log import log_to_stderr


@pytest.mark.parametrize(
    "url",
    [
        "sqs://queue",
        "filesystem://relative",
        "filesystem:relative",
        "redis://:secret@host:port/0",
        "rediss://host/0?ssl_cert_reqs=perhaps",
        "rediss://host/0?ssl_ca_certs=/no/such/file",
        "amqps://host?ssl_version=3",
    ],
)
def test_an_address_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError, match="EDITVEC_BROKER_URL") as refused:
        create_app(url)

    assert "secret" not in str(refused.value)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(SettingsError, match="Not a directory"):
        create_app(f"filesystem://{tmp_path}/file/broker")


@pytest.mark.parametrize("query", ["password=tulip", "token=tulip", "heartbeat=9&sig=tulip"])
@pytest.mark.parametrize("scheme", ["redis", "rediss", "amqp"])
def test_a_parameter_that_no_broker_has_is_refused_without_its_value(
    scheme: str, query: str
) -> None:
    with pytest.raises(SettingsError, match="EDITVEC_BROKER_URL") as refused:
        create_app(f"{scheme}://host/0?{query}")

    assert "tulip" not in str(refused.value)


@pytest.mark.parametrize("name", ["a folder", "100%20", "#1?", "Ö"])
def test_every_home_folder_may_hold_the_broker(name: str, tmp_path: Path) -> None:
    assert parse_broker_url(broker_url(tmp_path / name)).folder == tmp_path / name / "broker"


@pytest.mark.services
def test_rabbitmq_that_lets_us_not_in_says_so_in_one_line(rabbitmq_url: str) -> None:
    for wrong in (
        rabbitmq_url.replace("guest:guest", "guest:wrong"),
        f"{rabbitmq_url.rstrip('/')}/no-such-host",
    ):
        with pytest.raises(BrokerError, match="refuses") as refused:
            require_broker(create_app(wrong))
        assert "wrong" not in str(refused.value)


@pytest.mark.services
def test_a_queue_that_does_not_exist_has_no_messages(rabbitmq_url: str, redis_url: str) -> None:
    for url in (rabbitmq_url, redis_url):
        assert waiting_messages(create_app(url), "editvec.never-declared") == 0


def test_many_who_begin_at_once_disturb_nobody_in_a_folder(tmp_path: Path) -> None:
    url = f"filesystem://{tmp_path}/broker"

    def begin(number: int) -> None:
        app = create_app(url)
        send(app, "any", [number], queue="editvec.work.a.v1", priority=Priority.NORMAL)

    with ThreadPoolExecutor(8) as threads:
        for one in [threads.submit(begin, number) for number in range(64)]:
            one.result()

    assert waiting_messages(create_app(url), "editvec.work.a.v1") == 64
    assert {path.name for path in (tmp_path / "broker").iterdir()} == {"messages", "taken"}


def test_taken_messages_of_a_folder_are_forgotten_after_a_while(tmp_path: Path) -> None:
    url = f"filesystem://{tmp_path}/broker"
    create_app(url)
    taken = tmp_path / "broker/taken"
    (taken / "new.msg").write_text("{}")
    assert forget_taken_messages(url) == 0

    later = time.time() + 3600
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: later)
        assert forget_taken_messages(url) == 1

    assert list(taken.iterdir()) == []
    assert forget_taken_messages("redis://127.0.0.1:1/0") == 0


# --- encrypted connections ---


def certificate(folder: Path, host: str) -> tuple[Path, Path]:
    """A certificate for a host, which is its own authority, and its key."""
    folder.mkdir()
    files = folder / "certificate.pem", folder / "key.pem"
    options = f"-x509 -newkey rsa:2048 -nodes -days 1 -subj /CN={host}".split()
    subprocess.run(
        [
            *("openssl", "req", *options, "-addext", f"subjectAltName={host}"),
            *("-out", str(files[0]), "-keyout", str(files[1])),
        ],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    return files


@contextmanager
def encrypted_server(certificate: Path, key: Path) -> Iterator[tuple[int, list[bytes]]]:
    """A server that accepts encrypted connections, keeps what it is told first, and hangs up."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    told: list[bytes] = []

    def serve(listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            connection.settimeout(5)
            try:
                with context.wrap_socket(connection, server_side=True) as secured:
                    told.append(secured.recv(64))
            except OSError:
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,), daemon=True)
        thread.start()
        yield listening.getsockname()[1], told
        listening.shutdown(socket.SHUT_RDWR)
    thread.join()


def words_told(scheme: str, tmp_path: Path, *, host: str, query: str) -> list[bytes]:
    """What a client says to a server with a certificate for a host, once it trusts the server."""
    files = certificate(tmp_path / scheme, host)
    with encrypted_server(*files) as (port, told):
        url = f"{scheme}://ada:secret@127.0.0.1:{port}/0{query.format(files[0])}"
        with pytest.raises(BrokerError):
            require_broker(create_app(url))
        return list(told)


@pytest.mark.parametrize("scheme", ["rediss", "amqps"])
def test_an_encrypted_broker_is_not_believed_without_its_authority(
    scheme: str, tmp_path: Path
) -> None:
    assert words_told(scheme, tmp_path, host="IP:127.0.0.1", query="") == []


@pytest.mark.parametrize("scheme", ["rediss", "amqps"])
def test_an_encrypted_broker_is_not_believed_under_another_name(
    scheme: str, tmp_path: Path
) -> None:
    told = words_told(scheme, tmp_path, host="DNS:other.example", query="?ssl_ca_certs={}")

    assert told == []


@pytest.mark.parametrize("query", ["?ssl_ca_certs={}", "?ssl_cert_reqs=none"])
@pytest.mark.parametrize("scheme", ["rediss", "amqps"])
def test_an_encrypted_broker_is_spoken_to_when_it_is_trusted(
    scheme: str, query: str, tmp_path: Path
) -> None:
    told = words_told(scheme, tmp_path, host="IP:127.0.0.1", query=query)

    assert told
    assert told[0].startswith({"rediss": b"*", "amqps": b"AMQP"}[scheme])


def test_an_authority_s_file_reaches_the_client_and_leaves_the_address(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("")

    broker = parse_broker_url(f"rediss://host/0?ssl_ca_certs={file}")

    assert broker.url == "rediss://host/0"
    assert broker.use_ssl is not None
    assert broker.use_ssl["ssl_ca_certs"] == str(file)


# --- the log of a worker ---


@pytest.fixture
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    for name in ("celery", "kombu", "amqp", "alembic", "celery.worker.consumer.connection"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    logging.getLogger("multiprocessing").setLevel(logging.NOTSET)


@pytest.mark.usefixtures("_logging_as_before")
def test_a_lost_connection_is_one_line_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr("INFO")
    logger = logging.getLogger("celery.worker.consumer.consumer")

    try:
        raise OSError("reset by peer")
    except OSError:
        logger.warning("consumer: Connection to broker lost.\nTrying again...", exc_info=True)

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].endswith("Connection to broker lost. Trying again... (reset by peer)")
    assert os.sep not in lines[0]
