"""A disk that is really full: a small file system of the test's own."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from editvec.batch.reports.audit import audit
from editvec.batch.runs.store import Runs
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from tests.support.folder_runs import rows
from tests.support.worker_processes import start, worker

MakePictures = Callable[..., Path]
EDITS = ("--edit", "smile=0:1:4", "--chunk-size", "4")
ITEMS = 4 * 24


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for some of the images."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small file system")
    mounted = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no small file system here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def make_room(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)


def require_paused_and_untorn(home: Path, out: Path) -> str:
    """Nothing is held, every file that can be seen is whole; returns the run."""
    with Library.open(RegistryConfig.for_home(home)) as library:
        (run,) = Runs(library.engine).latest()
        assert run.state == "paused"
        assert "no space left" in str(run.reason)
        assert "leased" not in Runs(library.engine).chunk_states(run.id)
        assert audit(library, run).problems == []
    made = [*out.glob("images/*/*.png"), *out.glob("masks/*/*.png")]
    assert made
    for path in made:
        with Image.open(path) as image:
            image.load()
    return run.id


def require_whole(home: Path, out: Path) -> None:
    with Library.open(RegistryConfig.for_home(home)) as library:
        (run,) = Runs(library.engine).latest()
        assert run.state == "completed"
        assert Runs(library.engine).counts(run.id).done == ITEMS
        assert audit(library, run).problems == []
    assert len(rows(out)) == ITEMS


def test_a_full_disk_pauses_a_run_and_the_same_command_goes_on_when_there_is_room(
    run_editvec: Callable[..., int],
    home: Path,
    make_pictures: MakePictures,
    small_disk: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = small_disk / "out"
    words = ("batch", "run", make_pictures(24), out, *EDITS, "--device", "cpu")

    assert run_editvec(*words) == 1
    said = capsys.readouterr().err
    require_paused_and_untorn(home, out)
    assert "no space left" in said.splitlines()[-1]
    assert "Traceback" not in said
    assert run_editvec(*words) == 1, "still no room"
    make_room(small_disk)

    assert run_editvec(*words) == 0
    require_whole(home, out)


@pytest.mark.slow
def test_a_disk_that_fills_up_under_workers_pauses_the_run_until_it_is_resumed(
    home: Path, make_pictures: MakePictures, small_disk: Path
) -> None:
    out = small_disk / "out"
    words = ("batch", "run", make_pictures(24), out, *EDITS)

    with worker(home) as parent:
        following = start(home, *words, "--workers", "celery")
        _, errors = following.communicate(timeout=240)
        assert following.returncode == 1, errors
        assert "is paused: output folder: no space left" in errors.splitlines()[-1]
        run_id = require_paused_and_untorn(home, out)
        make_room(small_disk)
        resumed = start(home, "batch", "resume", run_id, "--workers", "celery")
        _, errors = resumed.communicate(timeout=240)
        assert resumed.returncode == 0, errors + (home / "worker.log").read_text()
        assert parent.poll() is None

    require_whole(home, out)
