"""Overhead of a run against a bare loop, seconds per learned vector, peak memory.

    python -m benchmarks.batch.first_light [--count 256] [--repeats 3] [--json]

The bare loop decodes, embeds with the encoder, edits and encodes, in mini-batches of the same
size, without SQL, chunks, manifests or fsync. Both do the same images in the same process, one
after the other, several times; the figure is the ratio of the medians.
"""

import json
import resource
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import torch
from PIL import Image
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from editvec.avatars import default, starter
from editvec.avatars.drawing import parameters
from editvec.avatars.drawing.render import render
from editvec.batch.classes.adding import install_shipped
from editvec.batch.execution.local import run_locally
from editvec.batch.recipes.pinning import parse_edit
from editvec.batch.recipes.settings import MINI_BATCH, RunSettings
from editvec.batch.runs.models import Chunk, Run
from editvec.batch.runs.planning import RunRequest, open_run
from editvec.engine.editing.inversion import EmbedSettings
from editvec.engine.editor import Editor
from editvec.engine.images.images import fit_pixels, read_image, to_images, to_pixels
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from editvec.registry.tables.models import EmbeddingRow

VECTOR = "smile"


def main(count: int, repeats: int) -> dict[str, Any]:
    """Measure everything once.

    Args:
        count: Images of the folder.
        repeats: How often each way is timed.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        photos = _write_photos(root / "photos", count)
        library = Library.open(RegistryConfig.from_environment(root / "home"))
        install_shipped(library, "avatars")
        editor = Editor.open(default.BUNDLE_FOLDER)
        _bare_loop(editor, library, photos[:MINI_BATCH], root / "warm-up")
        loop, run = [], []
        for number in range(repeats):
            loop.append(count / _bare_loop(editor, library, photos, root / f"loop-{number}"))
            run.append(count / _batch_run(library, root / "photos", root / f"run-{number}"))
        return {
            "images": count,
            "threads": torch.get_num_threads(),
            "bare_loop_images_per_second": _spread(loop),
            "batch_run_images_per_second": _spread(run),
            "ratio": statistics.median(run) / statistics.median(loop),
            "seconds_per_learned_vector": _spread([_learn(editor) for _ in range(repeats)]),
            "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }


def _write_photos(folder: Path, count: int) -> list[Path]:
    """Rendered avatars as PNG files."""
    folder.mkdir(parents=True)
    drawn = render(parameters.sample(count, seed=5), 64)
    paths = [folder / f"{number:05}.png" for number in range(count)]
    for path, pixels in zip(paths, drawn.pixels, strict=True):
        Image.fromarray(pixels).save(path)
    return paths


def _bare_loop(editor: Editor, library: Library, photos: list[Path], out: Path) -> float:
    """Seconds of a loop without any bookkeeping."""
    out.mkdir()
    delta = torch.from_numpy(library.delta(library.get_vector(f"avatars/{VECTOR}")))
    started = time.perf_counter()
    for start in range(0, len(photos), MINI_BATCH):
        chosen = photos[start : start + MINI_BATCH]
        resolution = editor.bundle.resolution
        pixels = [fit_pixels(read_image(path), resolution, fit="crop") for path in chosen]
        ws = editor.embed(to_images(pixels), EmbedSettings(num_steps=0)).ws
        made = editor.synthesize_with_mask(ws + delta)
        masks = made.mask.byte().numpy()
        for path, image, mask in zip(chosen, to_pixels(made.images), masks, strict=True):
            Image.fromarray(image).save(out / path.name, compress_level=1)
            Image.fromarray(mask).save(out / f"{path.stem}.mask.png", compress_level=1)
    return time.perf_counter() - started


def _batch_run(library: Library, photos: Path, out: Path) -> float:
    """Seconds from the first claim to the last commit of a run."""
    settings = RunSettings.from_json({"embed": "encoder", "composite": "none", "mode": "vector"})
    request = RunRequest(
        class_name="avatars",
        input_folder=photos,
        output_folder=out,
        edits=[parse_edit(f"{VECTOR}=1.0")],
        settings=settings,
    )
    run = run_locally(library, open_run(library, request).run)
    if run.state != "completed":
        raise SystemExit(f"the run ended as {run.state}")
    with Session(library.engine) as session:
        first = session.scalar(select(Run.started_at).where(Run.id == run.id))
        last = session.scalar(select(func.max(Chunk.finished_at)).where(Chunk.run_id == run.id))
    assert first is not None
    assert last is not None
    # What one run put into the cache must not make the next one quicker.
    _forget_embeddings(library)
    shutil.rmtree(out)
    return float((last - first).total_seconds())


def _forget_embeddings(library: Library) -> None:
    with Session(library.engine) as session:
        session.execute(delete(EmbeddingRow))
        session.commit()


def _learn(editor: Editor) -> float:
    """Seconds to embed one picture and to learn its edit in 100 steps."""
    pair = next(one for one in starter.STARTERS if one.name == VECTOR)
    made = pair.mask_pair()
    started = time.perf_counter()
    editor.learn(
        to_images([made.pixels]),
        torch.from_numpy(made.mask_after).long()[None],
        roi_labels=pair.roi_labels,
        mask_before=torch.from_numpy(made.mask_before).long()[None],
    )
    return time.perf_counter() - started


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


@click.command()
@click.option("--count", default=256, show_default=True, help="Images of the folder.")
@click.option("--repeats", default=3, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def command(count: int, repeats: int, as_json: bool) -> None:
    """Print images/s of a bare loop and of a run, and what learning takes."""
    result = main(count, repeats)
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    for name, value in result.items():
        if isinstance(value, dict):
            figure = f"{value['median']:.2f}  ({value['min']:.2f} to {value['max']:.2f})"
        else:
            figure = f"{value:.2f}" if isinstance(value, float) else str(value)
        click.echo(f"{name.replace('_', ' '):32} {figure}")


if __name__ == "__main__":
    command()
