"""Servers of a test's own, which it may stop, kill and start again."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int, *, seconds: float = 30.0) -> None:
    """Returns when somebody listens."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


class RedisServer:
    """A Redis that keeps nothing on the disk: a restart loses every message.

    Args:
        folder: of the server.
        password: that it asks for; "" = none.
    """

    def __init__(self, folder: Path, password: str = "") -> None:
        binary = shutil.which("redis-server")
        if binary is None:
            missing("redis-server")
        self.binary = str(binary)
        self.folder = folder
        self.port = free_port()
        self.password = password
        login = f":{password}@" if password else ""
        self.url = f"redis://{login}127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it on its port."""
        self.folder.mkdir(parents=True, exist_ok=True)
        words = (
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            *(("--requirepass", self.password) if self.password else ()),
        )
        self.process = subprocess.Popen(
            [self.binary, *words, "--dir", str(self.folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(self.port)

    def kill(self) -> None:
        """Ends it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


class PostgresServer:
    """A PostgreSQL cluster in a folder; started as its own user where the tests run as root."""

    def __init__(self, folder: Path) -> None:
        binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
        found = str(binaries[-1]) if binaries else shutil.which("pg_ctl")
        if found is None:
            missing("pg_ctl")
        self.binaries = Path(str(found)).parent
        self.data = folder / "data"
        self.port = free_port()
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"
        folder.mkdir(parents=True)
        if os.geteuid() == 0:
            open_to_others(folder)
            shutil.chown(folder, "postgres", "postgres")
        self._run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "--no-sync")

    def start(self) -> None:
        """Starts it and waits until it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        log = self.data / "log"
        self._run("pg_ctl", "-D", self.data, "-l", log, "-w", "-o", options, "start")

    def log(self) -> str:
        """The last of what it told, for a test that finds it gone."""
        return (self.data / "log").read_text(errors="replace")[-5000:]

    def stop(self) -> None:
        """Ends it at once, as a crash would: every connection breaks."""
        if (self.data / "postmaster.pid").exists():
            self._run("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop")

    def _run(self, program: str, *words: object) -> None:
        user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        subprocess.run(
            [str(self.binaries / program), *map(str, words)],
            check=True,
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=None if user is None else user.pw_uid,
            group=None if user is None else user.pw_gid,
        )


class RabbitServer:
    """A RabbitMQ in a folder; what was sent to it survives its end."""

    def __init__(self, folder: Path) -> None:
        binary = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
        epmd = shutil.which("epmd")
        if not binary.exists() or epmd is None:
            missing("rabbitmq-server")
        self.binary, self.epmd = binary, str(epmd)
        self.folder = folder
        self.port = free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        self.epmd_port = free_port()
        self.user = pwd.getpwnam("rabbitmq") if os.geteuid() == 0 else None
        self.registrar: subprocess.Popen[bytes] | None = None
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        if self.user is not None:
            open_to_others(folder)
            shutil.chown(folder, self.user.pw_uid, self.user.pw_gid)

    def start(self) -> None:
        """Starts it and waits until it answers, some ten seconds."""
        variables = {
            "HOME": self.folder,
            "RABBITMQ_NODENAME": f"editvec{self.port}@localhost",
            "RABBITMQ_NODE_PORT": self.port,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": free_port(),
            "RABBITMQ_MNESIA_BASE": self.folder / "data",
            "RABBITMQ_LOG_BASE": self.folder / "log",
            "RABBITMQ_CONFIG_FILE": self.folder / "none",
            "RABBITMQ_ENABLED_PLUGINS_FILE": self.folder / "plugins",
            "RABBITMQ_PID_FILE": self.folder / "pid",
            "RABBITMQ_SERVER_ERL_ARGS": "+sbwt none +S 1:1",
            "ERL_EPMD_PORT": self.epmd_port,
        }
        if self.registrar is None:
            # left to itself, Erlang would start one that nobody ends
            self.registrar = self._start([self.epmd, "-port", str(self.epmd_port)], {})
            wait_for(self.epmd_port)
        named = {name: str(value) for name, value in variables.items()}
        self.process = self._start([str(self.binary)], named)
        wait_for(self.port, seconds=120)

    def kill(self) -> None:
        """Ends it at once; `start` brings it back with its messages."""
        if self.process is not None:
            kill_tree(self.process.pid)
            self.process.wait()
            self.process = None

    def end(self) -> None:
        """Ends it for good."""
        self.kill()
        if self.registrar is not None:
            self.registrar.kill()
            self.registrar.wait()
            self.registrar = None

    def _start(self, words: list[str], variables: dict[str, str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            words,
            env={**os.environ, **variables},
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=None if self.user is None else self.user.pw_uid,
            group=None if self.user is None else self.user.pw_gid,
            extra_groups=None if self.user is None else [],
        )


def open_to_others(folder: Path) -> None:
    """Lets a server's own user reach a folder: temporary folders of pytest are closed to others."""
    for parent in [folder, *folder.parents]:
        if parent.owner() == "root" and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)


@contextmanager
def virtual_host(rabbitmq_url: str) -> Iterator[str]:
    """The URL of a virtual host of the test's own on a RabbitMQ of this machine."""
    program = shutil.which("rabbitmqctl")
    if program is None:
        missing("rabbitmqctl")
    name = f"editvec-{uuid.uuid4().hex[:12]}"

    def control(*words: str) -> None:
        subprocess.run([str(program), "--quiet", *words], check=True, timeout=60)

    control("add_vhost", name)
    try:
        control("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
        yield f"{rabbitmq_url.rstrip('/')}/{name}"
    finally:
        control("delete_vhost", name)


def kill_tree(pid: int) -> None:
    """kill -9 of a process and of all that it started, the parent first."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    os.kill(pid, signal.SIGKILL)
    for child in listed.split():
        kill_tree(int(child))


def missing(program: str) -> None:
    """Skips the test for a program that is not here, or fails where the services are required."""
    if os.environ.get("EDITVEC_REQUIRE_SERVICES") == "1":
        pytest.fail(f"no {program} here, and EDITVEC_REQUIRE_SERVICES=1", pytrace=False)
    pytest.skip(f"no {program} here")
