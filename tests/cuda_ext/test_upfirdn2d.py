"""upfirdn2d against a naive formula, its derivatives, its preconditions, and the kernel."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from editvec.cuda_ext.dispatch import kernels_are_available
from editvec.cuda_ext.errors import OperandError
from editvec.cuda_ext.upfirdn2d import TAPS, upfirdn2d, upfirdn2d_cuda, upfirdn2d_reference
from tests.support.kernel_cases import (
    LAYOUTS,
    TOLERANCES,
    UPFIRDN2D_SETTINGS,
    UPFIRDN2D_SHAPES,
    check_upfirdn2d,
    draw,
)


def _naive(
    x: Tensor, taps: tuple[float, ...], up: int, down: int, padding: tuple[int, int], gain: float
) -> Tensor:
    """The four steps one after the other, with the zeros."""
    margin = 50
    count, channels, height, width = x.shape
    stretched = x.new_zeros(count, channels, height * up + 2 * margin, width * up + 2 * margin)
    inner = slice(margin, -margin)
    stretched[:, :, inner, inner][:, :, ::up, ::up] = x
    rows, columns = (
        slice(margin - padding[0], size * up + margin + padding[1]) for size in (height, width)
    )
    line = torch.tensor(taps, dtype=x.dtype)
    kernel = torch.outer(line, line).expand(channels, 1, -1, -1)
    filtered = F.conv2d(stretched[:, :, rows, columns], kernel, groups=channels)
    return filtered[:, :, ::down, ::down] * gain


@pytest.mark.parametrize("up", [1, 2, 3])
@pytest.mark.parametrize("down", [1, 2, 3])
@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (2, 1), (3, 0), (-1, 2), (5, 4), (0, -2)])
@pytest.mark.parametrize("taps", [TAPS, (1.0, 2.0, 4.0), (2.0,)])
def test_equals_stretching_padding_filtering_and_thinning_out(
    taps: tuple[float, ...], up: int, down: int, padding: tuple[int, int]
) -> None:
    x = draw((2, 3, 7, 6), 1).double()

    y = upfirdn2d(x, taps=taps, up=up, down=down, padding=padding, gain=0.7)

    expected = _naive(x, taps, up, down, padding, 0.7)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("taps", "up", "down", "padding"), UPFIRDN2D_SETTINGS)
def test_first_and_second_derivatives_are_those_of_finite_differences(
    taps: tuple[float, ...], up: int, down: int, padding: tuple[int, int]
) -> None:
    x = draw((1, 2, 5, 4), 2).double().requires_grad_()

    def operation(x: Tensor) -> Tensor:
        return upfirdn2d(x, taps=taps, up=up, down=down, padding=padding)

    assert torch.autograd.gradcheck(operation, (x,))
    assert torch.autograd.gradgradcheck(operation, (x,))


def test_what_inference_made_first_can_be_derived_later() -> None:
    taps = (0.25, 0.5, 0.25)
    with torch.inference_mode():
        upfirdn2d(torch.ones(1, 1, 4, 4), taps=taps)
    x = torch.ones(1, 1, 4, 4, requires_grad=True)

    upfirdn2d(x, taps=taps).sum().backward()

    assert x.grad is not None
    assert float(x.grad.sum()) == pytest.approx(4.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype_and_layout_are_kept(dtype: torch.dtype) -> None:
    x = torch.ones(1, 2, 6, 6, dtype=dtype).contiguous(memory_format=torch.channels_last)

    y = upfirdn2d(x, up=2, padding=(2, 1), gain=4.0)

    assert y.dtype == dtype
    assert y.shape == (1, 2, 12, 12)
    assert float(y[0, 0, 6, 6]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("x", "settings", "message"),
    [
        (torch.zeros(3, 4, 4), {}, r"x must be a floating-point tensor \[N, C, H, W\]"),
        (torch.zeros(1, 1, 4, 4).long(), {}, "got torch.int64"),
        (torch.zeros(1, 1, 4, 4), {"taps": ()}, "taps must be 1 to 16 finite numbers"),
        (torch.zeros(1, 1, 4, 4), {"taps": (math.nan,)}, "taps must be 1 to 16 finite numbers"),
        (torch.zeros(1, 1, 4, 4), {"up": 0}, "up must be 1 to 64, got 0"),
        (torch.zeros(1, 1, 4, 4), {"down": 65}, "down must be 1 to 64, got 65"),
        (torch.zeros(1, 1, 4, 4), {"gain": math.inf}, "gain must be a finite number"),
        (torch.zeros(1, 1, 2, 4), {}, "x must be large enough for 4 taps, got .*1, 1, 2, 4"),
    ],
)
def test_wrong_operand_is_named(x: Tensor, settings: dict[str, object], message: str) -> None:
    with pytest.raises(OperandError, match=message):
        upfirdn2d(x, **settings)  # type: ignore[arg-type]


@pytest.mark.gpu
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("shape", [*UPFIRDN2D_SHAPES, (2, 64, 65, 65)])
@pytest.mark.parametrize("settings", UPFIRDN2D_SETTINGS)
def test_kernel_equals_reference_to_the_second_derivative(
    layout: torch.memory_format,
    dtype: torch.dtype,
    shape: tuple[int, ...],
    settings: tuple[tuple[float, ...], int, int, tuple[int, int]],
) -> None:
    assert kernels_are_available()

    check_upfirdn2d(shape, settings, dtype=dtype, layout=layout, device="cuda")


@pytest.mark.gpu
def test_kernel_takes_strided_and_sliced_tensors() -> None:
    x = draw((2, 6, 8, 8), 3).cuda().double()

    for view in (x[:, ::2], x.transpose(2, 3), x[..., 1:], x[:, :, ::2]):
        torch.testing.assert_close(upfirdn2d_cuda(view), upfirdn2d_reference(view))


@pytest.mark.gpu
def test_operator_checks_its_preconditions_itself() -> None:
    assert kernels_are_available()
    x = torch.zeros(2, 3, 4, 4, device="cuda")
    operator = torch.ops.editvec.upfirdn2d

    for arguments in (
        (x[0], [1.0], 1, 1, 0, 4, 4, 1.0),
        (x[:, :, ::2], [1.0], 1, 1, 0, 2, 4, 1.0),
        (x, [], 1, 1, 0, 4, 4, 1.0),
        (x, [1.0] * 17, 1, 1, 0, 4, 4, 1.0),
        (x, [1.0], 0, 1, 0, 4, 4, 1.0),
        (x, [1.0], 1, 65, 0, 4, 4, 1.0),
        (x, [1.0], 1, 1, 2**21, 4, 4, 1.0),
        (x, [1.0], 1, 1, 0, -1, 4, 1.0),
        (x, [1.0], 1, 1, 0, 4, 4, math.inf),
    ):
        with pytest.raises(ValueError):
            operator(*arguments)
    with pytest.raises(TypeError):
        operator(x.int(), [1.0], 1, 1, 0, 4, 4, 1.0)
