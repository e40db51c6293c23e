"""What holds for every kernel, on a GPU and for its arithmetic on a CPU: it equals its reference.

The reference in float64 is the truth for every dtype.
"""

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from editvec.cuda_ext.bias_act import Activation, bias_act_cuda, bias_act_reference
from editvec.cuda_ext.segment_gather import (
    PixelLayers,
    segment_gather_cuda,
    segment_gather_reference,
)
from editvec.cuda_ext.upfirdn2d import upfirdn2d_cuda, upfirdn2d_reference

# Largest difference, as a share of the largest value but at least of 1.
TOLERANCES = {torch.float16: 4e-3, torch.bfloat16: 4e-2, torch.float32: 4e-6, torch.float64: 1e-12}

MANY = 50_000

LAYOUTS = (torch.contiguous_format, torch.channels_last)

BIAS_ACT_SETTINGS: list[tuple[Activation, float | None, float | None]] = [
    ("lrelu", None, None),
    ("lrelu", 0.5, 0.7),
    ("linear", None, None),
    ("linear", -2.0, 1.0),
    ("lrelu", 1.0, 0.0),
]
BIAS_ACT_SHAPES = [
    (3, 4), (2, 3, 5), (2, 3, 4, 5), (4, 7, 33, 31), (1, 1, 1, 1), (2, 5, 1, 1), (0, 3),
]  # fmt: skip

# taps, up, down, padding: what StyleGAN2 does, then odd factors, sizes and cuts
UPFIRDN2D_SETTINGS: list[tuple[tuple[float, ...], int, int, tuple[int, int]]] = [
    ((0.125, 0.375, 0.375, 0.125), 1, 1, (1, 1)),
    ((0.125, 0.375, 0.375, 0.125), 2, 1, (2, 1)),
    ((0.125, 0.375, 0.375, 0.125), 1, 2, (1, 1)),
    ((1.0, 2.0, 4.0), 1, 1, (0, 0)),
    ((1.0, 2.0, 4.0, 8.0, 16.0), 2, 3, (4, 2)),
    ((1.0, 2.0), 3, 2, (-2, 5)),
    ((0.5,), 1, 1, (-1, -2)),
    ((1.0, 2.0, 3.0), 4, 1, (6, 0)),
]
UPFIRDN2D_SHAPES = [(2, 3, 8, 8), (1, 1, 5, 9), (3, 2, 17, 4), (0, 2, 6, 6)]

# members, H1, H2, labels, pixels, an addend?
SEGMENT_GATHER_SIZES = [
    (3, 16, 8, 5, 100, False),
    (10, 32, 16, 9, 70, True),
    (2, 6, 5, 3, 33, True),  # no multiples of four
    (1, 4, 4, 1, 1, False),
    (2, 8, 4, 6, 0, True),
]


def check_bias_act(
    shape: tuple[int, ...],
    settings: tuple[Activation, float | None, float | None],
    *,
    dtype: torch.dtype,
    layout: torch.memory_format,
    device: str,
    with_noise: bool,
) -> None:
    act, gain, clamp = settings
    x = draw(shape, 3).to(device, dtype)
    operands = [_laid_out(x, layout), draw((shape[1],), 4).to(device, dtype)]
    if with_noise:
        for index, noise_shape in enumerate(
            (shape[2:], (1, 1, *shape[2:]), (shape[0], 1, *shape[2:]))
        ):
            noise = draw(noise_shape, 5 + index).to(device, dtype)
            assert_same(
                lambda x, b, n: bias_act_cuda(x, b, noise=n, act=act, gain=gain, clamp=clamp),
                lambda x, b, n: bias_act_reference(x, b, noise=n, act=act, gain=gain, clamp=clamp),
                [*operands, noise],
            )
        return
    actual = assert_same(
        lambda x, b: bias_act_cuda(x, b, act=act, gain=gain, clamp=clamp),
        lambda x, b: bias_act_reference(x, b, act=act, gain=gain, clamp=clamp),
        operands,
    )
    assert len(shape) != 4 or actual.is_contiguous(memory_format=layout)


def check_upfirdn2d(
    shape: tuple[int, ...],
    settings: tuple[tuple[float, ...], int, int, tuple[int, int]],
    *,
    dtype: torch.dtype,
    layout: torch.memory_format,
    device: str,
) -> None:
    taps, up, down, padding = settings
    x = _laid_out(draw(shape, 11).to(device, dtype), layout)
    options = {"taps": taps, "up": up, "down": down, "padding": padding, "gain": 0.75}
    actual = assert_same(
        lambda x: upfirdn2d_cuda(x, **options),  # type: ignore[arg-type]
        lambda x: upfirdn2d_reference(x, **options),  # type: ignore[arg-type]
        [x],
    )
    assert actual.numel() == 0 or actual.is_contiguous(memory_format=layout)


