"""Who does not look like the class: ordinary images of it do, noise and foreign pictures do not."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from editvec.avatars.default import BUNDLE_FOLDER
from editvec.avatars.drawing.parameters import sample
from editvec.avatars.drawing.render import render
from editvec.batch.quality.likeness import find_unlike
from editvec.batch.quality.reconstruction import Errors, encoding_errors
from editvec.engine.bundle.bundle import load_bundle
from editvec.engine.editing.inversion import EmbedSettings
from editvec.engine.editor import Editor
from editvec.engine.images.images import to_images

SEED = 31_000  # far from those that the shipped networks were trained on

Numbers = npt.NDArray[np.float64]


def _errors(psnr: list[float], perceptual: list[float] | None = None) -> Errors:
    return Errors(np.array(psnr), None if perceptual is None else np.array(perceptual))


def _landscape(seed: int) -> npt.NDArray[np.uint8]:
    """A picture with the spectrum of photographs, amplitude 1/f, [64, 64, 3]."""
    random = np.random.default_rng(seed)
    steps = np.fft.fftfreq(64)
    frequency = np.hypot(steps[:, None], steps)
    frequency[0, 0] = 1 / 64
    channels = []
    common = random.normal(size=(64, 64))
    for _ in range(3):
        drawn = np.fft.fft2(common + 0.4 * random.normal(size=(64, 64))) / frequency
        channel = np.fft.ifft2(drawn).real
        channels.append(128 + 45 * channel / channel.std())
    return np.clip(np.stack(channels, axis=-1), 0, 255).astype(np.uint8)


def _images(count: int) -> tuple[Tensor, list[int]]:
    """Renders that no network has seen, then outsiders; and the places of the latter."""
    random = np.random.default_rng(0)
    pixels = list(render(sample(count, seed=SEED), 64).pixels)
    pixels += [random.integers(0, 256, (64, 64, 3)).astype(np.uint8), _landscape(1), _landscape(2)]
    return to_images(pixels), list(range(count, len(pixels)))


def test_encoder_tells_outsiders_from_ordinary_images() -> None:
    loaded = load_bundle(BUNDLE_FOLDER)
    images, outsiders = _images(24)
    with torch.no_grad():
        z = torch.randn(8, loaded.bundle.z_dim, generator=torch.Generator().manual_seed(5))
        samples = loaded.generator(z).clamp(-1, 1)

    found, known = (
        encoding_errors(
            loaded.generator,
            loaded.encoder,
            iter(torch.split(some, 16)),
            perceptual=loaded.perceptual,
        )
        for some in (images, samples)
    )

    assert find_unlike(found, known) == find_unlike(found) == outsiders
    squared = found._replace(perceptual=None)
    assert find_unlike(squared, known._replace(perceptual=None)) == outsiders


@pytest.mark.slow
def test_inversion_tells_outsiders_from_ordinary_images() -> None:
    """As `train segmentation` embeds for a class without an encoder."""
    editor = Editor.open(BUNDLE_FOLDER, "cpu")
    editor.encoder = None
    images, outsiders = _images(13)

    found = editor.embed(images, EmbedSettings(num_steps=20))

    assert found.perceptual is not None
    errors = Errors(found.psnr.double().numpy(), found.perceptual.double().numpy())
    assert find_unlike(errors) == outsiders


def test_only_errors_far_from_the_others_stand_out() -> None:
    usual = [30.0, 29.0, 31.0, 28.0, 30.0]

    assert find_unlike(_errors([30, 29, 31, 27.5, 30, 33])) == []
    assert find_unlike(_errors([30.0] * 5 + [22.0])) == []
    assert find_unlike(_errors([*usual, 17])) == [5]
    assert find_unlike(_errors([*usual, 20], [0.1, 0.11, 0.09, 0.1, 0.12, 0.5])) == [5]
    assert find_unlike(_errors([30] * 6, [0.1, 0.11, 0.09, 0.1, 0.12, 0.5])) == []


def test_nobody_is_left_out_who_is_as_good_as_a_sample() -> None:
    photographs = _errors([30.0, 29, 31, 28, 30, 24], [0.1, 0.1, 0.1, 0.1, 0.1, 0.4])

    assert find_unlike(photographs, _errors([30, 23], [0.1, 0.5])) == []
    assert find_unlike(photographs, _errors([30, 26], [0.1, 0.2])) == [5]
