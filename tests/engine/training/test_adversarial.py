"""Losses of adversarial training."""

import math

import pytest
import torch
from torch import Tensor

from editvec.engine.networks.config import GeneratorConfig
from editvec.engine.networks.generator import Generator
from editvec.engine.training.adversarial import (
    discriminator_loss,
    generator_loss,
    path_length_penalty,
    r1_penalty,
)


def test_losses_are_logistic() -> None:
    fake, real = torch.tensor([0.3, -2.0]), torch.tensor([1.5, 0.0])

    def minus_log_sigmoid(values: Tensor) -> float:
        return float(-(1 / (1 + (-values).exp())).log().mean())

    assert float(generator_loss(fake)) == pytest.approx(minus_log_sigmoid(fake))
    expected = minus_log_sigmoid(-fake) + minus_log_sigmoid(real)
    assert float(discriminator_loss(fake, real)) == pytest.approx(expected)


def test_r1_of_a_quadratic_is_its_closed_form_with_its_gradient() -> None:
    # D(x) = a |x|^2 / 2 + b sum(x): the gradient in x is a x + b
    images = torch.randn(3, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    a = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    b = torch.tensor(-0.2, dtype=torch.float64, requires_grad=True)
    logits = (a * images.square() / 2 + b * images).sum(dim=(1, 2, 3))

    penalty = r1_penalty(logits, images)
    grad_a, grad_b = torch.autograd.grad(penalty, [a, b])

    slope = (a * images + b).detach()
    x = images.detach()
    torch.testing.assert_close(penalty.detach(), slope.square().sum(dim=(1, 2, 3)).mean())
    torch.testing.assert_close(grad_a, (2 * slope * x).sum(dim=(1, 2, 3)).mean())
    torch.testing.assert_close(grad_b, (2 * slope).sum(dim=(1, 2, 3)).mean())


def test_path_length_of_a_linear_map_is_its_closed_form() -> None:
    # an image that is the first row of ws times s: J^T y is s times the noise of those pixels
    ws = torch.randn(2, 3, 48, dtype=torch.float64, requires_grad=True)
    scale = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    images = (scale * ws[:, 0]).view(2, 3, 4, 4)
    average = torch.tensor(0.5, dtype=torch.float64)
    seed = torch.Generator().manual_seed(4)

    penalty, moved = path_length_penalty(images, ws, average, generator=seed)

    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(4)).double()
    one = noise.flatten(1).square().sum(dim=1).sqrt() / 4 / math.sqrt(3)  # mean over three rows
    lengths = 1.3 * one
    expected = 0.5 + 0.01 * (lengths.mean() - 0.5)
    torch.testing.assert_close(moved, expected)
    torch.testing.assert_close(penalty.detach(), (lengths - expected).square().mean())
    (gradient,) = torch.autograd.grad(penalty, scale)
    torch.testing.assert_close(gradient, (2 * (lengths - expected) * one).mean())


def test_path_length_gradient_through_the_real_generator_is_right() -> None:
    torch.manual_seed(0)
    config = GeneratorConfig(16, z_dim=4, w_dim=4, channel_base=64, channel_max=4, mapping_layers=1)
    generator = Generator(config).double()
    for name, parameter in generator.synthesis.named_parameters():
        if name.endswith("noise_strength"):
            parameter.data.fill_(0.1)
    ws = torch.randn(2, config.num_ws, 4, dtype=torch.float64, requires_grad=True)
    weight = generator.synthesis.b8.conv0.weight

    def penalty() -> Tensor:
        images = generator.synthesis(ws)
        seed = torch.Generator().manual_seed(1)
        zero = torch.zeros([], dtype=torch.float64)
        return path_length_penalty(images, ws, zero, generator=seed).penalty

    (gradient,) = torch.autograd.grad(penalty(), weight)
    direction = torch.randn(weight.shape, dtype=torch.float64)
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight.add_(sign * 1e-5 * direction)
        values.append(float(penalty().detach()))
        with torch.no_grad():
            weight.add_(-sign * 1e-5 * direction)
    # the average is a constant to the gradient, but not to the difference: 1 % of its change
    assert float((gradient * direction).sum()) == pytest.approx(
        (values[0] - values[1]) / 2e-5, rel=0.03
    )
