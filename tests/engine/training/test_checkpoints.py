"""States of trainings on disk."""

import os
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from editvec.engine.errors import CheckpointError
from editvec.engine.training.checkpoints import (
    Checkpoint,
    adam_tensors,
    check_settings,
    load_checkpoint,
    restore_adam,
    save_checkpoint,
)


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    shared = torch.arange(6.0)
    saved = Checkpoint(
        7,
        {"whole": shared, "part": shared[2:4], "turned": shared.view(2, 3).t()},
        {"seed": 3, "sizes": [1, 2]},
        {"p": 0.25},
    )
    save_checkpoint(tmp_path / "new" / "state.safetensors", saved)

    read = load_checkpoint(tmp_path / "new" / "state.safetensors")

    assert read is not None
    assert (read.step, read.settings, read.record) == (7, {"seed": 3, "sizes": [1, 2]}, {"p": 0.25})
    assert all(torch.equal(read.tensors[name], saved.tensors[name]) for name in saved.tensors)
    assert load_checkpoint(tmp_path / "none.safetensors") is None


def test_state_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.safetensors"
    save_checkpoint(path, Checkpoint(1, {"x": torch.ones(2)}))

    def torn(number: int) -> None:
        raise OSError("no space")

    monkeypatch.setattr(os, "fsync", torn)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(path, Checkpoint(2, {"x": torch.zeros(2)}))

    read = load_checkpoint(path)
    assert read is not None
    assert read.step == 1
    assert [one.name for one in tmp_path.iterdir()] == ["state.safetensors"]


def test_damaged_state_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    save_checkpoint(path, Checkpoint(1, {"x": torch.ones(200)}))
    path.write_bytes(path.read_bytes()[:-100])
    other = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"x": torch.ones(2)}, other)

    for damaged in (path, other):
        with pytest.raises(CheckpointError, match=f"{damaged.name}: expected the state"):
            load_checkpoint(damaged)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"batch": 16, "seed": 1}, r"begun with batch 32, not 16"),
        ({"batch": 32}, r"begun with seed 1, not \(none\)"),
        ({"batch": 32, "seed": 1, "mirror": True}, r"begun with mirror \(none\), not true"),
    ],
)
def test_changed_setting_is_refused_by_its_name(settings: dict[str, object], words: str) -> None:
    begun = Checkpoint(5, {}, {"batch": 32, "seed": 1})

    with pytest.raises(CheckpointError, match=words):
        check_settings(begun, settings, place="here")
    check_settings(begun, {"seed": 1, "batch": 32}, place="here")


def test_restored_optimiser_goes_on_as_if_never_stopped() -> None:
    def build() -> tuple[nn.Module, torch.optim.Adam]:
        torch.manual_seed(0)
        module = nn.Linear(3, 2)
        module.register_parameter("unused", nn.Parameter(torch.ones(1)))
        return module, torch.optim.Adam(module.parameters(), lr=0.1)

    def step(module: nn.Module, optimizer: torch.optim.Adam, value: float) -> None:
        optimizer.zero_grad()
        module(torch.full((1, 3), value)).square().sum().backward()
        optimizer.step()

    module, optimizer = build()
    step(module, optimizer, 1.0)
    kept = {name: tensor.clone() for name, tensor in adam_tensors(optimizer, module).items()}
    weights = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    step(module, optimizer, -2.0)

    again, again_optimizer = build()
    again.load_state_dict(weights)
    restore_adam(again_optimizer, again, kept)
    step(again, again_optimizer, -2.0)

    assert "step/unused" not in kept
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
