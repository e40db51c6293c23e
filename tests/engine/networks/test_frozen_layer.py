"""The layer of a frozen generator against the same layer in ordinary operations."""

import random

import pytest
import torch
from torch import Tensor

from editvec.engine.networks.frozen_layer import FrozenTensors, frozen_layer
from editvec.engine.networks.layers import NoiseMode, SynthesisLayer

SEED = random.randrange(2**31)


def make_layer(chance: torch.Generator, *, up: bool, clamp: float | None) -> SynthesisLayer:
    layer = SynthesisLayer(5, 6, w_dim=7, resolution=8, up=up, clamp=clamp)
    for tensor in layer.state_dict().values():
        tensor.copy_(torch.randn(tensor.shape, generator=chance))
    return layer


def outputs_and_gradients(
    layer: SynthesisLayer, x: Tensor, w: Tensor, noise_mode: NoiseMode, *, is_frozen: bool
) -> list[Tensor]:
    layer.requires_grad_(not is_frozen)
    x, w = x.clone().requires_grad_(), w.clone().requires_grad_()
    y = layer(x, w, noise_mode=noise_mode, generator=torch.Generator().manual_seed(1))
    assert ("FrozenLayer" in y.grad_fn.name()) == is_frozen
    factors = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)
    return [y.detach(), *torch.autograd.grad((y * factors).sum(), (x, w))]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("clamp", [None, 0.7])
@pytest.mark.parametrize("noise_mode", ["const", "random", "none"])
@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 2e-4)])
def test_a_frozen_layer_equals_the_trainable_one(
    up: bool,
    noise_mode: NoiseMode,
    clamp: float | None,
    dtype: torch.dtype,
    tolerance: float,
    layout: torch.memory_format,
) -> None:
    chance = torch.Generator().manual_seed(SEED)
    layer = make_layer(chance, up=up, clamp=clamp).to(dtype)
    x = torch.randn(3, 5, 4 if up else 8, 4 if up else 8, generator=chance).to(dtype)
    w = torch.randn(3, 7, generator=chance).to(dtype)
    layer, x = layer.to(memory_format=layout), x.contiguous(memory_format=layout)

    found = outputs_and_gradients(layer, x, w, noise_mode, is_frozen=True)
    expected = outputs_and_gradients(layer, x, w, noise_mode, is_frozen=False)

    for one, other in zip(found, expected, strict=True):
        largest = float(other.abs().max())
        torch.testing.assert_close(
            one, other, atol=tolerance * largest, rtol=0, msg=lambda m: f"seed {SEED}: {m}"
        )


@pytest.mark.parametrize("up", [False, True])
def test_a_frozen_layer_without_a_gradient_gives_the_same(up: bool) -> None:
    chance = torch.Generator().manual_seed(SEED)
    layer = make_layer(chance, up=up, clamp=None).requires_grad_(False)
    x, w = torch.randn(2, 5, 4, 4, generator=chance), torch.randn(2, 7, generator=chance)
    x = x if up else x.repeat(1, 1, 2, 2)
    given = x.clone()

    with torch.inference_mode():
        alone = layer(x, w)
    assert torch.equal(alone, layer(x, w.requires_grad_()).detach())
    assert torch.equal(x, given)


@pytest.mark.parametrize("clamp", [None, 0.5])
@pytest.mark.parametrize("up", [False, True])
def test_both_derivatives_are_those_of_differences(up: bool, clamp: float | None) -> None:
    chance = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=chance, dtype=torch.float64)

    size = 6 if up else 3
    layer = FrozenTensors(draw(2, 3, 3, 3), draw(2), draw(size, size), up, clamp)
    inputs = (draw(2, 3, 3, 3), draw(2, 3), draw(2, 2).abs() + 0.5)
    for tensor in inputs:
        tensor.requires_grad_()

    def run(x: Tensor, styles: Tensor, demodulation: Tensor) -> Tensor:
        return frozen_layer(x, styles, demodulation, layer)

    assert torch.autograd.gradcheck(run, inputs, eps=1e-7, atol=1e-5)
    assert torch.autograd.gradgradcheck(run, inputs, eps=1e-7, atol=1e-5)


def test_a_changed_weight_is_seen() -> None:
    layer = make_layer(torch.Generator().manual_seed(4), up=False, clamp=None)
    layer.requires_grad_(False).eval()
    x, w = torch.randn(1, 5, 8, 8), torch.randn(1, 7)
    before = layer(x, w)

    layer.weight.mul_(0.01)
    layer.bias.zero_()
    layer.noise_strength.zero_()
    assert torch.isfinite(before).all()
    plain = SynthesisLayer(5, 6, w_dim=7, resolution=8)
    plain.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(x, w), plain(x, w).detach(), atol=1e-5, rtol=1e-4)


def test_derivatives_with_a_graph_do_not_count_a_path_twice() -> None:
    """The demodulation is made from the styles, and both from w."""
    chance = torch.Generator().manual_seed(SEED)
    layer = make_layer(chance, up=False, clamp=None).double()
    x = torch.randn(2, 5, 8, 8, generator=chance).double()
    w = torch.randn(2, 7, generator=chance).double().requires_grad_()
    found = []
    for is_frozen in (True, False):
        layer.requires_grad_(not is_frozen)
        (first,) = torch.autograd.grad(layer(x, w).square().sum(), w, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), w)
        found.append((first.detach(), second))

    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9, msg=f"seed {SEED}")


def test_a_weight_that_changes_before_the_derivative_is_an_error() -> None:
    layer = make_layer(torch.Generator().manual_seed(SEED), up=False, clamp=None)
    layer.requires_grad_(False)
    y = layer(torch.randn(2, 5, 8, 8), torch.randn(2, 7, requires_grad=True))

    layer.weight.mul_(2)

    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_noise_maps_may_be_optimised() -> None:
    layer = make_layer(torch.Generator().manual_seed(SEED), up=False, clamp=None)
    layer.requires_grad_(False).noise_const.requires_grad_()

    layer(torch.randn(2, 5, 8, 8), torch.randn(2, 7)).sum().backward()

    assert layer.noise_const.grad is not None


def test_no_image_has_no_derivative_and_no_error() -> None:
    layer = SynthesisLayer(2, 3, w_dim=4, resolution=64).requires_grad_(False)
    w = torch.randn(0, 4, requires_grad=True)

    layer(torch.randn(0, 2, 64, 64), w).sum().backward()

    assert w.grad is not None
    assert w.grad.shape == (0, 4)
