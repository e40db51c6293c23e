"""The loop that a run is compared with: no SQL, chunks, manifests, threads or sync.

    python -m benchmarks.batch.bare_loop HOME OUT [--photos FOLDER | --count N] [--batch-size 16]

Decodes, embeds with the encoder, edits, segments and encodes in mini-batches, with the engine
alone; or samples, for `--count`. Prints its seconds as JSON.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from benchmarks.batch.library import VECTOR
from editvec.avatars import default
from editvec.engine.editing.inversion import EmbedSettings
from editvec.engine.editor import Editor
from editvec.engine.images.images import fit_pixels, read_image, to_images, to_pixels
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from editvec.registry.masks.png import encode_mask

_PNG_LEVEL = 1


class _Batch(NamedTuple):
    """The names of some inputs and their latents, [N, num_ws, w_dim]."""

    names: list[str]
    ws: Tensor


def main() -> None:
    """Works through all images once."""
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--count", type=int)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    with Library.open(RegistryConfig.from_environment(options.home)) as library:
        model = library.get_class(default.CLASS_NAME)
        editor = Editor.open(library.materialise_bundle(model), options.device)
        stored = library.delta(library.get_vector(f"{model.name}/{VECTOR}"))
        delta = torch.from_numpy(stored).to(editor.device)
    options.out.mkdir()
    started = time.perf_counter()
    if options.photos is not None:
        variants, batches = [delta], _embedded(editor, options.photos, options.batch_size)
    else:
        variants = [torch.zeros_like(delta), delta]
        batches = _sampled(editor, options.count, options.batch_size)
    images = 0
    for names, ws in batches:
        for number, variant in enumerate(variants):
            made = editor.synthesize_with_mask(ws + variant)
            masks = made.mask.byte().cpu().numpy()
            for name, pixels, mask in zip(names, to_pixels(made.images), masks, strict=True):
                path = options.out / f"{name}.{number}.png"
                Image.fromarray(pixels).save(path, compress_level=_PNG_LEVEL)
                path.with_suffix(".mask.png").write_bytes(encode_mask(mask, model.labels))
                images += 1
    seconds = time.perf_counter() - started
    print(json.dumps({"images": images, "seconds": seconds}))


def _embedded(editor: Editor, photos: Path, size: int) -> Iterator[_Batch]:
    paths = sorted(photos.iterdir())
    for start in range(0, len(paths), size):
        chosen = paths[start : start + size]
        resolution = editor.bundle.resolution
        pixels = [fit_pixels(read_image(path), resolution, fit="crop") for path in chosen]
        images = to_images(pixels).to(editor.device)
        ws = editor.embed(images, EmbedSettings(num_steps=0)).ws
        yield _Batch([path.stem for path in chosen], ws)


def _sampled(editor: Editor, count: int, size: int) -> Iterator[_Batch]:
    for start in range(0, count, size):
        some = min(size, count - start)
        names = [f"{number:06d}" for number in range(start, start + some)]
        yield _Batch(names, editor.sample(some, 0, first=start))


if __name__ == "__main__":
    main()
