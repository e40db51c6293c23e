"""Memory and time of training a segmentation branch: as published, and ours.

    python -m benchmarks.training [--quick] [--json FILE]

As published, every pixel of every image becomes a row of all features, up-sampled and
concatenated, and the members train one after the other on rows of that table. Ours keeps the
native maps in float16, in a file that the system reads by need, gathers the pixels of a step, and
trains all members in one batched step.

A random generator of the published size (config-f) makes the features: time and memory do not
depend on weights. Nobody's memory holds the published table at these sizes, so a share of one
image is spread out, with its place in memory measured, and what all images would take is
multiplied from that; its steps are measured on rows of that share. Ours is measured in whole, each
resolution in a process of its own. Peak memory is of the whole process, what is mapped from files
and in memory included.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import torch
import torch.nn.functional as F
from torch import Tensor

from editvec.engine.networks.config import GeneratorConfig, SegmentationConfig
from editvec.engine.networks.generator import Generator
from editvec.engine.training.members import Members, members_loss
from editvec.engine.training.segmentation import SegmentationTrainee
from editvec.engine.training.settings import SegmentationTraining

IMAGES = 32
LABELS = 34
STEPS = 10
SHARE_BYTES = 1 << 30
TOTAL_STEPS = 3000


@click.command()
@click.option("--quick", is_flag=True, help="16 pixels and small networks, to see that it works.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all figures.")
@click.option("--part", hidden=True, help="Measure one way at one resolution, in this process.")
@click.option("--images", default=IMAGES, show_default=True, help="Annotated images.")
def main(*, quick: bool, json_file: Path | None, part: str | None, images: int) -> None:
    """Measure both ways at 256 and 512 pixels, and print the table."""
    if part is not None:
        way, size = part.split(":")
        measure = {"naive": measure_naive, "ours": measure_ours}[way]
        click.echo(json.dumps(measure(int(size), images=images)))
        return
    if quick:
        found = {"naive:16": measure_naive(16, images=4), "ours:16": measure_ours(16, images=4)}
    else:
        parts = [f"{way}:{resolution}" for resolution in (256, 512) for way in ("naive", "ours")]
        found = {}
        for one in parts:
            found[one] = _in_process(one, images=images)
            if json_file is not None:  # after each: the last one takes the longest
                json_file.write_text(json.dumps(found, indent=2))
    click.echo(table(found))
    if json_file is not None:
        json_file.write_text(json.dumps(found, indent=2))


def table(found: dict[str, dict[str, Any]]) -> str:
    """The figures as text."""
    rows = {
        "memory of the features, GiB": "features_gib",
        "peak memory of the process, GiB": "peak_gib",
        "of it not backed by a file, GiB": "anonymous_gib",
        "features made in, s": "features_seconds",
        "one step of 10 members, ms": "step_ms",
        f"{TOTAL_STEPS} steps, min": "steps_minutes",
    }
    width = max(map(len, rows))
    lines = [" " * width + "".join(f"{name:>14}" for name in found)]
    for title, key in rows.items():
        values = [one.get(key) for one in found.values()]
        shown = "".join(f"{'-' if value is None else f'{value:.4g}':>14}" for value in values)
        lines.append(f"{title:{width}}{shown}")
    return "\n".join(lines)


# --- as published ---


def measure_naive(resolution: int, *, images: int) -> dict[str, Any]:
    """A share of one image's table, and steps of the members one after the other on its rows."""
    generator, config = _networks(resolution)
    channels = sum(config.feature_channels)
    image_bytes = 4 * channels * resolution**2
    rows = max(1, min(resolution, SHARE_BYTES // (4 * channels * resolution)))
    features = _features(generator, seed=0)
    before = _status("VmRSS")
    started = time.perf_counter()
    share = _spread_out(features, rows, resolution)
    seconds = time.perf_counter() - started
    measured = _status("VmRSS") - before
    steps = _published_steps(share, config)
    factor = resolution / rows
    return {
        "rows_measured": rows,
        "share_gib": measured / 2**30,
        "features_gib": measured * factor * images / 2**30,
        "expected_gib": image_bytes * images / 2**30,
        "peak_gib": None,
        "features_seconds": seconds * factor * images,
        "step_ms": 1000 * steps,
        "steps_minutes": TOTAL_STEPS * steps / 60,
    }


def _spread_out(features: list[Tensor], rows: int, resolution: int) -> Tensor:
    """Features of the first rows of pixels, [rows * W, D]: up-sampled and concatenated."""
    total = sum(maps.shape[1] for maps in features)
    table = torch.empty(rows * resolution, total)
    first = 0
    for maps in features:
        for part in torch.split(maps, 32, dim=1):
            size = (resolution, resolution)
            whole = F.interpolate(part, size=size, mode="bilinear", align_corners=False)
            last = first + part.shape[1]
            table[:, first:last] = whole[0, :, :rows].flatten(1).t()
            first = last
    return table


def _published_steps(rows: Tensor, config: SegmentationConfig) -> float:
    """Seconds of one step of all members, each alone."""
    alone = SegmentationConfig(
        config.num_labels, config.feature_channels, members=1, hidden=config.hidden
    )
    batch = SegmentationTraining().batch_size
    chance = torch.Generator().manual_seed(0)
    seconds = 0.0
    for _ in range(config.members):
        member = Members(alone, generator=chance)
        optimizer = torch.optim.Adam(member.parameters(), lr=1e-3)
        for step in range(STEPS):
            if step == 1:  # the first one makes the moments
                started = time.perf_counter()
            picked = torch.randint(len(rows), (batch,), generator=chance)
            labels = torch.randint(config.num_labels, (1, batch), generator=chance)
            loss = members_loss(member(rows[picked][None]), labels)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        seconds += (time.perf_counter() - started) / (STEPS - 1)
    return seconds


# --- ours ---


def measure_ours(resolution: int, *, images: int) -> dict[str, Any]:
    """All images, through what the command uses."""
    from editvec.batch.training.segmentation_features import features_of

    generator, config = _networks(resolution)
    chance = torch.Generator().manual_seed(0)
    masks = torch.randint(
        config.num_labels, (images, resolution, resolution), generator=chance, dtype=torch.int16
    )
    ws = generator.mapping(torch.randn(images, generator.config.z_dim, generator=chance))
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        started = time.perf_counter()
        features, _ = features_of(generator, ws, Path(folder), "cpu")
        made = time.perf_counter() - started
        trainee = SegmentationTrainee(
            features, masks, config, settings=SegmentationTraining(), seed=0
        )
        trainee.step(0)
        started = time.perf_counter()
        for step in range(1, STEPS):
            trainee.step(step)
        seconds = (time.perf_counter() - started) / (STEPS - 1)
    return {
        "features_gib": features.num_bytes / 2**30,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 2**30,
        "anonymous_gib": _status("RssAnon") / 2**30,
        "features_seconds": made,
        "step_ms": 1000 * seconds,
        "steps_minutes": TOTAL_STEPS * seconds / 60,
    }


# --- both ---


def _networks(resolution: int) -> tuple[Generator, SegmentationConfig]:
    """A random generator of config-f, and the published branch on it; small ones at 16 pixels."""
    base = 32768 if resolution > 16 else 256
    config = GeneratorConfig(resolution, channel_base=base, mapping_layers=2)
    generator = Generator(config).eval().requires_grad_(False)
    segmentation = SegmentationConfig(
        LABELS, config.feature_channels, members=10, hidden=(256, 128)
    )
    return generator, segmentation


@torch.no_grad()
def _features(generator: Generator, *, seed: int) -> list[Tensor]:
    chance = torch.Generator().manual_seed(seed)
    ws = generator.mapping(torch.randn(1, generator.config.z_dim, generator=chance))
    return list(generator.synthesis.with_features(ws).features)


def _status(name: str) -> int:
    """Bytes that the system counts for this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"name: expected one of /proc/self/status, got {name}")


def _in_process(part: str, *, images: int) -> dict[str, Any]:
    click.echo(f"measuring {part}", err=True)
    words = [sys.executable, "-m", "benchmarks.training", "--part", part, "--images", str(images)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{part}: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    main()
