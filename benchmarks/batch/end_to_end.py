"""Images per second of this checkout beside another one, in turns.

    python -m benchmarks.batch.end_to_end --against FOLDER

Each checkout gets a process of its own, which measures that checkout by its own copy of this file;
the turns change from one to the other, so that what else runs on the machine meets both. Measured
are the bare loop of `first_light.py` (decode, encoder, edit, mask, encode) and the chunks of
`batch run` over the same photographs, in processor time and by the clock. The outputs of both are
compared.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parents[2]
# where this file lies in a checkout, today and before
PLACES = ("benchmarks/batch/end_to_end.py", "benchmarks/end_to_end.py")
WAYS = ("loop", "run")


def main(against: Path, *, count: int, turns: int) -> dict[str, Any]:
    """Let both checkouts take turns.

    Args:
        against: The other checkout's folder.
        count: Images.
        turns: How often each way is timed in each checkout.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        workers = {
            name: _Worker(checkout, root / name, count)
            for name, checkout in (("before", against), ("now", HERE))
        }
        found: dict[str, dict[str, list[dict[str, float]]]] = {
            way: {name: [] for name in workers} for way in WAYS
        }
        for way in WAYS:
            for worker in workers.values():
                worker.ask(f"warm-{way}")
        for turn in range(turns):
            # who comes second in a turn is some percent slower, whichever checkout it is
            order = list(workers.items())[:: 1 if turn % 2 == 0 else -1]
            for way in WAYS:
                for name, worker in order:
                    found[way][name].append(worker.ask(way))
        stages = {name: worker.ask("stages") for name, worker in workers.items()}
        for worker in workers.values():
            worker.end()
        result = {way: _table(found[way], count) for way in WAYS}
        compared = _compare(root / "before" / "loop", root / "now" / "loop")
    return {"images": count, "turns": turns, **result, "stages_ms": stages, "outputs": compared}


def _table(found: dict[str, list[dict[str, float]]], count: int) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for clock in ("processor", "wall"):
        before, now = ([one[clock] for one in found[name]] for name in ("before", "now"))
        ratios = [old / new for old, new in zip(before, now, strict=True)]
        table[clock] = {
            "before_images_per_second": count / statistics.median(before),
            "now_images_per_second": count / statistics.median(now),
            "ratio": statistics.median(ratios),
            "ratio_min": min(ratios),
            "ratio_max": max(ratios),
        }
    return table


def _compare(before: Path, now: Path) -> dict[str, float]:
    """How far the pictures and the masks of two folders are from each other."""
    squared, labels, pixels = [], 0, 0
    for path in sorted(before.glob("*.png")):
        old, new = (np.asarray(Image.open(one)).astype(int) for one in (path, now / path.name))
        if path.stem.endswith(".mask"):
            labels, pixels = labels + int((old != new).sum()), pixels + old.size
        else:
            squared.append(float(((old - new) ** 2).mean()))
    error = max(statistics.mean(squared), 1e-10)
    return {"psnr_db": 10 * float(np.log10(255**2 / error)), "labels_changed": labels / pixels}


