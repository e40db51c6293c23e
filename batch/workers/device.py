"""The device of a worker: is it there, and does another worker of this machine use it already?

torch is asked in a process of its own, which ends: a worker's parent never loads it.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from editvec.batch.errors import WorkerError

_PROBE_SECONDS = 120
_PROGRAM = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from editvec.batch.workers.device import describe
print(json.dumps(describe(sys.argv[2] or None)))
"""


@dataclass(frozen=True, kw_only=True)
class Device:
    """A device that works.

    Attributes:
        name: as torch names it: ``cpu``, ``cuda:1``.
        identity: of the hardware, whatever CUDA_VISIBLE_DEVICES calls it.
        model: for people.
    """

    name: str
    identity: str
    model: str


def probe_device(name: str | None) -> Device:
    """Has torch compute something on a device.

    Args:
        name: ``cpu``, ``cuda`` or ``cuda:N``; None takes a CUDA device if there is one.

    Raises:
        WorkerError: there is no such device, or it does not work.
    """
    if name == "cpu":
        return Device(name="cpu", identity=f"{socket.gethostname()}-cpu", model=_cores())
    words = [sys.executable, "-c", _PROGRAM, json.dumps(sys.path), name or ""]
    shown = repr(name) if name else "the default"
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as exc:
        raise WorkerError(f"device: {shown} did not answer in {_PROBE_SECONDS} s") from exc
    if done.returncode != 0:
        told = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise WorkerError(f"device: cannot use {shown}: {told[-1]}")
    return Device(**json.loads(done.stdout.splitlines()[-1]))


def describe(name: str | None) -> dict[str, str]:
    """What `probe_device` has a process of its own find out; loads torch.

    Raises:
        RuntimeError: there is no such device, or it does not work.
    """
    import torch

    from editvec.batch.workbench import default_device

    device = torch.device(name or default_device())
    (torch.ones(1, device=device) + 1).item()
    if device.type != "cuda":
        return {
            "name": str(device),
            "identity": f"{socket.gethostname()}-{device}",
            "model": _cores(),
        }
    number = torch.cuda.current_device() if ":" not in str(device) else device.index
    properties = torch.cuda.get_device_properties(number)
    return {
        "name": f"cuda:{number}",
        "identity": f"gpu-{properties.uuid}",
        "model": properties.name,
    }


def _cores() -> str:
    return f"{len(os.sched_getaffinity(0))} cores"


def hold_device(home: Path, device: Device) -> bool:
    """Marks a device as this process's until it ends.

    Args:
        home: the home folder, which keeps the marks.
        device: the device.

    Returns:
        False if another process of this home folder holds it.
    """
    folder = home / "workers"
    name = re.sub(r"[^A-Za-z0-9._-]", "_", device.identity)
    with suppress(OSError):  # a home folder that cannot be written, or locked, tells nothing
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
    return True
