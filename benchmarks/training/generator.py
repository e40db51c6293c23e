"""Does `train generator` learn within minutes on one core? KID against processor time.

    OMP_NUM_THREADS=1 python -m benchmarks.training.generator build/training --draw docs/images

Renders avatars at 32 pixels, trains a small generator on them through the same function as the
command, and compares its KID with that of the mean image and of 16 photographs shown again and
again: a generator that only blurs, or only repeats, does not beat them. The same command after a
kill goes on. Time is process time: what else runs on the machine does not count.
"""

from pathlib import Path

import click
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from editvec.avatars.drawing.parameters import sample
from editvec.avatars.drawing.render import render
from editvec.batch.cli.train.commands import progress_line
from editvec.batch.quality.photographs import load_photographs
from editvec.batch.quality.samples import GRID_SIDE, SampleQuality, read_curve
from editvec.batch.training.generator import (
    SAMPLES_FOLDER,
    feature_network,
    train_generator,
)
from editvec.batch.training.requests import GeneratorRequest
from editvec.engine.images.images import Pixels, write_png
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library

RESOLUTION = 32
PHOTOGRAPHS = 4000
HELD_OUT = 1000
COLLAPSE = 16
NETWORK = {"z_dim": 64, "w_dim": 64, "channel_base": 512, "channel_max": 64, "mapping_layers": 2}
TRAINING = {
    "batch_size": 16,
    "learning_rate": 0.004,
    "r1_gamma": 0.05,
    "path_length_weight": 0.0,
    "style_mixing": 0.0,
    "mirror": True,
}
SNAPSHOT_IMAGES = 6400

_SIZE = (720, 300)
_PLOT = (60, 20, 700, 260)
_INK, _GREY, _LINE = (40, 40, 40), (170, 170, 170), (200, 60, 30)


@click.command()
@click.argument("work", type=click.Path(path_type=Path))
@click.option("--kimg", type=float, default=96.0, show_default=True)
@click.option("--draw", type=click.Path(path_type=Path), help="Folder for the curve's picture.")
def command(work: Path, kimg: float, draw: Path | None) -> None:
    """Train in WORK and print the curve."""
    photographs = work / "photographs"
    _render(photographs)
    config = RegistryConfig.for_home(work / "home")
    request = GeneratorRequest(
        class_name="small-avatars",
        photographs=photographs,
        images=round(kimg * 1000),
        resolution=RESOLUTION,
        network=NETWORK,
        training=TRAINING,
        snapshot_images=SNAPSHOT_IMAGES,
    )
    with Library.open(config) as library, progress_line("small-avatars") as show:
        trained = train_generator(
            library, request, work=work / "training", device="cpu", on_progress=show
        )
        baselines = _baselines(library, request, trained.folder)
    curve = read_curve(trained.folder)
    click.echo(f"{curve[-1]['network']}, n={curve[-1]['measured']}")
    for name, value in baselines.items():
        click.echo(f"{name:>32}{value:>12.4f}")
    click.echo(f"{'images':>8}{'CPU s':>8}{'KID':>12}")
    for entry in curve:
        click.echo(f"{entry['images']:>8}{entry['cpu_seconds']:>8.0f}{entry['kid']:>12.4f}")
    best = min(curve, key=lambda entry: float(entry["kid"]))
    bound = min(curve[0]["kid"] / 2, *list(baselines.values())[:2])
    click.echo(f"stored: KID {best['kid']:.4f}, of {best['images']} images")
    click.echo(f"half of the first value, mean image and collapse beaten: {best['kid'] < bound}")
    if draw is not None:
        _draw_curve(draw / "training-generator-curve.png", curve, baselines)
        _draw_samples(draw / "training-generator-samples.png", trained.folder, curve)


def _render(folder: Path) -> None:
    """The photographs: rendered avatars as PNG files."""
    if folder.is_dir() and len(list(folder.iterdir())) == PHOTOGRAPHS:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for number, pixels in enumerate(render(sample(PHOTOGRAPHS, seed=1), RESOLUTION).pixels):
        write_png(folder / f"{number:05d}.png", pixels)


