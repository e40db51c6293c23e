"""Leases claimed and items recorded per second, by several processes on one run at a time."""

import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.batch.processes import spread
from benchmarks.registry.measures import opened_libraries
from editvec.batch.recipes.settings import RunSettings
from editvec.batch.runs.leases import ItemResult, Leases
from editvec.batch.runs.owner import Owner
from editvec.batch.runs.planning import RunRequest, open_run
from editvec.batch.runs.store import Runs
from editvec.registry.library.library import Library
from editvec.registry.tables.database import open_engine

PROCESSES = 8
CHUNK_SIZES = (1, 64)
_METRICS = {"leakage": {"psnr": 38.123456}, "reconstruction": {"psnr": 29.1, "num_steps": 0}}


def measure_claims(
    root: Path, *, chunks: int, repeats: int, server: str | None
) -> dict[str, dict[str, Any]]:
    """Claims and finishes every chunk of runs, on SQLite, and on PostgreSQL where there is one.

    Args:
        root: an empty folder.
        chunks: of each run.
        repeats: runs of each size of chunks.
        server: URL of a database of a server that allows us to create others; None = none.
    """
    root.mkdir()
    result: dict[str, dict[str, Any]] = {}
    with (
        opened_libraries(root / "home", root / "blobs", server) as libraries,
        ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool,
    ):
        list(pool.map(_start, range(PROCESSES)))
        for library in libraries:
            for size in CHUNK_SIZES:
                seconds = [
                    _seconds(library, root / f"{library.engine.dialect.name}-{size}-{number}", pool,
                             chunks=chunks, size=size)
                    for number in range(repeats)
                ]  # fmt: skip
                result[f"{library.engine.dialect.name}, chunks of {size}"] = {
                    "leases_per_second": spread([chunks / one for one in seconds]),
                    "items_per_second": spread([chunks * size / one for one in seconds]),
                }
    return result


def _seconds(
    library: Library, out: Path, pool: ProcessPoolExecutor, *, chunks: int, size: int
) -> float:
    """How long all processes take for one run."""
    settings = RunSettings.from_json({"count": chunks * size, "chunk_size": size})
    request = RunRequest(
        class_name=None, input_folder=None, output_folder=out, edits=[], settings=settings
    )
    run = open_run(library, request).run
    url = library.config.database_url
    started = time.perf_counter()
    claimed = pool.map(_claim_all, [url] * PROCESSES, [run.id] * PROCESSES)
    total = sum(claimed)
    seconds = time.perf_counter() - started
    counts = Runs(library.engine).counts(run.id)
    if total != chunks or counts.done != counts.total:
        raise SystemExit(f"{total} of {chunks} chunks were claimed: {counts}")
    Runs(library.engine).close(run.id, "completed")
    return seconds


def _start(_number: int) -> None:
    """Gives every process the time to come here, with all that it imports."""
    time.sleep(1.0)


def _claim_all(url: str, run_id: str) -> int:
    """Claims and finishes chunks until none is left; in a process of its own."""
    engine = open_engine(url)
    leases, owner, count = Leases(engine), Owner.current(), 0
    while (lease := leases.claim(run_id, owner)) is not None:
        positions = range(lease.first_input, lease.first_input + lease.input_count)
        leases.finish(lease, _items(positions), dict.fromkeys(positions, f"{0:064x}"))
        count += 1
    engine.dispose()
    return count


def _items(positions: Sequence[int]) -> list[ItemResult]:
    return [
        ItemResult(
            position=position,
            recipe_position=0,
            state="done",
            content_key=f"{position:064x}",
            file_name=f"images/source/seed-0-{position:06}.png",
            mask_file_name=f"masks/source/seed-0-{position:06}.png",
            metrics=_METRICS,
        )
        for position in positions
    ]
