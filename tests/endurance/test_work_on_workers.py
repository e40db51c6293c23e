"""Learning and embedding on real workers, over a folder as the broker; and workers that die."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from editvec.batch.learning.learn import JOB_KEY
from editvec.batch.reports.audit import audit
from editvec.batch.runs.store import Runs
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from tests.support.lessons import write_lessons
from tests.support.servers import kill_tree
from tests.support.worker_processes import children_of, start, worker

MakePictures = Callable[..., Path]


def require_whole(home: Path, *, kinds: list[str]) -> None:
    with Library.open(RegistryConfig.for_home(home)) as library:
        runs = Runs(library.engine).latest()
        assert sorted(run.kind for run in runs) == kinds
        for run in runs:
            assert run.state == "completed"
            assert audit(library, run).problems == []


@pytest.mark.slow
def test_workers_learn_and_embed(
    home: Path, make_pictures: MakePictures, tmp_path: Path, tiny_bundle: Path
) -> None:
    lessons = write_lessons(tmp_path / "lessons", tiny_bundle, ("grin", "pout"))
    source = make_pictures(5)
    learning = ("learn", "--lessons", lessons, "--steps", "2", "--embed", "steps:1")
    embedding = ("embed", source, "--embed", "steps:2", "--chunk-size", "2")

    with worker(home):
        processes = [
            start(home, *words, "--workers", "celery", "--json") for words in (learning, embedding)
        ]
        ended = [process.communicate(timeout=240) for process in processes]
        log = (home / "worker.log").read_text()
        assert [process.returncode for process in processes] == [0, 0], f"{ended} {log}"

    told = [json.loads(output) for output, _ in ended]
    assert [row["vector"] for row in told[0]["vectors"]] == ["tiny/grin@1", "tiny/pout@1"]
    assert [one["counts"]["done"] for one in told] == [2, 5]
    require_whole(home, kinds=["embed", "learn"])


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["child", "all"])
def test_a_killed_worker_loses_no_vector_and_adds_none_twice(
    victim: str, home: Path, tmp_path: Path, tiny_bundle: Path
) -> None:
    names = tuple(f"lesson{number}" for number in range(8))
    lessons = write_lessons(tmp_path / "lessons", tiny_bundle, names)
    words = ("learn", "--lessons", lessons, "--steps", "60", "--embed", "steps:20")

    with worker(home) as parent:
        process = start(home, *words, "--workers", "celery", "--json")
        with Library.open(RegistryConfig.for_home(home)) as library:
            deadline = time.monotonic() + 120
            while len(learned(library)) < 2:
                assert time.monotonic() < deadline, (home / "worker.log").read_text()
                time.sleep(0.02)
        if victim == "all":
            kill_tree(parent.pid)
        else:
            for child in children_of(parent.pid):
                os.kill(child, signal.SIGKILL)
        with worker(home):
            output, errors = process.communicate(timeout=300)
    log = errors + (home / "worker.log").read_text()

    assert process.returncode == 0, log
    addresses = [row["vector"] for row in json.loads(output)["vectors"]]
    assert addresses == [f"tiny/{name}@1" for name in names]
    with Library.open(RegistryConfig.for_home(home)) as library:
        assert sorted(learned(library)) == addresses
    require_whole(home, kinds=["learn"])


def learned(library: Library) -> list[str]:
    return [one.address for one in library.find_vectors() if JOB_KEY in one.settings]
