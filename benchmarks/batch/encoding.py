"""What an image costs on its way to the disk, by format and size, on one core.

    python -m benchmarks.batch.encoding

The pictures are rendered avatars with a little noise, so that they compress like photographs. The
time is process time: what else runs on the machine does not count.
"""

import time

import click
import numpy as np
import numpy.typing as npt

from editvec.avatars.drawing.parameters import sample
from editvec.avatars.drawing.render import LABELS, render
from editvec.batch.recipes.settings import ImageFormat
from editvec.batch.sinks.coco import parts_of
from editvec.batch.sinks.encoding import encode_image
from editvec.registry.labels.label import Label
from editvec.registry.masks.forms.run_lengths import encode_coco
from editvec.registry.masks.png import encode_mask

FORMATS = ("png", "jpeg:95", "jpeg:85", "webp:90", "webp:lossless")
NOISE = 3.0
PICTURES = 8


def _milliseconds(started: float, count: int) -> float:
    return 1000 * (time.process_time() - started) / count


@click.command()
@click.option("--side", "sides", multiple=True, type=int, default=(64, 512), show_default=True)
@click.option("--count", default=32, show_default=True, help="Images per format and size.")
def command(sides: tuple[int, ...], count: int) -> None:
    """Measure every format, and masks."""
    labels = [Label(index, name, (index, 0, 0)) for index, name in enumerate(LABELS)]
    click.echo(f"{'pixels':>6}  {'what':<14}{'ms each':>9}{'bytes':>9}")
    for side in sides:
        drawn = render(sample(PICTURES, seed=1), side)
        noise = np.random.default_rng(0).normal(0, NOISE, drawn.pixels.shape)
        pictures: npt.NDArray[np.uint8] = np.clip(drawn.pixels + noise, 0, 255).astype(np.uint8)
        for text in FORMATS:
            image_format, size = ImageFormat.parse(text), 0
            started = time.process_time()
            for number in range(count):
                size += len(encode_image(pictures[number % PICTURES], image_format))
            _tell(side, text, _milliseconds(started, count), size // count)
        started, size = time.process_time(), 0
        for number in range(count):
            size += len(encode_mask(drawn.mask[number % PICTURES], labels))
        _tell(side, "mask (png)", _milliseconds(started, count), size // count)
        started, size = time.process_time(), 0
        for number in range(count):
            size += sum(
                len(encode_coco(part.counts)) for part in parts_of(drawn.mask[number % PICTURES])
            )
        _tell(side, "mask (rle)", _milliseconds(started, count), size // count)


def _tell(side: int, what: str, milliseconds: float, size: int) -> None:
    click.echo(f"{side:>6}  {what:<14}{milliseconds:>9.2f}{size:>9,}")


if __name__ == "__main__":
    command()
