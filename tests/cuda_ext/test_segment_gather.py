"""segment_gather against interpolation of whole maps, its preconditions, and the kernel."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from editvec.cuda_ext.dispatch import kernels_are_available
from editvec.cuda_ext.errors import OperandError
from editvec.cuda_ext.segment_gather import (
    PixelLayers,
    segment_gather,
    segment_gather_cuda,
    segment_gather_reference,
)
from tests.support.kernel_cases import (
    LAYOUTS,
    SEGMENT_GATHER_SIZES,
    TOLERANCES,
    check_segment_gather,
    draw,
    layers_and_pixels,
)

SIZE = (12, 16)


def _operands(
    *, count: int = 50, dtype: torch.dtype = torch.float64
) -> tuple[list[Tensor], Tensor, PixelLayers, Tensor]:
    """Maps, pixels, layers and an addend of 2 members with 6, 5 and 3 channels."""
    layers, pixels = layers_and_pixels(2, 6, 5, 3, count, (2, *SIZE))
    shapes = ((1, 12, 3, 4), (2, 12, 6, 8), (2, 12, 12, 16))
    maps = [draw(shape, 7 + index).to(dtype) for index, shape in enumerate(shapes)]
    layers = PixelLayers(*(tensor.to(dtype) for tensor in layers))
    return maps, pixels, layers, draw((count, 12), 1).to(dtype)


def _naive(
    maps: list[Tensor], pixels: Tensor, layers: PixelLayers, addend: Tensor | None
) -> Tensor:
    """Whole maps up-sampled by torch, then one pixel and one member at a time."""
    whole = sum(
        F.interpolate(one.expand(2, -1, -1, -1), size=SIZE, mode="bilinear") for one in maps
    )
    assert isinstance(whole, Tensor)
    rows = []
    for index, (n, y, x) in enumerate(pixels.tolist()):
        hidden1 = whole[n, :, y, x] + (0 if addend is None else addend[index])
        hidden2 = [
            (weight @ hidden1[6 * e : 6 * e + 6].relu() + bias[:, 0]).relu()
            for e, (weight, bias) in enumerate(zip(layers.weight2, layers.bias2, strict=True))
        ]
        rows.append(layers.weight3 @ torch.cat(hidden2) + layers.bias3[:, 0])
    return torch.stack(rows)


@pytest.mark.parametrize("with_addend", [False, True])
def test_equals_whole_maps_and_one_pixel_at_a_time(with_addend: bool) -> None:
    maps, pixels, layers, addend = _operands()
    given = addend if with_addend else None

    logits = segment_gather(maps, pixels, layers, size=SIZE, addend=given)

    torch.testing.assert_close(logits, _naive(maps, pixels, layers, given), rtol=0, atol=1e-12)


def test_derivatives_are_those_of_finite_differences() -> None:
    maps, pixels, layers, addend = _operands(count=3)
    operands = [tensor.requires_grad_() for tensor in (*maps, addend)]

    def operation(*operands: Tensor) -> Tensor:
        return segment_gather(operands[:3], pixels, layers, size=SIZE, addend=operands[3])

    assert torch.autograd.gradcheck(operation, operands, fast_mode=True)
    assert torch.autograd.gradgradcheck(operation, operands, fast_mode=True)


def test_layers_can_be_derived_too() -> None:
    maps, pixels, layers, _ = _operands()
    layers = PixelLayers(*(tensor.requires_grad_() for tensor in layers))

    segment_gather(maps, pixels, layers, size=SIZE).sum().backward()

    assert all(tensor.grad is not None for tensor in layers)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bits_do_not_move_the_pixels(dtype: torch.dtype) -> None:
    # bfloat16 holds integers up to 256
    maps = [torch.arange(0.0, 1024.0, 2.0).expand(1, 4, 1, 512).to(dtype) / 1024]
    layers = PixelLayers(
        *(torch.ones(s, dtype=dtype) for s in ((1, 4, 4), (1, 4, 1), (1, 4), (1, 1)))
    )
    pixels = torch.tensor([[0, 0, 901]])

    logits = segment_gather(maps, pixels, layers, size=(1, 1024))

    value = (900.5 / 1024) * 4 + 1
    assert logits.dtype == dtype
    assert float(logits[0, 0]) == pytest.approx(value * 4 + 1, rel=1e-2)


def test_operands_are_left_alone() -> None:
    maps, pixels, layers, addend = _operands()
    before = [tensor.clone() for tensor in (*maps, addend, *layers)]

    segment_gather(maps, pixels, layers, size=SIZE, addend=addend)
    segment_gather(maps[2:], pixels, layers, size=SIZE)

    assert all(map(torch.equal, before, (*maps, addend, *layers)))


def test_wrong_operand_is_named() -> None:
    maps, pixels, layers, addend = _operands()
    wide = torch.zeros(2, 13, 6, 8, dtype=torch.float64)
    three = torch.zeros(3, 12, 6, 8, dtype=torch.float64)
    outside = pixels.clone()
    outside[7, 2] = SIZE[1]
    for change, message in (
        ({"maps": []}, "maps must be 1 to 16 tensors, got 0"),
        (
            {"maps": [maps[0], wide]},
            r"maps\[1\] must be a floating-point tensor \[2 or 1, 12, h, w",
        ),
        ({"maps": [three, maps[1]]}, r"maps\[1\] must be .* \[3 or 1, 12, h, w\], got"),
        ({"maps": [maps[0], maps[1].float()]}, r"maps\[1\] must be torch.float64"),
        ({"pixels": pixels.int()}, r"pixels must be int64 \[P, 3\], got torch.int32"),
        ({"pixels": outside}, r"pixels must be \(n, y, x\) inside \(2, 12, 16\), got one outside"),
        ({"layers": layers._replace(bias2=layers.bias2[:, :, 0])}, r"bias2 must have shape \[2, 5"),
        ({"layers": layers._replace(weight2=layers.bias3)}, r"weight2 must be \[E, H2, H1\]"),
        ({"layers": PixelLayers(*(t.float() for t in layers))}, "weight2 must be torch.float64"),
        ({"addend": addend[1:]}, r"addend must have shape \[50, 12\], got \[49, 12\]"),
    ):
        operands = {"maps": maps, "pixels": pixels, "layers": layers, "addend": None, **change}
        with pytest.raises(OperandError, match=message):
            segment_gather(**operands, size=SIZE)  # type: ignore[arg-type]


@pytest.mark.gpu
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("sizes", [*SEGMENT_GATHER_SIZES, (10, 256, 128, 32, 5000, True)])
def test_kernel_equals_reference(
    layout: torch.memory_format,
    dtype: torch.dtype,
    sizes: tuple[int, int, int, int, int, bool],
) -> None:
    assert kernels_are_available()

    check_segment_gather(sizes, dtype=dtype, layout=layout, device="cuda", twice=dtype.itemsize > 2)


@pytest.mark.gpu
def test_kernel_takes_maps_from_any_address() -> None:
    maps, pixels, layers, _ = _operands(dtype=torch.float32)
    flat = torch.zeros(maps[2].numel() + 1, device="cuda")
    flat[1:] = maps[2].permute(0, 2, 3, 1).flatten().cuda()
    crooked = flat[1:].view(2, *SIZE, 12).permute(0, 3, 1, 2)
    on_device = PixelLayers(*(tensor.cuda() for tensor in layers))

    logits = segment_gather_cuda([crooked], pixels.cuda(), on_device, size=SIZE)

    expected = segment_gather_reference([maps[2]], pixels, layers, size=SIZE)
    torch.testing.assert_close(logits.cpu(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.gpu
def test_operator_checks_its_preconditions_itself() -> None:
    assert kernels_are_available()
    zeros = lambda *shape: torch.zeros(shape, device="cuda")  # noqa: E731
    operands = {
        "maps": [zeros(2, 4, 4, 8)],
        "pixels": zeros(5, 3).long(),
        "addend": None,
        "layer2": zeros(2, 4, 8),
        "bias2": zeros(2, 8),
        "layer3": zeros(2, 8, 4),
        "bias3": zeros(4),
        "hidden1": 4,
        "num_labels": 3,
        "target_height": 8,
        "target_width": 8,
    }
    operator = torch.ops.editvec.segment_gather
    assert operator(*operands.values()).shape == (5, 3)

    for change in (
        {"maps": []},
        {"maps": [zeros(2, 4, 4, 9)]},
        {"maps": [zeros(2, 4, 8, 4).transpose(2, 3)]},
        {"maps": [zeros(257)[1:].view(2, 4, 4, 8)]},
        {"pixels": zeros(5, 2).long()},
        {"pixels": zeros(5, 3).long().cpu()},
        {"addend": zeros(4, 8)},
        {"layer2": zeros(2, 4, 6)},
        {"bias2": zeros(2, 7)},
        {"layer3": zeros(2, 8, 3)},
        {"bias3": zeros(3)},
        {"hidden1": 0},
        {"target_width": 0},
    ):
        with pytest.raises(ValueError):
            operator(*{**operands, **change}.values())
    for change in ({"pixels": zeros(5, 3).int()}, {"layer2": zeros(2, 4, 8).double()}):
        with pytest.raises(TypeError):
            operator(*{**operands, **change}.values())


@pytest.mark.gpu
def test_pixels_outside_read_and_write_nothing_outside() -> None:
    assert kernels_are_available()
    maps, pixels, layers, _ = _operands(dtype=torch.float32)
    wild = pixels.clone()
    wild[:, 1:] += torch.tensor([10**6, -(10**6)])
    edge = pixels.clone()
    edge[:, 1:] = torch.tensor([SIZE[0] - 1, 0])
    from editvec.cuda_ext.segment_gather import _pack

    packed = _pack(PixelLayers(*(tensor.cuda() for tensor in layers)))
    rows = [tensor.permute(0, 2, 3, 1).contiguous().cuda() for tensor in maps]
    operator = torch.ops.editvec.segment_gather

    found, expected = (
        operator(rows, chosen.cuda(), None, *packed[:4], 6, 3, *SIZE) for chosen in (wild, edge)
    )

    assert torch.equal(found, expected)
