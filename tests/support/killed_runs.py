"""Runs that are killed at random moments: a program of its own, because it forks.

    python -m tests.support.killed_runs HOME SOURCE TARGET KILLS SEED

Each child of it works on a run until it is killed; the next one continues. A run that ends makes
room for another, with another kind of output, until as many children were killed as were asked for.
The last run is finished. After every death what SQL has recorded is on the disk, and what can be
seen there is whole. What is printed is the output folders of the runs, one to a line.
"""

import json
import os
import random
import signal
import sys
import tarfile
import time
from pathlib import Path

import torch

from editvec.batch.chunks.images import ChunkProcessor
from editvec.batch.execution.local import run_locally
from editvec.batch.recipes.settings import Output
from editvec.batch.reports.audit import audit
from editvec.batch.runs.planning import open_run
from editvec.batch.runs.store import Runs
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from editvec.whole_files import digest_of_file
from tests.support.folder_runs import request

_LONGEST_SECONDS = 1.5
_OUTPUTS = (Output.WEBDATASET, Output.IMAGEFOLDER, Output.COCO)
_PNG_END = b"IEND\xaeB`\x82"


def main(home: Path, source: Path, target: Path, kills: int, seed: int) -> None:
    """Does what the program does."""
    # loaded before the fork, and no thread is running: a child begins its work at once
    assert ChunkProcessor is not None
    torch.set_num_threads(1)
    chance = random.Random(seed)
    runs, killed = 0, 0
    while killed < kills:
        out = target / f"{runs:03d}"
        output = _OUTPUTS[runs % len(_OUTPUTS)]
        seconds = chance.uniform(0.05, _LONGEST_SECONDS)
        was_killed = _begin(home, source, out, output, seconds=seconds)
        killed += was_killed
        runs += not was_killed
        _require_whole_files(out)
        _require_what_is_recorded(home, out)
    out = target / f"{runs:03d}"
    _begin(home, source, out, _OUTPUTS[runs % len(_OUTPUTS)], seconds=None)
    for folder in sorted(target.iterdir()):
        sys.stdout.write(f"{folder}\n")


def _begin(home: Path, source: Path, out: Path, output: Output, *, seconds: float | None) -> bool:
    """Has a child work on a run; True if it was killed, after some seconds, before its end."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            with Library.open(RegistryConfig.for_home(home)) as library:
                settings = {"output": output, "chunk_size": 3}
                opened = open_run(library, request(source, out, "smile=0:1:2", **settings))
                run_locally(library, opened.run, mini_batch=2)
            status = 0
        finally:
            os._exit(status)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0, f"the run into {out} failed"
    return False


def _require_what_is_recorded(home: Path, out: Path) -> None:
    """Every item that SQL knows has its files."""
    with Library.open(RegistryConfig.for_home(home)) as library:
        run = Runs(library.engine).latest_in(out)
        if run is not None:
            assert audit(library, run).problems == []


def _require_whole_files(out: Path) -> None:
    """Every file that can be seen is whole; of a shard, also the one that was recorded."""
    for path in (*out.glob("images/*/*.png"), *out.glob("masks/*/*.png")):
        assert path.read_bytes().endswith(_PNG_END), path
    for path in out.glob("shards/*"):
        (record_path,) = out.glob(f".editvec/*/shards/{path.stem}.json")
        record = json.loads(record_path.read_bytes())
        assert path.suffix == ".tar"
        assert digest_of_file(path) == record["sha256"], path
        with tarfile.open(path) as tar:
            assert len(tar.getnames()) == 3 * record["samples"], path


if __name__ == "__main__":
    _home, _source, _target, _kills, _seed = sys.argv[1:]
    main(Path(_home), Path(_source), Path(_target), int(_kills), int(_seed))
