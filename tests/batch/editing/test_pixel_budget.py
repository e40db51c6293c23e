"""How many photographs are held at the same time, and how much waits to be written."""

import dataclasses
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import editvec.batch.chunks.images
import editvec.batch.editing.reading
from editvec.batch.editing.original_size import Pictures
from editvec.batch.editing.pixel_budget import BYTES_PER_PIXEL, PixelBudget
from editvec.batch.editing.reading import decode
from editvec.batch.recipes.settings import OutputSize
from editvec.batch.runs.planning import open_run
from editvec.batch.runs.store import Runs
from editvec.registry.labels.scheme import LabelScheme
from editvec.registry.library.library import Library
from tests.support.folder_runs import do, request, rows

NO_PARTS = LabelScheme(labels=())

SIDE = 64


def noise(folder: Path, count: int, side: int = SIDE) -> Path:
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(count):
        values = random.integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(values).save(folder / f"{number}.png")
    return folder


def test_only_photographs_that_fit_are_decoded_at_the_same_time(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = noise(tmp_path / "in", 6)
    run = open_run(library, request(source, tmp_path / "out", "smile=1")).run
    inputs = Runs(library.engine).inputs(run.id, 0, 6)
    whole, lock, together = (
        editvec.batch.editing.reading.read_source,
        threading.Lock(),
        threading.Barrier(2),
    )
    held, most = 0, 0

    def read(path: Path) -> Any:
        nonlocal held, most
        with lock:
            held += 1
            most = max(most, held)
        together.wait(10)  # both that have room are here at the same time
        picture = whole(path)
        with lock:
            held -= 1
        return picture

    monkeypatch.setattr(editvec.batch.editing.reading, "read_source", read)
    budget = PixelBudget(2 * SIDE * SIDE * BYTES_PER_PIXEL)
    with ThreadPoolExecutor(6) as threads:
        decoded = list(
            threads.map(
                lambda one: decode(run.plan, one, resolution=32, scheme=NO_PARTS, budget=budget),
                inputs,
            )
        )

    assert [one.reason for one in decoded] == [None] * 6
    assert (held, most) == (0, 2)


def test_a_photograph_larger_than_the_room_is_held_alone(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = noise(tmp_path / "in", 3)
    (source / "1.png").write_bytes(b"no picture")
    monkeypatch.setattr(
        editvec.batch.chunks.images, "PixelBudget", lambda: PixelBudget(SIDE * SIDE)
    )

    run = do(
        library,
        request(source, tmp_path / "out", "smile=1", output_size=OutputSize.ORIGINAL),
    )

    assert run.state == "completed_with_failures"
    assert [row["source"] for row in rows(tmp_path / "out")] == ["0.png", "2.png"]
    assert "not a picture" in rows(tmp_path / "out", "failed.jsonl")[0]["reason"]


def grown_mib(work: Callable[[], None]) -> float:
    """How much memory the process took at most while it worked, beyond what it held before."""

    def told(name: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name))

    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = told("VmRSS")
    work()
    return (told("VmHWM") - before) / 1024


def test_threads_take_no_more_memory_than_there_is_room(library: Library, tmp_path: Path) -> None:
    source, (width, height), count = tmp_path / "in", (3000, 2000), 8
    source.mkdir()
    coarse = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((width, height)).save(source / "0.jpg")
    for number in range(1, count):
        (source / f"{number}.jpg").hardlink_to(source / "0.jpg")
    run = open_run(library, request(source, tmp_path / "out", "smile=1")).run
    inputs = Runs(library.engine).inputs(run.id, 0, count)
    for_one = width * height * BYTES_PER_PIXEL
    budget = PixelBudget(2 * for_one)

    def read_all() -> None:
        with ThreadPoolExecutor(count) as threads:
            read = partial(decode, run.plan, resolution=32, scheme=NO_PARTS, budget=budget)
            assert [one.reason for one in threads.map(read, inputs)] == [None] * count

    assert grown_mib(read_all) < 3 * for_one / 2**20
    assert grown_mib(lambda: None) < 8
    assert grown_mib(read_all) < 3 * for_one / 2**20, "nothing is left behind"


def test_trouble_with_a_photograph_gives_its_room_back() -> None:
    budget = PixelBudget(10 * BYTES_PER_PIXEL)
    for _ in range(3):
        with pytest.raises(ValueError, match="trouble"), budget.hold(10):
            raise ValueError("trouble")

    with budget.hold(10):
        pass


@pytest.mark.parametrize(
    ("resolution", "size", "most"),
    [
        (256, OutputSize.GENERATOR, 64),
        (1024, OutputSize.GENERATOR, 16),
        (256, OutputSize.ORIGINAL, 64),
        (512, OutputSize.ORIGINAL, 18),
        (1024, OutputSize.ORIGINAL, 8),
    ],
)
def test_fewer_items_wait_to_be_written_where_they_are_larger(
    library: Library,
    make_pictures: Callable[..., Path],
    tmp_path: Path,
    resolution: int,
    size: OutputSize,
    most: int,
) -> None:
    plan = open_run(library, request(make_pictures(1), tmp_path / "out", "smile=1")).run.plan
    settings = dataclasses.replace(plan.settings, output_size=size)
    plan = dataclasses.replace(plan, settings=settings)

    assert (
        Pictures(plan, NO_PARTS, resolution=resolution, budget=PixelBudget()).most_waiting == most
    )
