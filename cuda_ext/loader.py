"""Compiles the CUDA sources once per machine, and loads them.

The library lies in the user's cache folder under a name that holds everything it depends on
(sources, torch, CUDA, GPU architectures), and appears there by rename: it is whole or absent. The
compiler is called directly, not through `torch.utils.cpp_extension.load`: that one waits for ever
on a lock file that a killed build left behind. Ours is a lock of the operating system, which ends
with its holder, and we wait for a live holder only so long.
"""

import contextlib
import fcntl
import functools
import hashlib
import logging
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from editvec.cuda_ext.errors import BuildLockError, ExtensionBuildError, OperandError

logger = logging.getLogger(__name__)

SOURCE_FOLDER = Path(__file__).parent / "csrc"


@functools.cache
def load_extension() -> str:
    """Register the compiled operators as `torch.ops.editvec.*`, compiling them if need be.

    Returns:
        The name of the compiled library, which changes with everything that it depends on.

    Raises:
        ExtensionBuildError: There is no CUDA device, or the sources cannot be compiled or loaded.
        BuildLockError: Another process has been compiling them for minutes.
    """
    library = build_library(architectures=device_architectures())
    try:
        torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
    except OSError as exc:
        raise ExtensionBuildError(
            f"the compiled CUDA kernels do not load: {exc}; remove {library} to compile them again"
        ) from exc
    return library.stem


def device_architectures() -> list[str]:
    """Compute capabilities of the visible CUDA devices, such as ["90"]; empty without a device."""
    if not torch.cuda.is_available():
        return []
    capabilities = {
        torch.cuda.get_device_capability(index) for index in range(torch.cuda.device_count())
    }
    return [f"{major}{minor}" for major, minor in sorted(capabilities)]


