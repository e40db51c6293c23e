"""What an encoder is worth against pure optimisation, and which learning rate teaches one.

    OMP_NUM_THREADS=1 python -m benchmarks.training.encoder build/encoder

The first table embeds held-out renders by the shipped class `avatars`: by its encoder, with
inversion after it, and by inversion alone. The second trains encoders for that class from scratch,
each for the same few steps and with the same batches, at several learning rates, and measures what
they make of the same renders. Every training is that of `editvec train encoder`; after a kill the
same command goes on. Seconds of the first table are by the clock, those of the second processor
time.
"""

import time
from pathlib import Path

import click
from torch import Tensor

from editvec.avatars.default import BUNDLE_FOLDER
from editvec.avatars.drawing.parameters import sample
from editvec.avatars.drawing.render import render
from editvec.batch.cli.train.commands import progress_line
from editvec.batch.quality.reconstruction import (
    compare_embeddings,
    embedding_table,
    encoding_errors,
)
from editvec.batch.training.encoder import train_encoder
from editvec.batch.training.requests import EncoderRequest, Watcher
from editvec.engine.bundle.bundle import LoadedBundle, load_bundle
from editvec.engine.editing.losses import Networks
from editvec.engine.images.images import to_images
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from editvec.registry.text_tables import format_table

SEED = 40_000  # far from those that the shipped networks were trained and judged on
COUNT = 16
RATES = (3e-5, 3e-4, 1e-3, 2e-3)


@click.command()
@click.argument("work", type=click.Path(path_type=Path))
@click.option("--embed-steps", type=click.IntRange(1), default=50, show_default=True)
@click.option("--rate", "rates", type=float, multiple=True, default=RATES, show_default=True)
@click.option("--steps", type=click.IntRange(2), default=150, show_default=True)
@click.option("--only", type=click.Choice(["ways", "rates"]), help="One of the two tables.")
def command(
    work: Path, embed_steps: int, rates: tuple[float, ...], steps: int, only: str | None
) -> None:
    """Print both tables; trainings lie in WORK."""
    loaded = load_bundle(BUNDLE_FOLDER)
    resolution = loaded.bundle.resolution
    images = to_images(list(render(sample(COUNT, seed=SEED), resolution).pixels))
    if only != "rates":
        _compare_ways(loaded, images, embed_steps)
    if only != "ways":
        _compare_rates(loaded, images, work, rates, steps)


def _compare_ways(loaded: LoadedBundle, images: Tensor, num_steps: int) -> None:
    networks = Networks(
        loaded.generator.synthesis, perceptual=loaded.perceptual, encoder=loaded.encoder
    )
    rows = compare_embeddings(networks, images, w_avg=loaded.generator.w_avg, num_steps=num_steps)
    assert loaded.perceptual is not None
    click.echo(embedding_table(rows, loaded.perceptual.name))


def _compare_rates(
    loaded: LoadedBundle, images: Tensor, work: Path, rates: tuple[float, ...], steps: int
) -> None:
    assert loaded.perceptual is not None
    config = RegistryConfig.for_home(work / "home")
    rows = []
    with Library.open(config) as library:
        class_name = library.add_bundle(BUNDLE_FOLDER).name
        for rate in rates:
            request = EncoderRequest(
                class_address=class_name,
                warmup_steps=steps,
                training={
                    "learning_rate": rate,
                    "ws_steps": steps // 2,
                    "validate_steps": steps,
                },
                held_out=COUNT,
                compared=0,
            )
            began = time.process_time()
            with progress_line(f"learning rate {rate:g}") as show:
                trained = train_encoder(
                    library,
                    request,
                    work=work / f"rate-{rate:g}",
                    device="cpu",
                    watcher=Watcher(on_progress=show),
                )
            seconds = time.process_time() - began
            encoder = load_bundle(library.materialise_bundle(trained.model)).encoder
            found = encoding_errors(
                loaded.generator, encoder, iter([images]), perceptual=loaded.perceptual
            )
            assert found.perceptual is not None
            rows.append(
                (
                    f"{rate:g}",
                    f"{trained.measured['samples_psnr']:.2f}",
                    f"{trained.measured['samples_perceptual']:.4f}",
                    f"{found.psnr.mean():.2f}",
                    f"{found.perceptual.mean():.4f}",
                    f"{seconds:.0f}",
                )
            )
    name = loaded.perceptual.name
    headers = ["learning rate", "samples dB", name, "renders dB", name, "CPU s"]
    click.echo(format_table(headers, rows))


if __name__ == "__main__":
    command()
