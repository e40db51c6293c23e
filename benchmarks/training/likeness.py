"""How often are ordinary images taken for strangers, and strangers found?

    OMP_NUM_THREADS=1 python -m benchmarks.training.likeness

Embeds renders that no network has seen, and strangers (noise, coloured blocks, landscapes with the
spectrum of photographs), with the shipped class `avatars`: by its encoder, by inversion after it,
and by inversion alone. Then it draws folders of a few renders and one stranger, again and again,
and asks the rule of `train encoder` and `train segmentation` who does not look like the class.
"""

from collections.abc import Iterator

import click
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from editvec.avatars.default import BUNDLE_FOLDER
from editvec.avatars.drawing.parameters import sample
from editvec.avatars.drawing.render import render
from editvec.batch.quality.likeness import find_unlike
from editvec.batch.quality.reconstruction import BATCH, Errors
from editvec.engine.editing.inversion import EmbedSettings
from editvec.engine.editor import Editor
from editvec.engine.images.images import to_images
from editvec.registry.text_tables import format_table

SEED = 50_000  # far from those that the shipped networks were trained and judged on
SIZES = (8, 16, 32)
FOLDERS = 1000
SAMPLES = 64


@click.command()
@click.option("--renders", type=click.IntRange(32), default=128, show_default=True)
@click.option("--steps", type=click.IntRange(1), default=30, show_default=True)
def command(renders: int, steps: int) -> None:
    """Print one row for each way to embed and each size of a folder."""
    editor = Editor.open(BUNDLE_FOLDER, "cpu")
    size = editor.bundle.resolution
    random = np.random.default_rng(0)
    strangers = list(_strangers(size, random))
    images = to_images([*render(sample(renders, seed=SEED), size).pixels, *strangers])
    samples = editor.synthesize(editor.sample(SAMPLES, seed=SEED)).clamp(-1, 1)
    encoder, rows = editor.encoder, list[tuple[str, ...]]()
    known = _errors(editor, samples, 0)
    for way, used, num_steps, beside in (
        ("encoder, beside samples", encoder, 0, known),
        ("encoder", encoder, 0, None),
        (f"encoder + {steps} steps", encoder, steps, None),
        (f"w_avg + {steps} steps", None, steps, None),
    ):
        editor.encoder = used
        errors = _errors(editor, images, num_steps)
        for count in SIZES:
            wrong, found = _drawn(errors, beside, renders, count, random)
            rows.append((way, str(count), f"{wrong:.2%}", f"{found:.1%}"))
    click.echo(f"{renders} renders, {len(strangers)} strangers, {FOLDERS} folders of each kind")
    headers = ["embedded by", "images", "renders named", "strangers named"]
    click.echo(format_table(headers, rows))


def _strangers(size: int, random: np.random.Generator) -> Iterator[npt.NDArray[np.uint8]]:
    """Pictures [size, size, 3] that show no face."""
    yield random.integers(0, 256, (size, size, 3)).astype(np.uint8)
    blocks = random.integers(0, 256, (8, 8, 3)).astype(np.uint8)
    yield np.kron(blocks, np.ones((size // 8, size // 8, 1), np.uint8))
    steps = np.fft.fftfreq(size)
    frequency = np.hypot(steps[:, None], steps)
    frequency[0, 0] = 1 / size
    for exponent in (1.0, 1.0, 1.0, 1.5, 1.5, 1.5):
        common = random.normal(size=(size, size))
        channels = []
        for _ in range(3):
            drawn = common + 0.4 * random.normal(size=(size, size))
            channel = np.fft.ifft2(np.fft.fft2(drawn) / frequency**exponent).real
            channels.append(128 + 45 * channel / channel.std())
        yield np.clip(np.stack(channels, axis=-1), 0, 255).astype(np.uint8)


def _errors(editor: Editor, images: Tensor, num_steps: int) -> Errors:
    settings = EmbedSettings(num_steps=num_steps)
    parts = [editor.embed(some, settings) for some in torch.split(images, BATCH)]
    distances = [one.perceptual for one in parts if one.perceptual is not None]
    return Errors(
        torch.cat([one.psnr for one in parts]).double().numpy(),
        torch.cat(distances).double().numpy(),
    )


def _drawn(
    errors: Errors,
    samples: Errors | None,
    renders: int,
    count: int,
    random: np.random.Generator,
) -> tuple[float, float]:
    """Shares of the renders, and of the strangers, that are named."""
    assert errors.perceptual is not None
    wrong = found = 0
    for _ in range(FOLDERS):
        rows = random.choice(renders, count - 1, replace=False)
        stranger = random.integers(renders, len(errors.psnr))
        places = np.append(rows, stranger)
        named = find_unlike(Errors(errors.psnr[places], errors.perceptual[places]), samples)
        found += count - 1 in named
        wrong += len(named) - (count - 1 in named)
    return wrong / (FOLDERS * (count - 1)), found / FOLDERS


if __name__ == "__main__":
    command()
