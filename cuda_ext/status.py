"""What the CUDA operations would do on this machine, told without compiling anything."""

from pathlib import Path
from typing import NamedTuple

from editvec.cuda_ext.dispatch import DEFAULT_KERNELS, OPERATIONS, VARIABLE, chosen_kernels
from editvec.cuda_ext.errors import ExtensionBuildError
from editvec.cuda_ext.loader import (
    default_cache_folder,
    device_architectures,
    find_compiler,
    find_library,
)


class OperationStatus(NamedTuple):
    """One operation.

    Attributes:
        name: One of `OPERATIONS`.
        is_default: Does its kernel run where nothing else is said?
        runs: "kernel" or "reference": what runs on this machine's CUDA devices, or on its CPU.
        reason: Why, as a sentence without a capital.
    """

    name: str
    is_default: bool
    runs: str
    reason: str


class KernelStatus(NamedTuple):
    """All operations, and what they depend on.

    Attributes:
        operations: In the order of `OPERATIONS`.
        architectures: Compute capabilities of the visible devices.
        compiler: The nvcc that would compile, or None.
        library: The compiled library for these devices, or None.
        cache_folder: Where libraries are kept.
    """

    operations: list[OperationStatus]
    architectures: list[str]
    compiler: Path | None
    library: Path | None
    cache_folder: Path


def kernel_status() -> KernelStatus:
    """Look at devices, compiler and cache.

    Raises:
        OperandError: EDITVEC_KERNELS names an unknown operation.
    """
    architectures = device_architectures()
    library = find_library(architectures=architectures) if architectures else None
    compiler, lacking = None, ""
    try:
        compiler = find_compiler()
    except ExtensionBuildError as exc:
        lacking = str(exc)
    runs, reason = "kernel", "compiled"
    if not architectures:
        runs, reason = "reference", "there is no CUDA device"
    elif library is None and compiler is None:
        runs, reason = "reference", lacking
    elif library is None:
        reason = "compiled at the first call"
    chosen = chosen_kernels()
    operations = []
    for name in OPERATIONS:
        own = (runs, reason)
        if architectures and name not in chosen:
            own = ("reference", f"the kernel is not chosen; {VARIABLE}={name} chooses it")
        operations.append(OperationStatus(name, name in DEFAULT_KERNELS, *own))
    return KernelStatus(operations, architectures, compiler, library, default_cache_folder())