class _Worker:
    """A process that measures one checkout, a line at a time."""

    def __init__(self, checkout: Path, root: Path, count: int) -> None:
        script = [sys.executable, str(_file_in(checkout)), "--measure", str(checkout)]
        environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_WAIT_POLICY": "PASSIVE"}
        self._process = subprocess.Popen(
            [*script, str(root), str(count)],
            cwd=checkout,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, what: str) -> dict[str, float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("{"):
                found: dict[str, float] = json.loads(line)
                return found
        raise SystemExit(f"{what}: the measuring process ended")

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def _file_in(checkout: Path) -> Path:
    """This file in another checkout, which knows how that one's packages are called."""
    for place in PLACES:
        if (checkout / place).exists():
            return checkout / place
    raise SystemExit(f"{checkout} holds none of {', '.join(PLACES)}")


# ---------------------------------------------------------------------------------------------
# In the measuring process: everything below is imported from the checkout.


def measure(checkout: Path, root: Path, count: int) -> None:
    """Answer one line of measurements for each line of standard input."""
    sys.path[0] = str(checkout)
    import editvec.engine.editor
    from editvec.avatars import default
    from editvec.avatars.drawing import parameters
    from editvec.avatars.drawing.render import render
    from editvec.batch.classes.adding import install_shipped
    from editvec.registry.config import RegistryConfig
    from editvec.registry.library.library import Library

    if not Path(editvec.engine.editor.__file__).is_relative_to(checkout):
        raise SystemExit(
            f"expected the packages of {checkout}, got {editvec.engine.editor.__file__}"
        )
    (root / "photos").mkdir(parents=True)
    drawn = render(parameters.sample(count, seed=5), 64).pixels
    photos = [root / "photos" / f"{number:05}.png" for number in range(count)]
    for path, pixels in zip(photos, drawn, strict=True):
        Image.fromarray(pixels).save(path)
    library = Library.open(RegistryConfig.from_environment(root / "home"))
    install_shipped(library, "avatars")
    editor = editvec.engine.editor.Editor.open(default.BUNDLE_FOLDER)
    ways: dict[str, Callable[[], dict[str, float]]] = {
        "loop": lambda: _loop(editor, library, photos, root / "loop"),
        "warm-loop": lambda: _loop(editor, library, photos[:16], root / "loop"),
        "run": lambda: _run(library, root / "photos", root / "run"),
        "warm-run": lambda: _run(library, root / "photos", root / "run"),
        "stages": lambda: _stages(editor, photos[:16]),
    }
    for line in sys.stdin:
        print(json.dumps(ways[line.strip()]()), flush=True)


def _loop(editor: Any, library: Any, photos: list[Path], out: Path) -> dict[str, float]:
    """The bare loop of `first_light.py`."""
    import torch

    from editvec.engine.editing.inversion import EmbedSettings
    from editvec.engine.images.images import fit_pixels, read_image, to_images, to_pixels

    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    delta = torch.from_numpy(library.delta(library.get_vector("avatars/smile")))
    with _Clocks() as clocks:
        for start in range(0, len(photos), 16):
            chosen = photos[start : start + 16]
            size = editor.bundle.resolution
            pixels = [fit_pixels(read_image(path), size, fit="crop") for path in chosen]
            ws = editor.embed(to_images(pixels), EmbedSettings(num_steps=0)).ws
            made = editor.synthesize_with_mask(ws + delta)
            masks = made.mask.byte().numpy()
            for path, image, mask in zip(chosen, to_pixels(made.images), masks, strict=True):
                Image.fromarray(image).save(out / path.name, compress_level=1)
                Image.fromarray(mask).save(out / f"{path.stem}.mask.png", compress_level=1)
    return clocks.found


def _run(library: Any, photos: Path, out: Path) -> dict[str, float]:
    """The chunks of a run, without what comes before the first and after the last."""
    from sqlalchemy import delete
    from sqlalchemy.orm import Session

    from editvec.batch.chunks.images import ChunkProcessor
    from editvec.batch.execution.local import run_locally
    from editvec.batch.recipes.pinning import parse_edit
    from editvec.batch.recipes.settings import RunSettings
    from editvec.batch.runs.planning import RunRequest, open_run
    from editvec.registry.tables.models import EmbeddingRow

    settings = {"embed": "encoder", "composite": "none", "mode": "vector"}
    request = RunRequest(
        class_name="avatars",
        input_folder=photos,
        output_folder=out,
        edits=[parse_edit("smile=1.0")],
        settings=RunSettings.from_json(settings),
    )
    total = {"processor": 0.0, "wall": 0.0}
    process = ChunkProcessor.process

    def timed(self: Any, lease: Any) -> Any:
        with _Clocks() as clocks:
            ended = process(self, lease)
        for name in total:
            total[name] += clocks.found[name]
        return ended

    ChunkProcessor.process = timed  # type: ignore[method-assign]
    try:
        run = run_locally(library, open_run(library, request).run)
    finally:
        ChunkProcessor.process = process  # type: ignore[method-assign]
    if run.state != "completed":
        raise SystemExit(f"the run ended as {run.state}")
    with Session(library.engine) as session:  # the next run must not find these embeddings
        session.execute(delete(EmbeddingRow))
        session.commit()
    shutil.rmtree(out)
    return total


def _stages(editor: Any, photos: list[Path]) -> dict[str, float]:
    """Processor milliseconds per image of each stage, the least of five."""
    import torch

    from editvec.engine.editing.inversion import EmbedSettings
    from editvec.engine.images.images import read_image, to_images, to_pixels

    images = to_images([read_image(path) for path in photos])
    with torch.inference_mode():
        ws = editor.encoder(images)
        features = editor.generator.synthesis.with_features(ws[:8]).features
        stages: dict[str, Callable[[], Any]] = {
            "decode": lambda: to_images([read_image(path) for path in photos]),
            "encoder": lambda: editor.encoder(images),
            "embed, with its error": lambda: editor.embed(images, EmbedSettings(num_steps=0)),
            "synthesis": lambda: editor.synthesize(ws),
            "image and mask": lambda: editor.synthesize_with_mask(ws),
            "segmentation": lambda: [editor.segmentation(features) for _ in range(2)],
            "to 8 bits": lambda: to_pixels(images),
        }
        return {name: _least(stage) * 1000 / len(photos) for name, stage in stages.items()}


def _least(stage: Callable[[], Any]) -> float:
    times = []
    for _ in range(6):
        with _Clocks() as clocks:
            stage()
        times.append(clocks.found["processor"])
    return min(times[1:])


class _Clocks:
    """Seconds of a block: processor time of all threads, and by the clock."""

    def __enter__(self) -> "_Clocks":
        self.found: dict[str, float] = {}
        self._wall, self._processor = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.found["processor"] = time.process_time() - self._processor
        self.found["wall"] = time.perf_counter() - self._wall


@click.command()
@click.option("--against", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--count", default=128, show_default=True, help="Images of the folder.")
@click.option("--turns", default=3, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def command(against: Path | None, count: int, turns: int, as_json: bool) -> None:
    """Compare this checkout's images/s with another checkout's."""
    if against is None:
        raise click.UsageError("--against FOLDER says which checkout to compare with")
    result = main(against.resolve(), count=count, turns=turns)
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    click.echo("                       before      now    ratio")
    for way in WAYS:
        for clock, values in result[way].items():
            figures = [values[f"{when}_images_per_second"] for when in ("before", "now")]
            spread = f"({values['ratio_min']:.2f} to {values['ratio_max']:.2f})"
            before, now = (f"{value:8.1f}" for value in figures)
            click.echo(
                f"{way}, {clock + ' images/s':20}{before} {now}   {values['ratio']:.2f} {spread}"
            )
    for name, before in result["stages_ms"]["before"].items():
        click.echo(f"{name + ', ms':26}{before:8.2f} {result['stages_ms']['now'][name]:8.2f}")
    for name, value in result["outputs"].items():
        click.echo(f"{name.replace('_', ' '):26}{value:.6g}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
    else:
        command()
