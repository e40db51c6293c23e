"""Workers and a command that follows a run, any of which a test may kill at any moment."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, get_args

from editvec.batch.reports.audit import audit
from editvec.batch.runs.store import Runs
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from tests.support.folder_runs import rows
from tests.support.servers import kill_tree
from tests.support.worker_processes import children_of, end_worker, start, start_worker

Victim = Literal["child", "parent", "parent and child", "coordinator"]
VICTIMS: tuple[Victim, ...] = get_args(Victim)
# What a command ends with in one line when it finds no server at its start.
_AWAY = ("does not answer", "Connection refused", "terminating connection", "closed the connection")
Keys = dict[tuple[str, str], str]


class Stage:
    """Workers of class `tiny`, and one command at a time that has them do a run.

    Whatever is killed is started again: a worker by its administrator, so to speak, and the command
    by its user.
    """

    def __init__(
        self,
        home: Path,
        *,
        chance: random.Random,
        workers: int = 1,
        broker: str | None = None,
        database: str | None = None,
    ) -> None:
        self.home = home
        self.chance = chance
        self.killed = dict.fromkeys(VICTIMS, 0)
        self._servers = {"broker": broker, "database": database}
        self._workers = [self._start_worker() for _ in range(workers)]
        self._words: tuple[object, ...] = ()
        self._command: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._command is not None and self._command.poll() is None:
            self._command.kill()
            self._command.communicate()
        for process in self._workers:
            if process.poll() is None:
                end_worker(process)

    def begin(self, *words: object) -> None:
        """Starts a command that follows a run to its end."""
        self._words = words
        self._command = start(self.home, *words, **self._servers)

    @property
    def is_over(self) -> bool:
        """True once the command ended by itself."""
        return self._command is None or self._command.poll() is not None

    def kill(self, victim: Victim) -> bool:
        """kill -9 of one of them, which is started again; False if there was nobody to kill."""
        if victim == "coordinator":
            if self._command is None or self._command.poll() is not None:
                return False
            self._command.kill()
            self._command.communicate()
            self.killed[victim] += 1
            self.begin(*self._words)
            return True
        place = self.chance.randrange(len(self._workers))
        parent = self._workers[place]
        if victim == "child":
            children = children_of(parent.pid)
            for child in children:
                os.kill(child, signal.SIGKILL)
            self.killed[victim] += bool(children)
            return bool(children)
        if victim == "parent":
            os.kill(parent.pid, signal.SIGKILL)  # what becomes of its child is its child's affair
        else:
            kill_tree(parent.pid)
        parent.wait()
        self.killed[victim] += 1
        self._workers[place] = self._start_worker()
        return True

    def wait(self, *, seconds: float = 300.0) -> None:
        """Returns when the command ended well.

        Raises:
            AssertionError: it did not, or a worker ended by itself.
        """
        assert self._command is not None
        _, errors = self._command.communicate(timeout=seconds)
        while self._command.returncode == 1 and any(words in errors for words in _AWAY):
            self.begin(*self._words)  # it wanted to plan, or to begin, when a server was away
            _, errors = self._command.communicate(timeout=seconds)
        log = errors + (self.home / "worker.log").read_text()[-20_000:]
        assert self._command.returncode == 0, log
        assert all(process.poll() is None for process in self._workers), log
        assert "this is a bug" not in log
        assert "Traceback" not in log, log

    def _start_worker(self) -> subprocess.Popen[str]:
        return start_worker(self.home, **self._servers)


def wait_for_images(out: Path, count: int, *, seconds: float = 120.0) -> None:
    """Returns when a run has made so many images."""
    deadline = time.monotonic() + seconds
    while sum(1 for _ in out.glob("images/*/*.png")) < count:
        assert time.monotonic() < deadline, f"no {count} images after {seconds} s"
        time.sleep(0.02)


def require_whole(config: RegistryConfig, out: Path, *, keys: Keys) -> None:
    """The run into a folder made exactly these items, and says so everywhere alike."""
    with Library.open(config) as library:
        runs = Runs(library.engine)
        run = runs.latest_in(out)
        assert run is not None
        counts = runs.counts(run.id)
        assert (counts.done, counts.total) == (len(keys), len(keys)), counts
        assert audit(library, run).problems == []
    assert keys_of(out) == keys


def keys_of(out: Path) -> Keys:
    """The content key of every item that a run made, by source and recipe."""
    made = rows(out)
    keys = {(row["source"], row["recipe"]): row["content_key"] for row in made}
    assert len(keys) == len(made)
    return keys
