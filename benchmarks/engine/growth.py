"""How operations, time and memory of our tasks grow with sizes.

    python -m benchmarks.engine.growth [--quick] [--json FILE]

Networks and tasks are those of `benchmarks.engine`, without the naive way. One setting changes at a
time; each row is measured in a process of its own: processor time of the second call, and the peak
of resident memory beyond the loaded networks of the first one.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click

from benchmarks.engine.meters import count_effort, peak_memory
from benchmarks.engine.workloads import Workload

USUAL = {"resolution": 256, "members": 10, "labels": 32, "images": 1}
QUICK = {"resolution": 16, "members": 2, "labels": 4, "images": 1}
MASK, STEP = "apply, image and mask", "learning step, ROI 10%"
CHANGES: list[tuple[str, dict[str, int]]] = [
    (MASK, {}),
    (MASK, {"resolution": 128}),
    (MASK, {"resolution": 512}),
    (MASK, {"members": 5}),
    (MASK, {"labels": 34}),
    (MASK, {"labels": 8}),
    (MASK, {"images": 4}),
    (STEP, {}),
    (STEP, {"resolution": 128}),
    (STEP, {"resolution": 512}),
    (STEP, {"members": 5}),
    (STEP, {"labels": 8}),
    (STEP, {"images": 4}),
    ("learning step, ROI 2%", {}),
    ("learning step, ROI 40%", {}),
    ("learning step, ROI 40%", {"resolution": 512}),
    ("embedding step", {}),
]


@click.command()
@click.option("--quick", is_flag=True, help="16 pixels and small networks, to see that it works.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all figures.")
@click.option("--row", hidden=True, help="Measure one row in this process, as JSON.")
def main(*, quick: bool, json_file: Path | None, row: str | None) -> None:
    """Measure every row and print the table."""
    if row is not None:
        click.echo(json.dumps(_measure(**json.loads(row), is_small=quick)))
        return
    rows = []
    click.echo(f"{'task':28}{'px':>5}{'members':>9}{'labels':>8}{'N':>4}"
               f"{'GFLOP':>9}{'CPU s':>8}{'MiB':>7}   per image")  # fmt: skip
    for task, changes in CHANGES:
        settings = QUICK | {k: v for k, v in changes.items() if k != "resolution"}
        settings = settings if quick else USUAL | changes
        found = _in_process(task, settings, is_quick=quick)
        rows.append({"task": task, **settings, **found})
        click.echo(f"{task:28}{settings['resolution']:5}{settings['members']:9}"
                   f"{settings['labels']:8}{settings['images']:4}{found['gflop']:9.1f}"
                   f"{found['seconds']:8.2f}{found['peak_mib']:7.0f}")  # fmt: skip
    if json_file is not None:
        json_file.write_text(json.dumps(rows, indent=2) + "\n")


def _in_process(task: str, settings: dict[str, int], *, is_quick: bool) -> dict[str, float]:
    row = json.dumps({"task": task, "settings": settings})
    words = [
        sys.executable,
        "-m",
        "benchmarks.engine.growth",
        "--row",
        row,
        *(["--quick"] if is_quick else []),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{task}: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _measure(task: str, settings: dict[str, Any], *, is_small: bool) -> dict[str, float]:
    """Of one image: operations, processor time and memory."""
    images = settings["images"]
    call = Workload(**settings, is_small=is_small).task(task).ours
    peak = peak_memory(call, "cpu")
    started = time.process_time()
    call()
    seconds = time.process_time() - started
    _, effort = count_effort(call)
    return {
        "gflop": effort.flop / images / 1e9,
        "seconds": seconds / images,
        "peak_mib": peak / images / 2**20,
    }


if __name__ == "__main__":
    main()
