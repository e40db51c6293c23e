"""The layer of a perceptual distance against ordinary operations."""

import random

import pytest
import torch
from torch import Tensor

from editvec.engine.errors import ShapeError
from editvec.engine.networks.config import PerceptualConfig
from editvec.engine.networks.perceptual import build_perceptual
from editvec.engine.networks.perceptual_layer import layer_distance

SEED = random.randrange(2**31)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_derivative_is_that_of_differences() -> None:
    activation = (draw(2, 3, 2, 2) - 0.3).requires_grad_()
    target, weight = draw(2, 3, 2, 2, seed=1), draw(3, seed=2)

    assert torch.autograd.gradcheck(
        lambda a: layer_distance(a, target, weight), (activation,), eps=1e-7, atol=1e-6
    )


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_distance_to_known_features_equals_distance(
    dtype: torch.dtype, tolerance: float, layout: torch.memory_format
) -> None:
    torch.manual_seed(SEED)
    metric = build_perceptual(PerceptualConfig("small", (4, 8))).to(dtype)
    metric = metric.eval().requires_grad_(False).to(memory_format=layout)
    targets = metric.features(torch.rand(3, 3, 8, 8, dtype=dtype))
    images = torch.rand(3, 3, 8, 8, dtype=dtype).requires_grad_()
    factors = torch.tensor([1.0, -2.0, 3.0], dtype=dtype)

    found, expected = (
        (distance.detach(), *torch.autograd.grad((distance * factors).sum(), images))
        for distance in (
            metric.distance_to(images, targets),
            metric.distance(metric.features(images), targets),
        )
    )

    for one, other in zip(found, expected, strict=True):
        largest = float(other.abs().max())
        torch.testing.assert_close(
            one, other, atol=tolerance * largest, rtol=0, msg=lambda m: f"seed {SEED}: {m}"
        )
    with torch.inference_mode():
        assert torch.equal(metric.distance_to(images, targets), found[0])


def test_where_nothing_is_active_the_derivative_is_zero() -> None:
    activation = torch.zeros(1, 2, 2, 2)
    activation[0, 0, 0, 0] = 2.0
    activation.requires_grad_()

    layer_distance(activation, torch.full((1, 2, 2, 2), 0.7), torch.ones(2)).sum().backward()

    assert activation.grad is not None
    assert torch.isfinite(activation.grad).all()
    assert activation.grad[0, :, 1, 1].tolist() == [0, 0]
    assert activation.grad[0, 1, 0, 0] != 0


def test_training_heads_are_derived_as_well() -> None:
    metric = build_perceptual(PerceptualConfig("small", (4, 8)))
    targets = [one.detach() for one in metric.features(torch.rand(1, 3, 8, 8))]

    metric.distance_to(torch.rand(1, 3, 8, 8), targets).sum().backward()

    assert all(parameter.grad is not None for parameter in metric.parameters())


def test_features_of_another_size_are_refused() -> None:
    metric = build_perceptual(PerceptualConfig("small", (4, 8))).eval().requires_grad_(False)

    with pytest.raises(ShapeError, match="2 pairs of equal shapes"):
        metric.distance_to(torch.rand(1, 3, 8, 8), metric.features(torch.rand(1, 3, 16, 16)))


def test_a_second_derivative_is_refused() -> None:
    activation = torch.rand(1, 3, 2, 2, requires_grad=True)
    distance = layer_distance(activation.square(), torch.rand(1, 3, 2, 2), torch.ones(3))

    with pytest.raises(RuntimeError, match="perceptual distance has a first derivative only"):
        torch.autograd.grad(distance.sum(), activation, create_graph=True)
