"""Which implementation an operation takes: its CUDA kernel, or the PyTorch reference.

A kernel runs where three things hold: the tensors are on a CUDA device, the kernels compile and
load there, and the operation is chosen. What is chosen by itself is `DEFAULT_KERNELS`: only what
beats its reference in `benchmarks/gpu`. EDITVEC_KERNELS says otherwise: `all`, `none`, or names
between commas.
"""

import functools
import logging
import os

import torch
from torch import Tensor

from editvec.cuda_ext.errors import ExtensionBuildError, OperandError
from editvec.cuda_ext.loader import load_extension

logger = logging.getLogger(__name__)

OPERATIONS = ("bias_act", "upfirdn2d", "segment_gather")

# No kernel has been timed against its reference on a GPU yet.
DEFAULT_KERNELS: frozenset[str] = frozenset()

VARIABLE = "EDITVEC_KERNELS"


def takes_kernel(operation: str, x: Tensor) -> bool:
    """Whether an operation on `x` runs as its kernel; may compile the kernels, and log why not.

    Args:
        operation: One of `OPERATIONS`.
        x: The tensor that the operation is about.
    """
    return x.is_cuda and operation in chosen_kernels() and kernels_are_available()


def chosen_kernels() -> frozenset[str]:
    """Operations whose kernels run where they can: EDITVEC_KERNELS, or `DEFAULT_KERNELS`.

    Raises:
        OperandError: The variable names an unknown operation.
    """
    value = os.environ.get(VARIABLE)
    return parse_choice(value) if value else DEFAULT_KERNELS


@functools.cache
def parse_choice(value: str) -> frozenset[str]:
    """Read a choice of kernels.

    Args:
        value: "all", "none", or names of operations between commas.

    Raises:
        OperandError: A name is unknown.

    Example:
        >>> sorted(parse_choice("bias_act, upfirdn2d"))
        ['bias_act', 'upfirdn2d']
    """
    words = frozenset(word.strip() for word in value.split(",") if word.strip())
    if words == {"all"}:
        return frozenset(OPERATIONS)
    if words == {"none"}:
        return frozenset()
    unknown = sorted(words.difference(OPERATIONS))
    if unknown:
        raise OperandError(
            f"{VARIABLE} must be all, none, or names of {', '.join(OPERATIONS)} between commas, "
            f"got {unknown[0]!r}"
        )
    return words


@functools.cache
def kernels_are_available() -> bool:
    """Whether the kernels are compiled and loaded; the first call tries to, and logs why not."""
    try:
        load_extension()
    except ExtensionBuildError as exc:
        logger.warning(
            "the CUDA kernels are not used, their PyTorch references run, more slowly: %s", exc
        )
        return False
    return True


def kernel_version(device: torch.device) -> str:
    """Which implementation the operations take on a device, for records of what was computed.

    Returns:
        "reference", or the name of the compiled kernels, which tells their sources, torch, CUDA
        and the GPU architectures, and the first letters of the operations that take them.
    """
    chosen = chosen_kernels()
    if device.type != "cuda" or not chosen or not kernels_are_available():
        return "reference"
    letters = "".join(name[0] for name in OPERATIONS if name in chosen)
    return f"{load_extension()}-{letters}"


def dense_format(x: Tensor) -> torch.memory_format:
    """The layout of `x` where the kernels take it, else the usual one."""
    channels_last = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
    if channels_last and not x.is_contiguous():
        return torch.channels_last
    return torch.contiguous_format
