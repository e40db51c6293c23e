"""Which implementation an operation takes, and what is said where it is not the wished one."""

import logging
import re
from collections.abc import Iterator

import pytest
import torch

from editvec.cuda_ext import dispatch
from editvec.cuda_ext.bias_act import bias_act
from editvec.cuda_ext.dispatch import (
    DEFAULT_KERNELS,
    OPERATIONS,
    chosen_kernels,
    kernel_version,
    kernels_are_available,
    parse_choice,
    takes_kernel,
)
from editvec.cuda_ext.errors import ExtensionBuildError, OperandError

without_device = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")


@pytest.fixture
def unasked() -> Iterator[None]:
    """Nobody has asked for the kernels yet."""
    kernels_are_available.cache_clear()
    yield
    kernels_are_available.cache_clear()


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("all", set(OPERATIONS)),
        ("none", set()),
        ("", DEFAULT_KERNELS),
        ("upfirdn2d", {"upfirdn2d"}),
        (" bias_act , segment_gather,", {"bias_act", "segment_gather"}),
    ],
)
def test_variable_chooses_kernels(
    value: str, names: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDITVEC_KERNELS", value)

    assert chosen_kernels() == names


def test_without_the_variable_the_defaults_are_chosen() -> None:
    assert chosen_kernels() == DEFAULT_KERNELS
    assert set(OPERATIONS) >= DEFAULT_KERNELS


@pytest.mark.parametrize("value", ["biasact", "all,bias_act", "bias_act,none"])
def test_unknown_name_is_refused(value: str) -> None:
    with pytest.raises(OperandError, match="EDITVEC_KERNELS must be all, none, or names of bias_"):
        parse_choice(value)


def test_nothing_is_compiled_for_tensors_on_the_cpu(
    unasked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDITVEC_KERNELS", "all")

    bias_act(torch.zeros(1, 1))

    assert not takes_kernel("bias_act", torch.zeros(1, 1))
    assert kernels_are_available.cache_info().currsize == 0


@without_device
def test_one_warning_says_why_the_reference_runs(
    unasked: None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert not kernels_are_available()
        assert not kernels_are_available()

    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        "the CUDA kernels are not used, their PyTorch references run, more slowly: "
        "there is no CUDA device to compile the kernels for: name its compute capability, as in "
        "`editvec kernels build --arch 90`"
    ]


@without_device
def test_records_name_the_reference_where_it_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernel_version(torch.device("cpu")) == "reference"
    monkeypatch.setenv("EDITVEC_KERNELS", "all")
    assert kernel_version(torch.device("cpu")) == "reference"
    assert kernel_version(torch.device("cuda")) == "reference"


@pytest.mark.gpu
def test_records_name_the_compiled_kernels_where_they_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITVEC_KERNELS", "bias_act,segment_gather")
    major, minor = torch.cuda.get_device_capability()

    name = kernel_version(torch.device("cuda"))

    assert re.fullmatch(r"editvec-sm[\d-]+-[0-9a-f]{16}-bs", name)
    assert f"{major}{minor}" in name
    assert len(name) <= 64


@pytest.mark.gpu
def test_kernel_runs_only_where_it_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.zeros(1, 1, device="cuda")

    monkeypatch.setenv("EDITVEC_KERNELS", "upfirdn2d")
    assert takes_kernel("upfirdn2d", x)
    assert not takes_kernel("bias_act", x)


@pytest.mark.gpu
def test_kernels_that_do_not_load_leave_the_reference(
    unasked: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> str:
        raise ExtensionBuildError("nvcc was not found")

    monkeypatch.setattr(dispatch, "load_extension", fail)
    monkeypatch.setenv("EDITVEC_KERNELS", "all")

    y = bias_act(torch.ones(1, 1, device="cuda"), act="linear")

    assert y.tolist() == [[1.0]]
    assert "nvcc was not found" in caplog.text
