"""Time, memory and operations of the engine's tasks, each against the published method.

    python -m benchmarks.engine [--resolution 256] [--members 10] [--labels 32] [--json FILE]
    python -m benchmarks.engine --quick
    python -m benchmarks.engine --resolution 128 --store benchmarks/engine/ratios.json
    python -m benchmarks.engine --guard benchmarks/engine/ratios.json

Both ways of a task run in turns on the same random networks of the published size (config-f, VGG16,
random weights: time and memory do not depend on them), and have to give the same numbers: the
largest difference is 1e-3 of the largest value, and labels differ in at most 1e-3 of the pixels,
where two logits are within a rounding of each other. Peak
memory is measured in a process of its own for each way, beyond the loaded networks. Operations are
those of matrix products and convolutions; the traffic is what all operations read and write, as if
nothing stayed in a cache, and both are shown as a share of what the device, or one core of a CPU,
reaches at most; on a CPU shares are of processor time, so that other work hardly counts.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.engine.meters import (
    Ceilings,
    Duration,
    Effort,
    count_effort,
    measure_ceilings,
    peak_memory,
    spread,
    time_call,
)
from benchmarks.engine.workloads import (
    LABEL_TOLERANCE,
    VALUE_TOLERANCE,
    Task,
    Workload,
    differences,
)

WAYS = ("naive", "ours")
KEPT_RATIO = 0.75  # of the stored ratio; the guard fails below
STORED_FROM = 1.2
UNGUARDED = ("apply, image", "encoder")  # what both ways do alike guards nothing


@click.command()
@click.option("--resolution", default=256, show_default=True)
@click.option("--members", default=10, show_default=True)
@click.option("--labels", default=32, show_default=True)
@click.option("--images", default=1, show_default=True, help="At once, of ours; naive takes one.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--turns", default=3, show_default=True, help="How often each way is timed.")
@click.option("--only", default="", help="Only tasks whose name contains this.")
@click.option("--quick", is_flag=True, help="16 pixels and small networks, to see that it works.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all figures.")
@click.option("--store", type=click.Path(path_type=Path), help="Write settings and ratios.")
@click.option("--guard", type=click.Path(path_type=Path), help="Compare with stored ratios.")
@click.option("--peak", hidden=True, help="Measure the memory of TASK:WAY in this process.")
def main(
    *,
    resolution: int,
    members: int,
    labels: int,
    images: int,
    device: str,
    turns: int,
    only: str,
    quick: bool,
    json_file: Path | None,
    store: Path | None,
    guard: Path | None,
    peak: str | None,
) -> None:
    """Measure all tasks in both ways, and print the table."""
    stored: dict[str, Any] = {} if guard is None else json.loads(guard.read_text())
    settings: dict[str, Any] = {
        "resolution": resolution,
        "members": members,
        "labels": labels,
        "images": images,
        "device": device,
    } | stored.get("settings", {})
    if quick:
        settings |= {"resolution": 16, "members": 2, "labels": 4}
        turns = 1
    if peak is not None:
        name, way = peak.rsplit(":", 1)
        task = Workload(**settings, is_small=quick).task(name)
        click.echo(peak_memory(getattr(task, way), device))
        return
    with_memory = guard is None and store is None
    names = [name for name in stored.get("ratios", Workload.names()) if only in name]
    found = measure(settings, names, turns=turns, is_quick=quick, with_memory=with_memory)
    click.echo(table(found))
    if store is not None:
        kept = {
            name: ratio
            for name, ratio in ratios(found).items()
            if ratio >= STORED_FROM and name not in UNGUARDED
        }
        store.write_text(json.dumps({"settings": settings, "ratios": kept}, indent=2) + "\n")
    if json_file is not None:
        json_file.write_text(json.dumps(found, indent=2) + "\n")
    if guard is not None:
        slower = slower_than_stored(ratios(found), stored["ratios"])
        if slower:
            raise SystemExit("slower than stored: " + "; ".join(slower))


def measure(
    settings: dict[str, Any],
    names: list[str],
    *,
    turns: int,
    is_quick: bool,
    with_memory: bool,
) -> dict[str, Any]:
    """All figures of all tasks; checks that both ways agree."""
    device = settings["device"]
    ceilings = measure_ceilings(device, is_quick=is_quick)
    workload = Workload(**settings, is_small=is_quick)
    tasks: dict[str, Any] = {}
    for name in names:
        click.echo(f"measuring {name}", err=True)
        task = workload.task(name)
        effort = _check_equal(name, task)
        tasks[name] = _measure_task(task, effort, settings, ceilings, turns=turns)
        if with_memory and (not is_quick or name == "apply, image and mask"):
            for way in WAYS:
                taken = _peak_in_process(f"{name}:{way}", settings, is_quick=is_quick)
                tasks[name][way]["peak_mib"] = taken / 2**20
    return {
        "settings": settings,
        "machine": {
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "gflop_per_second": ceilings.flop_per_second / 1e9,
            "gb_per_second": ceilings.bytes_per_second / 1e9,
        },
        "tasks": tasks,
    }


def table(found: dict[str, Any]) -> str:
    """The figures as text: of each task the naive way, then ours."""
    machine = found["machine"]
    lines = [
        f"{found['settings']}",
        f"torch {machine['torch']}, {machine['threads']} threads, matrix ceiling "
        f"{machine['gflop_per_second']:.0f} GFLOP/s, memory ceiling "
        f"{machine['gb_per_second']:.1f} GB/s; per image",
        f"{'':38}{'ms':>9}{'min':>9}{'max':>9}{'CPU ms':>9}{'GFLOP':>8}{'of max':>8}"
        f"{'GB':>8}{'of max':>8}{'peak MiB':>10}",
    ]
    for name, task in found["tasks"].items():
        lines.append(name)
        for way in WAYS:
            one = task[way]
            ms = one["ms"]
            peak = f"{one['peak_mib']:.0f}" if "peak_mib" in one else "-"
            lines.append(
                f"  {way:36}{ms['median']:9.1f}{ms['min']:9.1f}{ms['max']:9.1f}"
                f"{one['processor_ms']['median']:9.1f}"
                f"{one['gflop']:8.1f}{one['of_matrix_ceiling']:8.0%}"
                f"{one['gb']:8.2f}{one['of_memory_ceiling']:8.0%}{peak:>10}"
            )
        for title, key in (("by the clock", "ratio"), ("processor time", "processor_ratio")):
            ratio = task[key]
            shown = f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})"
            lines.append(f"  {f'naive / ours, {title}':36}{shown}")
    return "\n".join(lines)


def ratios(found: dict[str, Any]) -> dict[str, float]:
    """Naive over ours of each task, the median.

    On a CPU it is that of processor time: other work on the machine hardly counts there.
    """
    key = "processor_ratio" if found["settings"]["device"] == "cpu" else "ratio"
    return {name: round(task[key]["median"], 2) for name, task in found["tasks"].items()}


def slower_than_stored(found: dict[str, float], stored: dict[str, float]) -> list[str]:
    """What has become slower, in words; seconds are never compared."""
    return [
        f"{name}: ratio {found[name]:.2f}, stored {stored[name]:.2f}"
        for name in found
        if found[name] < KEPT_RATIO * stored[name]
    ]


def _measure_task(
    task: Task,
    efforts: dict[str, Effort],
    settings: dict[str, Any],
    ceilings: Ceilings,
    *,
    turns: int,
) -> dict[str, Any]:
    """Time both ways in turns."""
    device, images = settings["device"], settings["images"]
    times: dict[str, list[Duration]] = {way: [] for way in WAYS}
    for _ in range(turns):
        for way in WAYS:
            times[way].append(time_call(getattr(task, way), device))
    found: dict[str, Any] = {}
    for way in WAYS:
        effort = efforts[way]
        fastest = min(one.busy_on(device) for one in times[way])
        found[way] = {
            "ms": spread([1000 * one.seconds / images for one in times[way]]),
            "processor_ms": spread([1000 * one.processor_seconds / images for one in times[way]]),
            "gflop": effort.flop / images / 1e9,
            "of_matrix_ceiling": effort.flop / fastest / ceilings.flop_per_second,
            "gb": effort.bytes / images / 1e9,
            "of_memory_ceiling": effort.bytes / fastest / ceilings.bytes_per_second,
        }
    pairs = list(zip(times["naive"], times["ours"], strict=True))
    found["ratio"] = spread([slow.seconds / fast.seconds for slow, fast in pairs])
    found["processor_ratio"] = spread(
        [slow.processor_seconds / fast.processor_seconds for slow, fast in pairs]
    )
    return found


def _check_equal(name: str, task: Task) -> dict[str, Effort]:
    """Compare what both ways compute, and count what they do for it; it also warms up."""
    (plain, plain_effort), (ours, our_effort) = count_effort(task.naive), count_effort(task.ours)
    of_values, of_labels = differences(ours, plain)
    if of_values > VALUE_TOLERANCE or of_labels > LABEL_TOLERANCE:
        raise SystemExit(
            f"{name}: the two ways differ by {of_values:.2g} of the largest value and in "
            f"{of_labels:.2g} of the labels"
        )
    return {"naive": plain_effort, "ours": our_effort}


def _peak_in_process(part: str, settings: dict[str, Any], *, is_quick: bool) -> int:
    words = [
        sys.executable,
        "-m",
        "benchmarks.engine",
        "--peak",
        part,
        *(["--quick"] if is_quick else []),
    ]
    for name, value in settings.items():
        words += [f"--{name}", str(value)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{part}: {done.stderr.strip().splitlines()[-1]}")
    return int(done.stdout)


if __name__ == "__main__":
    main()
