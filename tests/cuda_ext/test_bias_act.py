"""bias_act against a naive formula, its derivatives, its preconditions, and the kernel."""

import math
import re

import pytest
import torch
from torch import Tensor

from cuda_ext.bias_act import (
    Activation,
    bias_act,
    bias_act_cuda,
    bias_act_reference,
    kernel_version,
    kernels_are_available,
)
from cuda_ext.errors import OperandError


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


SETTINGS = [
    ("lrelu", None, None),
    ("lrelu", 0.5, 0.7),
    ("linear", None, None),
    ("linear", -2.0, 1.0),
    ("lrelu", 1.0, 0.0),
]
SHAPES = [(3, 4), (2, 3, 5), (2, 3, 4, 5)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("act", "gain", "clamp"), SETTINGS)
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


@pytest.mark.parametrize(("act", "gain", "clamp"), SETTINGS[:4])
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


def test_nothing_is_compiled_for_tensors_on_the_cpu() -> None:
    bias_act(torch.zeros(1, 1))

    assert kernels_are_available.cache_info().currsize == 0


def _on_gpu(shape: tuple[int, ...], dtype: torch.dtype, *, layout: torch.memory_format) -> Tensor:
    rng = torch.Generator().manual_seed(3)
    x = torch.randn(shape, generator=rng).to("cuda", dtype)
    return x.contiguous(memory_format=layout) if x.ndim == 4 else x


TOLERANCES = {torch.float16: 4e-3, torch.bfloat16: 4e-2, torch.float32: 1e-6, torch.float64: 1e-12}


@pytest.mark.gpu
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("shape", [*SHAPES, (4, 7, 33, 31), (1, 1, 1, 1), (2, 5, 1, 1), (0, 3)])
@pytest.mark.parametrize(("act", "gain", "clamp"), SETTINGS)
def test_kernel_equals_reference_in_values_and_gradients(
    layout: torch.memory_format,
    dtype: torch.dtype,
    shape: tuple[int, ...],
    act: Activation,
    gain: float | None,
    clamp: float | None,
) -> None:
    assert kernels_are_available()
    x = _on_gpu(shape, dtype, layout=layout).requires_grad_()
    bias = _on_gpu((shape[1], 1), dtype, layout=layout)[:, 0].clone().requires_grad_()
    weight = _on_gpu(shape, dtype, layout=layout).flip(0)

    # The reference in float64 is the truth for every dtype.
    x64, bias64 = (t.detach().double().requires_grad_() for t in (x, bias))
    expected = bias_act_reference(x64, bias64, act=act, gain=gain, clamp=clamp)
    actual = bias_act_cuda(x, bias, act=act, gain=gain, clamp=clamp)
    expected_grads = torch.autograd.grad((expected * weight.double()).sum(), (x64, bias64))
    actual_grads = torch.autograd.grad((actual * weight).sum(), (x, bias))

    tolerance = TOLERANCES[dtype]
    assert actual.dtype == dtype
    assert actual.stride() == x.stride()
    torch.testing.assert_close(actual.double(), expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(
        actual_grads[0].double(), expected_grads[0], rtol=tolerance, atol=tolerance
    )
    scale = max(1.0, x[:, :1].numel() ** 0.5)
    torch.testing.assert_close(
        actual_grads[1].double(), expected_grads[1], rtol=tolerance, atol=tolerance * scale
    )


@pytest.mark.gpu
@pytest.mark.parametrize(("act", "gain", "clamp"), SETTINGS[:4])
def test_kernel_passes_finite_differences_to_the_second_derivative(
    act: Activation, gain: float | None, clamp: float | None
) -> None:
    assert kernels_are_available()
    x = _on_gpu((2, 3, 4), torch.float64, layout=torch.contiguous_format).requires_grad_()
    bias = torch.linspace(-1, 1, 3, dtype=torch.float64, device="cuda", requires_grad=True)

    def operation(x: Tensor, bias: Tensor) -> Tensor:
        return bias_act_cuda(x, bias, act=act, gain=gain, clamp=clamp)

    assert torch.autograd.gradcheck(operation, (x, bias))
    assert torch.autograd.gradgradcheck(operation, (x, bias))


@pytest.mark.gpu
def test_kernel_takes_strided_and_sliced_tensors() -> None:
    x = _on_gpu((2, 6, 8, 8), torch.float32, layout=torch.contiguous_format)
    bias = torch.arange(6.0, device="cuda")

    for view, part in ((x[:, ::2], bias[::2]), (x.transpose(2, 3), bias), (x[..., 1:], bias)):
        torch.testing.assert_close(bias_act_cuda(view, part), bias_act_reference(view, part))


@pytest.mark.gpu
def test_operator_checks_its_preconditions_itself() -> None:
    assert kernels_are_available()
    x = torch.zeros(2, 3, 4, 4, device="cuda")
    operator = torch.ops.editvec.bias_act

    for arguments in (
        (x[:, :, ::2], None, 1, 1.0, -1.0),
        (x, torch.zeros(2, device="cuda"), 1, 1.0, -1.0),
        (x, torch.zeros(3), 1, 1.0, -1.0),
        (x, None, 2, 1.0, -1.0),
        (x, None, 1, math.nan, -1.0),
    ):
        with pytest.raises(ValueError):
            operator(*arguments)
    with pytest.raises(TypeError):
        operator(x, torch.zeros(3, device="cuda", dtype=torch.float16), 1, 1.0, -1.0)
    with pytest.raises(TypeError):
        operator(x.int(), None, 1, 1.0, -1.0)


# Which implementation ran.


def test_records_name_the_reference_where_it_ran() -> None:
    assert kernel_version(torch.device("cpu")) == "reference"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_records_name_the_reference_where_no_kernel_could_be_loaded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert kernel_version(torch.device("cuda")) == "reference"


@pytest.mark.gpu
def test_records_name_the_compiled_kernels_where_they_ran() -> None:
    major, minor = torch.cuda.get_device_capability()

    name = kernel_version(torch.device("cuda"))

    assert re.fullmatch(r"editvec-sm[\d-]+-[0-9a-f]{16}", name)
    assert f"{major}{minor}" in name
    assert len(name) <= 64
