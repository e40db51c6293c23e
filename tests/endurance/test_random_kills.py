"""kill -9 of anyone at any moment: every resume ends with a clean audit and all items."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from tests.support.disturbances import VICTIMS, Stage, keys_of, require_whole, wait_for_images
from tests.support.folder_runs import do, request

INPUTS, SCALES = 60, "smile=0:1:4"
# A run of this size takes about so long on two cores, from the command to its report.
_LONGEST_SECONDS = 6.0


@pytest.mark.parametrize(
    ("kills", "seed"),
    # what is not begun when its worker dies waits for up to 60 s: half a minute for each kill
    [(1, 0), pytest.param(20, 1, marks=[pytest.mark.slow, pytest.mark.timeout(2400)])],
    ids=["one", "twenty"],
)
def test_a_run_on_a_worker_is_whole_whoever_is_killed_whenever(
    home: Path, make_pictures: Callable[..., Path], tmp_path: Path, kills: int, seed: int
) -> None:
    chance = random.Random(seed)
    source, config = make_pictures(INPUTS), RegistryConfig.for_home(home)
    with Library.open(config) as library:
        do(library, request(source, tmp_path / "undisturbed", SCALES))
    keys = keys_of(tmp_path / "undisturbed")

    with Stage(home, chance=chance) as stage:
        number = 0
        while sum(stage.killed.values()) < kills:
            out, number = tmp_path / f"out{number}", number + 1
            words = ("batch", "run", source, out, "--edit", SCALES, "--chunk-size", "8")
            stage.begin(*words, "--workers", "celery")
            if kills == 1:
                # a message that a killed worker had taken and not begun is sent again after 60 s
                wait_for_images(out, 1)
            else:
                time.sleep(chance.uniform(0.0, _LONGEST_SECONDS))
            stage.kill(chance.choice(VICTIMS))
            stage.wait()
            require_whole(config, out, keys=keys)