def default_cache_folder() -> Path:
    """Where compiled kernels are kept: $XDG_CACHE_HOME/editvec, or ~/.cache/editvec."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "editvec" / "cuda_ext"


def build_library(
    *,
    architectures: Sequence[str],
    cache_folder: Path | None = None,
    lock_timeout_seconds: float = 300.0,
    build_timeout_seconds: float = 600.0,
) -> Path:
    """Compile the CUDA sources unless the cache holds them already.

    Args:
        architectures: Compute capabilities to compile for, without the dot, such as ["90"].
        cache_folder: Where libraries are kept; None is `default_cache_folder()`.
        lock_timeout_seconds: How long to wait for another process that compiles the same.
        build_timeout_seconds: How long the compiler may take.

    Returns:
        Path of the shared library.

    Raises:
        OperandError: An architecture is not written as described.
        ExtensionBuildError: No device to compile for, no fitting compiler, or it fails.
        BuildLockError: The lock was not free within `lock_timeout_seconds`.
    """
    if not architectures:
        raise ExtensionBuildError(
            "there is no CUDA device to compile the kernels for: name its compute capability, as "
            "in `editvec kernels build --arch 90`"
        )
    unknown = [name for name in architectures if re.fullmatch(r"[1-9]\d{1,2}[af]?", name) is None]
    if unknown:
        raise OperandError(f"architectures must be written like 80 or 90a, got {unknown[0]!r}")
    folder = default_cache_folder() if cache_folder is None else cache_folder
    library = find_library(architectures=architectures, cache_folder=folder)
    if library is not None:
        return library
    library = folder / f"{_build_name(architectures)}.so"
    compiler = find_compiler()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _build_lock(library.with_suffix(".lock"), timeout_seconds=lock_timeout_seconds):
            if not library.exists():
                _compile(compiler, architectures, library, timeout_seconds=build_timeout_seconds)
    except BuildLockError:
        raise
    except OSError as exc:
        raise ExtensionBuildError(f"the kernels' cache folder {folder} is unusable: {exc}") from exc
    return library


def find_library(*, architectures: Sequence[str], cache_folder: Path | None = None) -> Path | None:
    """The compiled library that holds all the architectures, if the cache has one."""
    folder = default_cache_folder() if cache_folder is None else cache_folder
    for library in sorted(folder.glob(f"editvec-sm*-{_digest()}.so")):
        held = library.stem.removeprefix("editvec-sm").split("-")[:-1]
        if set(architectures) <= set(held):
            return library
    return None


def _build_name(architectures: Sequence[str]) -> str:
    """A name that changes with everything that the library depends on."""
    return f"editvec-sm{'-'.join(architectures)}-{_digest()}"


def _digest() -> str:
    """Stands for the sources, torch and CUDA."""
    digest = hashlib.sha256()
    for source in sorted(SOURCE_FOLDER.iterdir()):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    digest.update(f"torch {torch.__version__} cuda {torch.version.cuda}".encode())
    return digest.hexdigest()[:16]


def find_compiler() -> Path:
    """The nvcc whose major version is that of torch's CUDA.

    Raises:
        ExtensionBuildError: There is none in CUDA_HOME or the path, or torch knows no CUDA.
    """
    if torch.version.cuda is None:
        raise ExtensionBuildError(f"torch {torch.__version__} was built without CUDA")
    cuda_home = os.environ.get("CUDA_HOME")
    found = shutil.which("nvcc", path=f"{cuda_home}/bin" if cuda_home else None)
    if found is None:
        raise ExtensionBuildError(
            f"nvcc was not found in {cuda_home or 'PATH'}: install the CUDA "
            f"{torch.version.cuda.split('.')[0]} toolkit, or set CUDA_HOME to its folder"
        )
    banner = subprocess.run(
        [found, "--version"], capture_output=True, text=True, check=False
    ).stdout
    release = re.search(r"release (\d+)\.", banner)
    wanted = torch.version.cuda.split(".")[0]
    version = release[1] if release else "unknown"
    if version != wanted:
        raise ExtensionBuildError(
            f"{found} is of CUDA {version}, torch needs CUDA {wanted}: "
            "set CUDA_HOME to the folder of a fitting toolkit"
        )
    return Path(found)


@contextlib.contextmanager
def _build_lock(path: Path, *, timeout_seconds: float) -> Iterator[None]:
    """Hold the lock on a file; the system frees it when its holder dies, however it dies."""
    deadline = time.monotonic() + timeout_seconds
    with path.open("a+") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as exc:
                if time.monotonic() > deadline:
                    file.seek(0)
                    holder = file.read().strip() or "another process"
                    raise BuildLockError(
                        f"{holder} has held {path} for more than {timeout_seconds:g} s: "
                        "end that process, or remove the file, and try again"
                    ) from exc
            time.sleep(0.1)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {os.uname().nodename}\n")
        file.flush()
        yield


def _compile(
    compiler: Path, architectures: Sequence[str], library: Path, *, timeout_seconds: float
) -> None:
    """Compile and link into a temporary folder beside the library, then rename."""
    logger.info("Compiling the CUDA kernels into %s (once per machine)", library)
    torch_folder = Path(torch.__file__).parent
    with tempfile.TemporaryDirectory(dir=library.parent, prefix="build-") as work:
        output = Path(work) / library.name
        command = [
            str(compiler),
            *("-shared", "-std=c++20", "-O3", "-cudart", "shared", "-Xcompiler", "-fPIC"),
            *("--threads", "0"),  # as many files at once as there are cores
            *(f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in architectures),
            *("-isystem", str(torch_folder / "include")),
            *("-L", str(torch_folder / "lib"), "-lc10", "-lc10_cuda", "-ltorch", "-ltorch_cpu"),
            *map(str, sorted(SOURCE_FOLDER.glob("*.c*"))),
            *("-o", str(output)),
        ]
        try:
            subprocess.run(
                command, capture_output=True, text=True, check=True, timeout=timeout_seconds
            )
        except subprocess.TimeoutExpired as exc:
            raise ExtensionBuildError(f"nvcc took more than {timeout_seconds:g} s") from exc
        except subprocess.CalledProcessError as exc:
            reason = next((line for line in exc.stderr.splitlines() if "error" in line), exc.stderr)
            raise ExtensionBuildError(f"nvcc failed: {reason.strip() or exc}") from exc
        output.replace(library)