def check_segment_gather(
    sizes: tuple[int, int, int, int, int, bool],
    *,
    dtype: torch.dtype,
    layout: torch.memory_format,
    device: str,
    twice: bool,
) -> None:
    members, width1, width2, labels, count, with_addend = sizes
    channels = members * width1
    maps = [
        _laid_out((draw((images, channels, *size), 20 + size[0]) / 2).to(device, dtype), layout)
        for images, size in ((1, (3, 4)), (3, (6, 8)), (3, (13, 7)), (3, (24, 32)))
    ]
    layers, pixels = layers_and_pixels(members, width1, width2, labels, count, (3, 24, 32))
    layers = PixelLayers(*(tensor.to(device, dtype) for tensor in layers))
    exact = PixelLayers(*(tensor.double() for tensor in layers))
    pixels = pixels.to(device)
    operands = [*maps, draw((count, channels), 30).to(device, dtype)] if with_addend else maps

    def split(operands: Sequence[Tensor]) -> tuple[list[Tensor], Tensor | None]:
        return list(operands[:4]), operands[4] if with_addend else None

    def kernel(*operands: Tensor) -> Tensor:
        maps, addend = split(operands)
        return segment_gather_cuda(maps, pixels, layers, size=(24, 32), addend=addend)

    def reference(*operands: Tensor) -> Tensor:
        maps, addend = split(operands)
        return segment_gather_reference(maps, pixels, exact, size=(24, 32), addend=addend)

    assert_same(kernel, reference, operands, twice=False)
    if twice:  # the first derivative is the reference's as well then
        assert_same(kernel, reference, operands)


def layers_and_pixels(
    members: int, width1: int, width2: int, labels: int, count: int, extent: tuple[int, int, int]
) -> tuple[PixelLayers, Tensor]:
    """Random layers in float32, and random pixels with the corners among them."""
    layers = PixelLayers(
        weight2=draw((members, width2, width1), 40) / width1**0.5,
        bias2=draw((members, width2, 1), 41),
        weight3=draw((labels, members * width2), 42) / (members * width2) ** 0.5,
        bias3=draw((labels, 1), 43),
    )
    rng = torch.Generator().manual_seed(44)
    columns = [torch.randint(0, size, (count,), generator=rng) for size in extent]
    pixels = torch.stack(columns, dim=1)
    corners = list(itertools.product(*({0, size - 1} for size in extent)))[:count]
    if corners:
        pixels[: len(corners)] = torch.tensor(corners)
    return layers, pixels


def assert_same(
    kernel: Callable[..., Tensor],
    reference: Callable[..., Tensor],
    operands: Sequence[Tensor],
    *,
    twice: bool = True,
) -> Tensor:
    """Compare values, first and (with `twice`) second derivatives; give the kernel's values."""
    dtype = operands[0].dtype
    own = [tensor.detach().requires_grad_() for tensor in operands]
    exact = [tensor.detach().double().requires_grad_() for tensor in operands]
    actual, expected = kernel(*own), reference(*exact)
    assert actual.dtype == dtype
    assert_close(actual, expected, dtype)

    weight = draw(expected.shape, 50).to(expected.device, dtype).requires_grad_()
    weight64 = weight.detach().double().requires_grad_()
    grads = torch.autograd.grad(actual, own, weight, create_graph=twice)
    grads64 = torch.autograd.grad(expected, exact, weight64, create_graph=twice)
    for grad, grad64, operand in zip(grads, grads64, own, strict=True):
        assert grad.dtype == dtype
        assert_close(grad, grad64, dtype, terms=actual.numel() / max(operand.numel(), 1))
    if not twice:
        return actual

    vectors = [draw(tensor.shape, 60 + i).to(tensor) for i, tensor in enumerate(operands)]
    total = sum((g * v).sum() for g, v in zip(grads, vectors, strict=True))
    total64 = sum((g * v.double()).sum() for g, v in zip(grads64, vectors, strict=True))
    assert isinstance(total, Tensor)
    assert isinstance(total64, Tensor)
    second = torch.autograd.grad(total, [*own, weight], allow_unused=True)
    second64 = torch.autograd.grad(total64, [*exact, weight64], allow_unused=True)
    assert actual.numel() == 0 or second[-1] is not None
    for grad, grad64 in zip(second, second64, strict=True):
        zero = torch.zeros((), dtype=dtype, device=expected.device)
        left = zero if grad is None else grad
        right = zero.double() if grad64 is None else grad64
        assert_close(left, right.expand_as(left) if grad64 is None else right, dtype)
    return actual


def assert_close(
    actual: Tensor, expected: Tensor, dtype: torch.dtype, *, terms: float = 1.0
) -> None:
    """Within the tolerance of a dtype, where each number is a sum of so many products."""
    if actual.shape != expected.shape and actual.ndim == 0:
        actual = actual.expand_as(expected)
    assert actual.shape == expected.shape
    if actual.numel() == 0:
        return
    actual, expected = actual.detach(), expected.detach()
    scale = max(1.0, float(expected.abs().max()), terms**0.5)
    differences = (actual.double() - expected).abs()
    difference = float(differences.max())
    if actual.numel() > MANY and dtype != torch.float64:
        # of so many hidden values one may be so close to 0 that rounding decides on its ReLU
        difference = float(differences.square().mean().sqrt())
    assert difference <= TOLERANCES[dtype] * scale, f"{difference:g} at a scale of {scale:g}"


def draw(shape: Sequence[int], seed: int) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed))


def _laid_out(x: Tensor, layout: torch.memory_format) -> Tensor:
    return x.contiguous(memory_format=layout) if x.ndim == 4 else x
