"""Images per second of a bare loop, of a run in one process, and of runs on Celery workers.

Every way has a library of its own and does the same images in turns, new ones each time, so that
no embedding of one is known to another. The rate counts from the first claim of a chunk to the
end of the last one; what comes before and after is told apart.
"""

import json
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from sqlalchemy import func, select

from benchmarks.batch.library import VECTOR, open_library
from benchmarks.batch.processes import command, module, redis_server, spread, workers
from editvec.avatars.drawing import parameters
from editvec.avatars.drawing.render import render
from editvec.batch.runs.models import Chunk, Run
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from editvec.registry.tables.database import reading

BARE_LOOP = "bare loop"
# of 255, between the same image computed in batches of other sizes
_MOST_DIFFERENCE = 2


class Way(NamedTuple):
    """One way to do the images of a folder.

    Attributes:
        name: for people.
        home: of its library.
        broker: None = in process.
        workers: how many, on the CPU; 0 = in process.
        device: in process: where the networks are.
    """

    name: str
    home: Path
    broker: str | None = None
    workers: int = 0
    device: str = "cpu"


class Timed(NamedTuple):
    """Images per second, and the seconds before and after."""

    rate: float
    start_seconds: float
    end_seconds: float


@contextmanager
def ways(root: Path, *, with_celery: bool, device: str = "cpu") -> Iterator[list[Way]]:
    """A library for each way, with its workers started and warm."""
    with ExitStack() as stack:
        found = [
            Way(BARE_LOOP, root / "bare", device=device),
            Way("in process", root / "local", device=device),
        ]
        if with_celery:
            server = stack.enter_context(redis_server(root / "redis"))
            found += [
                Way("Celery, Redis, 1 worker", root / "redis-1", f"{server}/1", 1),
                Way("Celery, Redis, 2 workers", root / "redis-2", f"{server}/2", 2),
                Way("Celery, a folder, 1 worker", root / "folder-1", None, 1),
            ]
        for way in found:
            open_library(way.home).close()
            stack.enter_context(workers(way.home, way.workers, way.broker))
        for way in found:
            if way.workers:
                _warm_up(way, root)
        yield found


def measure_rates(
    root: Path, *, count: int, repeats: int, with_celery: bool, device: str = "cpu"
) -> dict[str, Any]:
    """Both modes, every way, in turns.

    Args:
        root: an empty folder.
        count: inputs of a run.
        repeats: how often each way is timed.
        with_celery: also with workers.
        device: of the ways without workers.
    """
    root.mkdir()
    result: dict[str, Any] = {}
    with ways(root, with_celery=with_celery, device=device) as found:
        for mode in ("photographs", "generated"):
            timed: dict[str, list[Timed]] = {way.name: [] for way in found}
            for repetition in range(repeats):
                photos = None
                if mode == "photographs":
                    photos = _photos(root / "photos", count, seed=repetition)
                outputs = {}
                for way in found:
                    out = way.home.with_name(f"{way.home.name}-out")
                    timed[way.name].append(_time(way, out, photos, count))
                    rate = timed[way.name][-1].rate
                    print(f"{mode}, {way.name}: {rate:.2f} images/s", file=sys.stderr)
                    outputs[way.name] = out
                _require_same(outputs)
                for folder in (*outputs.values(), *([photos] if photos else [])):
                    shutil.rmtree(folder)
            result[mode] = _summary(timed)
    return result


def _summary(timed: dict[str, list[Timed]]) -> dict[str, Any]:
    """Medians with their spread, and the ratios of turns that followed each other."""
    bare = [one.rate for one in timed[BARE_LOOP]]
    return {
        name: {
            "images_per_second": spread([one.rate for one in some]),
            "of_the_bare_loop": spread(
                [one.rate / rate for one, rate in zip(some, bare, strict=True)]
            ),
            "start_seconds": spread([one.start_seconds for one in some]),
            "end_seconds": spread([one.end_seconds for one in some]),
        }
        for name, some in timed.items()
    }


def _photos(folder: Path, count: int, *, seed: int) -> Path:
    folder.mkdir()
    drawn = render(parameters.sample(count, seed=seed), 64)
    for number, pixels in enumerate(drawn.pixels):
        Image.fromarray(pixels).save(folder / f"{number:06}.png")
    return folder