def _baselines(library: Library, request: GeneratorRequest, folder: Path) -> dict[str, float]:
    """KID of what a generator must beat, and of other renders, which it cannot hope to."""
    photographs = load_photographs(
        request.photographs, folder, resolution=RESOLUTION, fit=request.fit
    )
    pixels = photographs.pixels
    quality = SampleQuality(
        feature_network(library, request.features, device="cpu"),
        pixels,
        folder=folder,
        count=request.measured,
        seed=request.seed,
        device="cpu",
    )
    mean = pixels.mean(axis=0, keepdims=True).round().astype(np.uint8)
    repeats = -(-request.measured // COLLAPSE)
    held_out = render(sample(HELD_OUT, seed=2), RESOLUTION).pixels
    return {
        "the mean image": quality.distance(np.repeat(mean, request.measured, axis=0)),
        f"{COLLAPSE} photographs, repeated": quality.distance(
            np.tile(pixels[:COLLAPSE], (repeats, 1, 1, 1))[: request.measured]
        ),
        "other renders": quality.distance(held_out),
    }


def _draw_curve(path: Path, curve: list[dict[str, float]], baselines: dict[str, float]) -> None:
    """KID, on a logarithmic scale, against minutes of one core."""
    canvas = Image.new("RGB", _SIZE, "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(12)
    left, top, right, bottom = _PLOT
    shown = curve[1:]  # the first value is that of noise, far above
    bounds = list(baselines.values())[:2]
    low = np.floor(np.log10(min(bounds + [entry["kid"] for entry in shown])))
    high = np.ceil(np.log10(max(bounds + [entry["kid"] for entry in shown])))
    longest = shown[-1]["cpu_seconds"] / 60

    def place(minutes: float, kid: float) -> tuple[float, float]:
        share = (np.log10(max(kid, 10**low)) - low) / (high - low)
        return left + (right - left) * minutes / longest, bottom - (bottom - top) * float(share)

    for power in range(int(low), int(high) + 1):
        y = place(0, 10.0**power)[1]
        draw.line([left, y, right, y], fill=(230, 230, 230))
        draw.text((left - 6, y), f"{10.0**power:g}", fill=_INK, font=font, anchor="rm")
    for minutes in range(0, int(longest) + 1, 2):
        x = place(minutes, 10**low)[0]
        draw.text((x, bottom + 6), str(minutes), fill=_INK, font=font, anchor="mt")
    # the curve begins at the top left and ends at the bottom right: names where it is not
    for name, value, x, anchor in zip(
        baselines, bounds, (right, left + 4), ("rb", "lb"), strict=False
    ):
        y = place(0, value)[1]
        draw.line([left, y, right, y], fill=_GREY, width=2)
        draw.text((x, y - 4), name, fill=_INK, font=font, anchor=anchor)
    points = [place(entry["cpu_seconds"] / 60, entry["kid"]) for entry in shown]
    draw.line(points, fill=_LINE, width=3, joint="curve")
    draw.text((left, top - 14), "KID", fill=_INK, font=font)
    middle = ((left + right) / 2, bottom + 22)
    draw.text(middle, "minutes of one core", fill=_INK, font=font, anchor="mt")
    write_png(path, np.asarray(canvas))


def _draw_samples(path: Path, folder: Path, curve: list[dict[str, float]]) -> None:
    """The same latents at five moments, below each other, then photographs."""
    chosen = np.linspace(1, len(curve) - 1, 5).round().astype(int)
    names = [f"{round(curve[index]['images']):06d}" for index in chosen]
    rows = [
        _first_rows(folder / SAMPLES_FOLDER / f"{name}.png") for name in (*names, "photographs")
    ]
    gap = np.full((4, rows[0].shape[1], 3), 255, np.uint8)
    strip = np.concatenate([part for row in rows for part in (row, gap)][:-1])
    write_png(path, np.ascontiguousarray(strip.repeat(2, axis=0).repeat(2, axis=1)))


def _first_rows(path: Path) -> Pixels:
    """The first two rows of a grid, side by side."""
    grid = np.asarray(Image.open(path).convert("RGB"))
    assert grid.shape[1] == GRID_SIDE * RESOLUTION
    return np.concatenate([grid[:RESOLUTION], grid[RESOLUTION : 2 * RESOLUTION]], axis=1)


if __name__ == "__main__":
    command()
