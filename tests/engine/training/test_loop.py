"""The loop of trainings: resumed, logged, guarded."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from editvec.engine.errors import CheckpointError, OutOfMemoryError
from editvec.engine.training.chance import epoch_indices, step_generator
from editvec.engine.training.loop import (
    LOG_FILE,
    TrainingProgress,
    TrainingState,
    hold_folder,
    memory_errors,
    read_log,
    run_training,
)


class Walk:
    """A trainee whose every step depends on all steps before it."""

    def __init__(self, *, die_at: int | None = None) -> None:
        self.place = torch.zeros(3)
        self.steps = 0
        self.die_at = die_at

    def step(self, step: int) -> Mapping[str, Any]:
        if step == self.die_at:
            raise KeyboardInterrupt
        drawn = torch.randn(3, generator=step_generator(5, step))
        self.place = 0.9 * self.place + drawn
        self.steps += 1
        return {"norm": float(self.place.norm())} if step % 2 == 0 else {}

    def state(self) -> TrainingState:
        return TrainingState({"place": self.place}, {"steps": self.steps})

    def restore(self, state: TrainingState) -> None:
        self.place, self.steps = state.tensors["place"].clone(), state.record["steps"]


def walk(
    folder: Path, *, die_at: int | None = None, num_steps: int = 9, **settings: Any
) -> tuple[Walk, list[TrainingProgress]]:
    trainee, seen = Walk(die_at=die_at), list[TrainingProgress]()
    run_training(
        trainee,
        folder,
        num_steps=num_steps,
        settings={"seed": 5, **settings},
        memory_advice="lower --batch-size (4 now)",
        save_seconds=0,
        on_progress=seen.append,
    )
    return trainee, seen


def measured(folder: Path) -> list[tuple[int, float]]:
    return [(entry["step"], entry["norm"]) for entry in read_log(folder)]


def test_stopped_training_ends_where_an_undisturbed_one_ends(tmp_path: Path) -> None:
    expected, _ = walk(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        walk(tmp_path / "stopped", die_at=5)

    resumed, seen = walk(tmp_path / "stopped")

    assert [progress.step for progress in seen] == [6, 7, 8, 9]
    assert (resumed.steps, resumed.place.tolist()) == (9, expected.place.tolist())
    assert measured(tmp_path / "stopped") == measured(tmp_path / "whole")
    assert [step for step, _ in measured(tmp_path / "whole")] == [0, 2, 4, 6, 8]


def test_log_forgets_what_was_done_after_the_state_was_written(tmp_path: Path) -> None:
    walk(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        walk(tmp_path / "torn", die_at=5)
    with (tmp_path / "torn" / LOG_FILE).open("a") as log:
        log.write(json.dumps({"step": 6, "norm": -1.0}) + '\n{"step": 8, "no')

    walk(tmp_path / "torn")

    assert measured(tmp_path / "torn") == measured(tmp_path / "whole")


def test_finished_training_does_nothing_and_a_longer_one_goes_on(tmp_path: Path) -> None:
    walk(tmp_path, num_steps=4)

    _, again = walk(tmp_path, num_steps=4)
    longer, seen = walk(tmp_path, num_steps=6)

    assert again == []
    assert [(progress.step, progress.num_steps) for progress in seen] == [(5, 6), (6, 6)]
    assert longer.steps == 6


def test_clocks_add_up_over_processes(tmp_path: Path) -> None:
    walk(tmp_path, num_steps=5)
    walk(tmp_path, num_steps=9)

    for clock in ("seconds", "cpu_seconds"):
        times = [entry[clock] for entry in read_log(tmp_path)]
        assert times == sorted(times)


def test_changed_setting_is_refused(tmp_path: Path) -> None:
    walk(tmp_path, num_steps=2, batch=4)

    with pytest.raises(CheckpointError, match="begun with batch 4, not 8"):
        walk(tmp_path, batch=8)


def test_second_process_is_kept_out(tmp_path: Path) -> None:
    with hold_folder(tmp_path), pytest.raises(CheckpointError, match="another process"):
        walk(tmp_path)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
)
def test_out_of_memory_says_which_setting_lowers_it(error: Exception) -> None:
    line = r"^out of memory: lower --batch-size$"
    with pytest.raises(OutOfMemoryError, match=line), memory_errors("lower --batch-size"):
        raise error


def test_other_errors_are_left_alone() -> None:
    with pytest.raises(RuntimeError, match="shape"), memory_errors("lower --batch-size"):
        raise RuntimeError("a shape is wrong")


def test_real_allocation_that_cannot_be_met_is_told() -> None:
    with pytest.raises(OutOfMemoryError), memory_errors("lower --batch-size"):
        torch.empty(2**60, dtype=torch.uint8)


def test_epochs_visit_every_sample_once() -> None:
    drawn = torch.cat([epoch_indices(7, size=3, seed=2, step=step) for step in range(7)])

    passes = drawn.view(3, 7)
    assert all(sorted(one.tolist()) == list(range(7)) for one in passes)
    assert len({tuple(one.tolist()) for one in passes}) == 3
    assert epoch_indices(2, size=5, seed=0, step=0).bincount().tolist() in ([2, 3], [3, 2])


def test_random_numbers_depend_on_seed_step_and_stream() -> None:
    def draw(seed: int, step: int, stream: int = 0) -> float:
        generator = step_generator(seed, step, stream=stream)
        return float(torch.rand(1, generator=generator))

    assert draw(1, 2) == draw(1, 2)
    assert len({draw(1, 2), draw(2, 1), draw(1, 3), draw(1, 2, 1)}) == 4