def _time(way: Way, out: Path, photos: Path | None, count: int) -> Timed:
    """One turn of one way."""
    if way.name == BARE_LOOP:
        inputs: tuple[object, ...] = ("--count", count) if photos is None else ("--photos", photos)
        began = time.perf_counter()
        inputs += ("--device", way.device)
        made = module("benchmarks.batch.bare_loop", way.home, out, *inputs)
        other_seconds = time.perf_counter() - began - made["seconds"]
        return Timed(made["images"] / made["seconds"], other_seconds, 0.0)
    edit: tuple[object, ...] = (
        "--edit",
        f"{VECTOR}=1",
        "--class",
        "avatars",
        "--composite",
        "none",
    )
    edit += ("--chunk-size", "32", "--json")
    if photos is None:
        words: tuple[object, ...] = ("generate", out, "--count", count, *edit)
    else:
        words = ("run", photos, out, *edit, "--embed", "encoder")
    words += ("--workers", "celery") if way.workers else ("--device", way.device)
    launched = datetime.now(UTC)
    ended = command(way.home, "batch", *words, broker=way.broker)
    gone = datetime.now(UTC)
    record = json.loads(ended.output)
    counts = record["counts"]
    if counts["done"] != counts["total"]:
        raise SystemExit(f"{way.name}: {counts}")
    with Library.open(RegistryConfig.from_environment(way.home)) as library:
        first, last = _span(library, record["run_id"])
    seconds = (last - first).total_seconds()
    return Timed(
        counts["done"] / seconds,
        (first - launched).total_seconds(),
        (gone - last).total_seconds(),
    )


def _span(library: Library, run_id: str) -> tuple[datetime, datetime]:
    """From the first claim to the end of the last chunk."""
    with reading(library.engine) as session:
        first = session.scalar(select(Run.started_at).where(Run.id == run_id))
        last = session.scalar(select(func.max(Chunk.finished_at)).where(Chunk.run_id == run_id))
    assert first is not None
    assert last is not None
    return first, last


def _warm_up(way: Way, root: Path) -> None:
    """Runs until every worker has loaded the class."""
    out = root / "warm-up"
    deadline = time.monotonic() + 300
    while True:
        command(
            way.home,
            *("batch", "generate", out, "--count", 8 * way.workers, "--chunk-size", 4),
            *("--edit", f"{VECTOR}=1", "--class", "avatars", "--workers", "celery"),
            broker=way.broker,
        )
        shutil.rmtree(out)
        config = RegistryConfig.from_environment(way.home)
        with Library.open(config) as library, reading(library.engine) as session:
            served = session.scalar(select(func.count(func.distinct(Chunk.worker))))
        if served == way.workers:
            return
        if time.monotonic() > deadline:
            raise SystemExit(f"{way.name}: only {served} workers took a chunk")


def _require_same(outputs: dict[str, Path]) -> None:
    """Every way made the images that the bare loop made.

    Raises:
        SystemExit: one differs.
    """
    bare = outputs[BARE_LOOP]
    for name, out in outputs.items():
        if name == BARE_LOOP:
            continue
        lines = (out / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        for row in rows:
            # a generated run has the unedited sample as its first recipe
            stem = f"{row['sample']:06d}" if "sample" in row else Path(row["source"]).stem
            number = int("sample" in row and bool(row["attributes"][VECTOR]))
            made = np.asarray(Image.open(out / row["file_name"]), dtype=np.int16)
            wanted = np.asarray(Image.open(bare / f"{stem}.{number}.png"), dtype=np.int16)
            mask = np.asarray(Image.open(out / row["mask_file_name"]))
            wanted_mask = np.asarray(Image.open(bare / f"{stem}.{number}.mask.png"))
            difference = int(np.abs(made - wanted).max())
            if difference > _MOST_DIFFERENCE or np.mean(mask != wanted_mask) > 0.01:
                raise SystemExit(f"{name}: {row['file_name']} differs by {difference} of 255")
        made_count = len(list(bare.glob("*[0-9].png")))
        if len(rows) != made_count:
            raise SystemExit(f"{name}: {len(rows)} images, the bare loop made {made_count}")
