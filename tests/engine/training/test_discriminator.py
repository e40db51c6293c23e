"""The discriminator and its parts."""

import math

import pytest
import torch
import torch.nn.functional as F

from editvec.engine.networks.config import GeneratorConfig
from editvec.engine.networks.layers import filter_kernel
from editvec.engine.training.discriminator import (
    Discriminator,
    DiscriminatorConfig,
    EqualizedConv,
    downsample,
    minibatch_deviation,
)

SMALL = DiscriminatorConfig(16, channel_base=128, channel_max=12)


def small(*, seed: int = 0) -> Discriminator:
    torch.manual_seed(seed)
    return Discriminator(SMALL).double()


def test_minibatch_deviation_is_that_of_each_group() -> None:
    x = torch.randn(6, 5, 4, 4, dtype=torch.float64)

    out = minibatch_deviation(x, group_size=3)

    assert torch.equal(out[:, :5], x)
    for first in range(2):
        members = x[first::2]  # every second sample belongs to one group
        expected = members.var(dim=0, unbiased=False).sqrt().mean()
        torch.testing.assert_close(out[first::2, 5], expected.expand(3, 4, 4), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("count", "group_size"), [(5, 4), (1, 4), (6, 4)])
def test_odd_batches_form_the_largest_equal_groups(count: int, group_size: int) -> None:
    out = minibatch_deviation(torch.randn(count, 2, 4, 4), group_size=group_size)

    levels = {round(float(value), 6) for value in out[:, 2, 0, 0]}
    assert len(levels) == {5: 1, 1: 1, 6: 2}[count]


def test_equal_samples_have_no_deviation() -> None:
    x = torch.randn(1, 3, 4, 4).expand(4, -1, -1, -1)

    assert float(minibatch_deviation(x, group_size=4)[:, 3].max()) < 2e-4


def test_downsampling_keeps_constants_and_averages_as_the_filter_says() -> None:
    x = torch.randn(1, 2, 12, 12, dtype=torch.float64)

    out = downsample(x)

    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64) / 8
    rows = torch.stack([x[:, :, 2 * i - 1 : 2 * i + 3] for i in range(1, 5)], dim=2)
    rows = (rows * taps[:, None]).sum(dim=3)  # [1, 2, 4, 12]
    expected = torch.stack(
        [(rows[..., 2 * i - 1 : 2 * i + 3] * taps).sum(dim=3) for i in range(1, 5)], dim=3
    )
    torch.testing.assert_close(out[:, :, 1:5, 1:5], expected)
    flat = downsample(torch.ones(1, 1, 12, 12, dtype=torch.float64))
    torch.testing.assert_close(flat[..., 1:-1, 1:-1], torch.ones(1, 1, 4, 4, dtype=torch.float64))


def test_equalised_convolution_keeps_the_variance() -> None:
    torch.manual_seed(1)
    conv = EqualizedConv(64, 64, 3, activation="linear", bias=False)

    out = conv(torch.randn(8, 64, 16, 16))

    assert float(out[..., 2:-2, 2:-2].detach().std()) == pytest.approx(1, abs=0.05)


def test_halving_convolution_is_filter_then_convolution() -> None:
    torch.manual_seed(2)
    conv = EqualizedConv(3, 4, 3, down=True, gain=math.sqrt(0.5)).double()
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)

    blurred = F.conv2d(
        F.pad(x, [2, 2, 2, 2]), filter_kernel().double().expand(3, 1, 4, 4), groups=3
    )
    expected = F.conv2d(blurred, conv.weight / math.sqrt(27), stride=2)
    expected = F.leaky_relu(expected, 0.2)  # sqrt(2) of the activation times sqrt(1/2)

    torch.testing.assert_close(conv(x), expected)


def test_samples_see_each_other_only_through_the_deviation() -> None:
    images = torch.randn(4, 3, 16, 16, dtype=torch.float64)
    alone, together = small(), small()
    with torch.no_grad():
        for network in (alone, together):
            network.conv.weight[:, -1] = 0

    logits = together(images)

    assert logits.shape == (4,)
    one_by_one = torch.cat([alone(image[None]) for image in images])
    torch.testing.assert_close(logits, one_by_one)
    torch.testing.assert_close(small()(images).var(), small()(images.flip(0)).var())
    assert not torch.allclose(small()(images), torch.cat([small()(one[None]) for one in images]))


def test_second_derivatives_are_right() -> None:
    network = small()
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64, requires_grad=True)

    assert torch.autograd.gradgradcheck(lambda x: network(x), images, fast_mode=True)


def test_discriminator_beside_a_generator_has_its_channels() -> None:
    generator = GeneratorConfig(64, channel_base=1024, channel_max=96, conv_clamp=256)

    config = DiscriminatorConfig.beside(generator)

    assert [config.channels(size) for size in (4, 32, 64)] == [96, 32, 16]
    assert config.clamp == 256
