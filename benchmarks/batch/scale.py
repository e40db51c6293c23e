"""What runs of many items cost: planning, following, completing, and commands on a finished one."""

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.batch.library import VECTOR, decide_items, link_photos, open_library
from benchmarks.batch.processes import Ended, command, environment, peak_mib, redis_server
from editvec.batch.runs.leases import Leases
from editvec.batch.runs.store import Runs
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library

_FOLLOWED_SECONDS = 5.0
_WITH_FAILURES = 3
_EDIT = ("--edit", f"{VECTOR}=1", "--class", "avatars", "--embed", "encoder")


def measure_scale(root: Path, size: int) -> dict[str, Any]:
    """Every command on a run of `size` items, one after the other.

    Args:
        root: an empty folder.
        size: how many.

    Returns:
        Seconds and peak memory in MiB of each command, by what it does.
    """
    root.mkdir()
    home, photos, out = root / "home", root / "photos", root / "out"
    open_library(home).close()
    result: dict[str, Any] = {"a command without a run": _figures(command(home, "batch", "list"))}
    link_photos(photos, size)
    words = ("batch", "run", photos, out, *_EDIT, "--workers", "celery")
    with redis_server(root / "redis") as broker:
        planned = command(home, *words, "--detach", broker=broker)
        result["plan, and publish every chunk"] = _figures(planned)
        run_id = planned.output.strip()
        result["follow it on workers, processor time of 1 s"] = _follow(home, run_id, broker)
    with Library.open(RegistryConfig.from_environment(home)) as library:
        decide_items(library, Runs(library.engine).get(run_id))
    allowed = (0, _WITH_FAILURES)
    ended = command(home, "batch", "resume", run_id, allowed=allowed)
    result["complete: manifests and report"] = _figures(ended)
    for name, more in {
        "resume, with nothing to do": ("resume", run_id),
        "the same command again": words[1:],
        "status": ("status", run_id),
        "report": ("report", run_id),
        "audit": ("audit", run_id),
    }.items():
        ended = command(home, "batch", *more, allowed=allowed)
        result[name] = _figures(ended)
        if name == "audit" and not ended.output.endswith(" 0 problems\n"):
            raise SystemExit(f"audit of {size} items: {ended.output}")
    shutil.rmtree(root)
    return result


def _figures(ended: Ended) -> dict[str, float]:
    return {"seconds": ended.seconds, "peak_mib": ended.peak_mib}


def _follow(home: Path, run_id: str, broker: str) -> dict[str, float]:
    """A command that follows a run for some seconds, while nobody works on it."""
    words = ("--home", str(home), "batch", "resume", run_id, "--workers", "celery")
    process = subprocess.Popen(
        [sys.executable, "-m", "editvec", *words],
        env=environment(broker),
        cwd=home,
        stderr=subprocess.DEVNULL,
    )
    with Library.open(RegistryConfig.from_environment(home)) as library:
        assert not Leases(library.engine).pending_chunks(run_id)
    time.sleep(_FOLLOWED_SECONDS)  # until it follows
    used = _processor_seconds(process.pid)
    time.sleep(_FOLLOWED_SECONDS)
    share = (_processor_seconds(process.pid) - used) / _FOLLOWED_SECONDS
    found = {"seconds": share, "peak_mib": peak_mib(process.pid)}
    process.terminate()
    process.wait(timeout=60)
    return found


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
