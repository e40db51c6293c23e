"""kill -9 at random moments: files are whole at each of them, and so is the run in the end."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from editvec.batch.reports.audit import audit
from editvec.batch.runs.store import Runs
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from tests.support.folder_runs import do, request, rows
from tests.support.places import ROOT

INPUTS = 30


@pytest.mark.parametrize("kills", [4, pytest.param(80, marks=pytest.mark.slow)])
def test_killed_runs_leave_whole_files_and_end_as_if_undisturbed(
    home: Path, make_pictures: Callable[..., Path], tmp_path: Path, kills: int
) -> None:
    source, target = make_pictures(INPUTS), tmp_path / "killed"
    target.mkdir()
    words = [str(home), str(source), str(target), str(kills), "1"]

    done = subprocess.run(
        [sys.executable, "-m", "tests.support.killed_runs", *words],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    with Library.open(RegistryConfig.for_home(home)) as library:
        do(library, request(source, tmp_path / "undisturbed", "smile=0:1:2"))
        keys = {
            (row["source"], row["recipe"]): row["content_key"]
            for row in rows(tmp_path / "undisturbed")
        }
        runs = Runs(library.engine)
        for line in done.stdout.splitlines():
            run = runs.latest_in(Path(line))
            assert run is not None
            counts = runs.counts(run.id)
            assert audit(library, run).problems == []
            # an input that was in work at six deaths in a row is taken for the cause of them
            assert counts.done + counts.quarantined == counts.total == 2 * INPUTS
            made = {(row["source"], row["recipe"]): row["content_key"] for row in rows(Path(line))}
            assert len(made) == counts.done
            assert made.items() <= keys.items()
