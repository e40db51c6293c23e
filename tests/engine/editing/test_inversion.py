import numpy as np
import pytest
import torch
from torch import Tensor

from editvec.engine.bundle.bundle import LoadedBundle
from editvec.engine.editing.inversion import EmbedSettings, invert, reconstruction_error
from editvec.engine.editing.losses import LossWeights, Networks
from editvec.engine.errors import EngineSettingsError, NonFiniteError, ShapeError

MSE = LossWeights(mse_weight=1.0)


@pytest.fixture
def w_avg(loaded: LoadedBundle) -> Tensor:
    return loaded.generator.w_avg


def test_without_steps_the_answer_is_the_encoders(
    networks: Networks, images: Tensor, w_avg: Tensor
) -> None:
    with torch.no_grad():
        expected = networks.encoder(images)

    result = invert(networks, images, w_avg=w_avg, settings=EmbedSettings(num_steps=0))

    assert torch.equal(result.ws, expected)
    assert result.num_steps.tolist() == [0, 0, 0, 0]


def test_steps_improve_the_reconstruction_of_every_image(
    networks: Networks, images: Tensor, w_avg: Tensor
) -> None:
    start = invert(networks, images, w_avg=w_avg, settings=EmbedSettings(num_steps=0))

    result = invert(networks, images, w_avg=w_avg, settings=EmbedSettings(num_steps=20))

    assert (result.psnr > start.psnr + 2).all()
    assert (result.perceptual < start.perceptual).all()


def test_the_error_is_measured_on_what_is_returned(
    networks: Networks, images: Tensor, w_avg: Tensor
) -> None:
    result = invert(networks, images, w_avg=w_avg, settings=EmbedSettings(num_steps=3))

    with torch.no_grad():
        again = networks.synthesis(result.ws).clamp(-1, 1)
    mse = ((again - images) / 2).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(result.psnr, -10 * mse.log10())
    torch.testing.assert_close(
        result.perceptual, networks.perceptual((again + 1) / 2, (images + 1) / 2)
    )


@pytest.mark.parametrize("is_seen", [False, True])
def test_the_error_of_pictures_beyond_the_range_is_that_of_their_pixels(
    networks: Networks, images: Tensor, ws: Tensor, is_seen: bool
) -> None:
    """A file holds no less than black and no more than white."""
    ws = 20 * ws
    with torch.no_grad():
        pictures = networks.synthesis(ws)

    perceptual, decibels = reconstruction_error(
        networks, images, ws, see=(lambda _: pictures) if is_seen else None
    )

    assert ((pictures < -1).sum(dim=(1, 2, 3)) > 10).all()
    assert ((pictures > 1).sum(dim=(1, 2, 3)) > 10).all()
    shown = np.clip(pictures.numpy(), -1, 1)
    mse = (((shown - images.numpy()) / 2) ** 2).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(decibels.numpy(), 10 * np.log10(1 / mse))
    assert perceptual is not None
    with torch.no_grad():
        distance = networks.perceptual(torch.from_numpy((shown + 1) / 2), (images + 1) / 2)
    torch.testing.assert_close(perceptual, distance)


def test_w_has_one_row_for_all(networks: Networks, images: Tensor, w_avg: Tensor) -> None:
    settings = EmbedSettings(num_steps=5, space="W")

    ws = invert(networks, images, w_avg=w_avg, settings=settings).ws

    assert ws.shape == (4, networks.synthesis.config.num_ws, 8)
    assert (ws == ws[:, :1]).all()
    rows = invert(networks, images, w_avg=w_avg, settings=EmbedSettings(num_steps=5)).ws
    assert not (rows == rows[:, :1]).all()


@pytest.mark.parametrize("space", ["W", "W+"])
def test_joint_inversion_equals_separate_inversion(
    networks: Networks, images: Tensor, w_avg: Tensor, space: str
) -> None:
    settings = EmbedSettings(num_steps=5, space=space)

    together = invert(networks, images, w_avg=w_avg, settings=settings)

    for sample in range(len(images)):
        alone = invert(networks, images[sample : sample + 1], w_avg=w_avg, settings=settings)
        torch.testing.assert_close(together.ws[sample], alone.ws[0], atol=1e-8, rtol=0)
        torch.testing.assert_close(together.psnr[sample], alone.psnr[0], atol=1e-8, rtol=0)


def test_a_target_stops_each_sample_on_its_own(
    networks: Networks, images: Tensor, w_avg: Tensor
) -> None:
    full = invert(networks, images, w_avg=w_avg, settings=EmbedSettings(20, weights=MSE))
    target = float(full.psnr.median()) - 1

    result = invert(
        networks, images, w_avg=w_avg, settings=EmbedSettings(20, target=target, weights=MSE)
    )

    stopped = result.num_steps < 20
    assert stopped.any()
    assert (result.psnr[stopped] >= target).all()
    assert torch.equal(stopped, full.psnr >= target)


def test_without_an_encoder_inversion_starts_at_w_avg(
    networks: Networks, images: Tensor, w_avg: Tensor
) -> None:
    bare = networks._replace(encoder=None)
    seen = []

    invert(bare, images, w_avg=w_avg, settings=EmbedSettings(1, weights=MSE), on_step=seen.append)

    with torch.no_grad():
        start = networks.synthesis(w_avg.expand(4, networks.synthesis.config.num_ws, -1))
    expected = ((start - images) / 2).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(seen[0].terms.mse, expected)
    with pytest.raises(EngineSettingsError, match="no encoder"):
        invert(bare, images, w_avg=w_avg, settings=EmbedSettings(0))


def test_embedding_twice_gives_the_same_bits(
    networks32: Networks, images: Tensor, w_avg: Tensor
) -> None:
    first, second = (
        invert(networks32, images.float(), w_avg=w_avg.float(), settings=EmbedSettings(num_steps=4))
        for _ in range(2)
    )

    assert torch.equal(first.ws, second.ws)
    assert torch.equal(first.psnr, second.psnr)


def test_images_that_cannot_be_embedded_are_refused(networks: Networks, w_avg: Tensor) -> None:
    settings = EmbedSettings(1)
    broken = torch.zeros(1, 3, 16, 16, dtype=torch.float64)
    broken[0, 0, 0, 0] = torch.nan

    with pytest.raises(ShapeError, match="16x16"):
        invert(networks, torch.zeros(1, 3, 8, 8), w_avg=w_avg, settings=settings)
    with pytest.raises(NonFiniteError, match="images"):
        invert(networks, broken, w_avg=w_avg, settings=settings)


@pytest.mark.parametrize(
    "values",
    [
        {"num_steps": -1},
        {"space": "Z"},
        {"target": -3.0},
        {"target": float("nan")},
        {"learning_rate": 0.0},
        {"weights": LossWeights(cross_entropy_weight=1.0)},
    ],
)
def test_settings_out_of_range_are_refused(values: dict) -> None:
    with pytest.raises(EngineSettingsError):
        EmbedSettings(**values)
