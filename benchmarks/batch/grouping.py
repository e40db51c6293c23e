"""What differs between runs that compute other numbers of images together, and what that costs.

    python -m benchmarks.batch.grouping [--count 64] [--repeats 3] [--device cpu]

Every way to edit makes the same rendered avatars in mini-batches of 16, 7 and 1, in turns, and the
pictures and masks that are written are compared with those of 16. Nothing is kept of embeddings
between two runs. Time is that of the processor, as a multiple of what mini-batches of 16 take.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
from PIL import Image
from sqlalchemy import delete
from sqlalchemy.orm import Session

from editvec.avatars.drawing import parameters
from editvec.avatars.drawing.render import render
from editvec.batch.classes.adding import install_shipped
from editvec.batch.execution.local import run_locally
from editvec.batch.recipes.pinning import parse_edit
from editvec.batch.recipes.settings import Composite, Mode, RunSettings
from editvec.batch.runs.planning import RunRequest, open_run
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from editvec.registry.tables.models import EmbeddingRow

SIZES = (16, 7, 1)
VECTOR = "smile=1"
ROI = ("mouth", "teeth")

_WHOLE = RunSettings(composite=Composite.NONE)
WAYS = {
    "vector": _WHOLE,
    "vector, composited": RunSettings(),
    "vector, --embed steps:20": replace(_WHOLE, embed="steps:20"),
    "refine": replace(_WHOLE, mode=Mode.REFINE),
    "optimize, 20 steps": replace(
        _WHOLE, mode=Mode.OPTIMIZE, optimize_steps=20, roi=ROI, masks_folder=""
    ),
}


class Difference(NamedTuple):
    """Between the files of two runs.

    Attributes:
        values: Share of the pictures' values that differ.
        largest: Most that one differs by, of 255.
        labels: Share of the masks' pixels with another label.
        keys: Items whose content keys differ.
    """

    values: float
    largest: int
    labels: float
    keys: int


def differences(folder: Path, other: Path) -> Difference:
    """Compare what two runs of the same items wrote.

    Raises:
        SystemExit: One made other files.
    """
    rows, others = (_rows(one) for one in (folder, other))
    if not rows or rows.keys() != others.keys():
        raise SystemExit(f"{other}: expected the files of {folder}, {len(rows)}, not {len(others)}")
    pictures, masks = [], []
    for name, row in rows.items():
        pictures.append(np.abs(_read(folder / name) - _read(other / name)))
        masks.append(_read(folder / row["mask_file_name"]) != _read(other / row["mask_file_name"]))
    changed = np.stack(pictures)
    return Difference(
        values=float((changed > 0).mean()),
        largest=int(changed.max()),
        labels=float(np.stack(masks).mean()),
        keys=sum(row["content_key"] != others[name]["content_key"] for name, row in rows.items()),
    )


def _rows(folder: Path) -> dict[str, dict[str, Any]]:
    lines = (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["file_name"]: row for row in map(json.loads, lines)}


def _read(path: Path) -> Any:
    return np.asarray(Image.open(path), dtype=np.int16)


class Measured(NamedTuple):
    """Runs of one way that compute so many images together, against those of the first size."""

    way: str
    size: int
    difference: Difference
    time_ratio: float


def measure(count: int, repeats: int, *, device: str) -> Iterator[Measured]:
    """Every way in every size, each way as soon as it is done."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _write_photos(root / "photos", count)
        with Library.open(RegistryConfig.from_environment(root / "home")) as library:
            install_shipped(library, "avatars")
            _run(library, root / "photos", root / "asked", _WHOLE, size=SIZES[0], device=device)
            (masks,) = (root / "asked/masks").iterdir()
            for way, settings in WAYS.items():
                if settings.masks_folder is not None:
                    settings = replace(settings, masks_folder=str(masks))
                seconds: dict[int, list[float]] = {size: [] for size in SIZES}
                for turn in range(repeats):
                    for size in SIZES:
                        out = root / f"{way}-{turn}-{size}"
                        taken = _run(
                            library, root / "photos", out, settings, size=size, device=device
                        )
                        seconds[size].append(taken)
                first, usual = root / f"{way}-0-{SIZES[0]}", statistics.median(seconds[SIZES[0]])
                for size in SIZES:
                    yield Measured(
                        way,
                        size,
                        differences(first, root / f"{way}-{repeats - 1}-{size}"),
                        statistics.median(seconds[size]) / usual,
                    )


def _write_photos(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for number, pixels in enumerate(render(parameters.sample(count, seed=5), 64).pixels):
        Image.fromarray(pixels).save(folder / f"{number:05}.png")


def _run(
    library: Library, photos: Path, out: Path, settings: RunSettings, *, size: int, device: str
) -> float:
    """Process seconds of a run in mini-batches of a size."""
    with Session(library.engine) as session:
        session.execute(delete(EmbeddingRow))
        session.commit()
    edits = [] if settings.mode is Mode.OPTIMIZE else [parse_edit(VECTOR)]
    request = RunRequest(
        class_name="avatars",
        input_folder=photos,
        output_folder=out,
        edits=edits,
        settings=settings,
    )
    opened = open_run(library, request)
    started = time.process_time()
    run = run_locally(library, opened.run, device=device, mini_batch=size)
    if run.state != "completed":
        raise SystemExit(f"the run ended as {run.state}")
    return time.process_time() - started


@click.command()
@click.option("--count", default=64, show_default=True, help="Images of a run.")
@click.option("--repeats", default=3, show_default=True)
@click.option("--device", default="cpu", show_default=True)
def command(count: int, repeats: int, device: str) -> None:
    """Print what differs from mini-batches of 16, and the multiple of their time."""
    titles = ("together", "values", "by at most", "labels", "keys", "time")
    click.echo(f"{'way':<26}" + "".join(f"{title:>11}" for title in titles))
    for one in measure(count, repeats, device=device):
        differing = one.difference
        values, labels = (f"{100 * share:.4f} %" for share in (differing.values, differing.labels))
        cells = (one.size, values, differing.largest, labels, differing.keys)
        row = "".join(f"{cell!s:>11}" for cell in (*cells, f"{one.time_ratio:.2f}"))
        click.echo(f"{one.way:<26}{row}")


if __name__ == "__main__":
    command()
