"""Compiling the kernels: whole or absent, once, and bounded in time whoever died before us."""

import fcntl
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from editvec.cuda_ext.dispatch import OPERATIONS
from editvec.cuda_ext.errors import BuildLockError, CudaExtError, ExtensionBuildError, OperandError
from editvec.cuda_ext.loader import (
    SOURCE_FOLDER,
    build_library,
    default_cache_folder,
    device_architectures,
    find_library,
    load_extension,
)
from tests.support.kernel_emulation import operator_schemas

CUDA_MAJOR = (torch.version.cuda or "0").split(".")[0]

needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
needs_cuda_torch = pytest.mark.skipif(torch.version.cuda is None, reason="torch without CUDA")


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for nvcc, so that the way around it is tested where there is none.

    It says its version, counts its calls in a file, and copies a text to the output.
    """
    program = tmp_path / "toolkit" / "bin" / "nvcc"
    program.parent.mkdir(parents=True)
    program.write_text(
        "#!/bin/sh\n"
        f'if [ "$1" = --version ]; then echo "Cuda, release {CUDA_MAJOR}.0, V"; exit; fi\n'
        f'echo called >> "{tmp_path}/calls"\n'
        f'if [ -e "{tmp_path}/broken" ]; then echo "a.cu(1): error: no" >&2; exit 2; fi\n'
        'while [ "$1" != -o ]; do shift; done\n'
        'echo library > "$2"\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "toolkit"))
    return program


def _calls(tmp_path: Path) -> int:
    log = tmp_path / "calls"
    return len(log.read_text().splitlines()) if log.exists() else 0


@needs_cuda_torch
def test_second_build_finds_the_first(compiler: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"

    first = build_library(architectures=["90"], cache_folder=cache)
    second = build_library(architectures=["90"], cache_folder=cache)
    other = build_library(architectures=["80", "90"], cache_folder=cache)

    assert first == second != other
    assert first.read_text() == "library\n"
    assert _calls(tmp_path) == 2


@needs_cuda_torch
def test_library_for_several_architectures_serves_each(compiler: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    library = build_library(architectures=["80", "90"], cache_folder=cache)

    assert build_library(architectures=["90"], cache_folder=cache) == library
    assert find_library(architectures=["80"], cache_folder=cache) == library
    assert find_library(architectures=["90", "100"], cache_folder=cache) is None
    assert _calls(tmp_path) == 1


@pytest.mark.parametrize("name", ["sm_90", "9", "9.0", "90/../x", "090"])
def test_architecture_is_a_number(name: str, tmp_path: Path) -> None:
    with pytest.raises(OperandError, match="architectures must be written like 80 or 90a, got"):
        build_library(architectures=["80", name], cache_folder=tmp_path)


@needs_cuda_torch
def test_live_builder_is_waited_for_only_so_long(compiler: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    lock = build_library(architectures=["90"], cache_folder=cache).with_suffix(".lock")
    lock.with_suffix(".so").unlink()

    with lock.open("r") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        started = time.monotonic()
        with pytest.raises(BuildLockError) as caught:
            build_library(architectures=["90"], cache_folder=cache, lock_timeout_seconds=0.2)

    assert time.monotonic() - started < 5
    assert isinstance(caught.value, CudaExtError)
    assert f"process {os.getpid()}" in str(caught.value)
    assert f"{lock} for more than 0.2 s: end that process, or remove" in str(caught.value)


@needs_cuda_torch
def test_lock_file_of_a_killed_builder_stops_nobody(compiler: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    library = build_library(architectures=["90"], cache_folder=cache)
    library.unlink()
    program = (
        "import fcntl, os, signal, sys; file = open(sys.argv[1]); "
        "fcntl.flock(file, fcntl.LOCK_EX); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run(
        [sys.executable, "-c", program, str(library.with_suffix(".lock"))], check=False
    )
    assert killed.returncode == -9
    assert library.with_suffix(".lock").exists()

    rebuilt = build_library(architectures=["90"], cache_folder=cache, lock_timeout_seconds=5)

    assert rebuilt == library
    assert library.exists()


@needs_cuda_torch
def test_failed_compilation_leaves_nothing_and_names_the_reason(
    compiler: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken").touch()
    cache = tmp_path / "cache"

    with pytest.raises(ExtensionBuildError, match=r"nvcc failed: a\.cu\(1\): error: no"):
        build_library(architectures=["90"], cache_folder=cache)

    assert [path.suffix for path in cache.iterdir()] == [".lock"]


@needs_cuda_torch
def test_compiler_of_another_cuda_is_refused(compiler: Path, tmp_path: Path) -> None:
    compiler.write_text('#!/bin/sh\necho "Cuda, release 9.2, V9.2"\n')

    with pytest.raises(ExtensionBuildError, match=f"is of CUDA 9, torch needs CUDA {CUDA_MAJOR}"):
        build_library(architectures=["90"], cache_folder=tmp_path / "cache")


@needs_cuda_torch
def test_missing_compiler_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))

    with pytest.raises(ExtensionBuildError, match=r"nvcc was not found in .*: install the CUDA"):
        build_library(architectures=["90"], cache_folder=tmp_path / "cache")


@needs_cuda_torch
def test_unusable_cache_folder_is_a_known_error(compiler: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ExtensionBuildError, match=r"cache folder .* is unusable"):
        build_library(architectures=["90"], cache_folder=tmp_path / "file")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_loading_is_a_known_error() -> None:
    assert device_architectures() == []
    with pytest.raises(ExtensionBuildError, match="no CUDA device"):
        load_extension()


def test_cache_folder_follows_the_desktop_convention(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_folder() == tmp_path / "editvec" / "cuda_ext"

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/ann")
    assert default_cache_folder() == Path("/home/ann/.cache/editvec/cuda_ext")


@needs_nvcc
@pytest.mark.slow
@pytest.mark.parametrize("source", sorted(SOURCE_FOLDER.glob("*.cu")), ids=lambda path: path.stem)
def test_kernel_compiles_without_torch_and_without_a_warning(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "kernel.o"
    result = subprocess.run(
        [
            *("nvcc", "-std=c++20", "-Xcompiler", "-Wall,-Wextra", "-Werror", "all-warnings"),
            *("--threads", "0"),
            *(f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in ("80", "90")),
            *("-c", str(source), "-o", str(output)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    code = output.read_bytes()
    assert b"sm_80" in code
    assert b"sm_90" in code


@pytest.mark.parametrize("source", sorted(SOURCE_FOLDER.iterdir()), ids=lambda path: path.name)
def test_kernels_know_no_torch_and_bindings_no_kernel_syntax(source: Path) -> None:
    text = source.read_text()

    is_binding = source.suffix == ".cpp" or source.name == "checks.h"
    assert is_binding == ("<torch/" in text or "<ATen/" in text)
    if is_binding:
        assert "<<<" not in text
        assert "__global__" not in text


@needs_nvcc
@needs_cuda_torch
@pytest.mark.slow
def test_library_compiles_and_registers_its_operators(tmp_path: Path) -> None:
    library = build_library(architectures=["90"], cache_folder=tmp_path)
    program = (
        "import sys, torch\n"
        "torch.ops.load_library(sys.argv[1])\n"
        "for name in sys.argv[2:]:\n"
        "    print(getattr(torch.ops.editvec, name).default._schema)\n"
        "try:\n"
        "    torch.ops.editvec.bias_act(torch.zeros(1, 2), None, None, 1, 1.0, -1.0)\n"
        "except NotImplementedError:\n"
        "    print('refuses the CPU')\n"
    )
    schemas = operator_schemas()

    # In a process of its own: a library stays loaded for as long as its process lives.
    names = [schema.partition("(")[0] for schema in schemas]
    result = subprocess.run(
        [sys.executable, "-c", program, str(library), *names],
        capture_output=True,
        text=True,
        check=True,
    )

    lines = result.stdout.splitlines()
    assert lines[-1] == "refuses the CPU"
    assert lines[:-1] == [f"editvec::{schema}" for schema in schemas]
    assert set(OPERATIONS) <= set(names)
