"""Who holds a lease: a process on a host; and whether it is still there."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_START_TIME_FIELD = 22
_UNKNOWN = "unknown"


@dataclass(frozen=True)
class Owner:
    """A process, told apart from a later one with the same pid by its start time.

    Attributes:
        host: host name and process namespace: equal only where pids mean the same processes.
        pid: process id.
        started: start time in the system's own unit; "unknown" where the system does not tell.
    """

    host: str
    pid: int
    started: str

    @classmethod
    def current(cls) -> Self:
        """This process."""
        return cls(host=this_host(), pid=os.getpid(), started=_start_time(os.getpid()) or _UNKNOWN)

    @property
    def name(self) -> str:
        """Host and process, for people."""
        return f"{self.host.split(' ')[0]}:{self.pid}"

    def is_gone(self) -> bool:
        """True if this host can tell that the process has ended; False if alive or elsewhere."""
        if self.host != this_host():
            return False
        started = _start_time(self.pid)
        if started is not None:
            return self.started not in (_UNKNOWN, started)
        return not _is_running(self.pid)


def this_host() -> str:
    """Name of the host and of the namespace that pids belong to."""
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = "pid"
    return f"{socket.gethostname()} {namespace}"[:255]


def _start_time(pid: int) -> str | None:
    """Start time of a living process; None if there is none or the system has no /proc."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = status.rpartition(")")[2].split()  # the name before ")" may hold anything
    if fields[0] in ("Z", "X"):
        return None
    return fields[_START_TIME_FIELD - 3]


def _is_running(pid: int) -> bool:
    if Path("/proc/self/stat").exists():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
