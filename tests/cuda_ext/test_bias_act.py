"""bias_act against a naive formula, its derivatives, its preconditions, and the kernel."""

import math

import pytest
import torch
from torch import Tensor

from editvec.cuda_ext.bias_act import Activation, bias_act, bias_act_cuda, bias_act_reference
from editvec.cuda_ext.dispatch import kernels_are_available
from editvec.cuda_ext.errors import OperandError
from tests.support.kernel_cases import (
    BIAS_ACT_SETTINGS,
    BIAS_ACT_SHAPES,
    LAYOUTS,
    TOLERANCES,
    check_bias_act,
    draw,
)


def _naive(
    x: Tensor, bias: Tensor | None, act: str, gain: float | None, clamp: float | None
) -> Tensor:
    """One number at a time, in Python floats."""
    y = torch.empty_like(x)
    for index in torch.cartesian_prod(*(torch.arange(size) for size in x.shape)).tolist():
        value = x[tuple(index)].item()
        if bias is not None:
            value += bias[index[1]].item()
        if act == "lrelu":
            value = max(value, 0.0) + 0.2 * min(value, 0.0)
            value *= math.sqrt(2.0) if gain is None else gain
        else:
            value *= 1.0 if gain is None else gain
        if clamp is not None:
            value = min(max(value, -clamp), clamp)
        y[tuple(index)] = value
    return y


SHAPES = [(3, 4), (2, 3, 5), (2, 3, 4, 5)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("act", "gain", "clamp"), BIAS_ACT_SETTINGS)
@pytest.mark.parametrize("with_bias", [True, False])
def test_equals_the_naive_formula(
    shape: tuple[int, ...],
    act: Activation,
    gain: float | None,
    clamp: float | None,
    with_bias: bool,
) -> None:
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(shape, generator=rng, dtype=torch.float64)
    bias = torch.randn(shape[1], generator=rng, dtype=torch.float64) if with_bias else None

    y = bias_act(x, bias, act=act, gain=gain, clamp=clamp)

    assert y.shape == x.shape
    torch.testing.assert_close(y, _naive(x, bias, act, gain, clamp), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("act", "gain", "clamp"), BIAS_ACT_SETTINGS[:4])
def test_first_and_second_derivatives_are_those_of_finite_differences(
    act: Activation, gain: float | None, clamp: float | None
) -> None:
    rng = torch.Generator().manual_seed(2)
    x = torch.randn(2, 3, 4, generator=rng, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, generator=rng, dtype=torch.float64, requires_grad=True)

    def operation(x: Tensor, bias: Tensor) -> Tensor:
        return bias_act(x, bias, act=act, gain=gain, clamp=clamp)

    assert torch.autograd.gradcheck(operation, (x, bias))
    assert torch.autograd.gradgradcheck(operation, (x, bias))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype_and_input_are_left_alone(dtype: torch.dtype) -> None:
    x = torch.tensor([[1.0, -1.0]], dtype=dtype)

    y = bias_act(x, torch.zeros(2, dtype=dtype), act="linear")

    assert y.dtype == dtype
    bias_act(x, gain=3.0)
    assert x.tolist() == [[1.0, -1.0]]


def test_channels_last_stays_channels_last() -> None:
    x = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)

    y = bias_act(x, torch.randn(3), clamp=1.0)

    assert y.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("x", "bias", "settings", "message"),
    [
        (torch.zeros(2, 3), torch.zeros(2), {}, r"bias must have shape \[3\], got \[2\]"),
        (torch.zeros(2, 3), torch.zeros(3, 1), {}, r"bias must have shape \[3\], got \[3, 1\]"),
        (torch.zeros(2, 3), torch.zeros(3).double(), {}, "bias must be torch.float32"),
        (torch.zeros(3), None, {}, r"x must be a floating-point tensor \[N, C, ...\]"),
        (torch.zeros(2, 3).long(), None, {}, "got torch.int64"),
        (torch.zeros(2, 3), None, {"act": "relu"}, "act must be one of .*, got 'relu'"),
        (torch.zeros(2, 3), None, {"clamp": -1.0}, "clamp must be at least 0 or None, got -1"),
        (torch.zeros(2, 3), None, {"clamp": math.nan}, "clamp must be at least 0"),
        (torch.zeros(2, 3), None, {"gain": math.inf}, "gain must be a finite number"),
    ],
)
def test_wrong_operand_is_named(
    x: Tensor, bias: Tensor | None, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(OperandError, match=message):
        bias_act(x, bias, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(4, 5), (1, 1, 4, 5), (2, 1, 4, 5)])
