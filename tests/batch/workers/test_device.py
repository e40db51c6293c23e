"""The device of a worker: found out before it serves, and marked while it does."""

import sys
from pathlib import Path

import pytest

from editvec.batch.errors import WorkerError
from editvec.batch.workers.device import Device, describe, hold_device, probe_device
from tests.support.worker_processes import worker


def test_a_device_that_is_not_there_is_refused_in_one_line() -> None:
    with pytest.raises(WorkerError, match=r"device: cannot use 'cuda:99': ") as refused:
        probe_device("cuda:99")

    assert "\n" not in str(refused.value)


def test_a_word_that_is_no_device_is_refused() -> None:
    with pytest.raises(WorkerError, match="cannot use 'gpu'"):
        probe_device("gpu")


def test_without_a_name_the_default_is_found_by_a_process_that_ends() -> None:
    assert probe_device(None).name == describe(None)["name"]


def test_the_cpu_needs_no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/program")

    assert probe_device("cpu").name == "cpu"


def test_a_second_worker_on_a_device_is_told_and_serves(home: Path, tmp_path: Path) -> None:
    assert hold_device(home, probe_device("cpu"))

    with worker(home) as parent:
        log = home / "worker.log"
        while "serving" not in log.read_text():
            assert parent.poll() is None

    assert "another worker of this library serves cpu too" in log.read_text()
    assert parent.returncode == 0


def test_devices_are_told_apart_by_their_hardware(tmp_path: Path) -> None:
    first = Device(name="cuda:0", identity="gpu-1/2", model="")
    second = Device(name="cuda:0", identity="gpu-3", model="")

    assert hold_device(tmp_path, first)
    assert hold_device(tmp_path, second)
    assert not hold_device(tmp_path, first)


def test_a_home_folder_that_cannot_be_written_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "workers").write_text("not a folder")

    assert hold_device(tmp_path, Device(name="cpu", identity="here", model=""))


@pytest.mark.gpu
def test_a_cuda_device_is_known_by_its_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    named, default = probe_device("cuda:0"), probe_device(None)

    assert named == default
    assert named.name == "cuda:0"
    assert named.identity.startswith("gpu-")
