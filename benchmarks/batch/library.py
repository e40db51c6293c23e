"""Folders and runs of many items, to measure on: what a team would have after a night's work.

Files are hard links to a few real ones. Of a finished run, the rows of the items go into the
tables in bulk, past leases and networks, with files where the rows say; its manifests and its
report are then written by the code that writes them after any run.
"""

import itertools
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from sqlalchemy import insert, update

from editvec.avatars import default
from editvec.avatars.drawing import parameters
from editvec.avatars.drawing.render import render
from editvec.batch.classes.adding import install_shipped
from editvec.batch.recipes.pinning import parse_edit
from editvec.batch.recipes.settings import RunSettings
from editvec.batch.runs.entities import RunRecord
from editvec.batch.runs.models import Chunk, RunInput, RunItem
from editvec.batch.runs.planning import RunRequest, open_run
from editvec.batch.runs.store import Runs
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from editvec.registry.masks.png import encode_mask
from editvec.registry.tables.database import now, transaction

VECTOR = "smile"
SOURCES = 100
FILES_PER_FOLDER = 1000
REJECTED, FAILED = 0.01, 0.002
_ROWS_AT_ONCE = 5000


def open_library(home: Path) -> Library:
    """A library with the class `avatars`; what is there already stays."""
    library = Library.open(RegistryConfig.from_environment(home))
    install_shipped(library, "avatars")
    return library


def write_photos(folder: Path, count: int) -> Path:
    """Rendered avatars as PNG files of 64 x 64 pixels."""
    folder.mkdir(parents=True)
    drawn = render(parameters.sample(count, seed=5), 64)
    for number, pixels in enumerate(drawn.pixels):
        Image.fromarray(pixels).save(folder / f"{number:05}.png")
    return folder


def link_photos(folder: Path, count: int) -> Path:
    """`count` files in sub-folders of a thousand, hard links to 100 rendered avatars.

    Returns:
        The folder of the links; the sources lie beside it.
    """
    sources = write_photos(folder.with_name(f"{folder.name}-sources"), min(count, SOURCES))
    paths = sorted(sources.iterdir())
    for number in range(count):
        target = folder / f"{number // FILES_PER_FOLDER:04}"
        if number % FILES_PER_FOLDER == 0:
            target.mkdir(parents=True)
        (target / f"{number:07}.png").hardlink_to(paths[number % len(paths)])
    return folder


def request(photos: Path, out: Path, **settings: Any) -> RunRequest:
    """One vector on every picture of a folder, in the lightest mode."""
    chosen = {"embed": "encoder", "composite": "none", "mode": "vector", **settings}
    return RunRequest(
        class_name=default.CLASS_NAME,
        input_folder=photos,
        output_folder=out,
        edits=[parse_edit(f"{VECTOR}=1.0")],
        settings=RunSettings.from_json(chosen),
    )


def plan_run(library: Library, photos: Path, out: Path, **settings: Any) -> RunRecord:
    """The run that `batch run photos out --edit smile=1` plans."""
    return open_run(library, request(photos, out, **settings)).run


def decide_items(library: Library, run: RunRecord) -> str:
    """Decides every item of a planned run as if it had been computed; files and rows agree.

    Returns:
        The state that the run is to be closed with.
    """
    decided = _decided(library, run)
    with transaction(library.engine) as session:
        while rows := list(itertools.islice(decided, _ROWS_AT_ONCE)):
            session.execute(insert(RunItem), rows)
        session.execute(
            update(RunInput).where(RunInput.run_id == run.id).values(digest=f"{0:064x}")
        )
        session.execute(
            update(Chunk)
            .where(Chunk.run_id == run.id)
            .values(state="done", worker="host:1 cuda:0", finished_at=now())
        )
    state = Runs(library.engine).final_state(run.id)
    assert state is not None
    return state


def _decided(library: Library, run: RunRecord) -> Iterator[dict[str, Any]]:
    """The rows of all items; makes the files of those that are done."""
    chances = random.Random(0)
    (recipe,) = run.plan.recipes
    images, masks = _outputs(library, run.plan.output_folder.with_name("outputs"))
    runs, folders = Runs(library.engine), set[Path]()
    for first in range(0, run.input_count, _ROWS_AT_ONCE):
        for one in runs.inputs(run.id, first, _ROWS_AT_ONCE):
            chance = chances.random()
            row: dict[str, Any] = {
                "run_id": run.id,
                "position": one.position,
                "recipe_position": 0,
                "state": "done",
                "reason": None,
                "content_key": f"{chances.getrandbits(256):064x}",
                "file_name": f"images/{recipe.name}/{one.output_name}.png",
                "mask_file_name": f"masks/{recipe.name}/{one.output_name}.png",
                "metrics": _metrics(chances),
                "finished_at": now(),
            }
            if chance < FAILED:
                reason = f"{one.source}: cannot be decoded (image file is truncated)"
                row |= {"state": "failed", "reason": reason, "content_key": None, "metrics": None}
            elif chance < FAILED + REJECTED:
                row |= {"state": "rejected", "reason": f"leakage {30 * chance:.3f} over 0.02"}
            if row["state"] == "done":
                source = one.position % len(images)
                for name, linked in (
                    (row["file_name"], images[source]),
                    (row["mask_file_name"], masks[source]),
                ):
                    target = run.plan.output_folder / name
                    if target.parent not in folders:
                        target.parent.mkdir(parents=True, exist_ok=True)
                        folders.add(target.parent)
                    os.link(linked, target)
            else:
                row |= {"file_name": None, "mask_file_name": None}
            yield row


def _metrics(chances: random.Random) -> dict[str, Any]:
    """The figures that an item of the lightest mode has."""
    reconstruction = {
        "psnr": round(chances.gauss(29, 1), 6),
        "num_steps": 0,
        "perceptual/avatars": round(chances.gauss(0.01, 0.002), 6),
    }
    return {
        "reconstruction": reconstruction,
        "leakage": {"psnr": round(chances.gauss(38, 2), 6)},
    }


def _outputs(library: Library, folder: Path) -> tuple[list[Path], list[Path]]:
    """Images and masks that stand for the outputs of all items."""
    folder.mkdir()
    drawn = render(parameters.sample(SOURCES, seed=6), 64)
    labels = library.get_class(default.CLASS_NAME).labels
    images, masks = [], []
    for number, (pixels, mask) in enumerate(zip(drawn.pixels, drawn.mask, strict=True)):
        images.append(folder / f"{number:03}.png")
        masks.append(folder / f"{number:03}.mask.png")
        Image.fromarray(pixels).save(images[-1])
        masks[-1].write_bytes(encode_mask(mask, labels))
    return images, masks