def test_noise_is_added_to_each_channel(shape: tuple[int, ...]) -> None:
    x, noise, bias = draw((2, 3, 4, 5), 1), draw(shape, 2), draw((3,), 3)

    y = bias_act(x, bias, noise=noise, clamp=1.0)

    expected = bias_act(x + noise.expand(2, 3, 4, 5), bias, clamp=1.0)
    torch.testing.assert_close(y, expected, rtol=0, atol=0)


def test_derivatives_of_noise_are_those_of_finite_differences() -> None:
    x, noise = draw((2, 3, 2, 2), 1).double(), draw((1, 1, 2, 2), 2).double()
    operands = (x.requires_grad_(), noise.requires_grad_())

    def operation(x: Tensor, noise: Tensor) -> Tensor:
        return bias_act(x, noise=noise)

    assert torch.autograd.gradcheck(operation, operands)
    assert torch.autograd.gradgradcheck(operation, operands)


@pytest.mark.parametrize(
    ("x", "noise", "message"),
    [
        (torch.zeros(2, 3), torch.zeros(2, 3), r"noise goes with x of shape \[N, C, H, W\]"),
        (torch.zeros(2, 3, 4, 4), torch.zeros(3, 1, 4, 4), r"noise must have shape \[4, 4\] or"),
        (torch.zeros(2, 3, 4, 4), torch.zeros(4), r"or \[2 or 1, 1, 4, 4\], got \[4\]"),
        (torch.zeros(2, 3, 4, 4), torch.zeros(4, 4).half(), "noise must be torch.float32"),
    ],
)
def test_wrong_noise_is_named(x: Tensor, noise: Tensor, message: str) -> None:
    with pytest.raises(OperandError, match=message):
        bias_act(x, noise=noise)


@pytest.mark.gpu
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("shape", BIAS_ACT_SHAPES)
@pytest.mark.parametrize("settings", BIAS_ACT_SETTINGS)
def test_kernel_equals_reference_to_the_second_derivative(
    layout: torch.memory_format,
    dtype: torch.dtype,
    shape: tuple[int, ...],
    settings: tuple[Activation, float | None, float | None],
) -> None:
    assert kernels_are_available()

    for with_noise in (False, True) if len(shape) == 4 else (False,):
        check_bias_act(
            shape, settings, dtype=dtype, layout=layout, device="cuda", with_noise=with_noise
        )


@pytest.mark.gpu
@pytest.mark.parametrize(("act", "gain", "clamp"), BIAS_ACT_SETTINGS[:4])
def test_kernel_passes_finite_differences_to_the_second_derivative(
    act: Activation, gain: float | None, clamp: float | None
) -> None:
    assert kernels_are_available()
    x = draw((2, 3, 4), 3).to("cuda", torch.float64).requires_grad_()
    bias = torch.linspace(-1, 1, 3, dtype=torch.float64, device="cuda", requires_grad=True)

    def operation(x: Tensor, bias: Tensor) -> Tensor:
        return bias_act_cuda(x, bias, act=act, gain=gain, clamp=clamp)

    assert torch.autograd.gradcheck(operation, (x, bias))
    assert torch.autograd.gradgradcheck(operation, (x, bias))


@pytest.mark.gpu
def test_kernel_takes_strided_and_sliced_tensors() -> None:
    x = draw((2, 6, 8, 8), 3).cuda()
    bias = torch.arange(6.0, device="cuda")

    for view, part in ((x[:, ::2], bias[::2]), (x.transpose(2, 3), bias), (x[..., 1:], bias)):
        torch.testing.assert_close(bias_act_cuda(view, part), bias_act_reference(view, part))


@pytest.mark.gpu
def test_operator_checks_its_preconditions_itself() -> None:
    assert kernels_are_available()
    x = torch.zeros(2, 3, 4, 4, device="cuda")
    operator = torch.ops.editvec.bias_act

    noise = torch.zeros(2, 1, 4, 4, device="cuda")
    for arguments in (
        (x[:, :, ::2], None, None, 1, 1.0, -1.0),
        (x, torch.zeros(2, device="cuda"), None, 1, 1.0, -1.0),
        (x, torch.zeros(3), None, 1, 1.0, -1.0),
        (x, None, noise[:, :, :2], 1, 1.0, -1.0),
        (x, None, noise.cpu(), 1, 1.0, -1.0),
        (x, None, None, 2, 1.0, -1.0),
        (x, None, None, 1, math.nan, -1.0),
    ):
        with pytest.raises(ValueError):
            operator(*arguments)
    with pytest.raises(TypeError):
        operator(x, torch.zeros(3, device="cuda", dtype=torch.float16), None, 1, 1.0, -1.0)
    with pytest.raises(TypeError):
        operator(x.int(), None, None, 1, 1.0, -1.0)
