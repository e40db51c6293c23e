"""Fixtures that all tests share: an isolated home, and the services where they run."""

import os
import signal
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from editvec import masking

pytest_plugins = [
    "tests.support.engine_fixtures",
    "tests.support.run_fixtures",
    "tests.support.s3_fixtures",
]

POSTGRESQL = ("127.0.0.1", 5432)
REDIS = ("127.0.0.1", 6379)
RABBITMQ = ("127.0.0.1", 5672)

hypothesis.settings.register_profile(
    "editvec",
    deadline=None,
    max_examples=50,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("editvec")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is marked `gpu` where there is none."""
    if item.get_closest_marker("gpu") is None:
        return
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")


@pytest.fixture(scope="session", autouse=True)
def _heard_interrupts() -> None:
    """The processes that tests start hear SIGINT, even where whoever started us has it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _no_secret_of_another_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test had for a password is a word like any other in the next one."""
    monkeypatch.setattr(masking, "_known", masking._Known())


@pytest.fixture(scope="session", autouse=True)
def _isolated_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the home folder, database or broker of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("EDITVEC_") and name != "EDITVEC_REQUIRE_SERVICES":
                patch.delenv(name)
        patch.setenv("EDITVEC_HOME", str(tmp_path_factory.mktemp("home")))
        yield


def _require(address: tuple[str, int], name: str) -> None:
    """Go on if something listens there; else skip, or fail where the services are required."""
    try:
        socket.create_connection(address, timeout=2).close()
    except OSError as exc:
        reason = f"{name} does not answer at {address[0]}:{address[1]} ({exc})"
        if os.environ.get("EDITVEC_REQUIRE_SERVICES") == "1":
            pytest.fail(f"{reason}, and EDITVEC_REQUIRE_SERVICES=1", pytrace=False)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with a migrated database and nothing in it; read only."""
    from editvec.registry.config import RegistryConfig
    from editvec.registry.tables.schema import upgrade

    home = tmp_path_factory.mktemp("empty") / "home"
    upgrade(RegistryConfig.for_home(home))
    return home


@pytest.fixture
def postgresql_url() -> Iterator[str]:
    """SQLAlchemy URL of a fresh, empty PostgreSQL database, dropped after the test."""
    _require(POSTGRESQL, "PostgreSQL")
    import psycopg
    from psycopg import sql

    host, port = POSTGRESQL
    server = f"host={host} port={port} user=postgres dbname=postgres"
    name = f"editvec_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield f"postgresql+psycopg://postgres@{host}:{port}/{name}"
    with psycopg.connect(server, autocommit=True) as connection:
        drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
        connection.execute(drop)


@pytest.fixture(scope="session")
def redis_url() -> str:
    """URL of the Redis server of this machine; a test uses queue names of its own."""
    _require(REDIS, "Redis")
    return f"redis://{REDIS[0]}:{REDIS[1]}/0"


@pytest.fixture(scope="session")
def rabbitmq_url() -> str:
    """URL of the RabbitMQ server of this machine; a test uses queue names of its own."""
    _require(RABBITMQ, "RabbitMQ")
    return f"amqp://guest:guest@{RABBITMQ[0]}:{RABBITMQ[1]}//"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The soak takes minutes and little of the processor: the others run beside it."""
    items.sort(key=lambda item: item.path.name != "test_soak.py")
