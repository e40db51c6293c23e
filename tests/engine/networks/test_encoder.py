import pytest
import torch
from torch import nn

from editvec.engine.errors import EngineSettingsError, ShapeError
from editvec.engine.networks.config import EncoderConfig
from editvec.engine.networks.encoder import Encoder


def _encoder(resolution: int = 32, num_ws: int = 8, **settings) -> Encoder:
    torch.manual_seed(0)
    config = EncoderConfig(
        resolution, num_ws, 12, settings.pop("channels", (8, 12, 16)), head_channels=8
    )
    encoder = Encoder(config, **settings)
    for head in encoder.heads:
        nn.init.normal_(head.rows.weight, std=0.1)
    return encoder.double().eval()


@pytest.mark.parametrize(
    ("resolution", "num_ws", "channels"),
    [(16, 6, (8, 8)), (16, 6, (8,)), (32, 8, (8, 12, 16)), (64, 10, (8, 8, 8, 8))],
)
def test_images_become_ws(resolution: int, num_ws: int, channels: tuple[int, ...]) -> None:
    encoder = _encoder(resolution, num_ws, channels=channels)

    ws = encoder(torch.rand(2, 3, resolution, resolution).double())

    assert ws.shape == (2, num_ws, 12)
    assert not torch.equal(ws[:, 0], ws[:, -1])


def test_an_untrained_encoder_answers_w_avg() -> None:
    w_avg = torch.randn(12)
    encoder = Encoder(EncoderConfig(16, 6, 12, (8, 8)), w_avg=w_avg).eval()

    assert torch.equal(encoder(torch.rand(2, 3, 16, 16)), w_avg.expand(2, 6, 12))
    w_avg += 1
    assert not torch.equal(encoder.w_avg, w_avg)


def test_in_eval_mode_images_do_not_influence_each_other() -> None:
    encoder = _encoder()
    images = torch.rand(3, 3, 32, 32).double()

    together = encoder(images)

    for index in range(3):
        torch.testing.assert_close(together[index], encoder(images[index : index + 1])[0])


def test_every_pixel_can_matter() -> None:
    encoder = _encoder()
    images = torch.rand(1, 3, 32, 32, requires_grad=True, dtype=torch.float64)

    encoder(images).square().sum().backward()

    assert (images.grad != 0).all()


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ShapeError, match="32x32"):
        _encoder()(torch.rand(1, 3, 16, 16).double())
    with pytest.raises(EngineSettingsError, match="stages"):
        EncoderConfig(16, 6, 12)
